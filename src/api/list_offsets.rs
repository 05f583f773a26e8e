//! ListOffsets: the offset of a timestamp, or of one of the special timestamps.
//!
//! Invariant: every partition is answered by itself and once; one that is named twice is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::call::Caller;
use super::context::{Context, LOOK_UPS_AT_ONCE, TopicNamed, find_partition, isolation, known_epoch};
use super::error;
use crate::broker::Broker;
use crate::machines::metadata::Image;
use crate::model::{LeaderEpoch, NodeId, PartitionId, Timestamp};
use crate::partition::{FoundOffset, OffsetQuery, Reader};
use crate::protocol::ErrorCode;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

/// From this version on an offset is told with its timestamp; before, as a list of offsets.
const TIMESTAMP_FROM: i16 = 1;
/// From this version on clients know OFFSET_NOT_AVAILABLE.
const NOT_AVAILABLE_FROM: i16 = 5;
/// A replica id of somebody who wants this very broker's answer, whoever leads.
const DEBUGGING_REPLICA: i32 = -2;

/// What a timestamp asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// This, of the shard.
    Query(OffsetQuery),
    /// Something of tiered storage, which there is none of: no offset.
    Nothing,
    /// What the version does not know.
    Unsupported,
}

/// Serves the request.
pub(super) async fn list_offsets(context: Context, caller: Caller, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let image = context.image();
    let twice = named_twice(&request);
    let reader = reader(&request);
    let mut refused = BTreeSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut look_ups = Vec::new();
    for (place, topic) in request.topics.into_iter().enumerate() {
        for asked in topic.partitions {
            let named = (topic.name.clone(), asked.partition_index);
            let is_twice = twice.contains(&named);
            if is_twice && !refused.insert(named) {
                continue;
            }
            let found = if is_twice { Err(ErrorCode::InvalidRequest) } else { find(&image, &topic.name, &asked) };
            look_ups.push((place, found, asked));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions: Vec::new() });
    }
    let (broker, version) = (context.broker(), caller.version);
    let answers = look_ups
        .into_iter()
        .map(|(place, found, asked)| async move { (place, partition(broker, reader, version, found, asked).await) });
    let mut answers = std::pin::pin!(stream::iter(answers).buffered(LOOK_UPS_AT_ONCE));
    while let Some((place, answer)) = answers.next().await {
        topics[place].partitions.push(answer);
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

fn named_twice(request: &ListOffsetsRequest) -> BTreeSet<(String, i32)> {
    let mut seen = BTreeSet::new();
    let partitions = request.topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (&topic.name, p)));
    let again = partitions.filter(|(name, p)| !seen.insert((*name, p.partition_index)));
    again.map(|(name, p)| (name.clone(), p.partition_index)).collect()
}

fn reader(request: &ListOffsetsRequest) -> Reader {
    if request.replica_id >= 0 {
        return Reader::Follower { node: NodeId::new(request.replica_id), broker_epoch: None };
    }
    Reader::Consumer {
        isolation: isolation(request.isolation_level),
        from_follower: request.replica_id == DEBUGGING_REPLICA,
    }
}

fn find(image: &Arc<Image>, name: &str, asked: &ListOffsetsPartition) -> Result<PartitionId, ErrorCode> {
    find_partition(image, TopicNamed::Name(name).find(image)?.id, asked.partition_index)
}

async fn partition(
    broker: &Broker,
    reader: Reader,
    version: i16,
    found: Result<PartitionId, ErrorCode>,
    asked: ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let outcome = look_up(broker, reader, version, found, &asked).await;
    answer(version, &asked, outcome)
}

fn answer(
    version: i16,
    asked: &ListOffsetsPartition,
    outcome: Result<Option<FoundOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse { partition_index: asked.partition_index, ..Default::default() };
    match outcome {
        Ok(None) => response,
        Ok(Some(found)) if version < TIMESTAMP_FROM => {
            let wanted = usize::from(asked.max_num_offsets > 0);
            let old_style_offsets = vec![found.offset.get()].into_iter().take(wanted).collect();
            ListOffsetsPartitionResponse { old_style_offsets, ..response }
        }
        Ok(Some(found)) => ListOffsetsPartitionResponse {
            timestamp: found.timestamp.get(),
            offset: found.offset.get(),
            leader_epoch: found.leader_epoch.map_or(LeaderEpoch::NONE, |epoch| epoch).get(),
            ..response
        },
        Err(error_code) => ListOffsetsPartitionResponse { error_code, ..response },
    }
}

