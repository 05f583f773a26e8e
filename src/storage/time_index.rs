//! `.timeindex`: the largest timestamp so far and the batch that brought it.
//!
//! Called by `tail` (writes), `timestamps` (looks up) and `retain` (a segment's largest). Invariant: entries rise
//! strictly in timestamp and do not fall in offset; each names the *last* offset of the batch that holds the timestamp.

use std::io;

use crate::env::File;
use crate::model::{Offset, Timestamp};

use super::segment::partition_point;
use super::tail::BatchAt;

/// The size of an entry.
pub(super) const ENTRY_BYTES: usize = 12;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    /// The largest timestamp up to here.
    pub(super) timestamp: Timestamp,
    /// The last offset of the first batch that has it.
    pub(super) last: Offset,
}

impl TimeEntry {
    /// Whether this is what an entry says of the batch.
    pub(super) fn is_of(self, batch: &BatchAt) -> bool {
        batch.max_timestamp == self.timestamp && batch.next == self.last.plus(1)
    }

    pub(super) fn encode(self, base: Offset) -> [u8; ENTRY_BYTES] {
        let relative = i32::try_from(self.last.since(base)).expect("a segment is rolled before offsets need more");
        let mut out = [0; ENTRY_BYTES];
        out[..8].copy_from_slice(&self.timestamp.get().to_be_bytes());
        out[8..].copy_from_slice(&relative.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8], base: Offset) -> Self {
        let (timestamp, rest) = bytes.split_first_chunk::<8>().expect("an entry has twelve bytes");
        let relative = rest.first_chunk::<4>().expect("an entry has twelve bytes");
        let relative = i64::from(i32::from_be_bytes(*relative));
        Self {
            timestamp: Timestamp::new(i64::from_be_bytes(*timestamp)),
            last: Offset::new(base.get().saturating_add(relative)),
        }
    }
}

/// The file of one segment and how many of its entries count.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeIndex<'a> {
    pub(super) file: &'a dyn File,
    pub(super) base: Offset,
    pub(super) count: u64,
}

impl TimeIndex<'_> {
    /// The last entry that is `left`, which holds for all entries before it too.
    pub(super) fn last_where(&self, left: impl Fn(TimeEntry) -> bool) -> io::Result<Option<TimeEntry>> {
        let point = self.count_where(left)?;
        if point == 0 { Ok(None) } else { self.at(point - 1).map(Some) }
    }

    /// How many entries are `left`.
    pub(super) fn count_where(&self, left: impl Fn(TimeEntry) -> bool) -> io::Result<u64> {
        partition_point(self.file, ENTRY_BYTES, self.count, |entry| left(TimeEntry::decode(entry, self.base)))
    }

    /// The last entry.
    pub(super) fn last(&self) -> io::Result<Option<TimeEntry>> {
        if self.count == 0 { Ok(None) } else { self.at(self.count - 1).map(Some) }
    }

    fn at(&self, index: u64) -> io::Result<TimeEntry> {
        let mut entry = [0; ENTRY_BYTES];
        let size = u64::try_from(ENTRY_BYTES).expect("twelve");
        if self.file.read_at(index * size, &mut entry)? < ENTRY_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(TimeEntry::decode(&entry, self.base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let entry = TimeEntry { timestamp: Timestamp::new(0x0102), last: Offset::new(1007) };
        let bytes = entry.encode(Offset::new(1000));
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 7]);
        assert_eq!(TimeEntry::decode(&bytes, Offset::new(1000)), entry);
    }
}
