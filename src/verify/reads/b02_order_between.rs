//! B2, non-monotonic poll, external: broken by a poll that brings an offset which is not above all that earlier polls
//! of the same incarnation brought.
//!
//! Source: Jepsen's "nonmonotonic poll". An incarnation ends with every restart, seek and reassignment.

use std::collections::BTreeMap;

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{ClientId, Poll};
use crate::verify::index::{Index, PartitionFacts, read_by, records_of};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        check_partition(facts, findings);
    }
}

fn check_partition(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let mut highest: BTreeMap<(ClientId, u32), (Offset, &Poll)> = BTreeMap::new();
    for poll in facts.polls.iter().copied() {
        let offsets = || records_of(&poll.outcome).iter().map(|seen| seen.offset);
        let (Some(lowest), Some(last)) = (offsets().min(), offsets().max()) else { continue };
        let key = (poll.client, poll.incarnation);
        if let Some((before, earlier)) = highest.get(&key).filter(|(before, _)| lowest <= *before) {
            findings.add(Invariant::B2, || {
                format!("{}: offset {lowest} for {}; {before} for {}", facts.id, read_by(poll), read_by(earlier))
            });
        }
        let known = highest.entry(key).or_insert((last, poll));
        if known.0 < last {
            *known = (last, poll);
        }
    }
}
