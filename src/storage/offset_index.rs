//! `.index`: for about every `index.interval.bytes` of log, where one batch stands.
//!
//! Called by `tail` (writes) and `read` (looks up). Invariant: entries rise strictly in offset and position; each names
//! the *last* offset of a batch and the position of its first byte.

use std::io;

use crate::env::File;
use crate::model::Offset;

use super::segment::partition_point;

/// The size of an entry.
pub(super) const ENTRY_BYTES: usize = 8;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// The last offset of the batch.
    pub(super) last: Offset,
    /// Where the batch starts.
    pub(super) position: u64,
}

impl OffsetEntry {
    pub(super) fn encode(self, base: Offset) -> [u8; ENTRY_BYTES] {
        let relative = i32::try_from(self.last.since(base)).expect("a segment is rolled before offsets need more");
        let position = i32::try_from(self.position).expect("a segment is rolled before positions need more");
        let mut out = [0; ENTRY_BYTES];
        out[..4].copy_from_slice(&relative.to_be_bytes());
        out[4..].copy_from_slice(&position.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8], base: Offset) -> Self {
        let (offset, rest) = bytes.split_first_chunk::<4>().expect("an entry has eight bytes");
        let position = rest.first_chunk::<4>().expect("an entry has eight bytes");
        let relative = i64::from(i32::from_be_bytes(*offset));
        // A negative number is no entry of ours; read as unsigned it lies beyond every segment.
        Self {
            last: Offset::new(base.get().saturating_add(relative)),
            position: u64::from(u32::from_be_bytes(*position)),
        }
    }
}

/// The file of one segment and how many of its entries count.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetIndex<'a> {
    pub(super) file: &'a dyn File,
    pub(super) base: Offset,
    pub(super) count: u64,
}

impl OffsetIndex<'_> {
    /// The last entry that is `left`, which holds for all entries before it too.
    pub(super) fn last_where(&self, left: impl Fn(OffsetEntry) -> bool) -> io::Result<Option<OffsetEntry>> {
        let point = self.count_where(left)?;
        if point == 0 {
            return Ok(None);
        }
        let mut entry = [0; ENTRY_BYTES];
        let size = u64::try_from(ENTRY_BYTES).expect("eight");
        if self.file.read_at((point - 1) * size, &mut entry)? < ENTRY_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(OffsetEntry::decode(&entry, self.base)))
    }

    /// How many entries are `left`.
    pub(super) fn count_where(&self, left: impl Fn(OffsetEntry) -> bool) -> io::Result<u64> {
        partition_point(self.file, ENTRY_BYTES, self.count, |entry| left(OffsetEntry::decode(entry, self.base)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let entry = OffsetEntry { last: Offset::new(1007), position: 0x0102_0304 };
        let bytes = entry.encode(Offset::new(1000));
        assert_eq!(bytes, [0, 0, 0, 7, 1, 2, 3, 4]);
        assert_eq!(OffsetEntry::decode(&bytes, Offset::new(1000)), entry);
    }
}
