//! Fetch: read batches, as a consumer or as a replica.
//!
//! Invariant: a fetch that cannot give all it was asked for says so per partition; only its session fails it whole.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, Caller, Started, answer_with};
use super::context::{Context, TopicNamed, find_partition, isolation, known_epoch, millis};
use super::error;
use super::fetch_answer::Answers;
use super::heavy;
use crate::broker::{FetchPlan, ReadOutcome, SessionFetch, SessionPartition, SessionRequest, SessionTopic};
use crate::codec::DecodeError;
use crate::machines::metadata::Image;
use crate::model::{BrokerEpoch, NodeId, Offset, PartitionId};
use crate::partition::{ReadRequest, Reader};
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse, FetchTopic, ForgottenTopic};
use crate::protocol::{ErrorCode, decode_request};
use crate::transport::Chunk;

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 13;
/// From this version on a consumer may be answered by a follower (KIP-392).
const FROM_FOLLOWER_FROM: i16 = 11;
/// From this version on a replica names itself in a structure of its own.
const REPLICA_STATE_FROM: i16 = 15;

/// Serves the request.
pub(super) fn start(call: Call) -> Result<Started, DecodeError> {
    let Call { context, caller, correlation_id, body } = call;
    let version = caller.version;
    let request = decode_request::<FetchRequest>(version, body)?;
    Ok(Started::Now(Box::pin(async move {
        let (response, records) = fetch(context, caller, request).await;
        answer_with(version, correlation_id, &response, records)
    })))
}

/// The response, and the records that are not in it.
async fn fetch(context: Context, caller: Caller, request: FetchRequest) -> (FetchResponse, Vec<Chunk>) {
    let version = caller.version;
    let reader = reader(&request, version);
    let is_follower = matches!(reader, Reader::Follower { .. });
    if is_follower && *caller.listener != *context.broker().options().inter_broker_listener {
        // What a replica fetches moves the high watermark: that is for brokers, not for any client (CVE-2018-1288).
        return failed(ErrorCode::ClusterAuthorizationFailed);
    }
    let bounds = bounds(&context, &request, caller.body_size);
    let session = session_request(request, version, is_follower);
    let open = match context.sessions().open(session, context.broker().now().instant) {
        Ok(open) => open,
        Err(cause) => return failed(error::of_session(cause)),
    };
    let image = context.image();
    let found: Vec<_> = open.reads.iter().map(|read| find(&image, read)).collect();
    let mut outcomes = read(&context, reader, bounds, plan(&open.reads, &found), found.len()).await.into_iter();
    let mut answers = Answers::new(&context, &caller, reader);
    for (read, found) in open.reads.iter().zip(&found) {
        match found {
            Ok(_) => {
                let outcome = outcomes.next().expect("every read of a plan is answered");
                answers.add(read.partition.index, outcome);
            }
            Err(code) => answers.add_unknown(read.partition.index, *code),
        }
    }
    let now = context.broker().now().instant;
    let closed = context.sessions().close(open, answers.told(), now, context.random());
    answers.respond(&closed)
}

/// How much a fetch gives, and how long it waits for that.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    bytes_max: usize,
    bytes_min: usize,
    wait: Duration,
}

fn bounds(context: &Context, request: &FetchRequest, body_size: usize) -> Bounds {
    let bytes_max = size(request.max_bytes).min(context.options().fetch_bytes_max);
    let bytes_min = size(request.min_bytes).min(bytes_max);
    // Others wait for the turn of a large one to end.
    let wait_max = heavy::wait_max(body_size).min(context.options().fetch_wait_max);
    let wait = millis(request.max_wait_ms).min(wait_max);
    Bounds { bytes_max, bytes_min, wait }
}

/// Has the broker read what exists of the `asked` partitions.
async fn read(
    context: &Context,
    reader: Reader,
    bounds: Bounds,
    reads: Vec<ReadRequest>,
    asked: usize,
) -> Vec<ReadOutcome> {
    if reads.is_empty() {
        return Vec::new();
    }
    let Bounds { bytes_max, bytes_min, wait } = bounds;
    // An error is told at once.
    let wait = if reads.len() < asked { Duration::ZERO } else { wait };
    context.broker().read(FetchPlan { reader, reads, bytes_max, bytes_min, wait }).await
}

