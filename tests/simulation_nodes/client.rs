//! A small Kafka client over the simulated network.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::{ErrorCode, Request, decode_response, encode_request};
use ottla::records::{Builder, Codec, Draft, split};
use ottla::telemetry::Metrics;
use ottla::transport::{ClientConnection, ClientOptions, Dialer, HostPort};

use crate::cluster::{CLIENT_PORT, Cluster, host_name};
use crate::world::Random;

/// The topic of every run.
pub(crate) const TOPIC: &str = "simulated";
/// How long an answer may take beyond what the request allows.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the broker may wait for the in-sync followers.
const PRODUCE_TIMEOUT_MS: i32 = 3_000;

/// One client.
pub(crate) struct Client {
    topic: String,
    pub(crate) random: Random,
    connections: BTreeMap<i32, ClientConnection>,
    leaders: BTreeMap<i32, i32>,
    metrics: Metrics,
}

/// One record as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) value: u64,
}

impl Client {
    /// Of one topic.
    pub(crate) fn of(topic: &str, seed: u64) -> Self {
        let (topic, random) = (topic.to_owned(), Random::new(seed));
        Self { topic, random, connections: BTreeMap::new(), leaders: BTreeMap::new(), metrics: Metrics::new() }
    }

    /// Asks one node.
    async fn call<R: Request>(&mut self, node: i32, version: i16, request: &R) -> Result<R::Response, String> {
        self.call_within(ANSWER_WAIT, node, version, request).await
    }

    async fn call_within<R: Request>(
        &mut self,
        wait: Duration,
        node: i32,
        version: i16,
        request: &R,
    ) -> Result<R::Response, String> {
        if !self.connections.contains_key(&node) {
            let mut dialer = Dialer::new(HostPort::new(host_name(node), CLIENT_PORT));
            let (options, metrics) = (ClientOptions::default(), self.metrics.transport.clone());
            let opened = ClientConnection::open(&mut dialer, &options, metrics).await;
            self.connections.insert(node, opened.map_err(|error| format!("dialling {node}: {error}"))?);
        }
        let connection = self.connections.get_mut(&node).expect("it was opened just now");
        let encode = |correlation| encode_request(version, correlation, "simulation", request).into_unsized_chunks();
        let answer = connection.call(encode, wait).await;
        if answer.is_err() {
            self.connections.remove(&node);
        }
        let answer = answer.map_err(|error| format!("asking {node}: {error}"))?;
        decode_response(version, answer).map_err(|error| format!("{node} answered what cannot be read: {error}"))
    }

    fn anyone(&mut self) -> i32 {
        let nodes: Vec<i32> = Cluster::nodes().collect();
        nodes[self.random.below(nodes.len())]
    }

    /// Asks some node for the leaders.
    async fn refresh(&mut self) -> Result<(), String> {
        let node = self.anyone();
        self.metadata(node).await.map(|_| ())
    }

    /// What one node knows of the topic.
    pub(crate) async fn metadata(&mut self, node: i32) -> Result<MetadataResponse, String> {
        let topic = MetadataRequestTopic { name: Some(self.topic.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let request = MetadataRequest { allow_auto_topic_creation: false, ..request };
        let response = self.call(node, 9, &request).await?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                if partition.leader_id >= 0 {
                    self.leaders.insert(partition.partition_index, partition.leader_id);
                } else {
                    self.leaders.remove(&partition.partition_index);
                }
            }
        }
        Ok(response)
    }

