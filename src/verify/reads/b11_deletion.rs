//! B11, delete-records and retention honesty: broken by a record below a promised deletion that a later fetch brings,
//! or a start below it that is told later or found in the end; or by a start that nobody's deletion explains, in a run
//! without retention.
//!
//! Source: KIP-107. A leader is judged when it knew no older leader epoch than anybody when the deletion was promised;
//! everybody is judged once the faults are over and the deletion is old, both by the bound of stale reads. Whether
//! retention spared what was young enough is not judged: a history does not hold the topics' configurations.

use crate::model::{Instant, LeaderEpoch, NodeId, Offset, PartitionId};
use crate::verify::history::{OffsetLookup, OffsetQuery, Poll, PollOutcome};
use crate::verify::index::{Deletion, Index, PartitionFacts, records_of};
use crate::verify::report::Findings;
use crate::verify::{Invariant, Retention};

/// Something that a node told.
struct Told {
    node: NodeId,
    leader_epoch: LeaderEpoch,
    as_leader: bool,
    invoked: Instant,
    returned: Instant,
    /// The start of the log.
    start: Option<Offset>,
    /// The lowest record.
    lowest: Option<Offset>,
}

/// A promised deletion, and the newest leader epoch that anybody knew then.
struct Promise {
    deletion: Deletion,
    at: Instant,
    epoch: Option<LeaderEpoch>,
}

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let promises: Vec<Promise> = facts
            .deletions
            .iter()
            .filter_map(|deletion| {
                let at = deletion.promised?;
                Some(Promise { deletion: *deletion, at, epoch: facts.epoch_by(at) })
            })
            .collect();
        let polls = facts.polls.iter().map(|poll| of_poll(poll));
        for told in polls.chain(facts.lookups.iter().filter_map(|lookup| of_lookup(lookup))) {
            check_unexplained(index, facts, &told, findings);
            check_promises(index, facts.id, &promises, &told, findings);
        }
        check_end(index, facts, &promises, findings);
    }
}

fn of_poll(poll: &Poll) -> Told {
    let start = match poll.outcome {
        PollOutcome::Records { log_start, .. } => Some(log_start),
        PollOutcome::OutOfRange | PollOutcome::Corrupt => None,
    };
    let lowest = records_of(&poll.outcome).iter().map(|seen| seen.offset).min();
    let Poll { node, leader_epoch, as_leader, invoked, returned, .. } = *poll;
    Told { node, leader_epoch, as_leader, invoked, returned, start, lowest }
}

fn of_lookup(lookup: &OffsetLookup) -> Option<Told> {
    let start = lookup.answer.filter(|_| lookup.query == OffsetQuery::Earliest)?;
    let OffsetLookup { node, leader_epoch, invoked, returned, .. } = *lookup;
    Some(Told { node, leader_epoch, as_leader: true, invoked, returned, start: Some(start), lowest: None })
}

fn check_unexplained(index: &Index<'_>, facts: &PartitionFacts<'_>, told: &Told, findings: &mut Findings) {
    let explained = facts.start_at_most(told.returned);
    if let Some(start) = told.start.filter(|start| *start > explained)
        && index.expectations.retention == Retention::Unlimited
    {
        let (partition, node, at) = (facts.id, told.node, told.returned);
        findings.add(Invariant::B11, || {
            format!("{partition}: node {node} told {start} as the log's start at {at}; deletions explain {explained}")
        });
    }
}

fn check_promises(
    index: &Index<'_>,
    partition: PartitionId,
    promises: &[Promise],
    told: &Told,
    findings: &mut Findings,
) {
    for promise in promises.iter().filter(|promise| promise.at < told.invoked && must_know(index, promise, told)) {
        let before = promise.deletion.before;
        let lowest = [told.lowest, told.start].into_iter().flatten().min();
        let Some(below) = lowest.filter(|offset| *offset < before) else { continue };
        let (node, invoked, at) = (told.node, told.invoked, promise.at);
        findings.add(Invariant::B11, || {
            format!("{partition}: node {node}, asked at {invoked}, told of {below}; up to {before} was deleted at {at}")
        });
    }
}

/// Whether whoever told this must have known the deletion.
fn must_know(index: &Index<'_>, promise: &Promise, told: &Told) -> bool {
    let is_current = told.as_leader && promise.epoch.is_none_or(|epoch| told.leader_epoch >= epoch);
    is_current || index.must_know(told.node, promise.at, told.invoked)
}

fn check_end(index: &Index<'_>, facts: &PartitionFacts<'_>, promises: &[Promise], findings: &mut Findings) {
    let least = promises.iter().map(|promise| promise.deletion.before).max().unwrap_or(Offset::ZERO);
    let most = facts.start_at_most_ever();
    let is_limited = index.expectations.retention == Retention::Limited;
    let scanned = facts.lasting_scan().map(|scan| ("the scan".to_owned(), scan.start));
    let dumped = facts.replicas().map(|dump| (format!("node {}", dump.node), dump.log_start));
    for (who, start) in scanned.into_iter().chain(dumped) {
        if start < least || (start > most && !is_limited) {
            let partition = facts.id;
            findings.add(Invariant::B11, || {
                format!(
                    "{partition}: in the end, {who} starts at {start}; deletions say {least} at least, {most} at most"
                )
            });
        }
    }
}
