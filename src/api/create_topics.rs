//! CreateTopics: the controller decides, this file translates.
//!
//! Invariant: every topic of the request is answered once, in its order; when this answers, this node knows what was
//! made.

use super::call::Caller;
use super::context::Context;
use super::describe_configs::created_configs;
use super::error;
use crate::machines::controller::{
    CreateTopics, CreatedTopic, ManualAssignment, NewTopic, ReplicationFactor, TopicRefusal,
};
use crate::model::{NodeId, TopicName};
use crate::protocol::ErrorCode;
use crate::protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

/// The number that asks for the default.
const DEFAULT: i32 = -1;

/// Serves the request.
pub(super) async fn create_topics(
    context: Context,
    caller: Caller,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let within = context.change_wait(request.timeout_ms, &caller);
    let (barred, asked): (Vec<_>, Vec<_>) =
        request.topics.into_iter().partition(|topic| topic.name == TopicName::METADATA);
    let order = CreateTopics {
        topics: asked.iter().map(|topic| new_topic(&context, topic)).collect(),
        validate_only: request.validate_only,
        seed: context.random(),
        settled: Vec::new(),
    };
    let mut topics: Vec<_> = barred.into_iter().map(|topic| bar(topic.name)).collect();
    if order.topics.is_empty() {
        return CreateTopicsResponse { topics, ..CreateTopicsResponse::default() };
    }
    match context.broker().create_topics(order, within).await {
        Ok(outcomes) => {
            let answers = outcomes.into_iter().zip(&asked);
            topics.extend(answers.map(|((name, outcome), asked)| result(&context, name, outcome, asked)));
        }
        Err(cause) => {
            let code = error::of_no_controller(cause);
            topics.extend(asked.into_iter().map(|topic| refused(topic.name, code, cause.to_string())));
        }
    }
    CreateTopicsResponse { topics, ..CreateTopicsResponse::default() }
}

fn new_topic(context: &Context, topic: &CreatableTopic) -> NewTopic {
    let assignment = |a: &CreatableReplicaAssignment| ManualAssignment {
        index: a.partition_index,
        replicas: a.broker_ids.iter().copied().map(NodeId::new).collect(),
    };
    NewTopic {
        id: context.fresh_topic_id(),
        name: topic.name.clone(),
        partitions: (topic.num_partitions != DEFAULT).then_some(topic.num_partitions),
        replication_factor: match topic.replication_factor {
            factor if i32::from(factor) == DEFAULT => ReplicationFactor::Default,
            factor => ReplicationFactor::Asked(factor),
        },
        assignments: topic.assignments.iter().map(assignment).collect(),
        configs: topic.configs.iter().map(|config| (config.name.clone(), config.value.clone())).collect(),
    }
}

fn result(
    context: &Context,
    name: String,
    outcome: Result<CreatedTopic, TopicRefusal>,
    asked: &CreatableTopic,
) -> CreatableTopicResult {
    match outcome {
        Ok(created) => CreatableTopicResult {
            name,
            topic_id: created.id,
            num_partitions: created.partitions,
            replication_factor: created.replication_factor,
            configs: Some(created_configs(context, &asked.configs)),
            ..CreatableTopicResult::default()
        },
        Err(refusal) => refused(name, error::of_creation(&refusal), refusal.to_string()),
    }
}

fn bar(name: String) -> CreatableTopicResult {
    refused(name, ErrorCode::InvalidRequest, "the metadata log is no topic that can be created".to_owned())
}

fn refused(name: String, error_code: ErrorCode, message: String) -> CreatableTopicResult {
    let error_message = Some(message);
    CreatableTopicResult { name, error_code, error_message, configs: Some(Vec::new()), ..Default::default() }
}
