//! The dynamic configurations of an image.
//!
//! Invariant: a resource without an override has no entry.

use imbl::OrdMap;

use crate::model::{TopicConfigDefinition, TopicConfigs, TopicId, TopicSettings};

use super::ConfigResource;

/// All overrides. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Configs {
    by_resource: OrdMap<ConfigResource, OrdMap<String, String>>,
}

impl Configs {
    /// One override.
    #[must_use]
    pub fn get(&self, resource: ConfigResource, name: &str) -> Option<&str> {
        self.by_resource.get(&resource)?.get(name).map(String::as_str)
    }

    /// The overrides of a resource, by name.
    pub fn overrides(&self, resource: ConfigResource) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.by_resource.get(&resource).into_iter().flat_map(OrdMap::iter);
        entries.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value in force of one configuration of a topic: the topic's own, else the cluster's by the definition's
    /// synonym, else the node's, else the built-in one.
    #[must_use]
    pub fn topic_value<'a>(
        &'a self,
        topic: TopicId,
        definition: &'static TopicConfigDefinition,
        node: &'a TopicConfigs,
    ) -> &'a str {
        let own = self.get(ConfigResource::Topic(topic), definition.name);
        let cluster = || self.get(ConfigResource::Cluster, definition.synonym);
        own.or_else(cluster).or_else(|| node.get(definition.name)).unwrap_or(definition.default)
    }

    /// What topics get that set nothing: the node's configuration, overridden by the cluster's.
    #[must_use]
    pub fn topic_defaults(&self, node: &TopicConfigs) -> TopicConfigs {
        let cluster = self.overrides(ConfigResource::Cluster);
        let cluster =
            cluster.filter_map(|(name, value)| Some((TopicConfigDefinition::with_synonym(name)?.name, value)));
        TopicConfigs::from_checked(node.iter().chain(cluster))
    }

    /// A topic's own configurations.
    #[must_use]
    pub fn topic_configs(&self, topic: TopicId) -> TopicConfigs {
        TopicConfigs::from_checked(self.overrides(ConfigResource::Topic(topic)))
    }

    /// A topic's configurations, resolved. The minimum ISR in it is not yet bounded by the replication factor.
    #[must_use]
    pub fn topic_settings(&self, topic: TopicId, node: &TopicConfigs) -> TopicSettings {
        self.topic_configs(topic).resolve(&self.topic_defaults(node))
    }

    pub(super) fn set(&mut self, resource: ConfigResource, name: &str, value: Option<&str>) {
        let mut entries = self.by_resource.remove(&resource).unwrap_or_default();
        match value {
            Some(value) => entries.insert(name.to_owned(), value.to_owned()),
            None => entries.remove(name),
        };
        if !entries.is_empty() {
            self.by_resource.insert(resource, entries);
        }
    }

    pub(super) fn forget(&mut self, resource: ConfigResource) {
        self.by_resource.remove(&resource);
    }

    pub(super) fn by_resource(&self) -> &OrdMap<ConfigResource, OrdMap<String, String>> {
        &self.by_resource
    }
}
