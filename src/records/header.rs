//! The 61 bytes at the front of every batch.
//!
//! Invariant: `Header::parse` then `Header::encode` gives the same bytes.

use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::compress::Compression;
use super::error::BatchError;

/// What the timestamps of a batch's records mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// `CreateTime`: each record's own, set by its producer.
    #[default]
    Create,
    /// `LogAppendTime`: the batch's maximum, set by the leader, for every record.
    LogAppend,
}

/// The parsed front of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The offset that the records' deltas count from. 0 from a producer; the leader stamps it.
    pub base_offset: Offset,
    /// How many bytes follow this field; see [`Header::size`].
    pub length: i32,
    /// The epoch of the leader that appended the batch. Outside the CRC.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C over everything from the attributes on.
    pub crc: u32,
    /// The flags as stored; see the methods.
    pub attributes: i16,
    /// The last record's offset minus the base; survives compaction.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from (or the delete horizon, see [`Header::has_delete_horizon`]).
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, -1 if none.
    pub producer_id: ProducerId,
    /// Its epoch, -1 if none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, -1 if none.
    pub base_sequence: Sequence,
    /// How many records the batch holds.
    pub record_count: i32,
}

impl Header {
    /// How many bytes a header takes.
    pub const SIZE: usize = 61;
    /// How many bytes come before those that `length` counts.
    pub const LENGTH_END: usize = 12;
    /// Where the bytes covered by the CRC begin.
    pub const CRC_START: usize = 21;
    /// The only magic.
    pub const MAGIC: u8 = 2;

    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Reads a header from the front of `bytes`, of which storage may have read no more than the 61.
    ///
    /// # Errors
    /// Too few bytes, another magic, a length that holds no header, or offsets that are not a range.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::read(bytes)?;
        let (base, delta) = (header.base_offset, header.last_offset_delta);
        let fits = base.get().checked_add(i64::from(delta)).is_some_and(|last| last < i64::MAX);
        if base < Offset::ZERO || delta < 0 || !fits || header.record_count < 0 {
            return Err(BatchError::Range { base, last_offset_delta: delta, record_count: header.record_count });
        }
        Ok(header)
    }

    /// Reads a header whose offsets and count nobody has checked yet.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let magic = *bytes.get(16).ok_or(BatchError::Short { size: bytes.len() })?;
        if magic != Self::MAGIC {
            return Err(BatchError::Magic { magic });
        }
        let length = i32::from_be_bytes(take(bytes, 8));
        let least = i32::try_from(Self::SIZE - Self::LENGTH_END).expect("49");
        if length < least {
            return Err(BatchError::Length { length });
        }
        if bytes.len() < Self::SIZE {
            return Err(BatchError::Short { size: bytes.len() });
        }
        Ok(Self {
            base_offset: Offset::new(i64::from_be_bytes(take(bytes, 0))),
            length,
            leader_epoch: LeaderEpoch::new(i32::from_be_bytes(take(bytes, 12))),
            crc: u32::from_be_bytes(take(bytes, 17)),
            attributes: i16::from_be_bytes(take(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(take(bytes, 23)),
            base_timestamp: Timestamp::new(i64::from_be_bytes(take(bytes, 27))),
            max_timestamp: Timestamp::new(i64::from_be_bytes(take(bytes, 35))),
            producer_id: ProducerId::new(i64::from_be_bytes(take(bytes, 43))),
            producer_epoch: ProducerEpoch::new(i16::from_be_bytes(take(bytes, 51))),
            base_sequence: Sequence::new(i32::from_be_bytes(take(bytes, 53))),
            record_count: i32::from_be_bytes(take(bytes, 57)),
        })
    }

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[0..8].copy_from_slice(&self.base_offset.get().to_be_bytes());
        out[8..12].copy_from_slice(&self.length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.get().to_be_bytes());
        out[16] = Self::MAGIC;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.get().to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.get().to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.get().to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.get().to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.get().to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// Whether the batch may stand behind one that ends at `end`: right there, or behind a gap that ends at `gaps_end` at the
    /// latest, where compaction has left some.
    #[must_use]
    pub fn continues(&self, end: Offset, gaps_end: Offset) -> bool {
        self.base_offset == end || (end < self.base_offset && self.base_offset <= gaps_end)
    }

    /// The size of the whole batch in bytes, this header included.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.length).expect("a header is only made with a length of 49 or more") + Self::LENGTH_END
    }

    /// The offset of the last record (of the last there was, after compaction).
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// The codec of the records; `None` for a number that names no codec.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_bits(self.codec_bits())
    }

    /// The number of the codec.
    #[must_use]
    pub fn codec_bits(&self) -> i16 {
        self.attributes & Self::CODEC
    }

    /// What the timestamps mean.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & Self::LOG_APPEND_TIME == 0 { TimestampType::Create } else { TimestampType::LogAppend }
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which no consumer sees.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & Self::CONTROL != 0
    }

    /// When its tombstones and its marker may go (KIP-534); `None` before compaction has seen them.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whether compaction has written it anew: as a producer sent it, a batch has a record for each of its offsets.
    #[must_use]
    pub fn is_thinned(&self) -> bool {
        self.has_delete_horizon() || i64::from(self.record_count) != i64::from(self.last_offset_delta) + 1
    }

    /// Whether compaction has put a delete horizon into `base_timestamp`.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & Self::DELETE_HORIZON != 0
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub fn has_producer(&self) -> bool {
        self.producer_id.get() >= 0
    }

    /// The sequence number of the last record; wraps from 2^31-1 to 0. -1 if there is none.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        if self.base_sequence.get() < 0 { self.base_sequence } else { self.base_sequence.plus(self.last_offset_delta) }
    }

    /// Flags that a producer may not set: the delete horizon and those without a meaning.
    pub(super) fn foreign_bits(&self) -> i16 {
        self.attributes & !(Self::CODEC | Self::LOG_APPEND_TIME | Self::TRANSACTIONAL | Self::CONTROL)
    }

    pub(super) fn set_compression(&mut self, compression: Compression) {
        self.attributes = (self.attributes & !Self::CODEC) | compression.bits();
    }

    pub(super) fn set_delete_horizon(&mut self, horizon: Timestamp) {
        self.attributes |= Self::DELETE_HORIZON;
        self.base_timestamp = horizon;
    }

    pub(super) fn clear_delete_horizon(&mut self) {
        self.attributes &= !Self::DELETE_HORIZON;
    }

    pub(super) fn set_log_append_time(&mut self) {
        self.attributes |= Self::LOG_APPEND_TIME;
    }

    pub(super) fn set_transactional(&mut self) {
        self.attributes |= Self::TRANSACTIONAL;
    }

    pub(super) fn set_control(&mut self) {
        self.attributes |= Self::CONTROL;
    }
}

