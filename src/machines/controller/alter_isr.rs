//! A leader wants another in-sync set (kafka-compat 5.4).

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Partition, Recovery};
use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionId};

use super::{Decision, Reply, Soft};

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
    let _ = (image, soft, request);
    Decision::reply(Reply::Nothing)
}
