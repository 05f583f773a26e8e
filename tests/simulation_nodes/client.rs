//! A small Kafka client over the simulated network, which writes down what it asks and what it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ottla::model::{LeaderEpoch, NodeId, Offset, PartitionId, PartitionIndex, TopicId};
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::delete_topics::DeleteTopicsRequest;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use ottla::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::{ErrorCode, Request, decode_response, encode_request};
use ottla::records::{Builder, Codec, Draft, split};
use ottla::telemetry::Metrics;
use ottla::testing::evidence;
use ottla::transport::{ClientConnection, ClientOptions, Dialer, HostPort};
use ottla::verify::history::{Administration, AdministrationKind, Class, ClientId, Isolation, Poll, PollOutcome, Seen};

use crate::board::{Outgoing, Shared, now};
use crate::cluster::{CLIENT_PORT, Cluster, NODES, host_name};
use crate::world::Random;

/// The topic of every run.
pub(crate) const TOPIC: &str = "simulated";
/// How long an answer may take beyond what the request allows.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the broker may wait for the in-sync followers.
const PRODUCE_TIMEOUT_MS: i32 = 3_000;
/// How long a broker may wait for records.
const FETCH_WAIT_MS: i32 = 300;

/// One client of one topic.
pub(crate) struct Client {
    board: Shared,
    id: ClientId,
    topic: String,
    topic_id: Option<TopicId>,
    incarnation: u32,
    pub(crate) random: Random,
    connections: BTreeMap<i32, ClientConnection>,
    leaders: BTreeMap<i32, Leader>,
    metrics: Metrics,
}

/// Whom a client takes for a partition's leader.
#[derive(Clone, Copy, Debug)]
struct Leader {
    node: i32,
    epoch: i32,
}

/// Why something was not done.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Nothing was sent.
    Unsent(String),
    /// It was answered so.
    Refused(i32, ErrorCode),
    /// Nobody knows.
    Unknown(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(cause) | Self::Unknown(cause) => f.write_str(cause),
            Self::Refused(node, code) => write!(f, "{node} refused: {code:?}"),
        }
    }
}

impl Trouble {
    /// How a write ended that met it. Which refusals come before anything is written, the broker's documentation says;
    /// a leader that resigns refuses what it has written, too.
    const fn class(&self) -> Class {
        match self {
            Self::Unsent(_) | Self::Refused(_, ErrorCode::NotEnoughReplicas | ErrorCode::UnknownTopicOrPartition) => {
                Class::Fail
            }
            Self::Refused(..) | Self::Unknown(_) => Class::Info,
        }
    }
}

impl Client {
    /// Of one topic.
    pub(crate) fn of(board: &Shared, id: u32, topic: &str, seed: u64) -> Self {
        Self {
            board: Shared::clone(board),
            id: ClientId(id),
            topic: topic.to_owned(),
            topic_id: None,
            incarnation: 0,
            random: Random::new(seed),
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            metrics: Metrics::new(),
        }
    }

    /// Asks one node.
    async fn call<R: Request>(&mut self, node: i32, version: i16, request: &R) -> Result<R::Response, Trouble> {
        self.call_within(ANSWER_WAIT, node, version, request).await
    }

