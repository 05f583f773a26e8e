//! One whole batch, and several in a row.
//!
//! Invariant: a `Batch`'s bytes are exactly as long as its header says, and its offsets are a range.

use bytes::{Bytes, BytesMut};

use crate::model::{LeaderEpoch, Offset};

use super::error::BatchError;
use super::header::Header;

/// One whole batch, not yet known to be intact: see [`Batch::crc_is_valid`]. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    bytes: Bytes,
    header: Header,
}

/// A batch with its place in a log: 61 new bytes and the rest as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The header's bytes.
    pub header: [u8; Header::SIZE],
    /// The bytes after it, shared with the batch.
    pub rest: Bytes,
}

impl Batch {
    /// Takes bytes that are exactly one batch.
    ///
    /// # Errors
    /// See [`Header::parse`]; fewer or more bytes than the header says.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = Header::parse(&bytes)?;
        if header.size() != bytes.len() {
            return Err(BatchError::Size { stated: header.size(), size: bytes.len() });
        }
        Ok(Self { bytes, header })
    }

    /// A batch whose header the caller has checked.
    pub(super) fn from_parts(header: Header, bytes: Bytes) -> Self {
        assert_eq!(header.size(), bytes.len(), "a batch is as long as its header says");
        Self { bytes, header }
    }

    /// A batch of this header and these (encoded) records; its length and CRC are worked out here.
    ///
    /// # Errors
    /// The length does not fit its field.
    pub(super) fn assemble(mut header: Header, payload: &[u8]) -> Result<Self, BatchError> {
        let size = Header::SIZE + payload.len();
        header.length =
            i32::try_from(size - Header::LENGTH_END).map_err(|_| BatchError::Size { stated: size, size })?;
        let mut bytes = BytesMut::with_capacity(size);
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(payload);
        header.crc = crc32c::crc32c(&bytes[Header::CRC_START..]);
        bytes[17..21].copy_from_slice(&header.crc.to_be_bytes());
        Ok(Self { bytes: bytes.freeze(), header })
    }

    /// The whole batch.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The parsed header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The records as stored, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[Header::SIZE..]
    }

    /// Whether the bytes are those that the CRC was made from.
    #[must_use]
    pub fn crc_is_valid(&self) -> bool {
        self.computed_crc() == self.header.crc
    }

    /// The CRC of the bytes as they are.
    #[must_use]
    pub fn computed_crc(&self) -> u32 {
        crc32c::crc32c(&self.bytes[Header::CRC_START..])
    }

    /// The first offset.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The last offset.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    /// The offset after the last.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The batch at its place in a log. Neither field is under the CRC, so the rest stays as it is.
    ///
    /// # Panics
    /// When the offsets would pass 2^63-1.
    #[must_use]
    pub fn stamp(&self, base: Offset, epoch: LeaderEpoch) -> Stamped {
        let header = Header { base_offset: base, leader_epoch: epoch, ..self.header };
        assert!(base >= Offset::ZERO && header.next_offset() > base, "a batch's offsets are a range");
        Stamped { header: header.encode(), rest: self.bytes.slice(Header::SIZE..) }
    }
}

impl Stamped {
    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        Header::SIZE + self.rest.len()
    }

    /// The pieces, for one vectored write.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.header, &self.rest]
    }

    /// The batch as one piece; copies it.
    #[must_use]
    pub fn to_batch(&self) -> Batch {
        let bytes = Bytes::from(self.parts().concat());
        Batch::parse(bytes).expect("a stamped batch is a batch")
    }
}

/// The whole batches at the front of `bytes`; a partial one at the end is left (see [`Split::is_partial`]).
#[must_use]
pub fn split(bytes: Bytes) -> Split {
    Split { rest: bytes, failed: false }
}

/// See [`split`]. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Split {
    rest: Bytes,
    failed: bool,
}

impl Split {
    /// Whether bytes are left that are no whole batch. Meaningful once the iterator has ended.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.rest.is_empty()
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Split {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let header = match Header::parse(&self.rest) {
            Ok(header) => header,
            Err(BatchError::Short { .. }) => return None,
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
        };
        if header.size() > self.rest.len() {
            return None;
        }
        Some(Ok(Batch { bytes: self.rest.split_to(header.size()), header }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_stamp_moves_the_batch_and_leaves_its_crc_valid() {
        let batch = sample::batch(5);
        let stamped = batch.stamp(Offset::new(1_000), LeaderEpoch::new(4)).to_batch();
        assert_eq!(stamped.base_offset(), Offset::new(1_000));
        assert_eq!(stamped.last_offset(), Offset::new(1_004));
        assert_eq!(stamped.next_offset(), Offset::new(1_005));
        assert_eq!(stamped.header().leader_epoch, LeaderEpoch::new(4));
        assert_eq!(stamped.header().crc, batch.header().crc);
        assert!(stamped.crc_is_valid());
        assert_eq!(stamped.payload(), batch.payload());
    }

    #[test]
    fn a_stamp_copies_no_record() {
        let batch = sample::batch(5);
        let stamped = batch.stamp(Offset::new(7), LeaderEpoch::new(0));
        assert_eq!(stamped.rest.as_ptr(), batch.payload().as_ptr());
        assert_eq!(stamped.size(), batch.size());
    }

    #[test]
    fn every_changed_byte_under_the_crc_is_seen() {
        let batch = sample::batch(2);
        for at in Header::CRC_START..batch.size() {
            let mut bytes = batch.bytes().to_vec();
            bytes[at] ^= 0x10;
            if let Ok(changed) = Batch::parse(bytes.into()) {
                assert!(!changed.crc_is_valid(), "byte {at}");
            }
        }
    }

    #[test]
    fn a_batch_is_exactly_as_long_as_it_says() {
        let batch = sample::batch(2);
        let stated = batch.size();
        let longer = [batch.bytes().as_ref(), b"x"].concat();
        assert_eq!(Batch::parse(longer.into()), Err(BatchError::Size { stated, size: stated + 1 }));
        let shorter = batch.bytes().slice(..stated - 1);
        assert_eq!(Batch::parse(shorter), Err(BatchError::Size { stated, size: stated - 1 }));
    }

    #[test]
    fn split_gives_whole_batches_and_leaves_a_partial_one() {
        let (first, second) = (sample::batch(3), sample::batch(1));
        let both = [first.bytes().as_ref(), second.bytes().as_ref()].concat();
        for end in 0..=both.len() {
            let mut batches = split(Bytes::copy_from_slice(&both[..end]));
            let found: Vec<Batch> = batches.by_ref().map(|b| b.expect("a whole batch")).collect();
            let whole = usize::from(end >= first.size()) + usize::from(end >= both.len());
            assert_eq!(found, [first.clone(), second.clone()][..whole]);
            assert_eq!(batches.is_partial(), end != 0 && end != first.size() && end != both.len());
        }
    }

    #[test]
    fn split_ends_at_the_first_error() {
        let mut bytes = [sample::batch(1).bytes().as_ref(), sample::batch(1).bytes().as_ref()].concat();
        let second = bytes.len() / 2;
        bytes[second + 16] = 0;
        let mut batches = split(bytes.into());
        assert!(batches.next().expect("a batch").is_ok());
        assert_eq!(batches.next(), Some(Err(BatchError::Magic { magic: 0 })));
        assert_eq!(batches.next(), None);
        assert!(batches.is_partial());
    }
}
