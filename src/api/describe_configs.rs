//! DescribeConfigs: configurations of topics, of groups and of this broker, and where each comes from.
//!
//! Invariant: the value told is the one in force, and the first of its synonyms gives it.

use std::collections::BTreeSet;

use super::call::Caller;
use super::config_resource::{Brokers, Fault, ResourceType};
use super::context::Context;
use super::options::{BrokerConfig, BrokerConfigKind};
use crate::machines::metadata::{ConfigResource, Image};
use crate::model::{ConfigDefinition, ConfigKind, GroupId, TopicId, TopicName};
use crate::protocol::ErrorCode;
use crate::protocol::messages::create_topics::{CreatableTopicConfig, CreatableTopicConfigs};
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

/// Where a value comes from.
const FROM_TOPIC: i8 = 1;
const FROM_BROKER: i8 = 2;
const FROM_CLUSTER: i8 = 3;
const FROM_FILE: i8 = 4;
const FROM_DEFAULT: i8 = 5;
const FROM_GROUP: i8 = 8;

/// What types values have.
const TYPE_BOOLEAN: i8 = 1;
const TYPE_TEXT: i8 = 2;
const TYPE_INT: i8 = 3;
const TYPE_LONG: i8 = 5;
const TYPE_DOUBLE: i8 = 6;
const TYPE_LIST: i8 = 7;
const TYPE_PASSWORD: i8 = 9;

/// Serves the request.
pub(super) async fn describe_configs(
    context: Context,
    _: Caller,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let image = context.image();
    let describer = Describer {
        context: &context,
        image: &image,
        with_synonyms: request.include_synonyms,
        with_documentation: request.include_documentation,
    };
    let mut named = BTreeSet::new();
    let results = request.resources.into_iter().map(|resource| {
        // The answer is a thousand times as long as the question: once is enough.
        if named.insert((resource.resource_type, resource.resource_name.clone())) {
            describer.resource(resource)
        } else {
            twice(resource)
        }
    });
    let results = results.collect();
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

/// The configurations of a topic that was just made with these overrides, for CreateTopics.
pub(super) fn created_configs(context: &Context, overrides: &[CreatableTopicConfig]) -> Vec<CreatableTopicConfigs> {
    let image = context.image();
    let describer = Describer { context, image: &image, with_synonyms: false, with_documentation: false };
    let own = |name: &str| overrides.iter().rev().find(|config| config.name == name)?.value.as_deref();
    let configs = ConfigDefinition::of_topics().iter().map(|definition| {
        let entry = describer.topic_entry(definition, own(definition.name));
        CreatableTopicConfigs {
            name: entry.name,
            value: entry.value,
            read_only: entry.read_only,
            config_source: entry.config_source,
            is_sensitive: entry.is_sensitive,
        }
    });
    configs.collect()
}

fn twice(resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let DescribeConfigsResource { resource_type, resource_name, .. } = resource;
    let error_message = Some("the request names this resource more than once".to_owned());
    let error_code = ErrorCode::InvalidRequest;
    DescribeConfigsResult { error_code, error_message, resource_type, resource_name, ..Default::default() }
}

struct Describer<'a> {
    context: &'a Context,
    image: &'a Image,
    with_synonyms: bool,
    with_documentation: bool,
}

type Entry = DescribeConfigsResourceResult;

