//! From images to orders: what this broker should be for each partition.
//!
//! Called by `reconcile`, which tells the shards, and by the simulation. Invariant: orders are levels; after any gap,
//! what is told again is only repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use super::settings::partition_settings;
use crate::machines::controller::Defaults;
use crate::machines::metadata::{BrokerState, ConfigResource, Image, Partition, Recovery};
use crate::machines::replication::ReplicaState;
use crate::model::{BrokerEpoch, NodeId, PartitionId, TopicName};
use crate::partition::{Event, FollowOrder, LeadOrder};
use crate::probe::{Mutant, planted};
use crate::storage::DataDir;

/// For whom orders are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders<'a> {
    pub(crate) node: NodeId,
    pub(crate) defaults: &'a Defaults,
    pub(crate) producer_expiration: Duration,
}

/// What the shards are to be told.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Replicas that go, with their files.
    pub(crate) stops: Vec<(TopicName, PartitionId)>,
    /// What is to be led or followed. A topic's orders leave after the shards have let go of an earlier topic of its
    /// name.
    pub(crate) orders: Vec<(TopicName, PartitionId, Event)>,
}

/// Whether orders may leave: the registration of *this* process has applied. A broker that acted on an image from
/// before its restart could append to a log whose unsynced tail is gone.
pub(crate) fn may_leave(image: &Image, node: NodeId, registered: Option<BrokerEpoch>) -> bool {
    let applied = image.broker(node).map(|broker| broker.broker_epoch);
    registered.is_some() && applied == registered || planted(Mutant::ActsOnOldImage)
}

impl Orders<'_> {
    /// The first plan of this process: everything on disk that the image does not place here goes.
    pub(crate) fn first(&self, directory: &DataDir, image: &Image) -> Plan {
        let wanted: BTreeSet<PartitionId> = image.topics().replicas_of(self.node).map(|(id, _)| id).collect();
        let strays = directory.partitions().iter().filter(|found| !wanted.contains(&found.id));
        let stops = strays.map(|found| (found.name.clone(), found.id)).collect();
        // The registration, which has applied, named them, and no ISR counts on them any more (rule S3): a copy that
        // is wanted is made anew from nothing, and the others are not named again.
        for missing in directory.missing() {
            directory.forget(missing);
        }
        Plan { stops, orders: self.orders_of(image, wanted) }
    }

    /// What has changed between two images.
    pub(crate) fn next(&self, before: &Image, image: &Image) -> Plan {
        let delta = image.since(before);
        let mut stops = Vec::new();
        let mut concerned: BTreeSet<PartitionId> = BTreeSet::new();
        for (id, change) in delta.partitions_of(self.node) {
            let stays = change.after.as_ref().is_some_and(|p| p.replicas.contains(&self.node));
            if stays {
                concerned.insert(*id);
            } else {
                let topic = before.topic(id.topic).expect("a replica that goes was of a topic");
                stops.push((topic.name.clone(), *id));
            }
        }
        for resource in &delta.configs {
            concerned.extend(self.concerned_by(image, resource));
        }
        // Whether a follower may join the ISR, and under which registration, stands in the leader's order.
        let brokers: BTreeSet<NodeId> = delta.brokers.iter().map(|(node, _)| *node).collect();
        if !brokers.is_empty() && !planted(Mutant::RegistrationsUntold) {
            let led = image.topics().led_by(self.node);
            concerned.extend(led.filter(|(_, p)| p.replicas.iter().any(|n| brokers.contains(n))).map(|(id, _)| id));
        }
        Plan { stops, orders: self.orders_of(image, concerned) }
    }

    fn concerned_by(&self, image: &Image, resource: &ConfigResource) -> Vec<PartitionId> {
        let mine = image.topics().replicas_of(self.node).map(|(id, _)| id);
        match resource {
            ConfigResource::Topic(topic) => mine.filter(|id| id.topic == *topic).collect(),
            ConfigResource::Cluster => mine.collect(),
            ConfigResource::Broker(node) if *node == self.node => mine.collect(),
            // What is set of groups their coordinators read in the image.
            ConfigResource::Broker(_) | ConfigResource::Group(_) => Vec::new(),
        }
    }

    fn orders_of(&self, image: &Image, partitions: BTreeSet<PartitionId>) -> Vec<(TopicName, PartitionId, Event)> {
        let order = |id: PartitionId| {
            let (topic, partition) = (image.topic(id.topic)?, image.partition(id)?);
            Some((topic.name.clone(), id, self.order(image, id, &topic.name, partition)))
        };
        partitions.into_iter().filter_map(order).collect()
    }

    fn order(&self, image: &Image, id: PartitionId, name: &TopicName, partition: &Partition) -> Event {
        let settings = partition_settings(image, self.defaults, self.producer_expiration, id.topic);
        if partition.leader != Some(self.node) {
            return Event::Follow(FollowOrder {
                partition: id,
                name: name.clone(),
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                options: settings.log,
                flush: settings.flush,
            });
        }
        Event::Lead(LeadOrder {
            partition: id,
            name: name.clone(),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: partition.isr.clone(),
            replicas: partition.replicas.iter().map(|node| replica_state(image, partition, *node)).collect(),
            isr_min: settings.isr_min,
            recovering: partition.recovery == Recovery::Recovering,
            options: settings.log,
            flush: settings.flush,
        })
    }
}

