//! OffsetDelete: a group forgets offsets of topics that it does not read.
//!
//! Invariant: every partition of the request is answered, in its order.

use super::call::Caller;
use super::context::{Context, TopicNamed, find_partition};
use super::error;
use super::groups::named;
use crate::machines::group::{Call, Forget, Refusal};
use crate::machines::metadata::Image;
use crate::model::GroupId;
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

/// Serves the request.
pub(super) async fn offset_delete(context: Context, _: Caller, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let group = GroupId::new(&request.group_id);
    let image = context.image();
    let answers: Vec<_> = request.topics.iter().map(|topic| existing(&image, topic)).collect();
    let topics = answers.iter().filter_map(|topic| {
        let there = topic.partitions.iter().filter(|partition| partition.error_code == ErrorCode::None);
        let there: Vec<i32> = there.map(|partition| partition.partition_index).collect();
        if there.is_empty() { None } else { named(&topic.name, &there) }
    });
    let call = Call::Forget(Forget { group: group.clone(), topics: topics.collect() });
    let outcome = context.broker().ask_group(&group, call).outcome().await.forget();
    match outcome {
        Ok(outcomes) => OffsetDeleteResponse { topics: fill(answers, outcomes), ..OffsetDeleteResponse::default() },
        Err(refusal) => {
            OffsetDeleteResponse { error_code: error::of_group(&refusal), ..OffsetDeleteResponse::default() }
        }
    }
}

/// The answer as far as it is known without the coordinator: what does not exist.
fn existing(image: &Image, asked: &OffsetDeleteRequestTopic) -> OffsetDeleteResponseTopic {
    let found = TopicNamed::Name(&asked.name).find(image);
    let partition = |asked: &OffsetDeleteRequestPartition| {
        let known = found.and_then(|topic| find_partition(image, topic.id, asked.partition_index));
        let error_code = known.err().unwrap_or_default();
        OffsetDeleteResponsePartition { partition_index: asked.partition_index, error_code }
    };
    let partitions = asked.partitions.iter().map(partition).collect();
    OffsetDeleteResponseTopic { name: asked.name.clone(), partitions }
}

/// Puts the outcome of each topic at its partitions that exist.
fn fill(
    mut answers: Vec<OffsetDeleteResponseTopic>,
    outcomes: Vec<Result<(), Refusal>>,
) -> Vec<OffsetDeleteResponseTopic> {
    let is_open = |partition: &OffsetDeleteResponsePartition| partition.error_code == ErrorCode::None;
    let asked = answers.iter_mut().filter(|topic| topic.partitions.iter().any(is_open));
    for (topic, outcome) in asked.zip(outcomes) {
        let error_code = outcome.err().map_or(ErrorCode::None, |refusal| error::of_group(&refusal));
        let open = topic.partitions.iter_mut().filter(|partition| is_open(partition));
        open.for_each(|partition| partition.error_code = error_code);
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_stand_at_the_topics_that_were_asked_of_the_coordinator() {
        let topic = |name: &str, error_code| OffsetDeleteResponseTopic {
            name: name.to_owned(),
            partitions: vec![OffsetDeleteResponsePartition { partition_index: 0, error_code }],
        };
        let answers = vec![topic("gone", ErrorCode::UnknownTopicOrPartition), topic("read", ErrorCode::None)];
        let filled = fill(answers, vec![Err(Refusal::SubscribedToTopic)]);
        let codes: Vec<_> = filled.iter().map(|topic| topic.partitions[0].error_code).collect();
        assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition, ErrorCode::GroupSubscribedToTopic]);
    }
}