impl Describer<'_> {
    fn resource(&self, resource: DescribeConfigsResource) -> DescribeConfigsResult {
        let DescribeConfigsResource { resource_type, resource_name, configuration_keys } = resource;
        let keys = configuration_keys.unwrap_or_default();
        let outcome = ResourceType::of(resource_type).and_then(|kind| match kind {
            ResourceType::Topic => self.topic(&resource_name),
            ResourceType::Broker => self.broker(&resource_name),
            ResourceType::Group => self.group(&resource_name),
            // Nothing of these can be configured.
            ResourceType::BrokerLogger | ResourceType::ClientMetrics => Ok(Vec::new()),
        });
        let result = DescribeConfigsResult { resource_type, resource_name, ..DescribeConfigsResult::default() };
        match outcome {
            Ok(mut configs) => {
                // Kafka takes an empty list of keys for no list.
                configs.retain(|entry| keys.is_empty() || keys.contains(&entry.name));
                DescribeConfigsResult { configs, ..result }
            }
            Err(fault) => {
                DescribeConfigsResult { error_code: fault.code, error_message: Some(fault.message), ..result }
            }
        }
    }

    fn topic(&self, name: &str) -> Result<Vec<Entry>, Fault> {
        let topic = self.image.topic_named(name).ok_or_else(|| match TopicName::new(name) {
            Ok(_) => Fault { code: ErrorCode::UnknownTopicOrPartition, message: format!("no topic '{name}'") },
            Err(cause) => Fault { code: ErrorCode::InvalidTopicException, message: cause.to_string() },
        })?;
        let own = |definition: &ConfigDefinition| self.override_of(topic.id, definition.name);
        Ok(ConfigDefinition::of_topics().iter().map(|d| self.topic_entry(d, own(d))).collect())
    }

    fn override_of(&self, topic: TopicId, name: &str) -> Option<&str> {
        self.image.configs().get(&ConfigResource::Topic(topic), name)
    }

    /// A topic's configuration with this value of its own.
    fn topic_entry(&self, definition: &ConfigDefinition, own: Option<&str>) -> Entry {
        let mut synonyms: Vec<_> = own.map(|value| synonym(definition.name, value, FROM_TOPIC)).into_iter().collect();
        synonyms.extend(self.broker_synonyms(definition));
        let kind = config_type(definition.kind);
        self.entry(definition.name, synonyms, Facts { kind, is_read_only: false, doc: definition.doc })
    }

    /// Where this broker's value of a topic configuration comes from, the strongest first.
    fn broker_synonyms(&self, definition: &ConfigDefinition) -> Vec<DescribeConfigsSynonym> {
        let name = if definition.synonym.is_empty() { definition.name } else { definition.synonym };
        let dynamic = |resource: &ConfigResource| self.image.configs().get(resource, definition.synonym);
        // The node hands over every default; what the file repeats of the built-in ones is none of its doing.
        let in_file = self.context.cluster().defaults.topic.get(definition.name);
        let values = [
            (dynamic(&ConfigResource::Broker(self.context.broker().node())), FROM_BROKER),
            (dynamic(&ConfigResource::Cluster), FROM_CLUSTER),
            (in_file.filter(|value| *value != definition.default), FROM_FILE),
            (Some(definition.default), FROM_DEFAULT),
        ];
        let synonyms = values.into_iter().filter_map(|(value, source)| Some(synonym(name, value?, source)));
        synonyms.collect()
    }

    /// A group's, whether it exists or not: they may be set before its first member comes.
    fn group(&self, name: &str) -> Result<Vec<Entry>, Fault> {
        if name.is_empty() {
            return Err(Fault::invalid("a group has a name"));
        }
        let resource = ConfigResource::Group(GroupId::new(name));
        let entry = |definition: &ConfigDefinition| {
            let own = self.image.configs().get(&resource, definition.name);
            let in_file = self.context.options().broker_configs.iter().find(|c| c.name == definition.synonym);
            let values = [
                (definition.name, own, FROM_GROUP),
                (definition.synonym, in_file.and_then(|config| config.value.as_deref()), FROM_FILE),
                (definition.synonym, Some(definition.default), FROM_DEFAULT),
            ];
            let synonyms = values.into_iter().filter_map(|(name, value, from)| Some(synonym(name, value?, from)));
            let facts = Facts { kind: config_type(definition.kind), is_read_only: false, doc: definition.doc };
            self.entry(definition.name, synonyms.collect(), facts)
        };
        Ok(ConfigDefinition::of_groups().iter().map(entry).collect())
    }

    fn broker(&self, name: &str) -> Result<Vec<Entry>, Fault> {
        Ok(match Brokers::named(name, self.context.broker().node())? {
            Brokers::All => self.cluster_defaults(),
            Brokers::Own => self.own_configs(),
        })
    }

    fn own_configs(&self) -> Vec<Entry> {
        let own_configs = self.context.options().broker_configs.iter();
        let own_configs = own_configs.filter(|config| ConfigDefinition::with_synonym(&config.name).is_none());
        let mut entries: Vec<_> = own_configs.map(|config| self.broker_entry(config)).collect();
        let defaults = ConfigDefinition::of_topics().iter().filter(|definition| !definition.synonym.is_empty());
        entries.extend(defaults.map(|definition| {
            let facts = Facts { kind: config_type(definition.kind), is_read_only: false, doc: definition.doc };
            self.entry(definition.synonym, self.broker_synonyms(definition), facts)
        }));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    /// What holds for all brokers unless one says otherwise.
    fn cluster_defaults(&self) -> Vec<Entry> {
        let overrides = self.image.configs().overrides(&ConfigResource::Cluster);
        let entry = |(name, value): (&str, &str)| {
            let definition = ConfigDefinition::with_synonym(name);
            let kind = definition.map_or(TYPE_TEXT, |definition| config_type(definition.kind));
            let doc = definition.map_or("", |definition| definition.doc);
            self.entry(name, vec![synonym(name, value, FROM_CLUSTER)], Facts { kind, is_read_only: false, doc })
        };
        overrides.map(entry).collect()
    }

    fn broker_entry(&self, config: &BrokerConfig) -> Entry {
        let values = [(&config.value, FROM_FILE), (&config.default, FROM_DEFAULT)];
        let values = values.into_iter().filter_map(|(value, source)| Some((value.as_deref()?, source)));
        let synonyms = values.map(|(value, source)| synonym(&config.name, value, source)).collect();
        let kind = broker_config_type(config.kind);
        self.entry(&config.name, synonyms, Facts { kind, is_read_only: true, doc: &config.doc })
    }

    /// A configuration whose value the first of `synonyms` gives.
    fn entry(&self, name: &str, mut synonyms: Vec<DescribeConfigsSynonym>, facts: Facts<'_>) -> Entry {
        let is_sensitive = facts.kind == TYPE_PASSWORD;
        if is_sensitive {
            synonyms.iter_mut().for_each(|synonym| synonym.value = None);
        }
        let first = synonyms.first();
        Entry {
            name: name.to_owned(),
            value: first.and_then(|synonym| synonym.value.clone()),
            read_only: facts.is_read_only,
            config_source: first.map_or(FROM_DEFAULT, |synonym| synonym.source),
            is_sensitive,
            config_type: facts.kind,
            documentation: self.with_documentation.then(|| facts.doc.to_owned()),
            synonyms: if self.with_synonyms { synonyms } else { Vec::new() },
        }
    }
}

