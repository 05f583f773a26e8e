//! CreateTopics: the controller decides, this file translates.
//!
//! Invariant: every topic of the request is answered once, however often it names it, in the order of the first mentions;
//! when this answers, this node knows what was made.

use std::collections::BTreeSet;
use std::time::Duration;

use super::call::Caller;
use super::context::Context;
use super::describe_configs::created_configs;
use super::error;
use crate::broker::{CreatedTopics, NoController};
use crate::machines::controller::{CreateTopics, CreatedTopic, ManualAssignment, NewTopic, ReplicationFactor};
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
    let order = CreateTopics {
        topics: request
            .topics
            .iter()
            .filter(|topic| !is_barred(topic))
            .map(|topic| new_topic(&context, topic))
            .collect(),
        validate_only: request.validate_only,
        seed: context.random(),
        settled: Vec::new(),
    };
    let decided = decide(&context, order, within).await;
    let answers = answers(request.topics, decided, |asked, created| made(&context, asked, created));
    CreateTopicsResponse { topics: answers, ..CreateTopicsResponse::default() }
}

/// The metadata log is no topic that can be created.
fn is_barred(topic: &CreatableTopic) -> bool {
    topic.name == TopicName::METADATA
}

async fn decide(context: &Context, order: CreateTopics, within: Duration) -> Result<CreatedTopics, NoController> {
    if order.topics.is_empty() {
        return Ok(CreatedTopics::new());
    }
    context.broker().create_topics(order, within).await
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

/// One answer for each topic, given what became of those that are not barred, in their order.
fn answers(
    asked: Vec<CreatableTopic>,
    decided: Result<CreatedTopics, NoController>,
    made: impl Fn(&CreatableTopic, CreatedTopic) -> CreatableTopicResult,
) -> Vec<CreatableTopicResult> {
    let mut decided = decided.map(Vec::into_iter);
    let answer = |topic: CreatableTopic| {
        if is_barred(&topic) {
            let message = "the metadata log is no topic that can be created";
            return refused(topic.name, ErrorCode::InvalidRequest, message.to_owned());
        }
        let outcome = match &mut decided {
            Ok(outcomes) => outcomes.next().map(|(_, outcome)| outcome).ok_or(NoController),
            Err(cause) => Err(*cause),
        };
        match outcome {
            Ok(Ok(created)) => made(&topic, created),
            Ok(Err(refusal)) => refused(topic.name, error::of_creation(&refusal), refusal.to_string()),
            Err(cause) => refused(topic.name, error::of_no_controller(cause), cause.to_string()),
        }
    };
    let mut answered = BTreeSet::new();
    asked.into_iter().map(answer).filter(|answer| answered.insert(answer.name.clone())).collect()
}

fn made(context: &Context, asked: &CreatableTopic, created: CreatedTopic) -> CreatableTopicResult {
    CreatableTopicResult {
        name: asked.name.clone(),
        topic_id: created.id,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(created_configs(context, &asked.configs)),
        ..CreatableTopicResult::default()
    }
}

fn refused(name: String, error_code: ErrorCode, message: String) -> CreatableTopicResult {
    let error_message = Some(message);
    CreatableTopicResult { name, error_code, error_message, configs: Some(Vec::new()), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::controller::TopicRefusal;
    use crate::model::TopicId;

    #[test]
    fn every_topic_is_answered_once_in_the_order_of_the_first_mentions() {
        let names = ["a", "b", TopicName::METADATA, "a", TopicName::METADATA, "c"];
        let asked = |name: &str| CreatableTopic { name: name.to_owned(), ..CreatableTopic::default() };
        let created = || CreatedTopic { id: TopicId::new([7; 16]), partitions: 1, replication_factor: 1 };
        let outcome =
            |name: &str| (name.to_owned(), if name == "a" { Err(TopicRefusal::Twice) } else { Ok(created()) });
        let decided = || names.iter().filter(|name| **name != TopicName::METADATA).map(|name| outcome(name)).collect();
        let made = |asked: &CreatableTopic, _| CreatableTopicResult { name: asked.name.clone(), ..Default::default() };
        let told = |decided| {
            let answers = answers(names.map(asked).into(), decided, made).into_iter();
            answers.map(|answer| (answer.name, answer.error_code)).collect::<Vec<_>>()
        };
        let expect = |a, b, metadata, c| {
            ["a", "b", TopicName::METADATA, "c"]
                .map(str::to_owned)
                .into_iter()
                .zip([a, b, metadata, c])
                .collect::<Vec<_>>()
        };
        let (none, invalid) = (ErrorCode::None, ErrorCode::InvalidRequest);
        assert_eq!(told(Ok(decided())), expect(invalid, none, invalid, none));
        let late = ErrorCode::RequestTimedOut;
        assert_eq!(told(Err(NoController)), expect(late, late, invalid, late));
    }
}
