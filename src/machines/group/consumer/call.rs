//! What a member of a group of KIP-848 says in a heartbeat, and what it is told; such a group as people see it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::assignor::Share;
use super::super::call::GroupState;
use super::super::state::Client;
use super::facts::Subscriber;
use crate::model::{GroupEpoch, GroupId, InstanceId, MemberId, PartitionId, TopicName};

/// A heartbeat. What is `None` has not changed since the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The group.
    pub group: GroupId,
    /// The member; it has an id before it joins.
    pub member: MemberId,
    /// The epoch that it has reached, or that it joins, leaves, or leaves for a while.
    pub epoch: GroupEpoch,
    /// Of a static member.
    pub instance: Option<InstanceId>,
    /// Where it is.
    pub rack: Option<Arc<str>>,
    /// Whose it is.
    pub client: Client,
    /// How long it may take to give partitions back.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics that it names.
    pub topics: Option<BTreeSet<Arc<str>>>,
    /// And those whose names match this; an empty one matches none.
    pub regex: Option<Arc<str>>,
    /// The assignor that it would have.
    pub assignor: Option<Arc<str>>,
    /// What it has.
    pub owned: Option<BTreeSet<PartitionId>>,
}

impl Beat {
    /// Whether it says everything, because it lost an answer perhaps: then it is told everything.
    pub(super) fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.epoch == GroupEpoch::NONE || self.rebalance_timeout_ms.is_some() && subscribes && self.owned.is_some()
    }
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub member: MemberId,
    /// The epoch that it has reached now.
    pub epoch: GroupEpoch,
    /// After how long it is to be heard again.
    pub interval: Duration,
    /// What it may have; `None` when that has not changed.
    pub assignment: Option<Share>,
    /// Whether it knew all of this before.
    pub is_known: bool,
}

/// A group of KIP-848 as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// What it does.
    pub state: GroupState,
    /// Numbers what it is.
    pub epoch: GroupEpoch,
    /// The epoch that its target assignment is for.
    pub assignment_epoch: GroupEpoch,
    /// Who assigns.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// A member as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member: MemberId,
    /// The epoch that it has reached.
    pub epoch: GroupEpoch,
    /// What it says of itself.
    pub says: Arc<Subscriber>,
    /// What it has, of topics that are there.
    pub assigned: Vec<(PartitionId, TopicName)>,
    /// What it shall have, of topics that are there.
    pub target: Vec<(PartitionId, TopicName)>,
}
