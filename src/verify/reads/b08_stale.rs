//! B8, stale read: broken by a fetch or a ListOffsets whose end is below what had been acknowledged or read before it
//! was asked. In the profile `Strict` always, for a leader's answer; in the profile `Kafka`, and for a follower's, only
//! if it was asked once the faults had ended for the bound, and what it lacks was known, its process ran, and it and
//! enough others were in sync, for the bound.
//!
//! Source: §5.3 of the reliability research; Kafka's leaders have no lease. Ages are counted in the statistics. Not
//! judged in a run that allowed loss.

use crate::model::{Instant, NodeId, Offset};
use crate::verify::history::{OffsetLookup, OffsetQuery, Poll, PollOutcome};
use crate::verify::index::{Evidence, Index, PartitionFacts, read_by};
use crate::verify::report::Findings;
use crate::verify::{Invariant, ReadProfile};

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        for poll in &facts.polls {
            check_poll(index, facts, poll, findings);
        }
        for lookup in &facts.lookups {
            check_lookup(index, facts, lookup, findings);
        }
    }
}

fn check_poll(index: &Index<'_>, facts: &PartitionFacts<'_>, poll: &Poll, findings: &mut Findings) {
    let PollOutcome::Records { high_watermark: end, .. } = poll.outcome else { return };
    let Some(missed) = missed(facts, end, poll.invoked) else { return };
    note(missed, poll.invoked, findings);
    let is_strict = index.expectations.reads == ReadProfile::Strict && poll.as_leader;
    if is_strict || must_know(index, facts, poll.node, missed, poll.invoked) {
        findings.add(Invariant::B8, || format!("a high watermark of {end} for {}; but {missed}", read_by(poll)));
    }
}

fn check_lookup(index: &Index<'_>, facts: &PartitionFacts<'_>, lookup: &OffsetLookup, findings: &mut Findings) {
    let (OffsetQuery::Latest, Some(end)) = (lookup.query, lookup.answer) else { return };
    let Some(missed) = missed(facts, end, lookup.invoked) else { return };
    note(missed, lookup.invoked, findings);
    let is_strict = index.expectations.reads == ReadProfile::Strict;
    if is_strict || must_know(index, facts, lookup.node, missed, lookup.invoked) {
        findings.add(Invariant::B8, || {
            let OffsetLookup { partition, node, leader_epoch, invoked, .. } = lookup;
            format!(
                "{partition}: node {node} in epoch {leader_epoch} told {end} as the latest offset, asked at {invoked}; \
                 but {missed}"
            )
        });
    }
}

/// The first that was known, before a moment, to reach beyond an end.
fn missed<'a, 'h>(facts: &'a PartitionFacts<'h>, end: Offset, asked: Instant) -> Option<&'a Evidence<'h>> {
    facts.floor.first_beyond(end).filter(|fact| fact.at < asked)
}

fn note(missed: &Evidence<'_>, asked: Instant, findings: &mut Findings) {
    findings.statistics.stale += 1;
    let longest = &mut findings.statistics.stale_longest;
    *longest = asked.since(missed.at).max(*longest);
}

/// Whether a replica must have known what it did not tell: it, and enough others, had been in sync for the bound. What
/// fetches its log anew lags, and a new leader knows no high watermark before enough follow it.
fn must_know(
    index: &Index<'_>,
    facts: &PartitionFacts<'_>,
    node: NodeId,
    missed: &Evidence<'_>,
    asked: Instant,
) -> bool {
    let bound = index.expectations.bounds.stale;
    let before = facts.states.partition_point(|state| state.at.plus(bound) <= asked);
    let until = facts.states.partition_point(|state| state.at <= asked);
    let mut states = facts.states[before.saturating_sub(1)..until].iter().map(|state| state.state);
    let is_full = states.all(|state| state.isr.contains(&node) && state.isr.len() >= state.isr_min);
    is_full && index.must_know(node, missed.at, asked)
}
