//! E11, placement: broken by a topic that is promised with another number of replicas than was asked for (rule S4); and,
//! in the end, by a partition with fewer or more replicas than it was made with, by a replica
//! of which no log was found, or by a log of a partition on a node that is no replica of it.
//!
//! Source: KAFKA-16234, KAFKA-14616 (stray directories). Reassignments, which change replicas, come later; this file
//! must know them then. Logs of deleted topics are E7's.

use crate::verify::Invariant;
use crate::verify::history::{AdministrationKind, Class, PartitionEnding};
use crate::verify::index::{Index, PartitionFacts};
use crate::verify::report::Findings;

/// Judges every partition that has an ending.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    check_promises(index, findings);
    for facts in index.partitions.iter().filter(|facts| facts.deleted_from.is_none()) {
        if let Some(ending) = facts.ending {
            check_partition(index, facts, ending, findings);
        }
    }
}

fn check_promises(index: &Index<'_>, findings: &mut Findings) {
    for administration in index.history.administrations.iter().filter(|a| a.class == Class::Ok) {
        let AdministrationKind::CreateTopic { replicas: Some(wanted), topic: Some(topic), name } = &administration.what
        else {
            continue;
        };
        for facts in index.partitions.iter().filter(|facts| facts.id.topic == *topic) {
            let Some(made) = facts.states.first().map(|first| &first.state.replicas) else { continue };
            if made.len() != *wanted {
                findings.add(Invariant::E11, || format!("{name} was to have {wanted} replicas and is on {made:?}"));
            }
        }
    }
}

fn check_partition(index: &Index<'_>, facts: &PartitionFacts<'_>, ending: &PartitionEnding, findings: &mut Findings) {
    let (id, replicas) = (facts.id, &ending.state.replicas);
    if let Some(first) = facts.states.first()
        && first.state.replicas.len() != replicas.len()
    {
        let made = &first.state.replicas;
        findings.add(Invariant::E11, || format!("{id}: made with replicas {made:?}, in the end {replicas:?}"));
    }
    if index.history.replicas.is_empty() {
        return;
    }
    for node in replicas.iter().filter(|node| facts.dumps.iter().all(|dump| dump.node != **node)) {
        findings.add(Invariant::E11, || format!("{id}: node {node} is one of {replicas:?} and has no log of it"));
    }
    for dump in facts.dumps.iter().filter(|dump| !replicas.contains(&dump.node)) {
        let (node, end) = (dump.node, dump.end);
        findings.add(Invariant::E11, || {
            format!("{id}: node {node} has a log of it up to {end}, but is none of {replicas:?}")
        });
    }
}
