//! A3, unseen at the end: broken by a value that was acknowledged with acks=all and stands in the final scan, but was
//! given to no consumer by the end of the time for recovery, though one that still reads began at or below it.
//!
//! Source: Jepsen's "unseen"; a matter of liveness. "Still reads" means: polled after the healing, in the last
//! incarnation of its client; what was acknowledged less than the time for recovery before the end may be on its way.
//! Not judged in a run that allowed loss: there, a consumer may have read what stood in its place.

use std::collections::BTreeMap;

use crate::model::{Instant, Offset};
use crate::verify::Invariant;
use crate::verify::history::{Class, ClientId};
use crate::verify::index::{Index, PartitionFacts, sent};
use crate::verify::report::Findings;

/// Judges every partition that was scanned.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let recovery = index.expectations.bounds.recovery;
    if index.settled_at().is_none() || index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        let (Some(_), Some(begin)) = (facts.lasting_scan(), lowest_begin(index, facts)) else { continue };
        for place in &facts.sends {
            let (send, fate) = (&index.history.sends[*place], index.fate(*place));
            let had_rest = |at: Instant| index.history.rested_at.is_some_and(|rested| at <= rested);
            let is_due = |at: Instant| had_rest(at) || at.plus(recovery) <= index.history.ended_at;
            let is_due = send.returned.is_some_and(is_due);
            let Some(offset) = fate.scanned.filter(|offset| *offset >= begin) else { continue };
            // Whoever it was read from may have compacted more than who is read in the end.
            let may_lack = facts.may_lack(offset, index.history.ended_at);
            if send.class == Class::Ok && is_due && !fate.is_polled && !may_lack {
                findings.add(Invariant::A3, || {
                    format!("{} stands at {offset}; a consumer that began at {begin} was not given it", sent(send))
                });
            }
        }
    }
}

/// The lowest offset at which a consumer began that still reads.
fn lowest_begin(index: &Index<'_>, facts: &PartitionFacts<'_>) -> Option<Offset> {
    let healed = index.history.healed_at?;
    let mut last: BTreeMap<ClientId, (u32, Offset, bool)> = BTreeMap::new();
    for poll in &facts.polls {
        let entry = last.entry(poll.client).or_insert((poll.incarnation, poll.position, false));
        if entry.0 != poll.incarnation {
            *entry = (poll.incarnation, poll.position, false);
        }
        entry.2 |= poll.invoked >= healed;
    }
    last.values().filter(|(_, _, still_reads)| *still_reads).map(|(_, begin, _)| *begin).min()
}
