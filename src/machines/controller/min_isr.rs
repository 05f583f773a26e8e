//! The least number of in-sync replicas with which a partition commits.
//!
//! Invariant: leader and controller use this one function on the same log of records, so that a replica in the ELR
//! holds all that any leader has committed (rule R11).

use crate::machines::metadata::ConfigResource;
use crate::machines::metadata::{Image, Record};
use crate::model::{ConfigDefinition, TopicConfigs, TopicId};

use super::Defaults;

/// The name of the configuration.
pub(super) const MIN_ISR: &str = "min.insync.replicas";

/// The configured minimum of a topic, or its replication factor when that is smaller.
#[must_use]
pub fn effective_min_isr(image: &Image, defaults: &Defaults, topic: TopicId) -> usize {
    let definition = ConfigDefinition::of_topic(MIN_ISR).expect("the table holds min.insync.replicas");
    let configured = image.configs().topic_value(topic, definition, &defaults.topic);
    let configured = configured.parse::<usize>().unwrap_or(1);
    bounded(configured, image.topic(topic).map_or(usize::MAX, |topic| topic.replication_factor))
}

/// The minimum of a topic that is to be made, with these configurations of its own.
pub(super) fn min_isr_to_be(
    image: &Image,
    defaults: &Defaults,
    configs: &TopicConfigs,
    replication_factor: usize,
) -> usize {
    let settings = configs.resolve(&image.configs().topic_defaults(&defaults.topic));
    bounded(settings.min_insync_replicas, replication_factor)
}

fn bounded(configured: usize, replication_factor: usize) -> usize {
    configured.clamp(1, replication_factor.max(1))
}

/// The cluster's default, while a formed cluster has none: it is written before anything else. Were it left to each
/// node's configuration, a restart with another value would turn replicas of the ELR into liars (rule R13, Kafka
/// since 4.0).
pub(super) fn owed_default(image: &Image, defaults: &Defaults) -> Option<Record> {
    let is_due = image.cluster().is_some() && image.configs().get(&ConfigResource::Cluster, MIN_ISR).is_none();
    let definition = ConfigDefinition::of_topic(MIN_ISR).expect("the table holds min.insync.replicas");
    let value = defaults.topic.get(MIN_ISR).unwrap_or(definition.default).to_owned();
    let record = Record::ConfigSet { resource: ConfigResource::Cluster, name: MIN_ISR.to_owned(), value: Some(value) };
    is_due.then_some(record)
}
