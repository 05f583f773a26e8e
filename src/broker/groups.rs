//! The way to the coordinators of groups: which partition keeps a group, who leads it, and what is asked of it here.
//!
//! Called by `api` and `admin`. Invariant: a request is in the inbox of the coordinator's shard when `ask_group` returns, so
//! that two requests of one connection keep their order.

mod answer;
mod cluster_wide;
pub(super) mod question;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use cluster_wide::ClusterGroups;
pub use question::{GroupPage, GroupReport, GroupSummary, MemberReport, OffsetReport};

use super::{Broker, NoController};
use crate::machines::controller::{CreateTopics, NewTopic, ReplicationFactor, TopicRefusal};
use crate::machines::group::{Call, Listed, Refusal, Reply};
use crate::machines::metadata::{Image, Topic};
use crate::model::{GroupId, NodeId, PartitionId, PartitionIndex, TopicId, TopicName};
use crate::partition::{self, Event};

/// How `__consumer_offsets` is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupsTopic {
    /// `offsets.topic.num.partitions`.
    pub partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: i32,
}

/// A request to a coordinator.
#[derive(Debug)]
pub struct PendingGroup {
    broker: Broker,
    state: Pending,
}

#[derive(Debug)]
enum Pending {
    Waiting { reply: oneshot::Receiver<partition::Reply>, otherwise: Reply },
    Refused(Reply),
}

impl PendingGroup {
    /// Waits for the answer; some are given only when other members have done their part.
    pub async fn outcome(self) -> Reply {
        let (reply, otherwise) = match self.state {
            Pending::Waiting { reply, otherwise } => (reply, otherwise),
            Pending::Refused(reply) => return reply,
        };
        match reply.await {
            // A coordinator that has been given up would go on telling members that they are in.
            Ok(partition::Reply::Group(reply)) if reply.is_light() => {
                if self.broker.inner.progress.has_session(self.broker.now().instant) { reply } else { otherwise }
            }
            Ok(partition::Reply::Group(reply)) => reply,
            // The ticket was withdrawn: the shard has ended.
            Ok(_) | Err(_) => otherwise,
        }
    }
}

/// The topic that keeps groups.
fn topic(image: &Image) -> Option<&Topic> {
    image.topic_named(TopicName::CONSUMER_OFFSETS)
}

/// The partitions that keep groups and are led by a broker.
pub(super) fn led_here(image: &Image, node: NodeId) -> Vec<PartitionId> {
    let Some(topic) = topic(image) else { return Vec::new() };
    image.topics().led_by(node).map(|(id, _)| id).filter(|id| id.topic == topic.id).collect()
}

/// The partition that keeps a group; `None` before its topic is made.
#[must_use]
pub fn partition_of_group(image: &Image, group: &GroupId) -> Option<PartitionId> {
    let topic = topic(image)?;
    Some(PartitionId { topic: topic.id, index: PartitionIndex::new(group.partition(topic.partition_count)) })
}

impl Broker {
    /// Asks the coordinator of a group, if it is here.
    #[must_use]
    pub fn ask_group(&self, group: &GroupId, call: Call) -> PendingGroup {
        match partition_of_group(&self.image(), group) {
            Some(partition) => self.ask_coordinator(partition, call),
            None => {
                PendingGroup { broker: self.clone(), state: Pending::Refused(call.refused(Refusal::NotCoordinator)) }
            }
        }
    }

    pub(super) fn ask_coordinator(&self, partition: PartitionId, call: Call) -> PendingGroup {
        let shards = &self.inner.shards;
        let otherwise = call.refused(Refusal::NotCoordinator);
        let busy = call.refused(Refusal::Unavailable);
        let event = |ticket| Event::Group { ticket, partition, call: Box::new(call) };
        let state = match shards.ask(shards.owner(partition), event) {
            Ok(reply) => Pending::Waiting { reply, otherwise },
            Err(_) => Pending::Refused(busy),
        };
        PendingGroup { broker: self.clone(), state }
    }

