//! Produce: append batches.
//!
//! Invariant: when a request has started, every batch of it that passed its checks is in its shard's inbox, so that the
//! produces of a connection keep their order though they overlap.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::call::{Call, Caller, Started, answer};
use super::context::{Context, TopicNamed, find_partition, millis};
use super::error;
use crate::broker::PendingAppend;
use crate::codec::DecodeError;
use crate::machines::metadata::{Image, Topic};
use crate::machines::replication::Acks;
use crate::model::{PartitionId, PartitionIndex, Timestamp, TopicId};
use crate::protocol::messages::leader_hint::LeaderIdAndEpoch;
use crate::protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use crate::protocol::{ErrorCode, decode_request};
use crate::records::{
    Batch, Compression, CompressionRule, Header, ProduceRules, RecordFailure, Refusal, check_produced,
};
use crate::transport::Answer;

/// From this version on topics are named by id.
const BY_ID_FROM: i16 = 13;
/// From this version on a client that came to the wrong broker is told the right one (KIP-951).
const HINTS_FROM: i16 = 10;
/// A compressed batch of no more bytes is checked where it arrives: it holds a few megabytes at the very most.
const SMALL_BATCH_BYTES: usize = 512;
/// The only client that may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// A request being served.
struct Produce {
    context: Context,
    caller: Caller,
    image: Arc<Image>,
    acks: Result<Acks, ErrorCode>,
    within: Duration,
    /// Whether batches of a transaction come without a transactional id.
    is_unauthorized: bool,
    /// What was appended to already: a partition named twice is refused the second time.
    seen: BTreeSet<PartitionId>,
}

/// A partition of the request.
enum Part {
    Refused(PartitionProduceResponse),
    Appended { index: i32, partition: PartitionId, append: PendingAppend },
}

/// A topic of the request.
struct TopicParts {
    answer: TopicProduceResponse,
    parts: Vec<Part>,
}

/// Why a batch is not even sent to its shard.
struct Fault {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

/// Serves the request: checks and appends now, unless it takes long, and waits in what it gives back.
pub(super) fn start(call: Call) -> Result<Started, DecodeError> {
    let Call { context, caller, correlation_id, body } = call;
    let version = caller.version;
    let request = decode_request::<ProduceRequest>(version, body)?;
    let acks = acks(request.acks);
    let mut produce = Produce {
        image: context.image(),
        acks,
        within: millis(request.timeout_ms),
        is_unauthorized: request.transactional_id.is_none() && has_transactional(&request),
        seen: BTreeSet::new(),
        context,
        caller,
    };
    let takes_long = request.topic_data.iter().any(|topic| produce.may_take_long(topic));
    let context = produce.context.clone();
    let append = move || {
        let topics: Vec<TopicParts> = request.topic_data.into_iter().map(|topic| produce.topic(topic)).collect();
        Started::Now(Box::pin(async move {
            let response = produce.finish(topics).await;
            if acks == Ok(Acks::None) { quiet(&response) } else { answer(version, correlation_id, &response) }
        }))
    };
    if takes_long {
        return Ok(Started::Later(Box::pin(async move { context.long_work().apart(append).await })));
    }
    Ok(append())
}

fn acks(acks: i16) -> Result<Acks, ErrorCode> {
    match acks {
        -1 => Ok(Acks::All),
        0 => Ok(Acks::None),
        1 => Ok(Acks::Leader),
        _ => Err(ErrorCode::InvalidRequiredAcks),
    }
}

/// With acks=0 a client learns of an error by losing its connection.
fn quiet(response: &ProduceResponse) -> Answer {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    if partitions.any(|partition| !partition.error_code.is_none()) {
        return Answer::Close;
    }
    Answer::Silent { mute: Duration::ZERO }
}

fn has_transactional(request: &ProduceRequest) -> bool {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut headers = partitions.filter_map(|partition| Header::parse(partition.records.as_ref()?).ok());
    headers.any(|header| header.is_transactional())
}

impl Produce {
    fn topic(&mut self, data: TopicProduceData) -> TopicParts {
        let TopicProduceData { name, topic_id, partition_data } = data;
        let image = Arc::clone(&self.image);
        let found = self.find(&image, &name, topic_id);
        let parts = partition_data.into_iter().map(|data| match &found {
            Ok((topic, rules)) => self.partition(topic, rules, data),
            Err(code) => Part::Refused(refused(data.index, self.unauthorized_or(*code).into())),
        });
        let parts = parts.collect();
        TopicParts { answer: TopicProduceResponse { name, topic_id, partition_responses: Vec::new() }, parts }
    }

    fn find<'a>(
        &self,
        image: &'a Arc<Image>,
        name: &'a str,
        id: TopicId,
    ) -> Result<(&'a Topic, ProduceRules), ErrorCode> {
        let named = if self.caller.version >= BY_ID_FROM { TopicNamed::Id(id) } else { TopicNamed::Name(name) };
        named.find(image).map(|topic| {
            let settings = || self.context.cluster().topic_settings(image, topic.id);
            (topic, self.context.rules().rules(image, topic.id, self.caller.version, settings))
        })
    }

    /// Whether a batch is compressed, or to be: then it may hold far more than it has bytes (rule B8).
    fn may_take_long(&self, data: &TopicProduceData) -> bool {
        let partitions = data.partition_data.iter();
        let mut large =
            partitions.filter_map(|data| data.records.as_ref()).filter(|records| records.len() > SMALL_BATCH_BYTES);
        let is_compressed = |header: Header| header.compression() != Some(Compression::None);
        let Some(first) = large.next() else { return false };
        std::iter::once(first).chain(large).any(|records| Header::parse(records).is_ok_and(is_compressed))
            || self
                .find(&self.image, &data.name, data.topic_id)
                .is_ok_and(|(_, rules)| rules.compression != CompressionRule::Producer)
    }

