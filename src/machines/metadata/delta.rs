//! What differs between two images: what a broker reacts to, and what the metadata store writes.
//!
//! Invariant: `between(a, b)` names exactly what differs, at a cost proportional to it, for equal parts of two images
//! are shared and skipped. A consumer that missed images compares with the last one it saw: levels, not edges.

use std::collections::BTreeSet;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::model::{NodeId, PartitionId, TopicId};

use super::{Broker, ConfigResource, Image, Partition, Topic};

/// One thing before and after; one of them is `None` when it came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// As it was.
    pub before: Option<T>,
    /// As it is.
    pub after: Option<T>,
}

/// What differs between two images.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Delta {
    /// Topics that came, went or changed in number of partitions.
    pub topics: Vec<(TopicId, Change<Topic>)>,
    /// Partitions that came, went or changed.
    pub partitions: Vec<(PartitionId, Change<Partition>)>,
    /// Brokers that came, went or changed.
    pub brokers: Vec<(NodeId, Change<Broker>)>,
    /// What has other configurations.
    pub configs: BTreeSet<ConfigResource>,
    /// Whether the cluster's identity or a feature level differs.
    pub cluster_changed: bool,
    /// Whether producer ids were given out.
    pub producers_changed: bool,
}

impl Delta {
    pub(super) fn between(before: &Image, after: &Image) -> Self {
        let configs = changes(before.configs().by_resource(), after.configs().by_resource());
        Self {
            topics: changes(before.topics().by_id(), after.topics().by_id()),
            partitions: changes(before.topics().by_partition(), after.topics().by_partition()),
            brokers: changes(before.brokers().by_node(), after.brokers().by_node()),
            configs: configs.into_iter().map(|(resource, _)| resource).collect(),
            cluster_changed: before.cluster() != after.cluster() || !before.features().eq(after.features()),
            producers_changed: before.producers() != after.producers(),
        }
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The changed partitions of which `node` keeps or kept a copy.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = &(PartitionId, Change<Partition>)> {
        let holds = move |partition: &Option<Partition>| partition.as_ref().is_some_and(|p| p.replicas.contains(&node));
        self.partitions.iter().filter(move |(_, change)| holds(&change.before) || holds(&change.after))
    }
}

fn changes<K: Ord + Clone, V: Clone + PartialEq>(before: &OrdMap<K, V>, after: &OrdMap<K, V>) -> Vec<(K, Change<V>)> {
    let items = before.diff(after).map(|item| match item {
        DiffItem::Add(key, value) => (key.clone(), Change { before: None, after: Some(value.clone()) }),
        DiffItem::Update { old: (key, old), new: (_, new) } => {
            (key.clone(), Change { before: Some(old.clone()), after: Some(new.clone()) })
        }
        DiffItem::Remove(key, value) => (key.clone(), Change { before: Some(value.clone()), after: None }),
    });
    items.collect()
}