    /// All groups whose coordinator is here.
    ///
    /// # Errors
    /// Some coordinator here cannot tell yet.
    pub async fn groups(&self) -> Result<Vec<Listed>, Refusal> {
        let here = led_here(&self.image(), self.node()).into_iter();
        let asked: Vec<PendingGroup> = here.map(|partition| self.ask_coordinator(partition, Call::List)).collect();
        let mut all = Vec::new();
        for pending in asked {
            match pending.outcome().await.list() {
                Ok(listed) => all.extend(listed),
                // It has just been moved: its successor lists its groups.
                Err(Refusal::NotCoordinator) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(all)
    }

    /// Has the topic that keeps groups made, if it is missing. What hinders that goes with time or with another
    /// configuration (rule S4: never with fewer replicas than are configured).
    ///
    /// # Errors
    /// It cannot be made now.
    pub async fn make_groups_topic(&self, within: Duration) -> Result<(), GroupsTopicError> {
        if topic(&self.image()).is_some() {
            return Ok(());
        }
        let wanted = self.options().groups_topic;
        let set = |name: &str, value: String| (name.to_owned(), Some(value));
        let order = CreateTopics {
            topics: vec![NewTopic {
                id: TopicId::new(self.seed().uuid()),
                name: TopicName::CONSUMER_OFFSETS.to_owned(),
                partitions: Some(wanted.partitions),
                replication_factor: ReplicationFactor::Configured(wanted.replication_factor),
                assignments: Vec::new(),
                configs: vec![
                    set("cleanup.policy", "compact".to_owned()),
                    set("compression.type", "producer".to_owned()),
                    set("segment.bytes", wanted.segment_bytes.to_string()),
                ],
            }],
            validate_only: false,
            seed: self.seed().number(),
            settled: Vec::new(),
        };
        match self.create_topics(order, within).await?.pop() {
            Some((_, Ok(_) | Err(TopicRefusal::AlreadyExists { .. }))) | None => Ok(()),
            Some((_, Err(refusal))) => Err(refusal.into()),
        }
    }
}

/// Why operators are not told of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GroupsError {
    /// Nothing is known of it.
    #[error("there is no such group")]
    NoSuchGroup,
    /// It is to go, and has members.
    #[error("the group has members")]
    NotEmpty,
    /// Nobody leads the partition that keeps it.
    #[error("nobody leads partition {partition} of __consumer_offsets, which keeps the group")]
    NoCoordinator {
        /// Of `__consumer_offsets`.
        partition: PartitionIndex,
    },
    /// Its coordinator does not answer, or with more than fits into one answer.
    #[error("broker {node}, which coordinates the group, does not answer; ask its own admin listener")]
    NoAnswer {
        /// The coordinator.
        node: NodeId,
    },
    /// The coordinator still reads what its predecessor wrote.
    #[error(
        "the coordinator has not read all that was written before it led; if that lasts, the log of its broker says why"
    )]
    Loading,
    /// The coordinator has just changed, or cannot write or prove that it leads.
    #[error("the coordinator cannot answer just now")]
    Unavailable,
}

impl From<Refusal> for GroupsError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::GroupNotFound | Refusal::GroupId => Self::NoSuchGroup,
            Refusal::NonEmpty => Self::NotEmpty,
            Refusal::Loading => Self::Loading,
            Refusal::NotCoordinator
            | Refusal::Unavailable
            | Refusal::UnknownMember
            | Refusal::Generation
            | Refusal::Rebalancing
            | Refusal::FencedInstance
            | Refusal::Protocol
            | Refusal::MemberIdRequired(_)
            | Refusal::GroupFull
            | Refusal::TooLarge
            | Refusal::SessionTimeout
            | Refusal::SubscribedToTopic
            | Refusal::FencedEpoch
            | Refusal::StaleEpoch
            | Refusal::UnreleasedInstance
            | Refusal::Assignor
            | Refusal::Regex
            | Refusal::TopicGone
            | Refusal::Version
            | Refusal::MetadataTooLarge => Self::Unavailable,
        }
    }
}

/// Why `__consumer_offsets` cannot be made now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupsTopicError {
    /// Nobody decides.
    #[error(transparent)]
    NoController(#[from] NoController),
    /// It is refused: too few brokers, mostly.
    #[error("__consumer_offsets cannot be made: {0}; see offsets.topic.replication.factor")]
    Refused(#[from] TopicRefusal),
}
