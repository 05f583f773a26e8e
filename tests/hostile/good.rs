//! A client that does nothing wrong and must not notice that others do.
//!
//! It is the only writer of its topic, so the record at each offset of each partition is known beforehand.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use ottla::model::{ProducerEpoch, ProducerId, Sequence, Timestamp};
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::records::{Builder, Codec, Draft, Producer, split};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::batches::MADE_AT;
use crate::wire::Client;
use crate::world::{GOOD_GROUP, GOOD_TOPIC, PARTITIONS};

/// A longer wait for an answer counts as a stall: the `request.timeout.ms` of Kafka's clients.
const STALL: Duration = Duration::from_secs(30);
/// The pace: a client that has something to say now and then.
const PACE: Duration = Duration::from_millis(5);
/// Records in each batch.
const RECORDS: usize = 5;
/// What a decompressed batch may take.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What the client went through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Where each partition ends: everything below was acknowledged.
    pub(crate) ends: Vec<i64>,
    /// How long each produce took, in the order in which they were sent.
    pub(crate) produced: Vec<Duration>,
    /// How long each fetch took.
    pub(crate) fetched: Vec<Duration>,
}

impl Report {
    /// Records acknowledged.
    pub(crate) fn acknowledged(&self) -> i64 {
        self.ends.iter().sum()
    }
}

/// The value at an offset of a partition.
fn value(partition: usize, offset: i64) -> Vec<u8> {
    let text = format!("good record {offset} of partition {partition} ");
    text.repeat(1 + usize::try_from(offset % 7).expect("small")).into_bytes()
}

struct Good {
    client: Client,
    producer: (ProducerId, ProducerEpoch),
    report: Report,
}

/// Produces, fetches and commits until told to stop; an error is anything that a client would notice. `rounds` counts.
pub(crate) async fn run(
    port: u16,
    mut stop: watch::Receiver<bool>,
    rounds: watch::Sender<u64>,
) -> Result<Report, String> {
    let mut client = Client::connect(Ipv4Addr::LOCALHOST, port).await.map_err(|error| error.to_string())?;
    let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
    let id = client.call(4, &request).await?;
    // Makes the topic that keeps groups.
    let (key, key_type) = (GOOD_GROUP.to_owned(), 0);
    let asked = FindCoordinatorRequest { key, key_type, ..FindCoordinatorRequest::default() };
    let found = client.call(3, &asked).await?;
    if found.error_code != ErrorCode::None {
        return Err(format!("nobody coordinates groups: {:?}", found.error_code));
    }
    let ends = vec![0; usize::try_from(PARTITIONS).expect("few")];
    let report = Report { ends, ..Report::default() };
    let producer = (ProducerId::new(id.producer_id), ProducerEpoch::new(id.producer_epoch));
    let mut good = Good { client, producer, report };
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow_and_update() {
        pace.tick().await;
        let round = *rounds.borrow();
        let partition = usize::try_from(round % u64::try_from(PARTITIONS).expect("few")).expect("few");
        let stalled = |what: &str| format!("round {round}: no answer to {what} within {STALL:?}");
        let before = Instant::now();
        timeout(STALL, good.produce(partition)).await.map_err(|_| stalled("a produce"))??;
        let between = Instant::now();
        timeout(STALL, good.fetch_last(partition)).await.map_err(|_| stalled("a fetch"))??;
        good.report.produced.push(between - before);
        good.report.fetched.push(between.elapsed());
        timeout(STALL, good.commit(partition)).await.map_err(|_| stalled("a commit"))??;
        rounds.send_modify(|rounds| *rounds += 1);
    }
    Ok(good.report)
}

