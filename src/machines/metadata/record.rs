//! Every fact that the metadata log can hold. Written by `controller`, replayed by `image`, stored by `quorum`.
//!
//! Invariant: what was written once is read for ever. A kind of record never gains, loses or moves a field, and the
//! order of the kinds never changes: a kind that must say more gets a new version at the end of the list.
//! The golden bytes in this file's tests hold that fast.

use serde::{Deserialize, Serialize};

use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, DirectoryId, GroupId, NodeId, PartitionId, PartitionIndex, ProducerId, TopicId,
    TopicName,
};

use super::Partition;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The cluster has an identity; the first record of every log (rule S9).
    ClusterFormed {
        /// Minted by the founder.
        cluster: ClusterId,
    },
    /// What may be written from here on.
    FeatureLevelSet {
        /// The feature, such as "ottla.version".
        feature: String,
        /// Its finalized level.
        level: u16,
    },
    /// A life of a broker has begun; it is fenced until a `BrokerUnfenced` of its epoch.
    BrokerRegistered(BrokerRegistered),
    /// The broker leads nothing and is in no ISR from here on (rule R15).
    BrokerFenced {
        /// The broker.
        node: NodeId,
        /// Which of its lives.
        broker_epoch: BrokerEpoch,
    },
    /// The broker may lead and join ISRs.
    BrokerUnfenced {
        /// The broker.
        node: NodeId,
        /// Which of its lives.
        broker_epoch: BrokerEpoch,
    },
    /// The broker hands over what it leads and will then stop (rule R16).
    BrokerShuttingDown {
        /// The broker.
        node: NodeId,
        /// Which of its lives.
        broker_epoch: BrokerEpoch,
    },
    /// The broker is no longer of the cluster.
    BrokerUnregistered {
        /// The broker.
        node: NodeId,
        /// Which of its lives.
        broker_epoch: BrokerEpoch,
    },
    /// A topic exists; its partitions and configurations follow in the same proposal.
    TopicCreated {
        /// Its identity.
        topic: TopicId,
        /// Its name.
        name: TopicName,
    },
    /// A topic, its partitions and its configurations are gone.
    TopicDeleted {
        /// Which.
        topic: TopicId,
    },
    /// A dynamic configuration is set, or with no value taken back.
    ConfigSet {
        /// Of what.
        resource: ConfigResource,
        /// The configuration's name.
        name: String,
        /// The value; `None` returns to the default.
        value: Option<String>,
    },
    /// Partitions of a topic exist, each in its first state, numbered from `first`. Compact, so that a large topic
    /// fits into one proposal and appears whole.
    PartitionsCreated {
        /// The topic.
        topic: TopicId,
        /// The number of the first one.
        first: PartitionIndex,
        /// How many replicas each has.
        replica_count: u16,
        /// The replicas of all of them, partition after partition, the preferred leader first.
        replicas: Vec<NodeId>,
        /// Who of them is in no ISR, for it was not active then; the first of the others leads.
        absent: Vec<NodeId>,
    },
    /// A partition exists, in that state; snapshots hold these.
    PartitionCreated {
        /// Which.
        partition: PartitionId,
        /// Its first state.
        state: Partition,
    },
    /// A partition has a new state; the whole of it is written, so that one record tells all.
    PartitionChanged {
        /// Which.
        partition: PartitionId,
        /// Its state from here on.
        state: Partition,
    },
    /// Producer ids below `next` are given out.
    ProducerIdsAllocated {
        /// The first that is free.
        next: ProducerId,
    },
}

/// A broker's registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRegistered {
    /// The broker.
    pub node: NodeId,
    /// Which start of it (rule S15).
    pub boot: BootNumber,
    /// `None` in a proposal: the epoch is the index of the log entry that holds the record (rule R14). A snapshot
    /// names it.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Its data directories.
    pub directories: Vec<DirectoryId>,
    /// Where clients, brokers and controllers reach it, by listener name.
    pub listeners: Vec<Listener>,
    /// Where it stands.
    pub rack: Option<String>,
}

/// An address under which a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The listener's name.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
}

/// What a dynamic configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfigResource {
    /// One topic.
    Topic(TopicId),
    /// All brokers.
    Cluster,
    /// One broker.
    Broker(NodeId),
    /// One group, which need not exist.
    Group(GroupId),
}

impl Record {
    /// The record's kind, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClusterFormed { .. } => "cluster formed",
            Self::FeatureLevelSet { .. } => "feature level set",
            Self::BrokerRegistered(_) => "broker registered",
            Self::BrokerFenced { .. } => "broker fenced",
            Self::BrokerUnfenced { .. } => "broker unfenced",
            Self::BrokerShuttingDown { .. } => "broker shutting down",
            Self::BrokerUnregistered { .. } => "broker unregistered",
            Self::TopicCreated { .. } => "topic created",
            Self::TopicDeleted { .. } => "topic deleted",
            Self::ConfigSet { .. } => "config set",
            Self::PartitionsCreated { .. } => "partitions created",
            Self::PartitionCreated { .. } => "partition created",
            Self::PartitionChanged { .. } => "partition changed",
            Self::ProducerIdsAllocated { .. } => "producer ids allocated",
        }
    }

    /// At most how many bytes the record takes in the log, its envelope included: what a batch adds up to stay
    /// within a proposal's 128 KiB (rule S14).
    #[must_use]
    pub fn size_max(&self) -> usize {
        /// Envelope, kind, and every field of fixed size.
        const FIXED: usize = 112;
        let variable = match self {
            Self::BrokerRegistered(broker) => {
                let listeners = broker.listeners.iter().map(|l| 18 + l.name.len() + l.host.len());
                listeners.sum::<usize>() + broker.directories.len() * 16 + broker.rack.as_ref().map_or(0, String::len)
            }
            Self::TopicCreated { name, .. } => name.as_str().len(),
            Self::FeatureLevelSet { feature, .. } => feature.len(),
            Self::ConfigSet { name, value, .. } => name.len() + value.as_ref().map_or(0, String::len),
            Self::PartitionsCreated { replicas, absent, .. } => 4 * (replicas.len() + absent.len()),
            Self::PartitionCreated { state, .. } | Self::PartitionChanged { state, .. } => state.size_max(),
            Self::ClusterFormed { .. }
            | Self::BrokerFenced { .. }
            | Self::BrokerUnfenced { .. }
            | Self::BrokerShuttingDown { .. }
            | Self::BrokerUnregistered { .. }
            | Self::TopicDeleted { .. }
            | Self::ProducerIdsAllocated { .. } => 0,
        };
        FIXED + variable
    }
}
