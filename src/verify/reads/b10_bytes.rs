//! B10, bytes changed: broken by two reads of one offset that name the same value, or both none, and differ in any byte
//! of key, value, headers or timestamp.
//!
//! Source: stability of what is committed. Reads that name different values are A1's. In a run that may lose records,
//! only reads of one epoch are compared.

use crate::verify::Invariant;
use crate::verify::index::{Index, Reading, at_offset};
use crate::verify::report::Findings;

/// Judges every offset.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let by_offset = |a: &Reading<'_>, b: &Reading<'_>| a.seen.offset == b.seen.offset;
    for facts in &index.partitions {
        for readings in facts.readings.chunk_by(by_offset) {
            let Some((first, others)) = readings.split_first() else { continue };
            let comparable = |other: &&Reading<'_>| {
                first.seen.value == other.seen.value
                    && (!index.loss_is_allowed() || first.seen.epoch == other.seen.epoch)
            };
            for other in others.iter().filter(comparable).filter(|other| bytes(first) != bytes(other)) {
                findings.add(Invariant::B10, || {
                    let (before, after) = (bytes(first), bytes(other));
                    format!("{}: {}: {before:x?}; but {}: {after:x?}", facts.id, at_offset(first), at_offset(other))
                });
            }
        }
    }
}

/// What stands for a record's bytes.
const fn bytes(reading: &Reading<'_>) -> (u64, i64) {
    (reading.seen.digest, reading.seen.timestamp.get())
}