fn failed(error_code: ErrorCode) -> (FetchResponse, Vec<Chunk>) {
    (FetchResponse { error_code, ..FetchResponse::default() }, Vec::new())
}

fn reader(request: &FetchRequest, version: i16) -> Reader {
    let state = &request.replica_state;
    let (node, epoch) =
        if version >= REPLICA_STATE_FROM { (state.replica_id, state.replica_epoch) } else { (request.replica_id, -1) };
    if node >= 0 {
        let broker_epoch = (epoch >= 0).then_some(BrokerEpoch::new(epoch));
        return Reader::Follower { node: NodeId::new(node), broker_epoch };
    }
    Reader::Consumer { isolation: isolation(request.isolation_level), from_follower: version >= FROM_FOLLOWER_FROM }
}

fn session_request(request: FetchRequest, version: i16, is_follower: bool) -> SessionRequest {
    let by_id = version >= BY_ID_FROM;
    let FetchRequest { session_id, session_epoch, topics, forgotten_topics_data, .. } = request;
    let fetches = topics.into_iter().flat_map(|topic| fetches(topic, by_id)).collect();
    let forgotten = forgotten_topics_data.into_iter().flat_map(|topic| forgotten(topic, by_id)).collect();
    SessionRequest { id: session_id, epoch: session_epoch, by_id, is_follower, fetches, forgotten }
}

fn fetches(topic: FetchTopic, by_id: bool) -> impl Iterator<Item = SessionFetch> {
    let name = if by_id { SessionTopic::Id(topic.topic_id) } else { SessionTopic::Name(Arc::from(topic.topic)) };
    topic.partitions.into_iter().map(move |partition| SessionFetch {
        partition: SessionPartition { topic: name.clone(), index: partition.partition },
        offset: Offset::new(partition.fetch_offset),
        leader_epoch: known_epoch(partition.current_leader_epoch),
        last_fetched_epoch: known_epoch(partition.last_fetched_epoch),
        last_crc: u32::try_from(partition.last_batch_crc).ok(),
        bytes_max: size(partition.partition_max_bytes),
    })
}

fn forgotten(topic: ForgottenTopic, by_id: bool) -> impl Iterator<Item = SessionPartition> {
    let name = if by_id { SessionTopic::Id(topic.topic_id) } else { SessionTopic::Name(Arc::from(topic.topic)) };
    topic.partitions.into_iter().map(move |index| SessionPartition { topic: name.clone(), index })
}

fn find(image: &Image, read: &SessionFetch) -> Result<PartitionId, ErrorCode> {
    let named = match &read.partition.topic {
        SessionTopic::Name(name) => TopicNamed::Name(name),
        SessionTopic::Id(id) => TopicNamed::Id(*id),
    };
    find_partition(image, named.find(image)?.id, read.partition.index)
}

fn plan(reads: &[SessionFetch], found: &[Result<PartitionId, ErrorCode>]) -> Vec<ReadRequest> {
    let known = reads.iter().zip(found).filter_map(|(read, found)| Some((read, (*found).ok()?)));
    let request = |(read, partition): (&SessionFetch, PartitionId)| ReadRequest {
        partition,
        offset: read.offset,
        leader_epoch: read.leader_epoch,
        last_fetched_epoch: read.last_fetched_epoch,
        last_crc: read.last_crc,
        bytes_max: read.bytes_max,
    };
    known.map(request).collect()
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::ConsumerIsolation;
    use crate::protocol::messages::fetch::ReplicaState;

    #[test]
    fn a_replica_names_itself_where_its_version_says() {
        let state = ReplicaState { replica_id: 2, replica_epoch: 9 };
        let request = FetchRequest { replica_id: 1, replica_state: state, ..Default::default() };
        let old = Reader::Follower { node: NodeId::new(1), broker_epoch: None };
        assert_eq!(reader(&request, 14), old);
        let new = Reader::Follower { node: NodeId::new(2), broker_epoch: Some(BrokerEpoch::new(9)) };
        assert_eq!(reader(&request, 15), new);
    }

    #[test]
    fn a_consumer_may_read_from_a_follower_only_in_versions_that_know_of_it() {
        let request = FetchRequest { isolation_level: 1, ..Default::default() };
        for (version, from_follower) in [(10, false), (11, true)] {
            let isolation = ConsumerIsolation::ReadCommitted;
            assert_eq!(reader(&request, version), Reader::Consumer { isolation, from_follower });
        }
    }
}
