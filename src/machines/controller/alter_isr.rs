//! A leader wants another in-sync set (rule R9).
//!
//! Invariant: a set is changed only by the present leader, on the present state, with members whose present life the
//! leader has seen; so nobody is counted who may have forgotten what it acknowledged.

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Partition, Recovery};
use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionId};
use crate::probe::{Mark, Mutant, mark, planted};

use super::batch::Batch;
use super::elect::{nobody, with_isr};
use super::{Decision, Defaults, Reply, Soft, effective_min_isr, sender};

/// What a leader asks, for all its partitions at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterIsr {
    /// The leader.
    pub node: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: BrokerEpoch,
    /// One per partition.
    pub changes: Vec<IsrChange>,
}

/// What it asks for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrChange {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The state that the change was decided on (rule R9).
    pub partition_epoch: PartitionEpoch,
    /// The in-sync set it wants, itself included.
    pub isr: Vec<IsrMember>,
    /// Whether it has settled after an unclean election.
    pub recovery: Recovery,
}

/// A member of an in-sync set, and the life of it that the leader has seen (rule R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrMember {
    /// The broker.
    pub node: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: BrokerEpoch,
}

/// What is answered for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrAnswer {
    /// The partition.
    pub partition: PartitionId,
    /// Its state with the change, or why there is none.
    pub outcome: Result<Partition, IsrRefusal>,
}

/// Why an in-sync set is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum IsrRefusal {
    /// No such topic.
    #[error("the topic is unknown")]
    UnknownTopic,
    /// No such partition.
    #[error("the partition is unknown")]
    UnknownPartition,
    /// The leader knows more than this controller.
    #[error("this controller is behind the leader")]
    NotController,
    /// Another election has taken place.
    #[error("the leader epoch is {leader_epoch}")]
    FencedLeaderEpoch {
        /// The present one.
        leader_epoch: LeaderEpoch,
    },
    /// The sender does not lead the partition, or the set makes no sense.
    #[error("{0}")]
    Invalid(IsrFlaw),
    /// The partition has changed since.
    #[error("the partition epoch is {partition_epoch}")]
    InvalidUpdateVersion {
        /// The present one.
        partition_epoch: PartitionEpoch,
    },
    /// A member is fenced, shutting down, gone, or in another life.
    #[error("broker {node} may not join")]
    IneligibleReplica {
        /// The first such member.
        node: NodeId,
    },
    /// The request was more than one proposal holds; ask again.
    #[error("not attempted; ask again")]
    NotAttempted,
}

/// What makes no sense in an in-sync set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum IsrFlaw {
    /// The sender does not lead.
    #[error("the sender does not lead the partition")]
    NotLeader,
    /// A member is no replica, or is named twice.
    #[error("the set holds a broker that is no replica, or one twice")]
    NotReplica,
    /// The leader is missing.
    #[error("the set lacks its leader")]
    LacksLeader,
    /// More than the leader while recovering, or back to recovering.
    #[error("a recovering partition has its leader only, and a recovered one stays so")]
    Recovery,
}

pub(super) fn decide(image: &Image, soft: &Soft, request: &AlterIsr) -> Decision {
    if let Err(stale) = sender(image, request.node, request.broker_epoch) {
        return Decision::reply(Reply::AlterIsr(Err(stale)));
    }
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let mut answers = Vec::with_capacity(request.changes.len());
    for change in &request.changes {
        let partition = change.partition;
        let before = batch.image().partition(partition).cloned();
        let mut outcome = changed(batch.image(), &soft.options.defaults, request.node, change);
        if let Ok(after) = &outcome
            && Some(after) != before.as_ref()
            && !batch.change(partition, after.clone())
        {
            // The leader asks for what it still wants, in its next request (rules S10, S14).
            outcome = Err(IsrRefusal::NotAttempted);
        }
        answers.push(IsrAnswer { partition, outcome });
    }
    Decision::new(batch.into_records(), Reply::AlterIsr(Ok(answers)))
}

/// The partition's state with the change; the checks stand in Kafka's order (rule R9).
fn changed(image: &Image, defaults: &Defaults, sender: NodeId, change: &IsrChange) -> Result<Partition, IsrRefusal> {
    image.topic(change.partition.topic).ok_or(IsrRefusal::UnknownTopic)?;
    let before = image.partition(change.partition).ok_or(IsrRefusal::UnknownPartition)?;
    check_epochs(before, sender, change)?;
    check_set(before, sender, change).map_err(IsrRefusal::Invalid)?;
    let brokers = image.brokers();
    let eligible = |member: &&IsrMember| {
        brokers.get(member.node).is_some_and(|broker| {
            let is_active = broker.is_active() || planted(Mutant::JoinFenced);
            is_active && (broker.broker_epoch == member.broker_epoch || planted(Mutant::AnyLifeJoins))
        })
    };
    if let Some(member) = change.isr.iter().find(|member| !eligible(member)) {
        mark(Mark::IneligibleMember);
        return Err(IsrRefusal::IneligibleReplica { node: member.node });
    }
    let is_member = |node: &NodeId| change.isr.iter().any(|member| member.node == *node);
    let isr: Vec<NodeId> = before.replicas.iter().copied().filter(is_member).collect();
    // The set that stands is asked for to outdate every earlier sending: the partition epoch rises all the same (rule R9).
    let min_isr = effective_min_isr(image, defaults, change.partition.topic);
    let after = with_isr(before, isr, min_isr, &nobody);
    // The leader stays, so its epoch stays (rules R1, S18).
    Ok(Partition { recovery: change.recovery, partition_epoch: before.partition_epoch.next(), ..after })
}

fn check_epochs(before: &Partition, sender: NodeId, change: &IsrChange) -> Result<(), IsrRefusal> {
    if change.leader_epoch > before.leader_epoch || change.partition_epoch > before.partition_epoch {
        return Err(IsrRefusal::NotController);
    }
    let is_heir = planted(Mutant::OldEpochAltersIsr);
    if change.leader_epoch < before.leader_epoch && !is_heir {
        return Err(IsrRefusal::FencedLeaderEpoch { leader_epoch: before.leader_epoch });
    }
    if before.leader != Some(sender) {
        return Err(IsrRefusal::Invalid(IsrFlaw::NotLeader));
    }
    if change.partition_epoch < before.partition_epoch && !is_heir && !planted(Mutant::StaleBaseAltersIsr) {
        return Err(IsrRefusal::InvalidUpdateVersion { partition_epoch: before.partition_epoch });
    }
    Ok(())
}

fn check_set(before: &Partition, leader: NodeId, change: &IsrChange) -> Result<(), IsrFlaw> {
    let is_again = |at: usize| change.isr[..at].iter().any(|member| member.node == change.isr[at].node);
    let is_stray = |at: usize| !before.replicas.contains(&change.isr[at].node) || is_again(at);
    if (0..change.isr.len()).any(is_stray) {
        return Err(IsrFlaw::NotReplica);
    }
    if !change.isr.iter().any(|member| member.node == leader) {
        return Err(IsrFlaw::LacksLeader);
    }
    let relapses = before.recovery == Recovery::Recovered && change.recovery == Recovery::Recovering;
    let grows = change.recovery == Recovery::Recovering && change.isr.len() > 1;
    if relapses || grows { Err(IsrFlaw::Recovery) } else { Ok(()) }
}
