//! KIP-966's safety properties of one partition at one moment, for a simulation that looks after every event.
//!
//! Called by the simulation, which sees into every node and knows what is committed. Invariant: nothing is allocated
//! while all is well.

use super::history::PartitionState;
use super::{Invariant, Violation};
use crate::model::{LeaderEpoch, NodeId, Offset};

/// One partition in all nodes, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    /// Its state in the metadata, as the quorum has committed it.
    pub state: &'a PartitionState,
    /// Who was of ISR or ELR when the ISR fell below its least size and has lost its claim since.
    pub last_known: &'a [NodeId],
    /// The true high watermark: everything below it was committed, by whatever leader, and must never be lost.
    pub committed: Offset,
    /// Its replicas; those that cannot be seen are left out.
    pub replicas: &'a [ReplicaView<'a>],
}

/// One replica at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaView<'a> {
    /// Whose.
    pub node: NodeId,
    /// Whether its process runs and is unfenced in this life: before that it may name what it has lost, and leads nothing.
    pub is_running: bool,
    /// What it is.
    pub role: RoleView<'a>,
    /// The leader epoch that it knows.
    pub leader_epoch: LeaderEpoch,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Up to where its log is synced.
    pub flushed_end: Offset,
    /// The end of its log.
    pub end: Offset,
}

/// What a replica is.
#[derive(Clone, Copy, Debug)]
pub enum RoleView<'a> {
    /// It leads, or thinks so.
    Leader {
        /// The ISR that it knows as committed.
        isr: &'a [NodeId],
        /// That and whom it has proposed.
        maximal_isr: &'a [NodeId],
    },
    /// It follows.
    Follower,
    /// It has been told nothing yet.
    Idle,
}

/// Judges one partition at one moment.
#[must_use]
pub fn check_live(view: &PartitionView<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let checks = [
        leader_completeness,
        leader_candidate_completeness,
        replication_quorum_superset,
        high_watermark_bound,
        min_isr_recovery_quorum,
    ];
    for check in checks {
        check(view, &mut violations);
    }
    violations
}

/// The replica that the metadata name as leader holds all that is committed, if it runs.
fn leader_completeness(view: &PartitionView<'_>, violations: &mut Vec<Violation>) {
    let leads = |replica: &&ReplicaView<'_>| Some(replica.node) == view.state.leader;
    for replica in view.replicas.iter().filter(leads).filter(|replica| lacks(view, replica)) {
        violations.push(violation(Invariant::L1, view, replica, "is named leader and lacks committed records"));
    }
}

/// Whoever of ISR and ELR runs holds all that is committed.
fn leader_candidate_completeness(view: &PartitionView<'_>, violations: &mut Vec<Violation>) {
    let may_be_elected = |node: NodeId| view.state.isr.contains(&node) || view.state.elr.contains(&node);
    for replica in view.replicas.iter().filter(|replica| may_be_elected(replica.node) && lacks(view, replica)) {
        violations.push(violation(Invariant::L2, view, replica, "may be elected and lacks committed records"));
    }
}

fn lacks(view: &PartitionView<'_>, replica: &ReplicaView<'_>) -> bool {
    replica.is_running && replica.end < view.committed
}

/// The leader of the present epoch waits for all of the metadata's ISR and ELR, as long as it may commit at all.
fn replication_quorum_superset(view: &PartitionView<'_>, violations: &mut Vec<Violation>) {
    for replica in view.replicas.iter().filter(|replica| replica.leader_epoch == view.state.leader_epoch) {
        let RoleView::Leader { isr, maximal_isr } = replica.role else { continue };
        let mut candidates = view.state.isr.iter().chain(&view.state.elr);
        if isr.len() >= view.state.isr_min && candidates.any(|node| !maximal_isr.contains(node)) {
            violations.push(violation(Invariant::L3, view, replica, "does not wait for all who may be elected"));
        }
    }
}

/// No high watermark is above the own log or above what is committed.
fn high_watermark_bound(view: &PartitionView<'_>, violations: &mut Vec<Violation>) {
    let too_high =
        |replica: &&ReplicaView<'_>| replica.high_watermark > replica.end || replica.high_watermark > view.committed;
    for replica in view.replicas.iter().filter(too_high) {
        violations.push(violation(Invariant::L4, view, replica, "has too high a high watermark"));
    }
}

/// When nobody may be elected, at least as many as may commit are remembered: among them is one that holds all.
fn min_isr_recovery_quorum(view: &PartitionView<'_>, violations: &mut Vec<Violation>) {
    let PartitionState { isr, elr, isr_min, .. } = view.state;
    // A partition that never had enough members in sync has committed nothing.
    let holds_something = view.committed > Offset::ZERO;
    if holds_something && isr.is_empty() && elr.is_empty() && view.last_known.len() < *isr_min {
        let (partition, known) = (view.state.partition, view.last_known);
        let message = format!("{partition}: nobody may be elected, and only {known:?} are remembered, not {isr_min}");
        violations.push(Violation { invariant: Invariant::L5, message });
    }
}

fn violation(invariant: Invariant, view: &PartitionView<'_>, replica: &ReplicaView<'_>, what: &str) -> Violation {
    let PartitionState { partition, isr, elr, leader, leader_epoch, partition_epoch, .. } = view.state;
    let committed = view.committed;
    let message = format!(
        "{partition}: node {} {what}: {replica:?}; committed up to {committed}; leader {leader:?} in epoch \
         {leader_epoch}, partition epoch {partition_epoch}, ISR {isr:?}, ELR {elr:?}",
        replica.node
    );
    Violation { invariant, message }
}
