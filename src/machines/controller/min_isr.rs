//! The least number of in-sync replicas with which a partition commits.

use crate::machines::metadata::{ConfigResource, Image};
use crate::model::TopicId;

use super::Defaults;

/// The name of the configuration.
const NAME: &str = "min.insync.replicas";

/// The configured minimum of a topic, or its replication factor when that is smaller (decision 16).
#[must_use]
pub fn effective_min_isr(image: &Image, defaults: &Defaults, topic: TopicId) -> usize {
    let configs = image.configs();
    let set = configs.get(ConfigResource::Topic(topic), NAME).or_else(|| configs.get(ConfigResource::Cluster, NAME));
    let configured = set.and_then(|text| text.parse::<i32>().ok()).unwrap_or(defaults.min_isr);
    let configured = usize::try_from(configured).unwrap_or(0).max(1);
    let replicas = image.topic(topic).map_or(configured, |topic| topic.replication_factor.max(1));
    configured.min(replicas)
}
