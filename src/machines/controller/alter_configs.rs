//! Configurations of topics, the cluster's defaults of them, or configurations of groups are to change.
//!
//! Invariant: all changes of one resource are made or none; and a change of the minimum ISR re-evaluates every ELR it
//! concerns in the same proposal at the latest, for with a smaller minimum the high watermark moves on without the
//! ELR (rule R13).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{ConfigResource, Image, Partition, Record};
use crate::model::{ConfigDefinition, GroupConfigs, GroupId, InvalidConfig, NodeId, PartitionId, TopicConfigs};

use super::batch::Batch;
use super::elect::{nobody, with_isr};
use super::min_isr::MIN_ISR;
use super::{Decision, Defaults, Event, Outcomes, Reply, Soft, effective_min_isr};

/// A request to change configurations; each resource is changed or refused by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterConfigs {
    /// The resources.
    pub resources: Vec<ConfigAlteration>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
    /// What was answered by earlier proposals of the same request; callers leave it empty.
    pub settled: Vec<(ConfigTarget, Result<(), ConfigRefusal>)>,
}

/// The changes of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigAlteration {
    /// Of what.
    pub target: ConfigTarget,
    /// Each names one configuration.
    pub changes: Vec<(String, ConfigChange)>,
    /// Whether what is not named keeps its value.
    pub scope: AlterationScope,
}

/// What has configurations that can be altered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigTarget {
    /// A topic, by name.
    Topic(String),
    /// The defaults of all brokers.
    Cluster,
    /// One broker.
    Broker(NodeId),
    /// A group, whether it exists or not.
    Group(GroupId),
}

/// A change of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigChange {
    /// It takes this value.
    Set(String),
    /// It returns to its default.
    Delete,
    /// These words join its list.
    Append(String),
    /// These words leave its list.
    Subtract(String),
}

/// What becomes of configurations that an alteration does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlterationScope {
    /// They stay (IncrementalAlterConfigs).
    Incremental,
    /// They return to their defaults (AlterConfigs).
    Replace,
}

/// Why a resource is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ConfigRefusal {
    /// No such topic.
    #[error("the topic is unknown")]
    UnknownTopic,
    /// The request names the resource or one of its configurations twice.
    #[error("the request names it twice")]
    Twice,
    /// A value is not valid.
    #[error("{0}")]
    Config(#[from] InvalidConfig),
    /// No such dynamic configuration.
    #[error("'{name}' is no configuration that can be changed while the broker runs")]
    NotDynamic {
        /// The configuration.
        name: String,
    },
    /// Words can only join or leave a list.
    #[error("'{name}' is no list")]
    NotAList {
        /// The configuration.
        name: String,
    },
    /// The changes are more than one proposal holds.
    #[error("the changes of one resource are more than one proposal holds")]
    TooLarge,
    /// It holds for all brokers alike.
    #[error("'{name}' can be changed for all brokers together, not for one of them")]
    NotPerBroker {
        /// The configuration.
        name: String,
    },
    /// It would return to the nodes' own values, and they might differ (rule R13).
    #[error("the cluster's min.insync.replicas can be set to another value, not taken back")]
    MinIsrStays,
}

pub(super) fn decide(image: &Image, soft: &Soft, mut request: AlterConfigs) -> Decision {
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let mut settled = std::mem::take(&mut request.settled);
    let repeated = repeated(&request, &settled);
    for at in 0..request.resources.len() {
        let alteration = &request.resources[at];
        let target = alteration.target.clone();
        let planned = match repeated.contains(&target) {
            true => Err(ConfigRefusal::Twice),
            false => plan(batch.image(), &soft.options.defaults, alteration),
        };
        let outcome = match planned {
            Ok(records) if request.validate_only || records.is_empty() => Ok(()),
            Ok(records) => match write(&mut batch, &soft.options.defaults, records) {
                Written::Whole => Ok(()),
                Written::Partly => {
                    let resources = request.resources.split_off(at);
                    let rest = Event::AlterConfigs(AlterConfigs { resources, settled, ..request });
                    let decision = Decision::new(batch.into_records(), Reply::Nothing);
                    return Decision { rest: Some(Box::new(rest)), ..decision };
                }
                Written::Never => Err(ConfigRefusal::TooLarge),
            },
            Err(refusal) => Err(refusal),
        };
        settled.push((target, outcome));
    }
    let outcomes = Outcomes { each: settled, seen_at: image.last_applied() };
    Decision::new(batch.into_records(), Reply::AlterConfigs(outcomes))
}

