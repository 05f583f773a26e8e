//! B9, read instability: broken by a record that a consumer was given and that the final scan does not hold at its
//! offset, though nothing can have removed it legally.
//!
//! Source: KAFKA-14704 (a follower's high watermark rose before it truncated): an uncommitted record leaked. Not judged
//! in a run that allowed loss.

use crate::verify::Invariant;
use crate::verify::index::{Index, Reader, at_offset};
use crate::verify::report::Findings;

/// Judges every partition that was scanned.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        let Some(scan) = facts.lasting_scan() else { continue };
        let removed = facts.start_at_most_ever();
        for reading in facts.readings.iter().filter(|reading| reading.seen.offset >= removed) {
            let (Reader::Poll(_), seen) = (reading.by, reading.seen) else { continue };
            let stays = match seen.value {
                Some(value) => scan.holds(seen.offset, value),
                None => !scan.at(seen.offset).is_empty(),
            };
            let is_compacted =
                || scan.at(seen.offset).is_empty() && facts.may_lack(seen.offset, index.history.ended_at);
            if !stays && !is_compacted() {
                let (partition, start, end) = (facts.id, scan.start, scan.end);
                findings.add(Invariant::B9, || {
                    format!("{partition}: {}; not so in the end, from {start} to {end}", at_offset(reading))
                });
            }
        }
    }
}
