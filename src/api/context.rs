//! What every handler is given: the broker, the options, and look-ups in the image that several of them need.
//!
//! Invariant: cheap to clone, immutable but for the broker's own parts.

use std::sync::Arc;
use std::time::Duration;

use super::ApiOptions;
use super::call::Caller;
use super::heavy;
use super::long_work::LongWork;
use super::produce_rules::RulesCache;
use crate::broker::{Broker, Cluster, FetchSessions};
use crate::machines::metadata::{Image, Topic};
use crate::model::{LeaderEpoch, NodeId, PartitionId, PartitionIndex, TopicId};
use crate::partition::ConsumerIsolation;
use crate::protocol::ErrorCode;
use crate::protocol::messages::leader_hint::{LeaderIdAndEpoch, NodeEndpoint};

/// What `authorized operations` say without an authorizer: all that a cluster has.
pub(super) const CLUSTER_OPERATIONS: i32 = 8_096;
/// All that a topic has.
pub(super) const TOPIC_OPERATIONS: i32 = 3_576;
/// Nothing is said of operations.
pub(super) const OPERATIONS_UNTOLD: i32 = i32::MIN;

/// The isolation level of consumers that want no record of an aborted transaction.
const READ_COMMITTED: i8 = 1;

/// What every handler is given.
#[derive(Clone, Debug)]
pub(super) struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    broker: Broker,
    options: ApiOptions,
    sessions: FetchSessions,
    rules: RulesCache,
    long_work: LongWork,
}

impl Context {
    pub(super) fn new(broker: Broker, options: ApiOptions) -> Self {
        let sessions = FetchSessions::new(options.fetch_sessions_max);
        Self {
            inner: Arc::new(Inner {
                broker,
                options,
                sessions,
                rules: RulesCache::default(),
                long_work: LongWork::default(),
            }),
        }
    }

    pub(super) fn long_work(&self) -> &LongWork {
        &self.inner.long_work
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    pub(super) fn cluster(&self) -> &Cluster {
        self.inner.broker.cluster()
    }

    pub(super) fn options(&self) -> &ApiOptions {
        &self.inner.options
    }

    pub(super) fn sessions(&self) -> &FetchSessions {
        &self.inner.sessions
    }

    pub(super) fn rules(&self) -> &RulesCache {
        &self.inner.rules
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.inner.broker.image()
    }

    /// A random number.
    pub(super) fn random(&self) -> u64 {
        self.cluster().seed.number()
    }

    /// The identity of a topic to be made.
    pub(super) fn fresh_topic_id(&self) -> TopicId {
        TopicId::new(self.cluster().seed.uuid())
    }

    /// Any broker that is alive: each forwards what only the controller does. -1 when none is.
    pub(super) fn any_broker(&self, image: &Image) -> i32 {
        let alive: Vec<NodeId> = image.brokers().iter().filter(|b| !b.is_fenced()).map(|b| b.node).collect();
        let count = u64::try_from(alive.len()).expect("a count fits in 64 bits");
        if count == 0 {
            return -1;
        }
        let place = usize::try_from(self.random() % count).expect("a place in a list fits in a usize");
        alive[place].get()
    }

    /// How long a change of topics may take.
    pub(super) fn change_wait(&self, timeout_ms: i32, caller: &Caller) -> Duration {
        millis(timeout_ms).min(self.options().change_wait_max).min(heavy::change_wait_max(caller.body_size))
    }

    /// Who leads a partition now, for a client that came to the wrong broker (KIP-951).
    pub(super) fn leader_hint(image: &Image, partition: PartitionId) -> LeaderIdAndEpoch {
        let Some(state) = image.partition(partition) else { return LeaderIdAndEpoch::default() };
        let leader_id = state.leader.map_or(-1, NodeId::get);
        LeaderIdAndEpoch { leader_id, leader_epoch: state.leader_epoch.get() }
    }

    /// How to reach the leaders that a response names.
    pub(super) fn endpoints(&self, image: &Image, listener: &str, leaders: &[i32]) -> Vec<NodeEndpoint> {
        let mut leaders: Vec<i32> = leaders.iter().copied().filter(|leader| *leader >= 0).collect();
        leaders.sort_unstable();
        leaders.dedup();
        let endpoint = |node_id: i32| {
            let node = NodeId::new(node_id);
            let listener = self.broker().endpoint(image, node, listener)?;
            let rack = image.broker(node).and_then(|broker| broker.rack.clone());
            Some(NodeEndpoint { node_id, host: listener.host.clone(), port: i32::from(listener.port), rack })
        };
        leaders.into_iter().filter_map(endpoint).collect()
    }
}

/// A topic as a request names it: by id from some version on, by name before.
#[derive(Clone, Copy, Debug)]
pub(super) enum TopicNamed<'a> {
    Name(&'a str),
    Id(TopicId),
}

impl<'a> TopicNamed<'a> {
    /// Its facts.
    pub(super) fn find(self, image: &'a Image) -> Result<&'a Topic, ErrorCode> {
        match self {
            Self::Name(name) => image.topic_named(name).ok_or(ErrorCode::UnknownTopicOrPartition),
            Self::Id(id) => image.topic(id).ok_or(ErrorCode::UnknownTopicId),
        }
    }
}

/// How many partitions one request has looked up at a time; each look-up is an event and a ticket.
pub(super) const LOOK_UPS_AT_ONCE: usize = 256;

/// A partition of a topic, if it exists.
pub(super) fn find_partition(image: &Image, topic: TopicId, index: i32) -> Result<PartitionId, ErrorCode> {
    let partition = PartitionId { topic, index: PartitionIndex::new(index) };
    image.partition(partition).map(|_| partition).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// An epoch that the client knows; negative ones say that it knows none.
pub(super) fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch::new(epoch))
}

/// Which records a consumer wants; what is unknown counts as 0, as in Kafka.
pub(super) fn isolation(level: i8) -> ConsumerIsolation {
    if level == READ_COMMITTED { ConsumerIsolation::ReadCommitted } else { ConsumerIsolation::ReadUncommitted }
}

/// A client's milliseconds; none below zero.
pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