/// What the request names more than once: which of its alterations was meant?
fn repeated(request: &AlterConfigs, settled: &[(ConfigTarget, Result<(), ConfigRefusal>)]) -> BTreeSet<ConfigTarget> {
    let named = request.resources.iter().map(|alteration| &alteration.target);
    let mut seen = BTreeSet::new();
    named.chain(settled.iter().map(|(target, _)| target)).filter(|target| !seen.insert(*target)).cloned().collect()
}

enum Written {
    /// The records and all that follows from them are in the batch.
    Whole,
    /// The batch is full; the same resource comes again with the next.
    Partly,
    /// They are too many for any batch.
    Never,
}

/// Adds a resource's records and the ELRs that they change. The ELRs may go first, in proposals of their own: a
/// smaller ELR is always safe.
fn write(batch: &mut Batch, defaults: &Defaults, records: Vec<Record>) -> Written {
    let was_empty = batch.is_empty();
    let after = batch.image().with(&records);
    for (id, state) in shrunk_elrs(&after, defaults, &records) {
        if !batch.change(id, state) {
            return Written::Partly;
        }
    }
    let changed_elrs = was_empty && !batch.is_empty();
    match batch.add_fitting(records) {
        true => Written::Whole,
        false if was_empty && !changed_elrs => Written::Never,
        false => Written::Partly,
    }
}

/// The partitions whose ELR ends under the configurations of `after` (rule R13); the records are those of one resource.
fn shrunk_elrs(after: &Image, defaults: &Defaults, records: &[Record]) -> BTreeMap<PartitionId, Partition> {
    let concerns = |record: &&Record| matches!(record, Record::ConfigSet { name, .. } if name == MIN_ISR);
    let Some(Record::ConfigSet { resource, .. }) = records.iter().find(concerns) else { return BTreeMap::new() };
    let members: Vec<(PartitionId, &Partition)> = match resource {
        // As many topics as one request may name must not each cost a walk over all partitions.
        ConfigResource::Topic(topic) => {
            after.topics().partitions_of(*topic).filter(|(_, partition)| !partition.elr.is_empty()).collect()
        }
        ConfigResource::Cluster | ConfigResource::Broker(_) | ConfigResource::Group(_) => {
            after.brokers().iter().flat_map(|broker| after.topics().in_elr_of(broker.node)).collect()
        }
    };
    let evaluated = members.into_iter().filter_map(|(id, before)| {
        let min_isr = effective_min_isr(after, defaults, id.topic);
        let state = with_isr(before, before.isr.clone(), min_isr, &nobody);
        (state != *before).then(|| (id, Partition { partition_epoch: before.partition_epoch.next(), ..state }))
    });
    evaluated.collect()
}

