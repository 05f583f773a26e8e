//! A2w, lost write in Jepsen's form, which needs no final scan: broken by a value that was acknowledged with acks=all
//! at an offset, that nobody ever read, though somebody read past that offset.
//!
//! Source: Jepsen's `lost-write` for Kafka. Jepsen's consumers begin at the start; ours may not, so "past" means that
//! one poll went from below the offset, or from it, to beyond it. Not judged in a run that allowed loss.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Class, PollOutcome};
use crate::verify::index::{Index, PartitionFacts, sent};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        let covered = covered(facts);
        let removed = facts.start_at_most_ever();
        for place in &facts.sends {
            let send = &index.history.sends[*place];
            let (Class::Ok, Some(offset)) = (send.class, send.offset) else { continue };
            // When compaction may have taken it, B12 says of each reader.
            let is_compacted = facts.may_lack(offset, index.history.ended_at);
            if offset < removed || is_compacted || index.fate(*place).lowest.is_some() {
                continue;
            }
            let after = covered.partition_point(|(start, _)| *start <= offset);
            if let Some((start, end)) = after.checked_sub(1).map(|at| covered[at]).filter(|(_, end)| *end > offset) {
                findings.add(Invariant::A2w, || {
                    format!("{}, but nobody read it, though everything from {start} to {end} was read", sent(send))
                });
            }
        }
    }
}

/// The ranges that polls went over, merged and rising.
fn covered(facts: &PartitionFacts<'_>) -> Vec<(Offset, Offset)> {
    let mut ranges: Vec<(Offset, Offset)> = Vec::new();
    for poll in &facts.polls {
        if let PollOutcome::Records { next, .. } = poll.outcome
            && poll.position < next
        {
            ranges.push((poll.position, next));
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(Offset, Offset)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            Some(_) | None => merged.push((start, end)),
        }
    }
    merged
}
