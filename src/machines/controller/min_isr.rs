//! The least number of in-sync replicas with which a partition commits.
//!
//! Invariant: leader and controller use this one function on the same log of records, so that a replica in the ELR
//! holds all that any leader has committed (rule R11).

use crate::machines::metadata::ConfigResource;
use crate::machines::metadata::{Image, Record};
use crate::model::{TopicConfigDefinition, TopicId};

use super::Defaults;

/// The name of the configuration.
pub(super) const MIN_ISR: &str = "min.insync.replicas";

/// The configured minimum of a topic, or its replication factor when that is smaller.
#[must_use]
pub fn effective_min_isr(image: &Image, defaults: &Defaults, topic: TopicId) -> usize {
    let definition = TopicConfigDefinition::named(MIN_ISR).expect("the table holds min.insync.replicas");
    let configured = image.configs().topic_value(topic, definition, &defaults.topic);
    let configured = configured.parse::<usize>().unwrap_or(1).max(1);
    image.topic(topic).map_or(configured, |topic| configured.min(topic.replication_factor.max(1)))
}

/// The cluster's default, while a formed cluster has none: it is written before anything else. Were it left to each
/// node's configuration, a restart with another value would turn replicas of the ELR into liars (rule R13, Kafka
/// since 4.0).
pub(super) fn owed_default(image: &Image, defaults: &Defaults) -> Option<Record> {
    let is_due = image.cluster().is_some() && image.configs().get(ConfigResource::Cluster, MIN_ISR).is_none();
    let definition = TopicConfigDefinition::named(MIN_ISR).expect("the table holds min.insync.replicas");
    let value = defaults.topic.get(MIN_ISR).unwrap_or(definition.default).to_owned();
    let record = Record::ConfigSet { resource: ConfigResource::Cluster, name: MIN_ISR.to_owned(), value: Some(value) };
    is_due.then_some(record)
}
