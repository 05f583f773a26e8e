//! The cluster's metadata at one index of its log. Every node holds it; the controller decides on it.
//!
//! Invariant: two nodes that applied the same log up to the same index hold equal images. Cloning costs a few
//! reference counts, so a reader keeps the image it began with.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::model::{ClusterId, LogIndex, NodeId, PartitionId, Term, TopicId};
use crate::probe::{Mark, Mutant, mark, planted};

use super::delta::Delta;
use super::{Broker, BrokerState, Brokers, ConfigResource, Configs, Partition, Producers, Record, Topic, Topics};

/// What the controller asks the quorum to make true, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The term in which the controller decided.
    pub term: Term,
    /// The proposal accepted last in the image it decided on (rule S5).
    pub base: LogIndex,
    /// The facts.
    pub records: Vec<Record>,
}

/// What became of a proposal; the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Its records are facts.
    Accepted,
    /// It was decided on another base and left no trace.
    Dropped,
}

/// The cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    cluster: Option<ClusterId>,
    features: OrdMap<String, u16>,
    topics: Topics,
    brokers: Brokers,
    configs: Configs,
    producers: Producers,
    last_applied: LogIndex,
    last_accepted: LogIndex,
}

impl Image {
    /// Whether `proposal` was decided on this image (rule S5).
    #[must_use]
    pub fn accepts(&self, proposal: &Proposal) -> bool {
        proposal.base == self.last_accepted || planted(Mutant::AnyBaseAccepted)
    }

    /// Applies the proposal that the log holds at `index`.
    ///
    /// # Panics
    /// When `index` is not above the last one: the caller applies the log in order.
    pub fn apply(&mut self, index: LogIndex, proposal: &Proposal) -> Applied {
        let accepted = self.accepts(proposal);
        self.pass(index);
        if !accepted {
            mark(Mark::ProposalDropped);
            if planted(Mutant::DroppedMovesBase) {
                self.last_accepted = index;
            }
            return Applied::Dropped;
        }
        for record in &proposal.records {
            self.replay(index, record);
        }
        self.last_accepted = index;
        Applied::Accepted
    }

    /// Notes that the log holds no proposal at `index`, but a blank or a change of membership. It moves no base
    /// (rule S5).
    ///
    /// # Panics
    /// When `index` is not above the last one: the caller applies the log in order.
    pub fn pass(&mut self, index: LogIndex) {
        assert!(index > self.last_applied, "entry {index} is applied after {}", self.last_applied);
        self.last_applied = index;
    }

    /// This image as it would be once `records` are accepted, for a decision that rests on an earlier one of the
    /// same batch. Its base stays; the epoch of a broker registered by `records` is not yet known in it.
    #[must_use]
    pub fn with(&self, records: &[Record]) -> Self {
        let mut after = self.clone();
        after.assume(records);
        after
    }

    /// As [`Image::with`], in place.
    pub fn assume(&mut self, records: &[Record]) {
        let index = LogIndex::new(self.last_applied.get() + 1);
        for record in records {
            self.replay(index, record);
        }
    }

    /// Makes one fact true. Total: what refers to nothing changes nothing.
    pub fn replay(&mut self, index: LogIndex, record: &Record) {
        match record {
            Record::ClusterFormed { cluster } => self.cluster = Some(*cluster),
            Record::FeatureLevelSet { feature, level } => {
                self.features.insert(feature.clone(), *level);
            }
            Record::BrokerRegistered(broker) => self.brokers.register(index, broker),
            Record::BrokerFenced { node, broker_epoch } => {
                self.brokers.set_state(*node, *broker_epoch, BrokerState::Fenced);
            }
            Record::BrokerUnfenced { node, broker_epoch } => {
                self.brokers.set_state(*node, *broker_epoch, BrokerState::Active);
            }
            Record::BrokerShuttingDown { node, broker_epoch } => {
                self.brokers.set_state(*node, *broker_epoch, BrokerState::ShuttingDown);
            }
            Record::BrokerUnregistered { node, broker_epoch } => self.brokers.unregister(*node, *broker_epoch),
            Record::TopicCreated { topic, name } => self.topics.create_topic(*topic, name),
            Record::TopicDeleted { topic } => {
                self.topics.delete_topic(*topic);
                self.configs.forget(&ConfigResource::Topic(*topic));
            }
            Record::ConfigSet { resource, name, value } => self.configs.set(resource, name, value.as_deref()),
            Record::PartitionsCreated { topic, first, replica_count, replicas, absent } => {
                self.topics.create_partitions(*topic, *first, *replica_count, replicas, absent);
            }
            Record::PartitionCreated { partition, state } | Record::PartitionChanged { partition, state } => {
                self.topics.put(*partition, state);
            }
            Record::ProducerIdsAllocated { next } => self.producers.advance(*next),
        }
    }

    /// What differs here from `before`, at a cost proportional to the difference.
    #[must_use]
    pub fn since(&self, before: &Self) -> Delta {
        Delta::between(before, self)
    }

    /// The cluster's identity, once it is formed.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The finalized level of a feature; 0 when it was never set.
    #[must_use]
    pub fn feature(&self, name: &str) -> u16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// All finalized feature levels, by name.
    pub fn features(&self) -> impl Iterator<Item = (&str, u16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The topics and their partitions.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.topic(id)
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.topics.topic_named(name)
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.topics.partition(id)
    }

    /// The brokers.
    #[must_use]
    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    /// One broker.
    #[must_use]
    pub fn broker(&self, node: NodeId) -> Option<&Broker> {
        self.brokers.get(node)
    }

    /// The dynamic configurations.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The producer ids.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The last index of the log that was applied, whatever it held.
    #[must_use]
    pub fn last_applied(&self) -> LogIndex {
        self.last_applied
    }

    /// The index of the last accepted proposal: the base of the next one (rule S5).
    #[must_use]
    pub fn last_accepted(&self) -> LogIndex {
        self.last_accepted
    }

    pub(super) fn place_at(&mut self, last_applied: LogIndex, last_accepted: LogIndex) {
        assert!(last_accepted <= last_applied, "an accepted proposal has been applied");
        self.last_applied = last_applied;
        self.last_accepted = last_accepted;
    }
}