async fn look_up(
    broker: &Broker,
    reader: Reader,
    version: i16,
    found: Result<PartitionId, ErrorCode>,
    asked: &ListOffsetsPartition,
) -> Result<Option<FoundOffset>, ErrorCode> {
    // Kafka refuses the timestamp before it looks for the partition, but after it has looked for repeats.
    let query = match query(asked.timestamp, version) {
        Asked::Unsupported if found != Err(ErrorCode::InvalidRequest) => return Err(ErrorCode::UnsupportedVersion),
        Asked::Nothing if found.is_ok() => return Ok(None),
        Asked::Query(query) => query,
        Asked::Unsupported | Asked::Nothing => return found.map(|_| None),
    };
    let (partition, epoch) = (found?, known_epoch(asked.current_leader_epoch));
    let mut outcome = broker.list_offset(partition, epoch, reader, query).await;
    // The oldest version asks for offsets before a time: when nothing is younger, that is the end.
    if version < TIMESTAMP_FROM && outcome.as_ref().is_ok_and(Option::is_none) {
        outcome = broker.list_offset(partition, epoch, reader, OffsetQuery::Latest).await;
    }
    outcome.map_err(|refusal| {
        let code = error::of_list(&refusal);
        let is_unknown = code == ErrorCode::OffsetNotAvailable && version < NOT_AVAILABLE_FROM;
        if is_unknown { ErrorCode::LeaderNotAvailable } else { code }
    })
}

/// Special timestamps are negative, each known from some version on.
fn query(timestamp: i64, version: i16) -> Asked {
    match timestamp {
        -1 => Asked::Query(OffsetQuery::Latest),
        -2 => Asked::Query(OffsetQuery::Earliest),
        -3 if version >= 7 => Asked::Query(OffsetQuery::MaxTimestamp),
        // The earliest that is kept here: all of it is.
        -4 if version >= 8 => Asked::Query(OffsetQuery::Earliest),
        -5 if version >= 9 => Asked::Nothing,
        -6 if version >= 11 => Asked::Nothing,
        0.. => Asked::Query(OffsetQuery::Timestamp(Timestamp::new(timestamp))),
        _ => Asked::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::list_offsets::ListOffsetsTopic;

    #[test]
    fn each_special_timestamp_is_known_from_its_version_on() {
        for (timestamp, since) in [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
            for version in 1..=11 {
                let is_known = query(timestamp, version) != Asked::Unsupported;
                assert_eq!(is_known, version >= since, "{timestamp} in version {version}");
            }
        }
        assert_eq!([-7, -100, i64::MIN].map(|timestamp| query(timestamp, 11)), [Asked::Unsupported; 3]);
        assert_eq!(query(i64::MAX, 1), Asked::Query(OffsetQuery::Timestamp(Timestamp::new(i64::MAX))));
    }

    #[test]
    fn the_oldest_version_is_told_a_list_of_offsets() {
        let found = || {
            let (timestamp, offset) = (Timestamp::new(5), crate::model::Offset::new(42));
            Ok(Some(FoundOffset { timestamp, offset, leader_epoch: None }))
        };
        let asked = |max_num_offsets| ListOffsetsPartition { max_num_offsets, ..Default::default() };
        assert_eq!(answer(0, &asked(2), found()).old_style_offsets, [42]);
        assert_eq!(answer(0, &asked(0), found()).old_style_offsets, [0; 0]);
        let refused = answer(0, &asked(1), Err(ErrorCode::NotLeaderOrFollower));
        assert_eq!((refused.error_code, refused.old_style_offsets.len()), (ErrorCode::NotLeaderOrFollower, 0));
        assert_eq!((answer(1, &asked(1), found()).offset, answer(1, &asked(1), found()).timestamp), (42, 5));
    }

    #[test]
    fn a_partition_named_twice_is_found_across_topics_of_one_name() {
        let topic = |name: &str, indexes: &[i32]| ListOffsetsTopic {
            name: name.to_owned(),
            partitions: indexes
                .iter()
                .map(|i| ListOffsetsPartition { partition_index: *i, ..Default::default() })
                .collect(),
        };
        let topics = vec![topic("a", &[0, 1]), topic("b", &[1]), topic("a", &[1])];
        let request = ListOffsetsRequest { topics, ..Default::default() };
        assert_eq!(named_twice(&request), BTreeSet::from([("a".to_owned(), 1)]));
    }
}
