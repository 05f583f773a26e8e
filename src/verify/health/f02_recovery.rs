//! F2, recovery: broken by a partition that, within the bound after the faults have ended, acknowledges no write with
//! acks=all, or that no consumer reads to its end.
//!
//! Source: the availability targets; KIP-966's liveness. Judged when the run came to rest, or went on for so long.

use crate::model::Instant;
use crate::verify::Invariant;
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every partition that has an ending.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let (Some(_), Some(healed)) = (index.settled_at(), index.history.healed_at) else { return };
    let due = healed.plus(index.expectations.bounds.recovery);
    for facts in index.partitions.iter().filter(|facts| facts.deleted_from.is_none()) {
        let Some(ending) = facts.ending else { continue };
        let rows = [("acknowledged a write", ending.acknowledged_at), ("was read to its end", ending.read_at)];
        for at in ending.acknowledged_at.iter().chain(&ending.read_at) {
            let longest = &mut findings.statistics.recovery_longest;
            *longest = at.since(healed).max(*longest);
        }
        for (what, at) in rows.into_iter().filter(|(_, at)| at.is_none_or(|at| at > due)) {
            let (id, when) = (facts.id, at.as_ref().map_or("never".to_owned(), Instant::to_string));
            findings.add(Invariant::F2, || format!("{id}: healed at {healed}; {what}: {when}, not by {due}"));
        }
    }
}
