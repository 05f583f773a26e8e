//! Metadata: brokers, topics and their leaders.
//!
//! Invariant: what is answered comes from one image, but for topics that the request itself has created.

use std::collections::BTreeSet;
use std::time::Duration;

use super::call::Caller;
use super::context::{CLUSTER_OPERATIONS, Context, OPERATIONS_UNTOLD, TOPIC_OPERATIONS};
use super::topic_view::{Tells, view};
use crate::machines::controller::{CreateTopics, Defaults, NewTopic, ReplicationFactor};
use crate::machines::metadata::{Broker, Image, Topic};
use crate::model::{TopicId, TopicName};
use crate::protocol::ErrorCode;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

/// From this version on a topic may be asked for by id.
const BY_ID_FROM: i16 = 12;
/// How long a request waits for topics that it creates: after that the client asks again, as it would ask Kafka.
const CREATION_WAIT: Duration = Duration::from_secs(2);
/// How many topics one request may create.
const CREATIONS_MAX: usize = 100;

/// Serves the request.
pub(super) async fn metadata(context: Context, caller: Caller, request: MetadataRequest) -> MetadataResponse {
    let version = caller.version;
    let wants_operations = request.include_cluster_authorized_operations;
    context.broker().await_any_broker().await;
    let mut topics = match asked(&request, version) {
        Asked::All => all(&context.image(), &caller),
        Asked::Malformed => return malformed(request.topics.unwrap_or_default()),
        Asked::These(references) => {
            if request.allow_auto_topic_creation && context.options().auto_create_topics {
                create_missing(&context, &references).await;
            }
            context.broker().await_succession(&known_topics(&context.image(), &references)).await;
            let image = context.image();
            references.iter().map(|reference| describe(&image, &caller, reference)).collect()
        }
    };
    if request.include_topic_authorized_operations {
        let named = topics.iter_mut().filter(|topic| topic.name.is_some());
        named.for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
    }
    let image = context.image();
    MetadataResponse {
        brokers: brokers(&context, &image, &caller.listener),
        cluster_id: image.cluster().map(|cluster| cluster.to_string()),
        controller_id: context.any_broker(&image),
        topics,
        cluster_authorized_operations: if wants_operations { CLUSTER_OPERATIONS } else { OPERATIONS_UNTOLD },
        ..MetadataResponse::default()
    }
}

/// The topics that a client asks for by name or id, of those that there are.
fn known_topics(image: &Image, references: &[Reference]) -> Vec<TopicId> {
    let known = references.iter().filter_map(|reference| match reference {
        Reference::Name(name) => image.topic_named(name),
        Reference::Id(id) => image.topic(*id),
    });
    known.map(|topic| topic.id).collect()
}

/// The brokers that are alive, and those that were a moment ago.
fn brokers(context: &Context, image: &Image, listener: &str) -> Vec<MetadataResponseBroker> {
    let is_shown = |broker: &&Broker| !broker.is_fenced() || context.broker().is_departing(broker.node);
    image.brokers().iter().filter(is_shown).filter_map(|broker| address(broker, listener)).collect()
}

/// What a request asks for.
enum Asked {
    All,
    These(Vec<Reference>),
    Malformed,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reference {
    Name(String),
    Id(TopicId),
}

fn asked(request: &MetadataRequest, version: i16) -> Asked {
    let Some(topics) = &request.topics else { return Asked::All };
    if topics.is_empty() && version == 0 {
        return Asked::All;
    }
    let is_odd = |topic: &MetadataRequestTopic| topic.name.is_none() || topic.topic_id != TopicId::ZERO;
    if version < BY_ID_FROM && topics.iter().any(is_odd) {
        return Asked::Malformed;
    }
    let mut seen = BTreeSet::new();
    let reference = |topic: &MetadataRequestTopic| match &topic.name {
        Some(name) if topic.topic_id == TopicId::ZERO => Reference::Name(name.clone()),
        Some(_) | None => Reference::Id(topic.topic_id),
    };
    Asked::These(topics.iter().map(reference).filter(|reference| seen.insert(reference.clone())).collect())
}

fn malformed(topics: Vec<MetadataRequestTopic>) -> MetadataResponse {
    let refuse = |topic: MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest,
        name: Some(topic.name.unwrap_or_default()),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    };
    MetadataResponse { topics: topics.into_iter().map(refuse).collect(), ..MetadataResponse::default() }
}

/// Has the controller make what is missing. What it refuses shows by still being missing.
async fn create_missing(context: &Context, references: &[Reference]) {
    let image = context.image();
    let missing = references.iter().filter_map(|reference| match reference {
        // The broker's own topics are made with settings of their own by whoever needs them.
        Reference::Name(name) if image.topic_named(name).is_none() => {
            TopicName::new(name).ok().filter(|name| !name.is_internal())
        }
        Reference::Name(_) | Reference::Id(_) => None,
    });
    let defaults = &context.cluster().defaults;
    let new = |name| new_topic(context.fresh_topic_id(), &name, defaults);
    let topics: Vec<NewTopic> = missing.take(CREATIONS_MAX).map(new).collect();
    if topics.is_empty() {
        return;
    }
    let seed = context.random();
    let request = CreateTopics { topics, validate_only: false, seed, settled: Vec::new() };
    match context.broker().create_topics(request, CREATION_WAIT).await {
        Ok(outcomes) => {
            for (topic, refusal) in
                outcomes.iter().filter_map(|(topic, outcome)| Some((topic, outcome.as_ref().err()?)))
            {
                tracing::debug!(topic, %refusal, "a topic is not created automatically");
            }
        }
        Err(cause) => tracing::debug!(%cause, "topics are not created automatically"),
    }
}