    async fn call_within<R: Request>(
        &mut self,
        wait: Duration,
        node: i32,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Trouble> {
        if !self.connections.contains_key(&node) {
            let mut dialer = Dialer::new(HostPort::new(host_name(node), CLIENT_PORT));
            let (options, metrics) = (ClientOptions::default(), self.metrics.transport.clone());
            let opened = ClientConnection::open(&mut dialer, &options, metrics).await;
            let opened = opened.map_err(|error| Trouble::Unsent(format!("dialling {node}: {error}")))?;
            self.connections.insert(node, opened);
        }
        let connection = self.connections.get_mut(&node).expect("it was opened just now");
        let encode = |correlation| encode_request(version, correlation, "simulation", request).into_unsized_chunks();
        let answer = connection.call(encode, wait).await;
        if answer.is_err() {
            self.connections.remove(&node);
        }
        let answer = answer.map_err(|error| Trouble::Unknown(format!("asking {node}: {error}")))?;
        let unreadable = |error| Trouble::Unknown(format!("{node} answered what cannot be read: {error}"));
        decode_response(version, answer).map_err(unreadable)
    }

    fn anyone(&mut self) -> i32 {
        let nodes: Vec<i32> = Cluster::nodes().collect();
        nodes[self.random.below(nodes.len())]
    }

    /// Asks some node for the leaders.
    async fn refresh(&mut self) -> Result<(), Trouble> {
        let node = self.anyone();
        self.metadata(node).await.map(|_| ())
    }

    /// What one node knows of the topic.
    pub(crate) async fn metadata(&mut self, node: i32) -> Result<MetadataResponse, Trouble> {
        let topic = MetadataRequestTopic { name: Some(self.topic.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        let request = MetadataRequest { allow_auto_topic_creation: false, ..request };
        let response = self.call(node, 12, &request).await?;
        for topic in response.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
            self.topic_id = Some(topic.topic_id);
            for partition in &topic.partitions {
                if partition.leader_id >= 0 {
                    let leader = Leader { node: partition.leader_id, epoch: partition.leader_epoch };
                    self.leaders.insert(partition.partition_index, leader);
                } else {
                    self.leaders.remove(&partition.partition_index);
                }
            }
        }
        Ok(response)
    }

    /// The names of all topics, as some node knows them.
    pub(crate) async fn topics(&mut self) -> Result<Vec<String>, Trouble> {
        let node = self.anyone();
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        let response = self.call(node, 12, &request).await?;
        Ok(response.topics.into_iter().filter_map(|topic| topic.name).collect())
    }

    /// A partition's id, once the topic's is known.
    pub(crate) fn partition(&self, index: i32) -> Option<PartitionId> {
        self.topic_id.map(|topic| PartitionId { topic, index: PartitionIndex::new(index) })
    }

    /// Writes down what an administrator is about to ask. Gives its place in the history.
    fn administer(&self, what: AdministrationKind) -> usize {
        let administrations = &mut self.board.borrow_mut().history.administrations;
        administrations.push(Administration { what, invoked: now(), returned: None, class: Class::Info });
        administrations.len() - 1
    }

    fn administered(&self, place: usize, class: Class) {
        let asked = &mut self.board.borrow_mut().history.administrations[place];
        (asked.returned, asked.class) = (Some(now()), class);
    }

    /// Creates the topic, by this node or anyone; fine when it is there.
    pub(crate) async fn create_topic(
        &mut self,
        node: Option<i32>,
        partitions: i32,
        within: Duration,
    ) -> Result<(), Trouble> {
        let node = node.unwrap_or_else(|| self.anyone());
        let topic = CreatableTopic {
            name: self.topic.clone(),
            num_partitions: partitions,
            replication_factor: i16::try_from(NODES).expect("a few nodes"),
            ..Default::default()
        };
        let timeout_ms = i32::try_from(within.as_millis()).expect("short");
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms, ..Default::default() };
        let (replicas, name) = (usize::try_from(NODES).ok(), self.topic.clone());
        let place = self.administer(AdministrationKind::CreateTopic { replicas, name, topic: None });
        // The node may wait as long for the controller as for its own image to show the topic.
        let response = self.call_within(within * 2 + ANSWER_WAIT, node, 7, &request).await;
        let made = response.as_ref().ok().and_then(|response| response.topics.first());
        let outcome = made.map(|topic| (topic.error_code, topic.topic_id));
        let class = if matches!(outcome, Some((ErrorCode::None, _))) { Class::Ok } else { Class::Info };
        self.administered(place, class);
        if let Some((ErrorCode::None, id)) = outcome
            && let AdministrationKind::CreateTopic { topic, .. } =
                &mut self.board.borrow_mut().history.administrations[place].what
        {
            *topic = Some(id);
        }
        response?;
        match outcome.map(|(code, _)| code) {
            Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => Ok(()),
            other => Err(Trouble::Unknown(format!("{other:?}"))),
        }
    }

    /// Deletes the topic; fine when it is gone.
    pub(crate) async fn delete_topic(&mut self) -> Result<(), Trouble> {
        self.refresh().await?;
        let node = self.anyone();
        let request =
            DeleteTopicsRequest { topic_names: vec![self.topic.clone()], timeout_ms: 3_000, ..Default::default() };
        let place = self.topic_id.map(|topic| self.administer(AdministrationKind::DeleteTopic { topic }));
        self.leaders.clear();
        let response = self.call(node, 5, &request).await;
        let code = response.as_ref().ok().and_then(|response| response.responses.first()).map(|topic| topic.error_code);
        if let Some(place) = place {
            self.administered(place, if code == Some(ErrorCode::None) { Class::Ok } else { Class::Info });
        }
        response?;
        match code {
            Some(ErrorCode::None | ErrorCode::UnknownTopicOrPartition) => Ok(()),
            other => Err(Trouble::Unknown(format!("{other:?}"))),
        }
    }

    /// Whom this client takes for the leader, after a look at the metadata if it knows of none.
    async fn leader(&mut self, partition: i32) -> Result<Leader, Trouble> {
        if !self.leaders.contains_key(&partition) {
            self.refresh().await.map_err(|trouble| Trouble::Unsent(trouble.to_string()))?;
        }
        self.leaders.get(&partition).copied().ok_or_else(|| Trouble::Unsent("no leader".to_owned()))
    }

    /// Appends so many new values with acks=all. Gives the first one's offset.
    pub(crate) async fn produce(&mut self, partition: i32, count: u64) -> Result<Offset, Trouble> {
        if self.topic_id.is_none() {
            self.refresh().await?;
        }
        let id = self.partition(partition).ok_or_else(|| Trouble::Unsent("no such topic".to_owned()))?;
        let sent = self.board.borrow_mut().send(self.id, id, count);
        let outcome = match self.leader(partition).await {
            Ok(leader) => self.produce_to(leader.node, partition, &sent).await.map(|base| (leader.node, base)),
            Err(trouble) => Err(trouble),
        };
        let first = sent.values[0].0.0;
        tracing::info!(target: "simulation", topic = self.topic, partition, first, count, ?outcome, "produced");
        match outcome {
            Ok((node, base)) => {
                self.board.borrow_mut().acknowledged(&sent, node, base);
                Ok(Offset::new(base))
            }
            Err(trouble) => {
                self.leaders.remove(&partition);
                self.board.borrow_mut().failed(&sent, trouble.class());
                Err(trouble)
            }
        }
    }

    async fn produce_to(&mut self, node: i32, partition: i32, sent: &Outgoing) -> Result<i64, Trouble> {
        let topic = TopicProduceData {
            name: self.topic.clone(),
            partition_data: vec![PartitionProduceData { index: partition, records: Some(batch(sent)) }],
            ..Default::default()
        };
        let timeout_ms = PRODUCE_TIMEOUT_MS;
        let request = ProduceRequest { acks: -1, timeout_ms, topic_data: vec![topic], ..Default::default() };
        let response = self.call(node, 9, &request).await?;
        let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let answer = answer.ok_or_else(|| Trouble::Unknown("an answer without the partition".to_owned()))?;
        if answer.error_code == ErrorCode::None {
            Ok(answer.base_offset)
        } else {
            Err(Trouble::Refused(node, answer.error_code))
        }
    }

    /// Begins to read anew: what comes next does not go on where the last answer ended.
    pub(crate) fn begin_anew(&mut self) {
        self.incarnation += 1;
    }

    /// Reads from one node, or else from the leader, and writes down what came.
    pub(crate) async fn poll(
        &mut self,
        node: Option<i32>,
        partition: i32,
        from: Offset,
    ) -> Result<PollOutcome, Trouble> {
        let leader = self.leader(partition).await?;
        let node = node.unwrap_or(leader.node);
        let id = self.partition(partition).expect("a leader is known, and so is the topic");
        let invoked = now();
        let outcome = self.read(Leader { node, ..leader }, partition, from).await;
        if outcome.is_err() {
            self.leaders.remove(&partition);
        }
        let outcome = outcome?;
        self.board.borrow_mut().history.polls.push(Poll {
            client: self.id,
            incarnation: self.incarnation,
            partition: id,
            isolation: Isolation::ReadUncommitted,
            node: NodeId::new(node),
            as_leader: node == leader.node,
            // Who knows another epoch than the one that was asked for refuses.
            leader_epoch: LeaderEpoch::new(leader.epoch),
            invoked,
            returned: now(),
            position: from,
            outcome: outcome.clone(),
        });
        Ok(outcome)
    }

    /// Reads from a node in an epoch.
    async fn read(&mut self, of: Leader, partition: i32, from: Offset) -> Result<PollOutcome, Trouble> {
        let read = FetchPartition {
            partition,
            current_leader_epoch: of.epoch,
            fetch_offset: from.get(),
            partition_max_bytes: 64 << 10,
            ..Default::default()
        };
        let topic = FetchTopic { topic: self.topic.clone(), partitions: vec![read], ..Default::default() };
        let request =
            FetchRequest { max_wait_ms: FETCH_WAIT_MS, min_bytes: 1, topics: vec![topic], ..Default::default() };
        let response = self.call(of.node, 12, &request).await?;
        let answer = response.responses.first().and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or(Trouble::Refused(of.node, response.error_code))?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "every other code is a refusal")]
        match answer.error_code {
            ErrorCode::None => Ok(outcome(answer, from)),
            ErrorCode::OffsetOutOfRange => Ok(PollOutcome::OutOfRange),
            ErrorCode::CorruptMessage => Ok(PollOutcome::Corrupt),
            refusal => Err(Trouble::Refused(of.node, refusal)),
        }
    }
}

fn batch(sent: &Outgoing) -> Bytes {
    let mut builder = Builder::new(Codec::None);
    for (_, bytes) in &sent.values {
        let draft = Draft { timestamp: sent.timestamp, value: Some(bytes), ..Draft::default() };
        builder.push(draft).expect("a small record");
    }
    builder.build().expect("a small batch").bytes().clone()
}

/// What an answer brought, from an offset on.
fn outcome(answer: &PartitionData, from: Offset) -> PollOutcome {
    let mut records: Vec<Seen> = Vec::new();
    for batch in split(answer.records.clone().unwrap_or_default().into_bytes()) {
        let Some(batch) = batch.ok().filter(ottla::records::Batch::crc_is_valid) else { return PollOutcome::Corrupt };
        records.extend(evidence::seen(&batch).into_iter().filter(|seen| seen.offset >= from));
    }
    PollOutcome::Records {
        next: records.last().map_or(from, |last| last.offset.plus(1)),
        records,
        high_watermark: Offset::new(answer.high_watermark),
        last_stable: Offset::new(answer.last_stable_offset),
        log_start: Offset::new(answer.log_start_offset),
    }
}