fn replica_state(image: &Image, partition: &Partition, node: NodeId) -> ReplicaState {
    let broker = image.broker(node);
    ReplicaState {
        node,
        broker_epoch: broker.map(|b| b.broker_epoch),
        may_join: broker.is_some_and(|b| b.state == BrokerState::Active),
        is_eligible: partition.elr.contains(&node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::metadata::{BrokerRegistered, Record};
    use crate::model::{BootNumber, DirectoryId, LogIndex, PartitionIndex, TopicId};

    fn registered(node: i32) -> Record {
        Record::BrokerRegistered(BrokerRegistered {
            node: NodeId::new(node),
            boot: BootNumber::new(1),
            broker_epoch: None,
            directories: vec![DirectoryId::new([1; 16])],
            listeners: Vec::new(),
            rack: None,
        })
    }

    /// Else it would wait for its next change, and who is back not join the ISR (rule R8).
    #[test]
    fn a_leader_is_told_of_a_replica_that_serves_again() {
        let topic = TopicId::new([7; 16]);
        let mut image = Image::default();
        let records = [
            registered(1),
            registered(2),
            Record::TopicCreated { topic, name: TopicName::new("t").unwrap() },
            Record::PartitionsCreated {
                topic,
                first: PartitionIndex::new(0),
                replica_count: 2,
                replicas: vec![NodeId::new(1), NodeId::new(2)],
                absent: vec![NodeId::new(2)],
            },
        ];
        records.iter().for_each(|record| image.replay(LogIndex::new(5), record));
        let before = image.clone();
        let unfenced = Record::BrokerUnfenced { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(5) };
        image.replay(LogIndex::new(6), &unfenced);
        let defaults = Defaults::default();
        let told = |node| {
            let orders = Orders { node: NodeId::new(node), defaults: &defaults, producer_expiration: Duration::ZERO };
            orders.next(&before, &image).orders
        };
        let [(_, _, Event::Lead(order))] = &told(1)[..] else { panic!("the leader is told") };
        assert_eq!(order.replicas.iter().map(|replica| replica.may_join).collect::<Vec<_>>(), [false, true]);
        assert!(told(2).is_empty());
    }

    #[test]
    fn no_order_leaves_before_this_start_of_the_broker_is_registered() {
        let node = NodeId::new(1);
        let mut image = Image::default();
        assert!(!may_leave(&image, node, None));
        image.replay(LogIndex::new(5), &registered(1));
        assert!(!may_leave(&image, node, None), "what is registered there is the life before");
        assert!(!may_leave(&image, node, Some(BrokerEpoch::new(9))));
        assert!(may_leave(&image, node, Some(BrokerEpoch::new(5))));
    }
}