    /// Creates the topic, by this node or anyone; fine when it is there.
    pub(crate) async fn create_topic(
        &mut self,
        node: Option<i32>,
        partitions: i32,
        within: Duration,
    ) -> Result<(), String> {
        let node = node.unwrap_or_else(|| self.anyone());
        let topic = CreatableTopic {
            name: self.topic.clone(),
            num_partitions: partitions,
            replication_factor: 3,
            ..Default::default()
        };
        let timeout_ms = i32::try_from(within.as_millis()).expect("short");
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms, ..Default::default() };
        // The node may wait as long for the controller as for its own image to show the topic.
        let response = self.call_within(within * 2 + ANSWER_WAIT, node, 5, &request).await?;
        match response.topics.first().map(|topic| topic.error_code) {
            Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Deletes the topic; fine when it is gone.
    pub(crate) async fn delete_topic(&mut self) -> Result<(), String> {
        let node = self.anyone();
        let request =
            DeleteTopicsRequest { topic_names: vec![self.topic.clone()], timeout_ms: 3_000, ..Default::default() };
        self.leaders.clear();
        let response = self.call(node, 5, &request).await?;
        match response.responses.first().map(|topic| topic.error_code) {
            Some(ErrorCode::None | ErrorCode::UnknownTopicOrPartition) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Whom this client takes for the leader, after a look at the metadata if it knows of none.
    async fn leader(&mut self, partition: i32) -> Result<i32, String> {
        if !self.leaders.contains_key(&partition) {
            self.refresh().await?;
        }
        self.leaders.get(&partition).copied().ok_or_else(|| "no leader".to_owned())
    }

    /// Appends values with acks=all. Gives the first one's offset.
    pub(crate) async fn produce(&mut self, partition: i32, values: &[u64]) -> Result<i64, String> {
        let leader = self.leader(partition).await?;
        let topic = TopicProduceData {
            name: self.topic.clone(),
            partition_data: vec![PartitionProduceData { index: partition, records: Some(batch(values)) }],
            ..Default::default()
        };
        let timeout_ms = PRODUCE_TIMEOUT_MS;
        let request = ProduceRequest { acks: -1, timeout_ms, topic_data: vec![topic], ..Default::default() };
        let outcome = self.call(leader, 9, &request).await.and_then(|response| {
            let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
            let answer = answer.ok_or("an answer without the partition")?;
            if answer.error_code != ErrorCode::None {
                return Err(format!("{leader} refused: {:?}", answer.error_code));
            }
            Ok(answer.base_offset)
        });
        if outcome.is_err() {
            self.leaders.remove(&partition);
        }
        outcome
    }

    /// Asks for the leader anew before the next request.
    pub(crate) fn forget_leader(&mut self, partition: i32) {
        self.leaders.remove(&partition);
    }

    /// Reads from an offset on.
    pub(crate) async fn fetch(&mut self, partition: i32, from: i64) -> Result<Vec<Record>, String> {
        let leader = self.leader(partition).await?;
        let read =
            FetchPartition { partition, fetch_offset: from, partition_max_bytes: 64 << 10, ..Default::default() };
        let topic = FetchTopic { topic: self.topic.clone(), partitions: vec![read], ..Default::default() };
        let request = FetchRequest { max_wait_ms: 300, min_bytes: 1, topics: vec![topic], ..Default::default() };
        let outcome = self.call(leader, 12, &request).await.and_then(|response| {
            let answer = response.responses.first().and_then(|topic| topic.partitions.first());
            let answer = answer.ok_or_else(|| format!("{:?}: an answer without the partition", response.error_code))?;
            if answer.error_code != ErrorCode::None {
                return Err(format!("{leader} refused: {:?}", answer.error_code));
            }
            read_all(answer.records.clone().unwrap_or_default().into_bytes(), from)
        });
        if outcome.is_err() {
            self.leaders.remove(&partition);
        }
        outcome
    }
}

fn batch(values: &[u64]) -> Bytes {
    let mut builder = Builder::new(Codec::None);
    for value in values {
        let bytes = value.to_be_bytes();
        builder.push(Draft { value: Some(&bytes), ..Draft::default() }).expect("a small record");
    }
    builder.build().expect("a small batch").bytes().clone()
}

/// The records at and above an offset.
pub(crate) fn read_all(bytes: Bytes, from: i64) -> Result<Vec<Record>, String> {
    let mut found = Vec::new();
    for batch in split(bytes) {
        let batch = batch.map_err(|error| format!("CORRUPT: {error}"))?;
        if !batch.crc_is_valid() {
            return Err(format!("CORRUPT: the batch at {}", batch.base_offset()));
        }
        for record in batch.records(1 << 20).map_err(|error| format!("CORRUPT: {error}"))? {
            let record = record.map_err(|error| format!("CORRUPT: {error}"))?;
            let value = record.value.as_deref().and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            let value = value.ok_or_else(|| format!("CORRUPT: the record at {}", record.offset))?;
            if record.offset.get() >= from {
                found.push(Record { offset: record.offset.get(), value });
            }
        }
    }
    Ok(found)
}
