//! Builds a batch from records, for coordinators, tests and the client.
//!
//! Invariant: what is built passes `check_produced`, unless it was given records that no producer may send.

use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::batch::Batch;
use super::compress::{self, Codec};
use super::error::BuildError;
use super::header::Header;
use super::iter::RecordHeader;
use super::varint::{put_i32, put_i64, size_i64};

/// Who writes a batch, if it is to be idempotent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The producer id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence number of the batch's first record; -1 in a control batch.
    pub base_sequence: Sequence,
}

/// A record to be added.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    /// When it was made.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [RecordHeader],
}

/// Collects the records of one batch.
#[derive(Clone, Debug)]
pub struct Builder {
    header: Header,
    codec: Codec,
    records: Vec<u8>,
}

impl Builder {
    /// An empty batch at offset 0, without a producer.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        let mut header = Header {
            base_offset: Offset::ZERO,
            length: 0,
            leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::new(-1),
            producer_epoch: ProducerEpoch::new(-1),
            base_sequence: Sequence::new(-1),
            record_count: 0,
        };
        header.set_compression(codec.compression());
        Self { header, codec, records: Vec::new() }
    }

    /// Sets the first offset.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Sets the leader's epoch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Sets the producer.
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> Self {
        self.header.producer_id = producer.id;
        self.header.producer_epoch = producer.epoch;
        self.header.base_sequence = producer.base_sequence;
        self
    }

    /// Makes the records part of their producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.set_transactional();
        self
    }

    /// Makes it a control batch.
    #[must_use]
    pub(super) fn control(mut self) -> Self {
        self.header.set_control();
        self
    }

    /// Adds a record after the last.
    ///
    /// # Errors
    /// Its timestamp is too far from the first one's, or it is too large to be written.
    pub fn push(&mut self, draft: Draft<'_>) -> Result<(), BuildError> {
        let delta = self.header.last_offset_delta.checked_add(1).ok_or(BuildError::TooLarge)?;
        self.push_at(delta, draft)
    }

    /// Adds a record at `offset_delta`, leaving a gap before it as compaction does.
    ///
    /// # Errors
    /// As [`Builder::push`]; an offset that is not after the last record's.
    pub fn push_at(&mut self, offset_delta: i32, draft: Draft<'_>) -> Result<(), BuildError> {
        if offset_delta <= self.header.last_offset_delta {
            return Err(BuildError::Delta);
        }
        if self.header.record_count == 0 {
            self.header.base_timestamp = draft.timestamp;
        }
        let base = self.header.base_timestamp.get();
        let timestamp_delta = draft.timestamp.get().checked_sub(base).ok_or(BuildError::Delta)?;
        encode(&mut self.records, timestamp_delta, offset_delta, &draft)?;
        self.header.last_offset_delta = offset_delta;
        self.header.record_count += 1;
        self.header.max_timestamp = self.header.max_timestamp.max(draft.timestamp);
        Ok(())
    }

    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.header.record_count
    }

    /// The size in bytes were the batch built now without compression.
    #[must_use]
    pub fn size(&self) -> usize {
        Header::SIZE + self.records.len()
    }

    /// Makes the batch.
    ///
    /// # Errors
    /// There is no record; the size does not fit its field.
    pub fn build(self) -> Result<Batch, BuildError> {
        if self.header.record_count == 0 {
            return Err(BuildError::Empty);
        }
        if self.codec == Codec::None {
            return Batch::assemble(self.header, &self.records).map_err(|_| BuildError::TooLarge);
        }
        let compressed = compress::compress(self.codec, &self.records);
        Batch::assemble(self.header, &compressed).map_err(|_| BuildError::TooLarge)
    }
}

