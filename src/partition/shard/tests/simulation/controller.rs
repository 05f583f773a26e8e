//! The controller of the simulation: KIP-966 for one partition, in as few lines as it takes.
//!
//! It decides at once and durably; what is simulated is how late the brokers hear of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::machines::replication::{IsrOutcome, IsrProposal, ReplicaState};
use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch};
use crate::partition::{Event, FlushMode, FollowOrder, LeadOrder};
use crate::storage::LogOptions;

use super::super::world::{id, name};

const ISR_MIN: usize = 2;

#[derive(Debug)]
pub(super) struct Controller {
    pub(super) leader: Option<NodeId>,
    pub(super) isr: BTreeSet<NodeId>,
    elr: BTreeSet<NodeId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    registered: BTreeMap<NodeId, BrokerEpoch>,
    unfenced: BTreeSet<NodeId>,
    registrations: i64,
}

impl Controller {
    pub(super) fn new(nodes: impl Iterator<Item = NodeId>) -> Self {
        let all: BTreeSet<NodeId> = nodes.collect();
        let registered = all.iter().map(|node| (*node, BrokerEpoch::new(i64::from(node.get()))));
        Self {
            leader: all.first().copied(),
            isr: all.clone(),
            elr: BTreeSet::new(),
            leader_epoch: LeaderEpoch::new(0),
            partition_epoch: PartitionEpoch::new(0),
            registered: registered.collect(),
            unfenced: all,
            registrations: 100,
        }
    }

    pub(super) fn is_unfenced(&self, node: NodeId) -> bool {
        self.unfenced.contains(&node)
    }

    /// Fence first, then what that owes (rule S10).
    pub(super) fn fence(&mut self, node: NodeId) {
        if !self.unfenced.remove(&node) {
            return;
        }
        let mut isr = self.isr.clone();
        isr.remove(&node);
        self.change(isr);
    }

    /// A new life of a broker, unfenced after its recovery (rules R14, S3).
    pub(super) fn register(&mut self, node: NodeId) -> BrokerEpoch {
        self.fence(node);
        self.registrations += 1;
        let epoch = BrokerEpoch::new(self.registrations);
        self.registered.insert(node, epoch);
        self.unfence(node);
        epoch
    }

    /// The same life is heard of again.
    pub(super) fn unfence(&mut self, node: NodeId) {
        self.unfenced.insert(node);
        self.change(self.isr.clone());
    }

    /// Moves the leadership to another member of the ISR.
    pub(super) fn move_leader(&mut self) {
        let next = self.isr.iter().copied().find(|node| Some(*node) != self.leader && self.is_unfenced(*node));
        if let Some(next) = next {
            self.leader = Some(next);
            self.leader_epoch = self.leader_epoch.next();
            self.partition_epoch = self.partition_epoch.next();
        }
    }

    pub(super) fn decide(&mut self, sender: NodeId, life: BrokerEpoch, proposal: &IsrProposal) -> IsrOutcome {
        let current = proposal.leader_epoch == self.leader_epoch
            && proposal.partition_epoch == self.partition_epoch
            && self.leader == Some(sender)
            && self.registered[&sender] == life;
        if !current {
            return IsrOutcome::Stale;
        }
        let eligible = proposal
            .isr
            .iter()
            .all(|member| self.is_unfenced(member.node) && self.registered[&member.node] == member.broker_epoch);
        if !eligible {
            return IsrOutcome::Ineligible;
        }
        self.install(proposal.isr.iter().map(|member| member.node).collect());
        IsrOutcome::Accepted { partition_epoch: self.partition_epoch, isr: self.isr.iter().copied().collect() }
    }

    /// The level for one broker.
    pub(super) fn order(&self, node: NodeId) -> Event {
        if self.leader == Some(node) {
            let replicas = self.registered.iter().map(|(replica, epoch)| ReplicaState {
                node: *replica,
                broker_epoch: Some(*epoch),
                may_join: self.is_unfenced(*replica),
            });
            return Event::Lead(LeadOrder {
                partition: id(),
                name: name(),
                leader_epoch: self.leader_epoch,
                partition_epoch: self.partition_epoch,
                isr: self.isr.iter().copied().collect(),
                replicas: replicas.collect(),
                isr_min: ISR_MIN,
                recovering: false,
                options: LogOptions::default(),
                flush: FlushMode::Durable,
            });
        }
        Event::Follow(FollowOrder {
            partition: id(),
            name: name(),
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            options: LogOptions::default(),
            flush: FlushMode::Durable,
        })
    }

    /// A change of who is alive: keep the leader, or elect from the ISR, or from the ELR if the ISR is empty (R11).
    fn change(&mut self, isr: BTreeSet<NodeId>) {
        if isr != self.isr {
            self.install(isr);
        }
        if self.leader.is_some_and(|leader| self.isr.contains(&leader) && self.is_unfenced(leader)) {
            return;
        }
        let from_isr = self.isr.iter().copied().find(|node| self.is_unfenced(*node));
        let from_elr = self.elr.iter().copied().find(|node| self.isr.is_empty() && self.is_unfenced(*node));
        let elected = from_isr.or(from_elr);
        if elected == self.leader {
            return;
        }
        if let Some(node) = elected.filter(|_| self.isr.is_empty()) {
            self.isr = BTreeSet::from([node]);
            self.elr.remove(&node);
        }
        self.leader = elected;
        self.leader_epoch = self.leader_epoch.next();
        self.partition_epoch = self.partition_epoch.next();
    }

    fn install(&mut self, isr: BTreeSet<NodeId>) {
        if isr.len() >= ISR_MIN {
            self.elr.clear();
        } else {
            self.elr.extend(self.isr.iter());
            self.elr.retain(|node| !isr.contains(node));
        }
        self.isr = isr;
        self.partition_epoch = self.partition_epoch.next();
    }
}

impl std::fmt::Display for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (leader, isr, elr) = (self.leader.map(NodeId::get), &self.isr, &self.elr);
        write!(f, "leader {leader:?} in {} {}, isr {isr:?}, elr {elr:?}", self.leader_epoch, self.partition_epoch)
    }
}
