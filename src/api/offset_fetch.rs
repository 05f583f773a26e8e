//! OffsetFetch: what groups have committed.
//!
//! Invariant: a partition without a committed offset is answered with -1, and no error; whoever asks for several groups
//! is answered for each, once.

use super::call::Caller;
use super::context::{Context, TopicNamed};
use super::error;
use super::groups::{distinct, in_turn, named};
use crate::machines::group::{Call, Committed, Fetch, Offsets, Refusal};
use crate::machines::metadata::Image;
use crate::model::{GroupEpoch, GroupId, LeaderEpoch, MemberId, PartitionIndex, TopicId};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};

/// From this version on several groups are asked for at once.
const MANY_FROM: i16 = 8;
/// From this version on an error stands at the top, for one group.
const TOP_ERROR_FROM: i16 = 2;
/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 10;

/// Serves the request.
pub(super) async fn offset_fetch(context: Context, caller: Caller, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let version = caller.version;
    if version >= MANY_FROM {
        let asked = distinct(request.groups, |asked| &asked.group_id);
        let groups = in_turn(asked, |asked| fetch(&context, version, asked)).await;
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let topics = request.topics.map(|topics| {
        let topic =
            |topic: crate::protocol::messages::offset_fetch::OffsetFetchRequestTopic| OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..OffsetFetchRequestTopics::default()
            };
        topics.into_iter().map(topic).collect()
    });
    let asked = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..OffsetFetchRequestGroup::default() };
    alone(version, fetch(&context, version, asked).await)
}

async fn fetch(context: &Context, version: i16, asked: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let image = context.image();
    let asked = resolve(&image, version, asked);
    let group = GroupId::new(&asked.group_id);
    let wanted = asked.topics.as_ref().map(|topics| {
        let known = topics.iter().filter(|topic| !is_unresolved(version, topic));
        known.filter_map(|topic| named(&topic.name, &topic.partition_indexes)).collect()
    });
    let member = asked.member_id.as_deref().map(MemberId::new);
    let epoch = GroupEpoch::new(asked.member_epoch);
    let call = Call::Fetch(Fetch { group: group.clone(), member, epoch, topics: wanted });
    let outcome = context.broker().ask_group(&group, call).outcome().await.fetch();
    answer(&image, version, asked, outcome)
}

/// Names what is asked for by id.
fn resolve(image: &Image, version: i16, mut asked: OffsetFetchRequestGroup) -> OffsetFetchRequestGroup {
    if version >= BY_ID_FROM {
        for topic in asked.topics.iter_mut().flatten() {
            let found = TopicNamed::Id(topic.topic_id).find(image);
            topic.name = found.map(|found| found.name.to_string()).unwrap_or_default();
        }
    }
    asked
}

fn is_unresolved(version: i16, topic: &OffsetFetchRequestTopics) -> bool {
    version >= BY_ID_FROM && topic.name.is_empty()
}

fn answer(
    image: &Image,
    version: i16,
    asked: OffsetFetchRequestGroup,
    outcome: Result<Offsets, Refusal>,
) -> OffsetFetchResponseGroup {
    let (offsets, error_code) = match outcome {
        Ok(offsets) => (offsets, ErrorCode::None),
        Err(refusal) => (Offsets::new(), error::of_group(&refusal)),
    };
    let topics = match asked.topics {
        None => offsets.iter().filter_map(|(name, known)| whole(image, version, name.as_str(), known)).collect(),
        Some(topics) => topics.into_iter().map(|topic| part(version, topic, &offsets, error_code)).collect(),
    };
    let topics = if error_code == ErrorCode::None || version < MANY_FROM { topics } else { Vec::new() };
    OffsetFetchResponseGroup { group_id: asked.group_id, topics, error_code }
}