/// As this broker is configured, like in Kafka: the active controller may be a node with other defaults.
fn new_topic(id: TopicId, name: &TopicName, defaults: &Defaults) -> NewTopic {
    NewTopic {
        id,
        name: name.as_str().to_owned(),
        partitions: Some(defaults.partitions),
        replication_factor: ReplicationFactor::Configured(defaults.replication_factor),
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn all(image: &Image, caller: &Caller) -> Vec<MetadataResponseTopic> {
    image.topics().topics().map(|topic| known(image, caller, topic)).collect()
}

fn describe(image: &Image, caller: &Caller, reference: &Reference) -> MetadataResponseTopic {
    let (topic, answer) = match reference {
        Reference::Name(name) => (image.topic_named(name), unknown_name(name)),
        Reference::Id(id) => (image.topic(*id), unknown_id(*id)),
    };
    topic.map_or(answer, |topic| known(image, caller, topic))
}

fn unknown_name(name: &str) -> MetadataResponseTopic {
    let valid = TopicName::new(name);
    let error_code = if valid.is_ok() { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    let is_internal = valid.is_ok_and(|name| name.is_internal());
    MetadataResponseTopic { error_code, name: Some(name.to_owned()), is_internal, ..MetadataResponseTopic::default() }
}

fn unknown_id(topic_id: TopicId) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: ErrorCode::UnknownTopicId, topic_id, ..MetadataResponseTopic::default() }
}

fn known(image: &Image, caller: &Caller, topic: &Topic) -> MetadataResponseTopic {
    let tells = match caller.version {
        0 => Tells::ReplicaErrors,
        1..=5 => Tells::NoListenerErrors,
        _ => Tells::Everything,
    };
    let partitions = image.topics().partitions_of(topic.id).map(|(id, state)| {
        let view = view(image, state, &caller.listener, tells);
        MetadataResponsePartition {
            error_code: view.error_code,
            partition_index: id.index.get(),
            leader_id: view.leader_id,
            leader_epoch: state.leader_epoch.get(),
            replica_nodes: view.replicas,
            isr_nodes: view.isr,
            offline_replicas: view.offline,
        }
    });
    MetadataResponseTopic {
        name: Some(topic.name.as_str().to_owned()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}

fn address(broker: &Broker, listener: &str) -> Option<MetadataResponseBroker> {
    let listener = broker.listener(listener)?;
    Some(MetadataResponseBroker {
        node_id: broker.node.get(),
        host: listener.host.clone(),
        port: i32::from(listener.port),
        rack: broker.rack.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(topics: Option<Vec<MetadataRequestTopic>>) -> MetadataRequest {
        MetadataRequest { topics, ..MetadataRequest::default() }
    }

    fn topic(name: Option<&str>, id: u8) -> MetadataRequestTopic {
        MetadataRequestTopic { topic_id: TopicId::new([id; 16]), name: name.map(str::to_owned) }
    }

    #[test]
    fn null_asks_for_all_and_an_empty_list_for_none_but_in_version_0() {
        assert!(matches!(asked(&request(None), 1), Asked::All));
        assert!(matches!(asked(&request(Some(Vec::new())), 0), Asked::All));
        assert!(matches!(asked(&request(Some(Vec::new())), 1), Asked::These(none) if none.is_empty()));
    }

    #[test]
    fn a_topic_is_asked_for_by_name_or_from_version_12_by_id_and_answered_once() {
        let both = request(Some(vec![topic(Some("a"), 0), topic(None, 7), topic(Some("a"), 0)]));
        assert!(matches!(asked(&both, 11), Asked::Malformed));
        let Asked::These(references) = asked(&both, 12) else { panic!("topics are asked for") };
        assert_eq!(references, [Reference::Name("a".to_owned()), Reference::Id(TopicId::new([7; 16]))]);
    }

    #[test]
    fn first_use_makes_a_topic_as_this_broker_is_configured() {
        let defaults = Defaults { partitions: 5, replication_factor: 2, ..Defaults::default() };
        let name = TopicName::new("a").expect("the name is valid");
        let topic = new_topic(TopicId::new([7; 16]), &name, &defaults);
        assert_eq!(topic.partitions, Some(5));
        assert_eq!(topic.replication_factor, ReplicationFactor::Configured(2));
    }

    #[test]
    fn an_unknown_name_is_told_from_an_impossible_one() {
        assert_eq!(unknown_name("a").error_code, ErrorCode::UnknownTopicOrPartition);
        assert_eq!(unknown_name("a/b").error_code, ErrorCode::InvalidTopicException);
        assert!(unknown_name("__consumer_offsets").is_internal);
    }
}