impl Good {
    /// Appends a batch and checks where it went.
    async fn produce(&mut self, partition: usize) -> Result<(), String> {
        let base = self.report.ends[partition];
        let codec = if base % 2 == 0 { Codec::None } else { Codec::Lz4 };
        let (id, epoch) = self.producer;
        let base_sequence = Sequence::new(i32::try_from(base).expect("few records"));
        let mut builder = Builder::new(codec).producer(Producer { id, epoch, base_sequence });
        for offset in base..base + i64::try_from(RECORDS).expect("few") {
            let value = value(partition, offset);
            let draft = Draft { timestamp: Timestamp::new(MADE_AT + offset), value: Some(&value), ..Draft::default() };
            builder.push(draft).expect("a small record");
        }
        let records = builder.build().expect("a small batch").bytes().clone();
        let index = i32::try_from(partition).expect("few");
        let data = vec![PartitionProduceData { index, records: Some(records) }];
        let topic = TopicProduceData { name: GOOD_TOPIC.to_owned(), partition_data: data, ..Default::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let response = self.client.call(9, &request).await?;
        let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let answer = answer.ok_or("a produce was answered without its partition")?;
        if answer.error_code != ErrorCode::None || answer.base_offset != base {
            let (code, found) = (answer.error_code, answer.base_offset);
            return Err(format!("partition {partition} answered {code:?} at {found}, not at {base}"));
        }
        self.report.ends[partition] += i64::try_from(RECORDS).expect("few");
        Ok(())
    }

    /// Reads what was appended last.
    async fn fetch_last(&mut self, partition: usize) -> Result<(), String> {
        let end = self.report.ends[partition];
        let from = end - i64::try_from(RECORDS).expect("few");
        let next = fetch(&mut self.client, partition, from, 1 << 16).await?;
        if next == end { Ok(()) } else { Err(format!("partition {partition} was read to {next}, not to {end}")) }
    }
}

impl Good {
    /// Commits where it has read to, and asks for it again.
    async fn commit(&mut self, partition: usize) -> Result<(), String> {
        let (index, end) = (i32::try_from(partition).expect("few"), self.report.ends[partition]);
        let offset = OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: end,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: GOOD_TOPIC.to_owned(),
            partitions: vec![offset],
            ..OffsetCommitRequestTopic::default()
        };
        let group_id = GOOD_GROUP.to_owned();
        let request = OffsetCommitRequest { group_id, topics: vec![topic], ..OffsetCommitRequest::default() };
        let response = self.client.call(8, &request).await?;
        let answer = response.topics.first().and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or("a commit was answered without its partition")?;
        if answer.error_code != ErrorCode::None {
            return Err(format!("a commit was answered with {:?}", answer.error_code));
        }
        let found = committed(&mut self.client, partition).await?;
        if found == end { Ok(()) } else { Err(format!("partition {partition} is committed to {found}, not to {end}")) }
    }
}

/// Where the good group goes on in a partition.
async fn committed(client: &mut Client, partition: usize) -> Result<i64, String> {
    let index = i32::try_from(partition).expect("few");
    let topic = OffsetFetchRequestTopic { name: GOOD_TOPIC.to_owned(), partition_indexes: vec![index] };
    let group_id = GOOD_GROUP.to_owned();
    let request = OffsetFetchRequest { group_id, topics: Some(vec![topic]), ..OffsetFetchRequest::default() };
    let response = client.call(7, &request).await?;
    let answer = response.topics.first().and_then(|topic| topic.partitions.first());
    let answer = answer.ok_or("committed offsets were answered without the partition")?;
    if response.error_code != ErrorCode::None || answer.error_code != ErrorCode::None {
        return Err(format!("committed offsets were answered with {:?}", (response.error_code, answer.error_code)));
    }
    Ok(answer.committed_offset)
}

/// Reads from an offset on and checks every record; gives the offset after the last.
async fn fetch(client: &mut Client, partition: usize, from: i64, bytes_max: i32) -> Result<i64, String> {
    let index = i32::try_from(partition).expect("few");
    let partition_max_bytes = bytes_max;
    let read = FetchPartition { partition: index, fetch_offset: from, partition_max_bytes, ..Default::default() };
    let topic = FetchTopic { topic: GOOD_TOPIC.to_owned(), partitions: vec![read], ..Default::default() };
    let request = FetchRequest { max_wait_ms: 5_000, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let response = client.call(12, &request).await?;
    let answer = response.responses.first().and_then(|topic| topic.partitions.first());
    let answer = answer.ok_or_else(|| format!("a fetch at {from} was answered without its partition: {response:?}"))?;
    if answer.error_code != ErrorCode::None {
        return Err(format!("a fetch at {from} was answered with {:?}", answer.error_code));
    }
    let mut next = from;
    for batch in split(answer.records.clone().unwrap_or_default().into_bytes()) {
        let batch = batch.map_err(|error| format!("a fetched batch cannot be read: {error}"))?;
        if !batch.crc_is_valid() {
            return Err(format!("the batch at {} is corrupt", batch.base_offset()));
        }
        for record in batch.records(BATCH_BYTES_MAX).map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            if record.offset.get() < from {
                continue;
            }
            let is_right = record.offset.get() == next && record.value == Some(Bytes::from(value(partition, next)));
            if !is_right {
                return Err(format!("at {next} of partition {partition} stands {record:?}"));
            }
            next += 1;
        }
    }
    Ok(next)
}

/// Reads everything that was acknowledged, on a connection of its own.
pub(crate) async fn verify(port: u16, report: &Report) -> Result<(), String> {
    let mut client = Client::connect(Ipv4Addr::LOCALHOST, port).await.map_err(|error| error.to_string())?;
    for (partition, end) in report.ends.iter().enumerate() {
        let mut next = 0;
        while next < *end {
            let reached = timeout(STALL, fetch(&mut client, partition, next, 1 << 20)).await;
            let reached = reached.map_err(|_| format!("no answer to a fetch at {next}"))??;
            if reached == next {
                return Err(format!("partition {partition} gives nothing at {next}, below {end}"));
            }
            next = reached;
        }
        let found = committed(&mut client, partition).await?;
        if found != *end {
            return Err(format!("partition {partition} is committed to {found}, not to {end}"));
        }
    }
    Ok(())
}
