//! E5, metadata non-convergence: broken, once the faults are over, by a running node that has not applied what was
//! committed long before, or that told an older state of a partition; or by a partition's ending that is not its last
//! state in the metadata.
//!
//! Source: KIP-966's EventuallyMetadataConverges. "Long before" is the bound of stale reads. That the images are the same
//! at the same index is E4's.

use std::collections::BTreeMap;

use crate::model::{Instant, LogIndex, NodeId};
use crate::verify::Invariant;
use crate::verify::history::{MetadataEntry, NodeEvent, NodeEventKind};
use crate::verify::index::{Index, PartitionFacts};
use crate::verify::report::Findings;

/// Judges every node and partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    check_applied(index, findings);
    check_told(index, findings);
    for facts in index.partitions.iter().filter(|_| index.settled_at().is_some()) {
        check_ending(facts, findings);
    }
}

fn check_applied(index: &Index<'_>, findings: &mut Findings) {
    let ended = index.history.ended_at;
    let mut applied: BTreeMap<NodeId, (LogIndex, Instant)> = BTreeMap::new();
    for NodeEvent { node, at, what } in &index.history.node_events {
        if let NodeEventKind::Applied { index, .. } = what {
            applied.insert(*node, (*index, *at));
        }
    }
    for node in index.lives.running() {
        let is_due = |entry: &&MetadataEntry| index.must_know(node, entry.committed_at, ended);
        let due = index.history.metadata.iter().rev().find(is_due).map(|entry| entry.index);
        // A node that never tells is not judged: whoever recorded may not have looked.
        let (Some(due), Some((last, at))) = (due, applied.get(&node)) else { continue };
        if *last < due {
            findings.add(Invariant::E5, || {
                format!(
                    "node {node} has applied {last} at {at} and nothing since; {due} was committed long before {ended}"
                )
            });
        }
    }
}

fn check_told(index: &Index<'_>, findings: &mut Findings) {
    for NodeEvent { node, at, what } in &index.history.node_events {
        let NodeEventKind::Told { partition, partition_epoch, .. } = what else { continue };
        let Some(facts) = index.partition(*partition) else { continue };
        let due = facts.states.iter().take_while(|state| index.must_know(*node, state.at, *at)).last();
        if let Some(due) = due.filter(|due| due.state.partition_epoch > *partition_epoch) {
            let (newer, since) = (due.state.partition_epoch, due.at);
            findings.add(Invariant::E5, || {
                format!(
                    "{partition}: node {node} told partition epoch {partition_epoch} at {at}; {newer} is of {since}"
                )
            });
        }
    }
}

fn check_ending(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let (Some(ending), Some(last)) = (facts.ending, facts.states.last()) else { return };
    if ending.state != *last.state {
        findings.add(Invariant::E5, || {
            let (ended, committed) = (&ending.state, last.state);
            format!("{}: in the end {ended:?}; the metadata say {committed:?}", facts.id)
        });
    }
}