/// What is known of a configuration besides its values.
struct Facts<'a> {
    kind: i8,
    is_read_only: bool,
    doc: &'a str,
}

fn synonym(name: &str, value: &str, source: i8) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym { name: name.to_owned(), value: Some(value.to_owned()), source }
}

fn config_type(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean => TYPE_BOOLEAN,
        ConfigKind::Int { .. } | ConfigKind::GzipLevel => TYPE_INT,
        ConfigKind::Long { .. } => TYPE_LONG,
        ConfigKind::Ratio => TYPE_DOUBLE,
        ConfigKind::Word(_) => TYPE_TEXT,
        ConfigKind::Words(_) | ConfigKind::ThrottledReplicas => TYPE_LIST,
    }
}

fn broker_config_type(kind: BrokerConfigKind) -> i8 {
    match kind {
        BrokerConfigKind::Boolean => TYPE_BOOLEAN,
        BrokerConfigKind::Text => TYPE_TEXT,
        BrokerConfigKind::Int => TYPE_INT,
        BrokerConfigKind::Long => TYPE_LONG,
        BrokerConfigKind::Double => TYPE_DOUBLE,
        BrokerConfigKind::List => TYPE_LIST,
        BrokerConfigKind::Password => TYPE_PASSWORD,
    }
}