    fn unauthorized_or(&self, code: ErrorCode) -> ErrorCode {
        if self.is_unauthorized { ErrorCode::TransactionalIdAuthorizationFailed } else { code }
    }

    fn partition(&mut self, topic: &Topic, rules: &ProduceRules, data: PartitionProduceData) -> Part {
        let index = data.index;
        match self.check(topic, rules, data) {
            Ok((partition, acks, batch)) => {
                let append = self.context.broker().append(partition, batch, acks, self.within);
                Part::Appended { index, partition, append }
            }
            Err(fault) => {
                let partition = PartitionId { topic: topic.id, index: PartitionIndex::new(index) };
                let hint = self.hint(fault.code, partition);
                Part::Refused(PartitionProduceResponse { current_leader: hint, ..refused(index, fault) })
            }
        }
    }

    /// In the order of Kafka's checks, as far as they can be made outside the shard.
    fn check(
        &mut self,
        topic: &Topic,
        rules: &ProduceRules,
        data: PartitionProduceData,
    ) -> Result<(PartitionId, Acks, Batch), Fault> {
        if self.is_unauthorized {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
        }
        let partition = find_partition(&self.image, topic.id, data.index)?;
        let acks = self.acks?;
        if topic.name.is_internal() && self.caller.client_id.as_deref() != Some(ADMIN_CLIENT) {
            return Err(ErrorCode::InvalidTopicException.into());
        }
        if !self.seen.insert(partition) {
            return Err(ErrorCode::InvalidRequest.into());
        }
        if self.image.partition(partition).is_none_or(|state| state.leader != Some(self.context.broker().node())) {
            return Err(ErrorCode::NotLeaderOrFollower.into());
        }
        let batch = self.batch(rules, data.records.unwrap_or_default())?;
        Ok((partition, acks, batch))
    }

    fn batch(&self, rules: &ProduceRules, records: Bytes) -> Result<Batch, Fault> {
        let now = self.context.broker().now().timestamp;
        let batch = check_produced(records, rules, now).map_err(|refusal| fault(&refusal))?.batch;
        if batch.header().is_transactional() {
            // Nobody can have begun a transaction: there is no coordinator yet.
            let message = Some("transactions are not supported yet".to_owned());
            return Err(Fault { message, ..ErrorCode::InvalidTxnState.into() });
        }
        Ok(batch)
    }

    async fn finish(self, topics: Vec<TopicParts>) -> ProduceResponse {
        let mut responses = Vec::with_capacity(topics.len());
        for TopicParts { mut answer, parts } in topics {
            for part in parts {
                answer.partition_responses.push(self.outcome(part).await);
            }
            responses.push(answer);
        }
        let partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
        let leaders: Vec<i32> = partitions.map(|partition| partition.current_leader.leader_id).collect();
        let node_endpoints = self.context.endpoints(&self.image, &self.caller.listener, &leaders);
        ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() }
    }

    async fn outcome(&self, part: Part) -> PartitionProduceResponse {
        let (index, partition, append) = match part {
            Part::Refused(response) => return response,
            Part::Appended { index, partition, append } => (index, partition, append),
        };
        match append.outcome().await {
            Ok(acked) => PartitionProduceResponse {
                index,
                base_offset: acked.base_offset.get(),
                log_append_time_ms: acked.append_time.get(),
                log_start_offset: acked.log_start.get(),
                ..PartitionProduceResponse::default()
            },
            Err(refusal) => {
                let code = error::of_append(&refusal);
                let fault = Fault { message: Some(refusal.to_string()), ..code.into() };
                PartitionProduceResponse { current_leader: self.hint(code, partition), ..refused(index, fault) }
            }
        }
    }

    /// Asked of the newest image: a leader that has just moved is what the client wants to know.
    fn hint(&self, code: ErrorCode, partition: PartitionId) -> LeaderIdAndEpoch {
        if self.caller.version < HINTS_FROM || code != ErrorCode::NotLeaderOrFollower {
            return LeaderIdAndEpoch::default();
        }
        Context::leader_hint(&self.context.image(), partition)
    }
}

fn refused(index: i32, fault: Fault) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: fault.code,
        base_offset: -1,
        log_append_time_ms: Timestamp::NONE.get(),
        record_errors: fault.records,
        error_message: fault.message,
        ..PartitionProduceResponse::default()
    }
}

fn fault(refusal: &Refusal) -> Fault {
    let record = |failure: &RecordFailure| BatchIndexAndErrorMessage {
        batch_index: failure.index,
        batch_index_error_message: Some(failure.fault.to_string()),
    };
    Fault {
        code: error::of_batch(refusal),
        message: Some(refusal.to_string()),
        records: refusal.failures().iter().map(record).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(code: ErrorCode) -> ProduceResponse {
        let topic = TopicProduceResponse { partition_responses: vec![refused(0, code.into())], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    #[test]
    fn without_acks_an_error_closes_the_connection_and_nothing_else_is_said() {
        assert!(matches!(quiet(&response(ErrorCode::None)), Answer::Silent { .. }));
        assert!(matches!(quiet(&response(ErrorCode::CorruptMessage)), Answer::Close));
    }

    #[test]
    fn acks_are_three() {
        assert_eq!([-1, 0, 1].map(acks), [Ok(Acks::All), Ok(Acks::None), Ok(Acks::Leader)]);
        assert_eq!([-2, 2].map(acks), [Err(ErrorCode::InvalidRequiredAcks); 2]);
    }
}