/// All that is committed in a topic; nothing for one that is gone, when it is to be named by its id.
fn whole(
    image: &Image,
    version: i16,
    name: &str,
    known: &std::collections::BTreeMap<PartitionIndex, Committed>,
) -> Option<OffsetFetchResponseTopics> {
    let topic_id = TopicNamed::Name(name).find(image).map_or(TopicId::ZERO, |topic| topic.id);
    if version >= BY_ID_FROM && topic_id == TopicId::ZERO {
        return None;
    }
    let partitions = known.iter().map(|(index, committed)| told(index.get(), Some(committed), ErrorCode::None));
    Some(OffsetFetchResponseTopics { name: name.to_owned(), topic_id, partitions: partitions.collect() })
}

/// What is committed of what is asked for in a topic.
fn part(
    version: i16,
    asked: OffsetFetchRequestTopics,
    offsets: &Offsets,
    error_code: ErrorCode,
) -> OffsetFetchResponseTopics {
    let error_code = if is_unresolved(version, &asked) { ErrorCode::UnknownTopicId } else { error_code };
    let known = offsets.get(asked.name.as_str());
    let one = |index: &i32| {
        let committed = known.and_then(|known| known.get(&PartitionIndex::new(*index)));
        told(*index, committed, error_code)
    };
    let partitions = asked.partition_indexes.iter().map(one).collect();
    OffsetFetchResponseTopics { name: asked.name, topic_id: asked.topic_id, partitions }
}

fn told(index: i32, committed: Option<&Committed>, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: committed.map_or(-1, |committed| committed.offset.get()),
        committed_leader_epoch: committed.and_then(|committed| committed.leader_epoch).map_or(-1, LeaderEpoch::get),
        metadata: Some(committed.map(|committed| committed.metadata.to_string()).unwrap_or_default()),
        error_code,
    }
}

/// The answer for one group, as older clients know it.
fn alone(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |one: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        committed_leader_epoch: one.committed_leader_epoch,
        metadata: one.metadata,
        error_code: one.error_code,
    };
    let topic = |one: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: one.name,
        partitions: one.partitions.into_iter().map(partition).collect(),
    };
    let error_code = if version >= TOP_ERROR_FROM { group.error_code } else { ErrorCode::None };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code,
        ..OffsetFetchResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str) -> OffsetFetchRequestGroup {
        let topic = OffsetFetchRequestTopics {
            name: name.to_owned(),
            partition_indexes: vec![0, 1],
            ..OffsetFetchRequestTopics::default()
        };
        OffsetFetchRequestGroup { group_id: "g".to_owned(), topics: Some(vec![topic]), ..Default::default() }
    }

    fn offsets() -> Offsets {
        let committed = Committed {
            topic_id: None,
            offset: crate::model::Offset::new(7),
            leader_epoch: Some(LeaderEpoch::new(2)),
            metadata: "m".into(),
            at: crate::model::Timestamp::new(1),
            expires: None,
        };
        let topic = crate::model::TopicName::new("t").expect("a valid name");
        Offsets::from([(topic, [(PartitionIndex::new(1), committed)].into())])
    }

    #[test]
    fn what_was_not_committed_is_minus_one_without_an_error() {
        let told = answer(&Image::default(), 8, asked("t"), Ok(offsets()));
        let seen: Vec<_> = told.topics[0].partitions.iter().map(|p| (p.committed_offset, p.error_code)).collect();
        assert_eq!(seen, [(-1, ErrorCode::None), (7, ErrorCode::None)]);
    }

    #[test]
    fn an_error_stands_where_the_version_has_its_place() {
        let refused = |version| answer(&Image::default(), version, asked("t"), Err(Refusal::Loading));
        let code = ErrorCode::CoordinatorLoadInProgress;
        assert_eq!((refused(9).error_code, refused(9).topics.len()), (code, 0));
        let second = alone(2, refused(2));
        assert_eq!((second.error_code, second.topics[0].partitions[0].error_code), (code, code));
        let first = alone(1, refused(1));
        assert_eq!((first.error_code, first.topics[0].partitions[0].error_code), (ErrorCode::None, code));
    }

    #[test]
    fn a_topic_id_that_is_not_known_is_told() {
        let image = Image::default();
        let told = answer(&image, 10, resolve(&image, 10, asked("ignored")), Ok(Offsets::new()));
        assert!(told.topics[0].partitions.iter().all(|p| p.error_code == ErrorCode::UnknownTopicId));
    }
}
