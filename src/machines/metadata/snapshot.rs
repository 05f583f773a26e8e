//! An image as records, and back. Called by `quorum` when it writes and installs snapshots.
//!
//! Invariant: an image rebuilt from its own snapshot is equal to it.

use serde::{Deserialize, Serialize};

use crate::model::{LogIndex, ProducerId};
use crate::probe::{Mutant, planted};

use super::{Broker, BrokerRegistered, BrokerState, ConfigResource, Image, Record};

/// What a snapshot says besides its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The last index of the log that is in it.
    pub last_applied: LogIndex,
    /// The base of the next proposal (rule S5).
    pub last_accepted: LogIndex,
}

/// An image's header and the records that rebuild it, made one by one.
pub fn snapshot(image: &Image) -> (SnapshotHeader, impl Iterator<Item = Record> + '_) {
    let keeps_base = !planted(Mutant::SnapshotForgetsBase);
    let last_accepted = if keeps_base { image.last_accepted() } else { image.last_applied() };
    let header = SnapshotHeader { last_applied: image.last_applied(), last_accepted };
    let cluster = image.cluster().map(|cluster| Record::ClusterFormed { cluster });
    let features = image.features().map(|(name, level)| Record::FeatureLevelSet { feature: name.to_owned(), level });
    let brokers = image.brokers().iter().flat_map(broker_records);
    let topics = image.topics().topics().map(|t| Record::TopicCreated { topic: t.id, name: t.name.clone() });
    let partitions = image.topics().partitions();
    let partitions = partitions.map(|(partition, state)| Record::PartitionCreated { partition, state: state.clone() });
    let resources = image.configs().by_resource().iter();
    let configs =
        resources.flat_map(|(resource, entries)| entries.iter().map(|(name, value)| config(resource, name, value)));
    let next = image.producers().next();
    let producers = (next > ProducerId::new(0)).then_some(Record::ProducerIdsAllocated { next });
    let records = cluster.into_iter().chain(features).chain(brokers).chain(topics).chain(partitions);
    (header, records.chain(configs).chain(producers))
}

impl Image {
    /// The image that a snapshot holds.
    ///
    /// # Panics
    /// When the header says that a proposal was accepted which was never applied.
    #[must_use]
    pub fn from_snapshot(header: SnapshotHeader, records: impl IntoIterator<Item = Record>) -> Self {
        let mut image = Self::default();
        for record in records {
            image.replay(header.last_applied, &record);
        }
        image.place_at(header.last_applied, header.last_accepted);
        image
    }
}

fn config(resource: &ConfigResource, name: &str, value: &str) -> Record {
    Record::ConfigSet { resource: resource.clone(), name: name.to_owned(), value: Some(value.to_owned()) }
}

/// The lives of a broker that its state tells of: the last one that was unfenced, then the present one.
fn broker_records(broker: &Broker) -> Vec<Record> {
    let node = broker.node;
    let registered = |broker_epoch, directories: &[_]| {
        Record::BrokerRegistered(BrokerRegistered {
            node,
            boot: broker.boot,
            broker_epoch: Some(broker_epoch),
            directories: directories.to_vec(),
            listeners: broker.listeners.clone(),
            rack: broker.rack.clone(),
        })
    };
    let broker_epoch = broker.broker_epoch;
    let mut records = Vec::new();
    if let Some(last) = broker.last_active.as_ref().filter(|last| last.broker_epoch != broker_epoch) {
        records.push(registered(last.broker_epoch, &last.directories));
        records.push(Record::BrokerUnfenced { node, broker_epoch: last.broker_epoch });
    }
    records.push(registered(broker_epoch, &broker.directories));
    if broker.last_active.as_ref().is_some_and(|last| last.broker_epoch == broker_epoch) {
        records.push(Record::BrokerUnfenced { node, broker_epoch });
    }
    match broker.state {
        BrokerState::Active => {}
        BrokerState::Fenced => records.push(Record::BrokerFenced { node, broker_epoch }),
        BrokerState::ShuttingDown => records.push(Record::BrokerShuttingDown { node, broker_epoch }),
    }
    records
}