/// The `N` bytes at `start`, which the caller knows to be there.
fn take<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    bytes[start..start + N].try_into().expect("a slice of N bytes is an array of N")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            base_offset: Offset::new(7),
            length: 49,
            leader_epoch: LeaderEpoch::new(3),
            crc: 0xdead_beef,
            attributes: 0b1_1011,
            last_offset_delta: 4,
            base_timestamp: Timestamp::new(1_000),
            max_timestamp: Timestamp::new(2_000),
            producer_id: ProducerId::new(9),
            producer_epoch: ProducerEpoch::new(1),
            base_sequence: Sequence::new(i32::MAX),
            record_count: 5,
        }
    }

    #[test]
    fn a_header_survives_its_bytes() {
        let header = sample();
        assert_eq!(Header::parse(&header.encode()), Ok(header));
        assert_eq!(header.size(), Header::SIZE);
        assert_eq!(header.next_offset(), Offset::new(12));
        assert_eq!(header.compression(), Some(Compression::Lz4));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppend);
        assert!(header.is_transactional() && !header.is_control() && header.has_producer());
        assert_eq!(header.last_sequence(), Sequence::new(3));
    }

    #[test]
    fn a_header_that_is_no_range_is_refused() {
        let refused = |change: fn(&mut Header)| {
            let mut header = sample();
            change(&mut header);
            Header::parse(&header.encode()).expect_err("the header is broken")
        };
        assert!(matches!(refused(|h| h.base_offset = Offset::new(-1)), BatchError::Range { .. }));
        assert!(matches!(refused(|h| h.base_offset = Offset::new(i64::MAX - 4)), BatchError::Range { .. }));
        assert!(matches!(refused(|h| h.last_offset_delta = -1), BatchError::Range { .. }));
        assert!(matches!(refused(|h| h.record_count = -1), BatchError::Range { .. }));
        assert_eq!(refused(|h| h.length = 48), BatchError::Length { length: 48 });
    }

    #[test]
    fn too_few_bytes_or_another_magic_are_refused() {
        let mut bytes = sample().encode();
        for size in 0..Header::SIZE {
            assert_eq!(Header::parse(&bytes[..size]), Err(BatchError::Short { size }));
        }
        bytes[16] = 1;
        assert_eq!(Header::parse(&bytes), Err(BatchError::Magic { magic: 1 }));
    }
}
