//! From images to orders: what this broker should be for each partition, told to the shards.
//!
//! Invariant: no order leaves before the registration of *this* process has applied: a broker that acted on an image
//! from before its restart could append to a log whose unsynced tail is gone. Orders are levels:
//! after any gap, what is told again is only repeated. A topic's orders leave after the shards have let go of an earlier
//! topic of its name.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{debug, info};

use super::Inner;
use super::leaving::Leaving;
use super::settings::partition_settings;
use crate::machines::metadata::{Broker, BrokerState, ConfigResource, Image, Partition};
use crate::machines::replication::ReplicaState;
use crate::model::{BrokerEpoch, NodeId, PartitionId, TopicName};
use crate::partition::{Event, FollowOrder, LeadOrder};

/// Follows the images until the quorum stops.
pub(super) async fn follow(
    inner: Arc<Inner>,
    mut images: watch::Receiver<Arc<Image>>,
    mut epoch: watch::Receiver<Option<BrokerEpoch>>,
) {
    let mut reconciled: Option<Arc<Image>> = None;
    let mut leaving = Leaving::new(Arc::clone(&inner.shards));
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let registered = *epoch.borrow_and_update();
        let applied = image.broker(inner.node).map(|broker| broker.broker_epoch);
        if registered.is_some() && applied == registered {
            reconcile(&inner, reconciled.as_deref(), &image, &mut leaving).await;
            reconciled = Some(Arc::clone(&image));
            inner.reconciled.send_replace(image);
        }
        let changed = tokio::select! {
            changed = images.changed() => changed.is_ok(),
            changed = epoch.changed() => changed.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

async fn reconcile(inner: &Inner, before: Option<&Image>, image: &Image, leaving: &mut Leaving) {
    let Some(before) = before else {
        start(inner, image, leaving).await;
        return;
    };
    let delta = image.since(before);
    if delta.is_empty() {
        return;
    }
    let mut concerned: BTreeSet<PartitionId> = BTreeSet::new();
    for (id, change) in delta.partitions_of(inner.node) {
        let stays = change.after.as_ref().is_some_and(|p| p.replicas.contains(&inner.node));
        if stays {
            concerned.insert(*id);
        } else {
            debug!(partition = %id, "replica goes");
            let topic = before.topic(id.topic).expect("a replica that goes was of a topic");
            leaving.stop(&topic.name, *id);
        }
    }
    for resource in &delta.configs {
        concerned.extend(concerned_by(inner, image, *resource));
    }
    for (node, change) in &delta.brokers {
        if change.after.as_ref().is_some_and(Broker::is_fenced) {
            inner.departed.fenced(*node, inner.clock.now().instant);
        } else {
            inner.departed.settled(*node);
        }
    }
    // Whether a follower may join the ISR, and under which registration, stands in the leader's order.
    let brokers: BTreeSet<NodeId> = delta.brokers.iter().map(|(node, _)| *node).collect();
    if !brokers.is_empty() {
        let led = image.topics().led_by(inner.node);
        concerned.extend(led.filter(|(_, p)| p.replicas.iter().any(|n| brokers.contains(n))).map(|(id, _)| id));
    }
    order_all(inner, image, concerned, leaving).await;
}

/// The first reconciliation of this process: everything on disk that the image does not place here goes.
async fn start(inner: &Inner, image: &Image, leaving: &mut Leaving) {
    let wanted: BTreeSet<PartitionId> = image.topics().replicas_of(inner.node).map(|(id, _)| id).collect();
    for found in inner.directory.partitions().iter().filter(|found| !wanted.contains(&found.id)) {
        info!(partition = %found.id, "a log on disk has no replica here any more: deleting it");
        leaving.stop(&found.name, found.id);
    }
    // The registration, which has applied, named them, and no ISR counts on them any more (rule S3): a copy that is
    // wanted is made anew from nothing, and the others are not named again.
    for missing in inner.directory.missing() {
        inner.directory.forget(missing);
    }
    info!(replicas = wanted.len(), "following the metadata");
    order_all(inner, image, wanted, leaving).await;
}

fn concerned_by(inner: &Inner, image: &Image, resource: ConfigResource) -> Vec<PartitionId> {
    let mine = image.topics().replicas_of(inner.node).map(|(id, _)| id);
    match resource {
        ConfigResource::Topic(topic) => mine.filter(|id| id.topic == topic).collect(),
        ConfigResource::Cluster => mine.collect(),
        ConfigResource::Broker(node) if node == inner.node => mine.collect(),
        ConfigResource::Broker(_) => Vec::new(),
    }
}

async fn order_all(inner: &Inner, image: &Image, partitions: BTreeSet<PartitionId>, leaving: &mut Leaving) {
    leaving.settle();
    // Those whose name is not free wait behind all others.
    let mut later = Vec::new();
    for id in partitions {
        let (Some(topic), Some(partition)) = (image.topic(id.topic), image.partition(id)) else { continue };
        let order = order(inner, image, id, &topic.name, partition);
        if leaving.holds(&topic.name) {
            later.push((id, &topic.name, order));
        } else {
            inner.shards.tell(id, order);
        }
    }
    for (id, name, order) in later {
        leaving.left(name).await;
        inner.shards.tell(id, order);
    }
}

fn order(inner: &Inner, image: &Image, id: PartitionId, name: &TopicName, partition: &Partition) -> Event {
    let settings = partition_settings(image, &inner.cluster.defaults, inner.options.producer_expiration, id.topic);
    if partition.leader != Some(inner.node) {
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
        replicas: partition.replicas.iter().map(|node| replica_state(image, *node)).collect(),
        isr_min: settings.isr_min,
        recovering: partition.recovery == crate::machines::metadata::Recovery::Recovering,
        options: settings.log,
        flush: settings.flush,
    })
}

fn replica_state(image: &Image, node: NodeId) -> ReplicaState {
    let broker = image.broker(node);
    ReplicaState {
        node,
        broker_epoch: broker.map(|b| b.broker_epoch),
        may_join: broker.is_some_and(|b| b.state == BrokerState::Active),
    }
}
