//! The answer to a fetch: partition by partition, then only what the session's client does not know.
//!
//! Invariant: `told` and `partitions` have one entry for each partition that was asked for, in that order.

use super::call::Caller;
use super::context::Context;
use super::error;
use crate::broker::{ClosedFetch, Read, ReadOutcome, SessionTopic, Told};
use crate::codec::Payload;
use crate::model::{Offset, PartitionId};
use crate::partition::{AbortedTransaction as Aborted, ConsumerIsolation, Reader};
use crate::protocol::ErrorCode;
use crate::protocol::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::transport::Chunk;

/// From this version on a client that came to the wrong broker is told the right one (KIP-951).
const HINTS_FROM: i16 = 16;
/// Up to this version clients do not know KAFKA_STORAGE_ERROR.
const NO_STORAGE_ERROR_TO: i16 = 5;

/// The answer in the making.
pub(super) struct Answers<'a> {
    context: &'a Context,
    caller: &'a Caller,
    is_committed: bool,
    partitions: Vec<(PartitionData, Vec<Chunk>)>,
    told: Vec<Told>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(context: &'a Context, caller: &'a Caller, reader: Reader) -> Self {
        let is_committed = match reader {
            Reader::Consumer { isolation, .. } => isolation == ConsumerIsolation::ReadCommitted,
            Reader::Follower { .. } => false,
        };
        Self { context, caller, is_committed, partitions: Vec::new(), told: Vec::new() }
    }

    /// What the broker answered for a partition.
    pub(super) fn add(&mut self, index: i32, outcome: ReadOutcome) {
        match outcome.outcome {
            Ok(read) => self.add_read(index, read),
            Err(cause) => {
                let code = self.code(error::of_read(&cause));
                let data = refusal(index, code);
                let data = self.hinted(data, outcome.partition);
                self.add_refused(data);
            }
        }
    }

    /// A partition that does not exist.
    pub(super) fn add_unknown(&mut self, index: i32, code: ErrorCode) {
        self.add_refused(PartitionData { aborted_transactions: Some(Vec::new()), ..refusal(index, code) });
    }

    fn add_refused(&mut self, data: PartitionData) {
        let none = Offset::new(-1);
        self.told.push(Told {
            high_watermark: none,
            log_start: none,
            has_records: false,
            is_urgent: true,
            is_error: true,
        });
        self.partitions.push((data, Vec::new()));
    }

    fn add_read(&mut self, index: i32, read: Read) {
        self.told.push(Told {
            high_watermark: read.high_watermark,
            log_start: read.log_start,
            has_records: read.size() > 0,
            is_urgent: read.diverging.is_some(),
            is_error: false,
        });
        let size = read.size();
        let diverging = read.diverging.map(|end| EpochEndOffset { epoch: end.epoch.get(), end_offset: end.end.get() });
        let data = PartitionData {
            partition_index: index,
            high_watermark: read.high_watermark.get(),
            last_stable_offset: read.last_stable.get(),
            log_start_offset: read.log_start.get(),
            diverging_epoch: diverging.unwrap_or_default(),
            aborted_transactions: self.is_committed.then(|| read.aborted.iter().map(aborted).collect()),
            records: Some(Payload::Elsewhere { size }),
            ..PartitionData::default()
        };
        self.partitions.push((data, read.records));
    }

    fn code(&self, code: ErrorCode) -> ErrorCode {
        let is_unknown = code == ErrorCode::KafkaStorageError && self.caller.version <= NO_STORAGE_ERROR_TO;
        if is_unknown { ErrorCode::NotLeaderOrFollower } else { code }
    }

    fn hinted(&self, mut data: PartitionData, partition: PartitionId) -> PartitionData {
        let is_misled = matches!(data.error_code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
        if is_misled && self.caller.version >= HINTS_FROM {
            data.current_leader = Context::leader_hint(&self.context.image(), partition);
        }
        data
    }

    /// What is told of each partition, for the session.
    pub(super) fn told(&self) -> &[Told] {
        &self.told
    }

    /// The response: what the client does not know, partitions of one topic side by side as they were asked for; and
    /// the records of those partitions.
    pub(super) fn respond(self, closed: &ClosedFetch) -> (FetchResponse, Vec<Chunk>) {
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        let mut records = Vec::new();
        let mut leaders = Vec::new();
        let mut last: Option<&SessionTopic> = None;
        for ((read, (data, chunks)), _) in
            closed.reads.iter().zip(self.partitions).zip(&closed.is_told).filter(|(_, told)| **told)
        {
            leaders.push(data.current_leader.leader_id);
            records.extend(chunks);
            let topic = &read.partition.topic;
            if last != Some(topic) {
                responses.push(topic_response(topic));
                last = Some(topic);
            }
            responses.last_mut().expect("a topic was just pushed").partitions.push(data);
        }
        let image = self.context.image();
        let node_endpoints = self.context.endpoints(&image, &self.caller.listener, &leaders);
        (FetchResponse { session_id: closed.id, responses, node_endpoints, ..FetchResponse::default() }, records)
    }
}

fn refusal(index: i32, error_code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index: index,
        error_code,
        high_watermark: -1,
        records: Some(Payload::default()),
        ..PartitionData::default()
    }
}

fn topic_response(topic: &SessionTopic) -> FetchableTopicResponse {
    match topic {
        SessionTopic::Name(name) => {
            FetchableTopicResponse { topic: name.to_string(), ..FetchableTopicResponse::default() }
        }
        SessionTopic::Id(id) => FetchableTopicResponse { topic_id: *id, ..FetchableTopicResponse::default() },
    }
}

fn aborted(transaction: &Aborted) -> AbortedTransaction {
    AbortedTransaction { producer_id: transaction.producer.get(), first_offset: transaction.first.get() }
}
