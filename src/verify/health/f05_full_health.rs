//! F5, full health: broken by a partition that, at the end of a run that had the time to recover, has no leader, or an
//! ISR that is not all replicas, or an ELR, or a replica that lags or whose high watermark is not its end.
//!
//! Source: Kafka's under-replicated partitions; KIP-966's EventuallyAcknowledgedValueFullyReplicated. Whether every
//! controller votes is not judged: a history does not hold it.

use crate::verify::Invariant;
use crate::verify::history::PartitionEnding;
use crate::verify::index::{Index, PartitionFacts};
use crate::verify::report::Findings;

/// Judges every partition that has an ending.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.settled_at().is_none() {
        return;
    }
    for facts in index.partitions.iter().filter(|facts| facts.deleted_from.is_none()) {
        if let Some(ending) = facts.ending {
            check_state(ending, findings);
            check_logs(facts, ending, findings);
        }
    }
}

fn check_state(ending: &PartitionEnding, findings: &mut Findings) {
    let state = &ending.state;
    let is_full = state.replicas.iter().all(|node| state.isr.contains(node));
    if state.leader.is_none() || !is_full || !state.elr.is_empty() {
        findings.add(Invariant::F5, || format!("{}: in the end {state:?}", state.partition));
    }
}

fn check_logs(facts: &PartitionFacts<'_>, ending: &PartitionEnding, findings: &mut Findings) {
    let Some(leader) = facts.dumps.iter().find(|dump| Some(dump.node) == ending.state.leader) else { return };
    for dump in facts.replicas().filter(|dump| dump.end != leader.end || dump.high_watermark != dump.end) {
        findings.add(Invariant::F5, || {
            let (id, node, end, watermark) = (facts.id, dump.node, dump.end, dump.high_watermark);
            let (leader, leader_end) = (leader.node, leader.end);
            format!(
                "{id}: in the end, node {node} has high watermark {watermark} and end {end}; leader {leader} ends at \
                 {leader_end}"
            )
        });
    }
}
