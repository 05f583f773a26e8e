//! Follows the groups that this broker coordinates, and tells how far each is behind what it reads.
//!
//! One task on every broker. Each round looks over the groups here, asks the leaders of what they have committed how far
//! those partitions are, and replaces what `/metrics` says. Invariant: a round asks no more than its bounds and holds no
//! shard: each is asked for a few partitions at a time, and what may wait for a disk is read outside of it.

mod here;
mod measures;
mod round;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

pub(super) use super::groups::question::{Asked, Measured};
pub(super) use here::READS_WAITING_MAX;
pub(super) use measures::measure;

use super::groups::led_here;
use super::{Broker, Inner};
use crate::machines::group::{Call, Survey};
use crate::machines::metadata::Image;
use crate::model::{PartitionId, PartitionIndex, TopicName};
use round::{Chosen, Known};

/// Partitions that one question may name.
pub(super) const ASKED_MAX: usize = 1_000;
/// Partitions of groups that one broker measures, and that have series of their own.
pub(super) const PARTITIONS_MAX: usize = 10_000;

/// Begins a round at each interval, until the broker's runtime ends.
pub(super) async fn run(inner: Arc<Inner>, interval: Duration) {
    let broker = Broker { inner };
    let mut rounds = tokio::time::interval(interval);
    // A round that takes longer than the interval is not made up for.
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Known::default();
    loop {
        rounds.tick().await;
        let image = broker.image();
        let chosen = survey(&broker, &image).await;
        let asked = known.questions(&chosen, &image, broker.now());
        let measured = measure(&broker, asked.into_iter()).await;
        let sample = known.settle(chosen, &image, &measured, broker.now());
        broker.inner.metrics.groups.set(sample);
    }
}

/// The groups here. Those of a partition whose coordinator cannot tell are left to the next round.
async fn survey(broker: &Broker, image: &Image) -> Chosen {
    let mut chosen = Chosen::default();
    for partition in led_here(image, broker.node()) {
        let mut after = None;
        loop {
            let survey = Survey { after, groups_max: Survey::GROUPS_MAX, offsets_max: chosen.room() };
            let Ok(part) = broker.ask_coordinator(partition, Call::Survey(survey)).outcome().await.survey() else {
                break;
            };
            after = part.groups.last().map(|last| last.group.clone());
            part.groups.into_iter().for_each(|group| chosen.take(group));
            if part.is_last || after.is_none() {
                break;
            }
        }
    }
    chosen
}

/// A partition by the name of its topic.
pub(super) fn partition_named(image: &Image, topic: &TopicName, index: PartitionIndex) -> Option<PartitionId> {
    let topic = image.topic_named(topic.as_str())?.id;
    Some(PartitionId { topic, index })
}
