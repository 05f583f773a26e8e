//! B7, spurious offset out of range: broken by OFFSET_OUT_OF_RANGE for a position that is not below where the log may
//! have started by then, and not above what had been acknowledged or read before; or by a ListOffsets of start or end
//! that tells "none" where there is something.
//!
//! Source: KAFKA-7698; Bufstream's "zero offsets"; Redpanda #6301. As in B5, only a leader is judged that knew no older
//! epoch than the evidence: a follower may not have the record yet. Where age takes records, a position before the end
//! may have been taken. Not judged in a run that allowed loss.

use crate::model::Instant;
use crate::verify::history::{OffsetLookup, OffsetQuery, Poll, PollOutcome};
use crate::verify::index::{Index, PartitionFacts, read_by};
use crate::verify::report::Findings;
use crate::verify::{Invariant, Retention};

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        check_polls(index, facts, findings);
        check_lookups(facts, findings);
    }
}

fn check_polls(index: &Index<'_>, facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let refused = |poll: &&Poll| poll.outcome == PollOutcome::OutOfRange && poll.as_leader;
    let mut polls: Vec<&Poll> = facts.polls.iter().copied().filter(refused).collect();
    polls.sort_by_key(|poll| poll.invoked);
    let mut sweep = facts.floor.sweep();
    for poll in polls.into_iter().filter(|poll| is_there(facts, poll.returned)) {
        let start = facts.start_at_most(poll.returned);
        let Some(known) = sweep.known(poll.invoked, poll.leader_epoch) else { continue };
        // Age may have taken what nobody has read since.
        let may_be_old = index.expectations.retention == Retention::Limited && poll.position < known.end;
        if poll.position >= start && poll.position <= known.end && !may_be_old {
            findings.add(Invariant::B7, || format!("{}: out of range for {}; but {known}", facts.id, read_by(poll)));
        }
    }
}

fn check_lookups(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let empty = |lookup: &&OffsetLookup| match lookup.query {
        OffsetQuery::Earliest | OffsetQuery::Latest => lookup.answer.is_none(),
        OffsetQuery::Timestamp(_) => false,
    };
    let mut lookups: Vec<&OffsetLookup> = facts.lookups.iter().copied().filter(empty).collect();
    lookups.sort_by_key(|lookup| lookup.invoked);
    let mut sweep = facts.floor.sweep();
    for lookup in lookups.into_iter().filter(|lookup| is_there(facts, lookup.returned)) {
        let Some(known) = sweep.known(lookup.invoked, lookup.leader_epoch) else { continue };
        findings.add(Invariant::B7, || {
            let OffsetLookup { partition, node, leader_epoch, invoked, query, .. } = lookup;
            format!("{partition}: node {node} in epoch {leader_epoch}, asked at {invoked} for {query:?}, told none; but {known}")
        });
    }
}

fn is_there(facts: &PartitionFacts<'_>, moment: Instant) -> bool {
    facts.deleted_from.is_none_or(|deleted| moment < deleted)
}
