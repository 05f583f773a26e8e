//! The dynamic configurations of an image.
//!
//! Invariant: a resource without an override has no entry.

use imbl::OrdMap;

use crate::model::{ConfigDefinition, GroupConfigs, GroupId, TopicConfigs, TopicId, TopicSettings};

use super::ConfigResource;

/// What is noted beside the overrides of a topic, or of all, that were compacted and are not any more: offsets may be missing
/// in their logs for ever. No configuration of Kafka's, and nobody can set it.
const WAS_COMPACTED: &str = "was.compacted";
/// The configuration that says whether a topic is compacted.
const POLICY: &str = "cleanup.policy";
/// The same for all topics.
const POLICY_OF_ALL: &str = "log.cleanup.policy";

/// All overrides. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Configs {
    by_resource: OrdMap<ConfigResource, OrdMap<String, String>>,
}

impl Configs {
    /// One override.
    #[must_use]
    pub fn get(&self, resource: &ConfigResource, name: &str) -> Option<&str> {
        self.by_resource.get(resource)?.get(name).map(String::as_str)
    }

    /// The overrides of a resource, by name.
    pub fn overrides<'a>(&'a self, resource: &ConfigResource) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.stored(resource).filter(|(name, _)| *name != WAS_COMPACTED)
    }

    /// Whether a topic was compacted by an earlier configuration that the metadata log has seen.
    #[must_use]
    pub fn was_compacted(&self, topic: TopicId) -> bool {
        [ConfigResource::Topic(topic), ConfigResource::Cluster]
            .into_iter()
            .any(|resource| self.get(&resource, WAS_COMPACTED).is_some())
    }

    /// The overrides of a resource and what is noted beside them: all that is stored.
    pub fn stored<'a>(&'a self, resource: &ConfigResource) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let entries = self.by_resource.get(resource).into_iter().flat_map(OrdMap::iter);
        entries.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value in force of one configuration of a topic: the topic's own, else the cluster's by the definition's
    /// synonym, else the node's, else the built-in one.
    #[must_use]
    pub fn topic_value<'a>(
        &'a self,
        topic: TopicId,
        definition: &'static ConfigDefinition,
        node: &'a TopicConfigs,
    ) -> &'a str {
        let own = self.get(&ConfigResource::Topic(topic), definition.name);
        let cluster = || self.get(&ConfigResource::Cluster, definition.synonym);
        own.or_else(cluster).or_else(|| node.get(definition.name)).unwrap_or(definition.default)
    }

    /// What topics get that set nothing: the node's configuration, overridden by the cluster's.
    #[must_use]
    pub fn topic_defaults(&self, node: &TopicConfigs) -> TopicConfigs {
        let cluster = self.overrides(&ConfigResource::Cluster);
        let cluster = cluster.filter_map(|(name, value)| Some((ConfigDefinition::with_synonym(name)?.name, value)));
        TopicConfigs::from_checked(node.iter().chain(cluster))
    }

    /// A topic's own configurations.
    #[must_use]
    pub fn topic_configs(&self, topic: TopicId) -> TopicConfigs {
        TopicConfigs::from_checked(self.overrides(&ConfigResource::Topic(topic)))
    }

    /// What a group sets for itself.
    #[must_use]
    pub fn group_configs(&self, group: &GroupId) -> GroupConfigs {
        // Nearly no group has any.
        GroupConfigs::from_checked(self.overrides(&ConfigResource::Group(group.clone())))
    }

    /// A topic's configurations, resolved. The minimum ISR in it is not yet bounded by the replication factor.
    #[must_use]
    pub fn topic_settings(&self, topic: TopicId, node: &TopicConfigs) -> TopicSettings {
        self.topic_configs(topic).resolve(&self.topic_defaults(node))
    }

    pub(super) fn set(&mut self, resource: &ConfigResource, name: &str, value: Option<&str>) {
        let ends_compaction = self.ends_compaction(resource, name, value);
        let mut entries = self.by_resource.remove(resource).unwrap_or_default();
        if ends_compaction {
            entries.insert(WAS_COMPACTED.to_owned(), "true".to_owned());
        }
        match value {
            Some(value) => entries.insert(name.to_owned(), value.to_owned()),
            None => entries.remove(name),
        };
        if !entries.is_empty() {
            self.by_resource.insert(resource.clone(), entries);
        }
    }

    /// Whether a topic, or all topics, were compacted before this is set and are not any more.
    fn ends_compaction(&self, resource: &ConfigResource, name: &str, value: Option<&str>) -> bool {
        let compacts = |value: &str| value.split(',').any(|word| word.trim() == "compact");
        let of_all = self.get(&ConfigResource::Cluster, POLICY_OF_ALL);
        let (before, after) = match (resource, name) {
            (ConfigResource::Topic(_), POLICY) => (self.get(resource, POLICY).or(of_all), value.or(of_all)),
            (ConfigResource::Cluster, POLICY_OF_ALL) => (of_all, value),
            (
                ConfigResource::Topic(_)
                | ConfigResource::Cluster
                | ConfigResource::Broker(_)
                | ConfigResource::Group(_),
                _,
            ) => return false,
        };
        before.is_some_and(compacts) && !after.is_some_and(compacts)
    }

    pub(super) fn forget(&mut self, resource: &ConfigResource) {
        self.by_resource.remove(resource);
    }

    pub(super) fn by_resource(&self) -> &OrdMap<ConfigResource, OrdMap<String, String>> {
        &self.by_resource
    }
}
