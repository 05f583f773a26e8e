//! What a fresh consumer read of one partition at the end, by offset.
//!
//! Read by the invariants that compare a run with its end. Invariant: sorted by offset; two records at one offset are
//! both kept, for that too is a fact.

use crate::model::Offset;
use crate::verify::history::{FinalScan, Seen, ValueId};

/// The end of a partition.
pub(crate) struct Scan<'h> {
    /// The start of the log.
    pub(crate) start: Offset,
    /// One past the last record.
    pub(crate) end: Offset,
    /// The records by their offsets.
    pub(crate) records: Vec<&'h Seen>,
}

impl<'h> Scan<'h> {
    pub(super) fn new(scan: &'h FinalScan) -> Self {
        let mut records: Vec<&Seen> = scan.records.iter().collect();
        records.sort_by_key(|seen| seen.offset);
        Self { start: scan.log_start, end: scan.end, records }
    }

    /// How many records stand below an offset.
    pub(crate) fn count_below(&self, offset: Offset) -> usize {
        self.records.partition_point(|seen| seen.offset < offset)
    }

    /// The records in a range of offsets.
    pub(crate) fn range(&self, start: Offset, end: Offset) -> &[&'h Seen] {
        let (from, to) = (self.count_below(start), self.count_below(end));
        self.records.get(from..to).unwrap_or_default()
    }

    /// The records at an offset: one, if all is well.
    pub(crate) fn at(&self, offset: Offset) -> &[&'h Seen] {
        self.range(offset, offset.plus(1))
    }

    /// Whether a value stands at an offset.
    pub(crate) fn holds(&self, offset: Offset, value: ValueId) -> bool {
        self.at(offset).iter().any(|seen| seen.value == Some(value))
    }
}