/// The records that change a resource.
fn plan(image: &Image, defaults: &Defaults, alteration: &ConfigAlteration) -> Result<Vec<Record>, ConfigRefusal> {
    let resource = resource(image, &alteration.target)?;
    let names: BTreeSet<&String> = alteration.changes.iter().map(|(name, _)| name).collect();
    if names.len() != alteration.changes.len() {
        return Err(ConfigRefusal::Twice);
    }
    let before: BTreeMap<String, String> =
        image.configs().overrides(&resource).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut after = match alteration.scope {
        AlterationScope::Incremental => before.clone(),
        AlterationScope::Replace => BTreeMap::new(),
    };
    for (name, change) in &alteration.changes {
        let value = changed(image, defaults, &resource, name, change)?;
        match value {
            Some(value) => after.insert(name.clone(), value),
            None => after.remove(name),
        };
    }
    if resource == ConfigResource::Cluster && !after.contains_key(MIN_ISR) {
        // It never goes back to the nodes' own: they might differ (rule R13).
        after.extend(before.get(MIN_ISR).map(|value| (MIN_ISR.to_owned(), value.clone())));
    }
    if matches!(resource, ConfigResource::Topic(_)) {
        let configs = TopicConfigs::from_checked(after.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        configs.check_together(&image.configs().topic_defaults(&defaults.topic))?;
    }
    if matches!(resource, ConfigResource::Group(_)) {
        let configs = GroupConfigs::from_checked(after.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        configs.check_together(&defaults.group)?;
    }
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let record = |name: &String| {
        let (resource, name, value) = (resource.clone(), name.clone(), after.get(name).cloned());
        Record::ConfigSet { resource, name, value }
    };
    Ok(changed.map(record).collect())
}

fn resource(image: &Image, target: &ConfigTarget) -> Result<ConfigResource, ConfigRefusal> {
    match target {
        ConfigTarget::Topic(name) => {
            let topic = image.topic_named(name).ok_or(ConfigRefusal::UnknownTopic)?;
            Ok(ConfigResource::Topic(topic.id))
        }
        ConfigTarget::Cluster => Ok(ConfigResource::Cluster),
        ConfigTarget::Broker(node) => Ok(ConfigResource::Broker(*node)),
        ConfigTarget::Group(group) => Ok(ConfigResource::Group(group.clone())),
    }
}

/// The value after one change; `None` takes it back.
fn changed(
    image: &Image,
    defaults: &Defaults,
    resource: &ConfigResource,
    name: &str,
    change: &ConfigChange,
) -> Result<Option<String>, ConfigRefusal> {
    let present = || words_of(image, defaults, resource, name);
    let value = match change {
        ConfigChange::Delete if *resource == ConfigResource::Cluster && name == MIN_ISR => {
            return Err(ConfigRefusal::MinIsrStays);
        }
        // What is not set, even what does not exist, is gone already, as in Kafka.
        ConfigChange::Delete => return Ok(None),
        ConfigChange::Set(value) => value.clone(),
        // What stands in a list twice is kept once.
        ConfigChange::Append(text) => [present()?, words(text)].concat().join(","),
        ConfigChange::Subtract(text) => {
            let gone = BTreeSet::from_iter(words(text));
            present()?.into_iter().filter(|word| !gone.contains(word)).collect::<Vec<_>>().join(",")
        }
    };
    Ok(Some(definition(resource, name)?.check(&value)?))
}

/// The words of the list in force.
fn words_of(
    image: &Image,
    defaults: &Defaults,
    resource: &ConfigResource,
    name: &str,
) -> Result<Vec<String>, ConfigRefusal> {
    let definition = definition(resource, name)?;
    if !definition.is_list() {
        return Err(ConfigRefusal::NotAList { name: name.to_owned() });
    }
    let text = match resource {
        ConfigResource::Topic(topic) => image.configs().topic_value(*topic, definition, &defaults.topic),
        ConfigResource::Cluster | ConfigResource::Broker(_) | ConfigResource::Group(_) => {
            let own = image.configs().get(resource, name);
            own.or_else(|| defaults.topic.get(definition.name)).unwrap_or(definition.default)
        }
    };
    Ok(words(text))
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Topics take the configurations of topics, groups those of groups; the cluster takes the broker's synonyms of the former.
fn definition(resource: &ConfigResource, name: &str) -> Result<&'static ConfigDefinition, ConfigRefusal> {
    let unknown = || ConfigRefusal::Config(InvalidConfig::Unknown { name: name.to_owned() });
    match resource {
        ConfigResource::Topic(_) => ConfigDefinition::of_topic(name).ok_or_else(unknown),
        ConfigResource::Group(_) => ConfigDefinition::of_group(name).ok_or_else(unknown),
        ConfigResource::Cluster => {
            ConfigDefinition::with_synonym(name).ok_or_else(|| ConfigRefusal::NotDynamic { name: name.to_owned() })
        }
        ConfigResource::Broker(_) => Err(match ConfigDefinition::with_synonym(name) {
            Some(_) => ConfigRefusal::NotPerBroker { name: name.to_owned() },
            None => ConfigRefusal::NotDynamic { name: name.to_owned() },
        }),
    }
}