/// Writes one record.
fn encode(out: &mut Vec<u8>, timestamp_delta: i64, offset_delta: i32, draft: &Draft<'_>) -> Result<(), BuildError> {
    let headers = draft.headers.iter().map(|h| field_size(Some(&h.key)) + field_size(h.value.as_deref()));
    let length = 1
        + size_i64(timestamp_delta)
        + size_i64(i64::from(offset_delta))
        + field_size(draft.key)
        + field_size(draft.value)
        + size_i64(length_of(draft.headers.len())?)
        + headers.sum::<usize>();
    put_i64(out, length_of(length)?);
    let start = out.len();
    out.push(0);
    put_i64(out, timestamp_delta);
    put_i32(out, offset_delta);
    put_field(out, draft.key);
    put_field(out, draft.value);
    put_i64(out, length_of(draft.headers.len())?);
    for header in draft.headers {
        put_field(out, Some(&header.key));
        put_field(out, header.value.as_deref());
    }
    assert_eq!(out.len() - start, length, "a record is as long as it says");
    Ok(())
}

fn field_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| size_i64(i64::try_from(bytes.len()).unwrap_or(i64::MAX)) + bytes.len())
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(bytes) = field else { return put_i32(out, -1) };
    put_i64(out, i64::try_from(bytes.len()).expect("a field of a record that fits"));
    out.extend_from_slice(bytes);
}

/// A length as the format can say it.
fn length_of(length: usize) -> Result<i64, BuildError> {
    i32::try_from(length).map(i64::from).map_err(|_| BuildError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::super::{CompressionRule, ProduceRules, check_produced, sample};
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_built_is_read_again(records in sample::records(), codec in sample::codecs()) {
            let batch = sample::batch_of(codec, &records);
            assert!(batch.crc_is_valid());
            assert_eq!(sample::records_of(&batch), records);
        }

        #[test]
        fn what_is_built_passes_the_checks_unchanged(records in sample::records(), codec in sample::codecs()) {
            let batch = sample::batch_of(codec, &records);
            let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
            let checked = check_produced(batch.bytes().clone(), &rules, sample::NOW).expect("a sound batch");
            assert_eq!(checked.batch.bytes().as_ptr(), batch.bytes().as_ptr());
            assert_eq!(checked.max_timestamp.timestamp, batch.header().max_timestamp);
        }

        #[test]
        fn a_forced_codec_keeps_the_records(
            records in sample::records(),
            from in sample::codecs(),
            to in sample::codecs(),
        ) {
            let batch = sample::batch_of(from, &records);
            let compression = CompressionRule::Fixed(to);
            let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, compression, ..ProduceRules::default() };
            let checked = check_produced(batch.bytes().clone(), &rules, sample::NOW).expect("a sound batch");
            assert_eq!(checked.batch.header().compression(), Some(to.compression()));
            assert!(checked.batch.crc_is_valid());
            assert_eq!(sample::records_of(&checked.batch), records);
        }
    }

    #[test]
    fn a_batch_without_records_is_refused() {
        assert_eq!(Builder::new(Codec::None).build(), Err(BuildError::Empty));
    }

    #[test]
    fn gaps_are_kept_and_offsets_must_rise() {
        let mut builder = Builder::new(Codec::None).base_offset(Offset::new(100));
        builder.push_at(3, Draft::default()).expect("the first record");
        assert_eq!(builder.push_at(3, Draft::default()), Err(BuildError::Delta));
        builder.push_at(9, Draft::default()).expect("a later record");
        builder.push(Draft::default()).expect("the next record");
        let batch = builder.build().expect("three records");
        let offsets: Vec<i64> = sample::records_of(&batch).iter().map(|r| r.offset.get()).collect();
        assert_eq!(offsets, [103, 109, 110]);
        assert_eq!(batch.next_offset(), Offset::new(111));
        assert_eq!(batch.header().record_count, 3);
    }

    #[test]
    fn timestamps_too_far_apart_are_refused() {
        let mut builder = Builder::new(Codec::None);
        builder.push(Draft { timestamp: Timestamp::new(i64::MIN), ..Draft::default() }).expect("the first record");
        let late = Draft { timestamp: Timestamp::new(1), ..Draft::default() };
        assert_eq!(builder.push(late), Err(BuildError::Delta));
    }

    #[test]
    fn the_size_before_building_is_that_of_the_plain_batch() {
        let mut builder = Builder::new(Codec::None);
        builder.push(Draft { value: Some(b"value"), ..Draft::default() }).expect("a small record");
        let size = builder.size();
        assert_eq!(builder.build().expect("one record").size(), size);
    }
}
