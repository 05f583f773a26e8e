//! DeleteTopics: by name, or from version 6 on by id; the controller decides.
//!
//! Invariant: every topic of the request is answered once, however often and in however many ways it names it; what
//! names none in one way only is answered by itself and hinders nobody else.

use std::time::Duration;

use super::call::Caller;
use super::context::Context;
use super::error;
use crate::broker::NoController;
use crate::machines::controller::{DeleteRefusal, DeleteTopics, DeletedTopic, TopicReference};
use crate::model::TopicId;
use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

/// From this version on topics are given as states, by name or id.
const STATES_FROM: i16 = 6;

/// Serves the request.
pub(super) async fn delete_topics(
    context: Context,
    caller: Caller,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let within = context.change_wait(request.timeout_ms, &caller);
    let states = states(request, caller.version);
    let (topics, mut responses) = references(states);
    responses.extend(delete(&context, topics, within).await);
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

/// The topics that are named in one way; and a refusal for each that is not.
fn references(states: Vec<DeleteTopicState>) -> (Vec<TopicReference>, Vec<DeletableTopicResult>) {
    let mut topics = Vec::new();
    let mut refusals = Vec::new();
    for state in states {
        match reference(&state) {
            Some(topic) => topics.push(topic),
            None => {
                let message = "a topic is given by its name or by its id, and by one of them only";
                refusals.push(refused(state, ErrorCode::InvalidRequest, message));
            }
        }
    }
    (topics, refusals)
}

fn states(request: DeleteTopicsRequest, version: i16) -> Vec<DeleteTopicState> {
    if version >= STATES_FROM {
        return request.topics;
    }
    let named = |name| DeleteTopicState { name: Some(name), topic_id: TopicId::ZERO };
    request.topic_names.into_iter().map(named).collect()
}

/// `None` when it is named twice over or not at all.
fn reference(state: &DeleteTopicState) -> Option<TopicReference> {
    match (&state.name, state.topic_id) {
        (Some(name), TopicId::ZERO) => Some(TopicReference::Name(name.clone())),
        (None, id) if id != TopicId::ZERO => Some(TopicReference::Id(id)),
        (Some(_) | None, _) => None,
    }
}

async fn delete(context: &Context, topics: Vec<TopicReference>, within: Duration) -> Vec<DeletableTopicResult> {
    if topics.is_empty() {
        return Vec::new();
    }
    let order = DeleteTopics { topics: topics.clone(), settled: Vec::new() };
    match context.broker().delete_topics(order, within).await {
        Ok(outcomes) => outcomes.into_iter().map(|(topic, outcome)| result(topic, outcome)).collect(),
        Err(cause) => topics.into_iter().map(|topic| unanswered(topic, cause)).collect(),
    }
}

fn result(topic: TopicReference, outcome: Result<DeletedTopic, DeleteRefusal>) -> DeletableTopicResult {
    match outcome {
        Ok(gone) => DeletableTopicResult {
            name: Some(gone.name.as_str().to_owned()),
            topic_id: gone.id,
            ..DeletableTopicResult::default()
        },
        Err(refusal) => {
            let mut state = state(topic);
            if let DeleteRefusal::ByNameAndId(id) = refusal {
                state.topic_id = id;
            }
            refused(state, error::of_deletion(refusal), &refusal.to_string())
        }
    }
}

fn unanswered(topic: TopicReference, cause: NoController) -> DeletableTopicResult {
    refused(state(topic), error::of_no_controller(cause), &cause.to_string())
}

fn state(topic: TopicReference) -> DeleteTopicState {
    match topic {
        TopicReference::Name(name) => DeleteTopicState { name: Some(name), topic_id: TopicId::ZERO },
        TopicReference::Id(topic_id) => DeleteTopicState { name: None, topic_id },
    }
}

fn refused(state: DeleteTopicState, error_code: ErrorCode, message: &str) -> DeletableTopicResult {
    let DeleteTopicState { name, topic_id } = state;
    DeletableTopicResult { name, topic_id, error_code, error_message: Some(message.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_in_exactly_one_way() {
        let id = TopicId::new([7; 16]);
        let state = |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(str::to_owned), topic_id };
        assert_eq!(reference(&state(Some("a"), TopicId::ZERO)), Some(TopicReference::Name("a".to_owned())));
        assert_eq!(reference(&state(None, id)), Some(TopicReference::Id(id)));
        assert_eq!(reference(&state(Some("a"), id)), None);
        assert_eq!(reference(&state(None, TopicId::ZERO)), None);
    }

    #[test]
    fn what_names_no_topic_in_one_way_is_refused_without_the_others() {
        let state = |name: Option<&str>| DeleteTopicState { name: name.map(str::to_owned), topic_id: TopicId::ZERO };
        let (topics, refusals) = references(vec![state(Some("b")), state(None)]);
        assert_eq!(topics, [TopicReference::Name("b".to_owned())]);
        assert_eq!(refusals.len(), 1);
        assert_eq!((&refusals[0].name, refusals[0].error_code), (&None, ErrorCode::InvalidRequest));
    }

    #[test]
    fn a_topic_named_by_name_and_by_id_is_answered_with_both() {
        let id = TopicId::new([7; 16]);
        let answer = result(TopicReference::Name("a".to_owned()), Err(DeleteRefusal::ByNameAndId(id)));
        assert_eq!((answer.name.as_deref(), answer.topic_id), (Some("a"), id));
        assert_eq!(answer.error_code, ErrorCode::InvalidRequest);
    }
}
