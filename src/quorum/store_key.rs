//! Under which keys the metadata store keeps an image's records, and which of them differ between two images.
//!
//! Called by `metadata_store.rs`.
//! Invariants: keys sort in the order in which their records must be replayed; `changes` names every key whose records
//! differ, at a cost proportional to the difference but for the few brokers and features, which are always compared.

use std::collections::BTreeMap;

use crate::machines::metadata::{ConfigResource, Image, Record, snapshot};
use crate::model::{NodeId, PartitionId, TopicId};

/// There while a large write is under way.
pub(super) const UNFINISHED: &[u8] = &[0];
/// The log id and membership that the records belong to.
pub(super) const POSITION: &[u8] = &[1];
/// Records lie at and behind this key.
pub(super) const FIRST_RECORD: &[u8] = &[CLUSTER];

const CLUSTER: u8 = 16;
const BROKER: u8 = 17;
const TOPIC: u8 = 18;
const PARTITION: u8 = 19;
const CONFIG: u8 = 20;
const PRODUCERS: u8 = 21;

/// A key and its records from now on; `None`: the key goes.
pub(super) type KeyChange = (Vec<u8>, Option<Vec<Record>>);

/// What must be written to a store of `before` so that it holds `after`.
pub(super) fn changes(before: &Image, after: &Image) -> Vec<KeyChange> {
    let delta = after.since(before);
    let mut changes = Vec::new();
    if delta.cluster_changed || !delta.brokers.is_empty() {
        few_changes(&few_records(before), &few_records(after), &mut changes);
    }
    for (id, change) in delta.topics {
        let records = change.after.map(|topic| vec![Record::TopicCreated { topic: id, name: topic.name }]);
        changes.push((topic_key(id), records));
    }
    for (id, change) in delta.partitions {
        let records = change.after.map(|state| vec![Record::PartitionCreated { partition: id, state }]);
        changes.push((partition_key(id), records));
    }
    for resource in delta.configs {
        config_changes(before, after, &resource, &mut changes);
    }
    if delta.producers_changed {
        changes.push((vec![PRODUCERS], Some(vec![Record::ProducerIdsAllocated { next: after.producers().next() }])));
    }
    changes
}

/// The records of cluster, features and brokers, by key.
fn few_records(image: &Image) -> BTreeMap<Vec<u8>, Vec<Record>> {
    let mut few: BTreeMap<Vec<u8>, Vec<Record>> = BTreeMap::new();
    for record in snapshot(image).1 {
        let Some(key) = few_key(&record) else { break };
        few.entry(key).or_default().push(record);
    }
    few
}

/// The key of a record of cluster, feature or broker; a snapshot holds these first.
fn few_key(record: &Record) -> Option<Vec<u8>> {
    match record {
        Record::ClusterFormed { .. } => Some(vec![CLUSTER]),
        Record::FeatureLevelSet { feature, .. } => Some(join(CLUSTER, feature.as_bytes())),
        Record::BrokerRegistered(broker) => Some(broker_key(broker.node)),
        Record::BrokerFenced { node, .. }
        | Record::BrokerUnfenced { node, .. }
        | Record::BrokerShuttingDown { node, .. }
        | Record::BrokerUnregistered { node, .. } => Some(broker_key(*node)),
        Record::TopicCreated { .. }
        | Record::TopicDeleted { .. }
        | Record::ConfigSet { .. }
        | Record::PartitionsCreated { .. }
        | Record::PartitionCreated { .. }
        | Record::PartitionChanged { .. }
        | Record::ProducerIdsAllocated { .. } => None,
    }
}

fn few_changes(
    before: &BTreeMap<Vec<u8>, Vec<Record>>,
    after: &BTreeMap<Vec<u8>, Vec<Record>>,
    changes: &mut Vec<KeyChange>,
) {
    let gone = before.keys().filter(|&key| !after.contains_key(key)).map(|key| (key.clone(), None));
    changes.extend(gone);
    let new = after.iter().filter(|&(key, records)| before.get(key) != Some(records));
    changes.extend(new.map(|(key, records)| (key.clone(), Some(records.clone()))));
}

fn config_changes(before: &Image, after: &Image, resource: &ConfigResource, changes: &mut Vec<KeyChange>) {
    let old: BTreeMap<&str, &str> = before.configs().stored(resource).collect();
    let new: BTreeMap<&str, &str> = after.configs().stored(resource).collect();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        changes.push((config_key(resource, name), None));
    }
    for (name, value) in new.iter().filter(|&(name, value)| old.get(name) != Some(value)) {
        let record = Record::ConfigSet {
            resource: resource.clone(),
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        changes.push((config_key(resource, name), Some(vec![record])));
    }
}

fn broker_key(node: NodeId) -> Vec<u8> {
    join(BROKER, &node.get().to_be_bytes())
}

fn topic_key(id: TopicId) -> Vec<u8> {
    join(TOPIC, &id.get())
}

fn partition_key(id: PartitionId) -> Vec<u8> {
    let mut key = join(PARTITION, &id.topic.get());
    key.extend(id.index.get().to_be_bytes());
    key
}

fn config_key(resource: &ConfigResource, name: &str) -> Vec<u8> {
    let mut key = match resource {
        ConfigResource::Topic(topic) => {
            let mut key = vec![CONFIG, 0];
            key.extend(topic.get());
            key
        }
        ConfigResource::Cluster => vec![CONFIG, 1],
        ConfigResource::Broker(node) => {
            let mut key = vec![CONFIG, 2];
            key.extend(node.get().to_be_bytes());
            key
        }
        ConfigResource::Group(group) => {
            // Its length first: no group's name and configuration may read as another's.
            let name = group.as_str().as_bytes();
            let length = u32::try_from(name.len()).expect("a name is shorter than a request");
            [&[CONFIG, 3], length.to_be_bytes().as_slice(), name].concat()
        }
    };
    key.extend(name.as_bytes());
    key
}

fn join(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(rest);
    key
}
