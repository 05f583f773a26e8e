//! CreatePartitions: the controller decides, this file translates.
//!
//! Invariant: every topic of the request is answered once, however often it names it, in the order of the first mentions;
//! when this answers, this node knows what was made.

use std::collections::BTreeSet;

use super::call::Caller;
use super::context::Context;
use super::error;
use crate::broker::{GrownTopics, NoController};
use crate::machines::controller::{CreatePartitions, GrowingTopic};
use crate::model::NodeId;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

/// Serves the request.
pub(super) async fn create_partitions(
    context: Context,
    caller: Caller,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    if request.topics.is_empty() {
        return CreatePartitionsResponse::default();
    }
    let within = context.change_wait(request.timeout_ms, &caller);
    let names = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let order = CreatePartitions {
        topics: request.topics.into_iter().map(growing_topic).collect(),
        validate_only: request.validate_only,
        seed: context.random(),
        settled: Vec::new(),
    };
    let results = results(names, context.broker().create_partitions(order, within).await);
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

fn growing_topic(topic: CreatePartitionsTopic) -> GrowingTopic {
    let replicas = |a: CreatePartitionsAssignment| a.broker_ids.into_iter().map(NodeId::new).collect();
    let assignments = topic.assignments.map(|assignments| assignments.into_iter().map(replicas).collect());
    GrowingTopic { name: topic.name, count: topic.count, assignments }
}

/// One answer for each topic.
fn results(asked: Vec<String>, decided: Result<GrownTopics, NoController>) -> Vec<CreatePartitionsTopicResult> {
    let results: Vec<_> = match decided {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|(name, outcome)| match outcome {
                Ok(()) => CreatePartitionsTopicResult { name, ..CreatePartitionsTopicResult::default() },
                Err(refusal) => CreatePartitionsTopicResult {
                    name,
                    error_code: error::of_growth(&refusal),
                    error_message: Some(refusal.to_string()),
                },
            })
            .collect(),
        Err(cause) => asked
            .into_iter()
            .map(|name| CreatePartitionsTopicResult {
                name,
                error_code: error::of_no_controller(cause),
                error_message: Some(cause.to_string()),
            })
            .collect(),
    };
    let mut answered = BTreeSet::new();
    results.into_iter().filter(|result| answered.insert(result.name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::controller::GrowRefusal;
    use crate::protocol::ErrorCode;

    #[test]
    fn every_topic_is_answered_once_in_the_order_of_the_first_mentions() {
        let names = || ["b", "a", "b", "c"].map(str::to_owned).to_vec();
        let told = |decided| {
            let results = results(names(), decided).into_iter();
            results.map(|result| (result.name, result.error_code)).collect::<Vec<_>>()
        };
        let expect = |b, a, c| ["b", "a", "c"].map(str::to_owned).into_iter().zip([b, a, c]).collect::<Vec<_>>();
        let outcomes = [Err(GrowRefusal::Twice), Ok(()), Err(GrowRefusal::Twice), Err(GrowRefusal::UnknownTopic)];
        let (none, invalid) = (ErrorCode::None, ErrorCode::InvalidRequest);
        let decided = names().into_iter().zip(outcomes).collect();
        assert_eq!(told(Ok(decided)), expect(invalid, none, ErrorCode::UnknownTopicOrPartition));
        let late = ErrorCode::RequestTimedOut;
        assert_eq!(told(Err(NoController)), expect(late, late, late));
    }

    #[test]
    fn an_empty_list_of_assignments_is_not_the_same_as_none() {
        let assignment = CreatePartitionsAssignment { broker_ids: vec![2, 1] };
        let nodes = [2, 1].map(NodeId::new).to_vec();
        for (asked, expected) in
            [(None, None), (Some(vec![]), Some(vec![])), (Some(vec![assignment]), Some(vec![nodes]))]
        {
            let topic = CreatePartitionsTopic { name: "a".to_owned(), count: 3, assignments: asked };
            let growing = growing_topic(topic);
            assert_eq!((growing.name.as_str(), growing.count, growing.assignments), ("a", 3, expected));
        }
    }
}
