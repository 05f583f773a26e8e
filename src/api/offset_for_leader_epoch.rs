//! OffsetForLeaderEpoch: where a leader epoch ends, so that a reader sees that a log was cut.
//!
//! Invariant: an epoch that is not known is no error; it has no end.

use futures_util::stream::{self, StreamExt as _};

use super::call::Caller;
use super::context::{Context, LOOK_UPS_AT_ONCE, TopicNamed, find_partition, known_epoch};
use super::error;
use crate::broker::Broker;
use crate::model::{LeaderEpoch, PartitionId};
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

/// Serves the request.
pub(super) async fn offset_for_leader_epoch(
    context: Context,
    _: Caller,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = context.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = TopicNamed::Name(&topic.topic).find(&image).map(|found| found.id);
        let partitions = topic.partitions.into_iter().map(|asked| {
            let partition = found.and_then(|topic| find_partition(&image, topic, asked.partition));
            end(context.broker(), partition, asked)
        });
        let partitions = stream::iter(partitions).buffered(LOOK_UPS_AT_ONCE).collect().await;
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }
}

async fn end(
    broker: &Broker,
    partition: Result<PartitionId, ErrorCode>,
    asked: OffsetForLeaderPartition,
) -> EpochEndOffset {
    let response = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    let partition = match partition {
        Ok(partition) => partition,
        Err(error_code) => return EpochEndOffset { error_code, ..response },
    };
    let epoch = LeaderEpoch::new(asked.leader_epoch);
    match broker.epoch_end(partition, known_epoch(asked.current_leader_epoch), epoch).await {
        // Nobody has ever written under a negative epoch.
        Ok(Some(end)) if asked.leader_epoch >= 0 => {
            EpochEndOffset { leader_epoch: end.epoch.get(), end_offset: end.end.get(), ..response }
        }
        Ok(Some(_) | None) => response,
        Err(refusal) => EpochEndOffset { error_code: error::of_list(&refusal), ..response },
    }
}
