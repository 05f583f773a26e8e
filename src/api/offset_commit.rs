//! OffsetCommit: offsets are kept for a group.
//!
//! Invariant: every partition of the request is answered, in its order; what does not exist never reaches the coordinator.
//! A commit is in its coordinator's inbox when `offset_commit` returns, so that those of one connection keep their order
//! while several are under way.

use std::sync::Arc;
use std::time::Duration;

use super::call::Caller;
use super::context::{Context, TopicNamed, find_partition, known_epoch};
use super::error;
use super::groups::identity;
use crate::broker::PendingGroup;
use crate::machines::group::{Call, Commit, CommitOf, Refusal};
use crate::machines::metadata::Image;
use crate::model::{Offset, PartitionIndex};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 10;
/// From this version on a client knows member epochs, and that a group may not be there (KIP-848).
const KIP_848_FROM: i16 = 9;

/// Serves the request.
pub(super) fn offset_commit(
    context: Context,
    caller: Caller,
    request: OffsetCommitRequest,
) -> impl Future<Output = OffsetCommitResponse> + Send + 'static {
    let image = context.image();
    // Versions without it have -1.
    let retention = u64::try_from(request.retention_time_ms).ok().map(Duration::from_millis);
    let (response, offsets) = translate(&image, caller.version, retention, &request.topics);
    let asked = (!offsets.is_empty()).then(|| ask(&context, caller.version, &request, offsets));
    async move {
        match asked {
            Some(pending) => fill(caller.version, response, pending.outcome().await.commit()),
            None => response,
        }
    }
}

fn ask(context: &Context, version: i16, request: &OffsetCommitRequest, offsets: Vec<CommitOf>) -> PendingGroup {
    let instance = request.group_instance_id.as_deref();
    let identity = identity(&request.group_id, &request.member_id, instance, request.generation_id_or_member_epoch);
    let group = identity.group.clone();
    let knows_kip_848 = version >= KIP_848_FROM;
    let commit = Commit { identity, knows_kip_848, offsets };
    context.broker().ask_group(&group, Call::Commit(commit))
}

/// The answers for what does not exist, and what is asked of the coordinator, in the order of the answers without error.
fn translate(
    image: &Image,
    version: i16,
    retention: Option<Duration>,
    topics: &[OffsetCommitRequestTopic],
) -> (OffsetCommitResponse, Vec<CommitOf>) {
    let mut offsets = Vec::new();
    let topic = |asked: &OffsetCommitRequestTopic| {
        let named = if version >= BY_ID_FROM { TopicNamed::Id(asked.topic_id) } else { TopicNamed::Name(&asked.name) };
        let found = named.find(image);
        let partition = |asked: &OffsetCommitRequestPartition| {
            let index = asked.partition_index;
            let known = found.and_then(|topic| find_partition(image, topic.id, index).map(|_| topic));
            if let Ok(topic) = known {
                offsets.push(CommitOf {
                    topic: topic.name.clone(),
                    topic_id: topic.id,
                    partition: PartitionIndex::new(index),
                    offset: Offset::new(asked.committed_offset),
                    leader_epoch: known_epoch(asked.committed_leader_epoch),
                    metadata: Arc::from(asked.committed_metadata.as_deref().unwrap_or("")),
                    retention,
                });
            }
            let error_code = known.err().unwrap_or_default();
            OffsetCommitResponsePartition { partition_index: index, error_code }
        };
        OffsetCommitResponseTopic {
            name: asked.name.clone(),
            topic_id: asked.topic_id,
            partitions: asked.partitions.iter().map(partition).collect(),
        }
    };
    let topics = topics.iter().map(topic).collect();
    (OffsetCommitResponse { topics, ..OffsetCommitResponse::default() }, offsets)
}

/// Puts what the coordinator said where there is no error yet.
fn fill(
    version: i16,
    mut response: OffsetCommitResponse,
    outcome: Result<Vec<Result<(), Refusal>>, Refusal>,
) -> OffsetCommitResponse {
    let mut outcomes = outcome.map(Vec::into_iter);
    let open = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in open.filter(|partition| partition.error_code == ErrorCode::None) {
        partition.error_code = match &mut outcomes {
            Ok(outcomes) => match outcomes.next() {
                Some(Ok(())) => ErrorCode::None,
                Some(Err(Refusal::TopicGone)) if version >= BY_ID_FROM => ErrorCode::UnknownTopicId,
                Some(Err(refusal)) => error::of_group(&refusal),
                None => ErrorCode::UnknownServerError,
            },
            Err(refusal) => error::of_group(refusal),
        };
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(codes: &[ErrorCode]) -> OffsetCommitResponse {
        let partition =
            |error_code: &ErrorCode| OffsetCommitResponsePartition { partition_index: 0, error_code: *error_code };
        let topic = OffsetCommitResponseTopic {
            partitions: codes.iter().map(partition).collect(),
            ..OffsetCommitResponseTopic::default()
        };
        OffsetCommitResponse { topics: vec![topic], ..OffsetCommitResponse::default() }
    }

    fn codes(response: &OffsetCommitResponse) -> Vec<ErrorCode> {
        response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code).collect()
    }

    #[test]
    fn outcomes_stand_where_the_partition_exists() {
        let open = response(&[ErrorCode::None, ErrorCode::UnknownTopicOrPartition, ErrorCode::None]);
        let filled = fill(9, open.clone(), Ok(vec![Ok(()), Err(Refusal::MetadataTooLarge)]));
        let (none, unknown, large) =
            (ErrorCode::None, ErrorCode::UnknownTopicOrPartition, ErrorCode::OffsetMetadataTooLarge);
        assert_eq!(codes(&filled), [none, unknown, large]);
        let refused = fill(9, open.clone(), Err(Refusal::Generation));
        assert_eq!(codes(&refused), [ErrorCode::IllegalGeneration, unknown, ErrorCode::IllegalGeneration]);
        let gone = |version| codes(&fill(version, response(&[none]), Ok(vec![Err(Refusal::TopicGone)])));
        assert_eq!((gone(9), gone(10)), (vec![unknown], vec![ErrorCode::UnknownTopicId]));
    }

    #[test]
    fn what_does_not_exist_never_reaches_the_coordinator() {
        let partition = OffsetCommitRequestPartition { partition_index: 3, ..Default::default() };
        let topic = OffsetCommitRequestTopic {
            name: "nowhere".to_owned(),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        };
        let by_name = translate(&Image::default(), 9, None, std::slice::from_ref(&topic));
        assert_eq!((codes(&by_name.0), by_name.1.len()), (vec![ErrorCode::UnknownTopicOrPartition], 0));
        let by_id = translate(&Image::default(), 10, None, &[topic]);
        assert_eq!((codes(&by_id.0), by_id.1.len()), (vec![ErrorCode::UnknownTopicId], 0));
    }
}
