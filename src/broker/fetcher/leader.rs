//! The task that fetches from one leader: connection, session, positions.
//!
//! One turn: take the new positions, send one fetch, hand what came to the shards, wait until they have flushed it.
//! Invariant: a new position never waits for a parked fetch: the connection is then given up and made anew, as
//! otherwise a partition whose leader has just changed would wait as long as an idle one may.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::Command;
use super::positions::{PARTITION_BACKOFF, Positions, Refused};
use super::request::{FETCH_VERSION, Session};
use crate::broker::Inner;
use crate::machines::replication::EpochEnd;
use crate::model::{LeaderEpoch, NodeId, Offset, PartitionId, PartitionIndex};
use crate::partition::{Event, FetchPosition, FetchedOutcome, FetchedPartition};
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse, PartitionData};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::protocol::{ErrorCode, Request, decode_response, encode_request};
use crate::transport::{ClientConnection, ClientError, ClientOptions, Dialer, HostPort};

/// How long a dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a turn waits for the shards to flush what came. What takes longer is left out of the session until then,
/// so that a slow directory delays only its own partitions.
const FLUSH_WAIT: Duration = Duration::from_millis(200);
/// What a broker calls itself to leaders.
pub const REPLICA_CLIENT_ID: &str = "ottla-replica";
/// ListOffsets for the bounds of a leader's log.
const LIST_OFFSETS_VERSION: i16 = 9;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

pub(super) struct LeaderTask {
    inner: Arc<Inner>,
    leader: NodeId,
    commands: mpsc::UnboundedReceiver<Command>,
    positions: Positions,
    session: Session,
    dialer: Option<Dialer>,
    client: Option<ClientConnection>,
}

/// How waiting for an answer ended.
enum Awaited {
    Answer(FetchResponse),
    /// There is something to fetch that the parked request does not name.
    Overtaken,
    Failed(ClientError),
    Ended,
}

impl LeaderTask {
    pub(super) fn new(inner: Arc<Inner>, leader: NodeId, commands: mpsc::UnboundedReceiver<Command>) -> Self {
        Self {
            inner,
            leader,
            commands,
            positions: Positions::default(),
            session: Session::default(),
            dialer: None,
            client: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.take(command);
            }
            if self.positions.is_empty() {
                self.hang_up();
                self.inner.reach.reached(self.leader);
                match self.commands.recv().await {
                    Some(command) => _ = self.take(command),
                    None => return,
                }
                continue;
            }
            if self.client.is_none() && !self.dial().await {
                self.rest(self.inner.options.fetch.backoff).await;
                continue;
            }
            match self.fetch().await {
                Awaited::Answer(response) => self.digest(response).await,
                Awaited::Overtaken => self.hang_up(),
                Awaited::Failed(cause) => {
                    debug!(leader = %self.leader, %cause, "a fetch failed");
                    self.failed();
                    self.hang_up();
                    self.rest(self.inner.options.fetch.backoff).await;
                }
                Awaited::Ended => return,
            }
        }
    }

    /// Takes a command; says whether it adds something to fetch.
    fn take(&mut self, command: Command) -> bool {
        match command {
            Command::From(position) => {
                self.positions.set(position) || self.session.position(position.partition).is_none()
            }
            Command::Stop(partition) => {
                self.positions.stop(partition);
                false
            }
        }
    }

    fn hang_up(&mut self) {
        self.client = None;
        self.session.reset();
    }

    async fn dial(&mut self) -> bool {
        let image = self.inner.image();
        let listener =
            image.broker(self.leader).and_then(|b| b.listener(&self.inner.options.inter_broker_listener)).cloned();
        let Some(listener) = listener else {
            debug!(leader = %self.leader, "the leader has no address yet");
            return false;
        };
        let address = HostPort::new(listener.host, listener.port);
        // The dialer remembers the last address of a name; it goes with the name.
        let dialer = match self.dialer.take().filter(|dialer| *dialer.target() == address) {
            Some(dialer) => self.dialer.insert(dialer),
            None => self.dialer.insert(Dialer::new(address)),
        };
        let options = ClientOptions { connect_timeout: DIAL_TIMEOUT, ..ClientOptions::default() };
        match ClientConnection::open(dialer, &options, self.inner.metrics.transport.clone()).await {
            Ok(client) => {
                debug!(leader = %self.leader, "connected to the leader");
                self.client = Some(client);
                true
            }
            Err(cause) => {
                debug!(leader = %self.leader, %cause, "cannot reach the leader");
                self.failed();
                false
            }
        }
    }

    /// Waits, but not for longer than until something new comes.
    async fn rest(&mut self, span: Duration) {
        let until = Instant::now() + span;
        while let Ok(Some(command)) = timeout_at(until, self.commands.recv()).await {
            self.take(command);
        }
    }

    /// Sends one fetch for all that is neither busy nor resting and waits for its answer.
    async fn fetch(&mut self) -> Awaited {
        let now = self.now();
        let wanted = self.positions.due(now);
        let options = self.inner.options.fetch;
        let wait = self.positions.wait(now, options.wait_max);
        if wanted.is_empty() {
            self.rest(wait).await;
            return Awaited::Overtaken;
        }
        let epoch = self.inner.broker_epoch();
        let request = self.session.request(&wanted, self.inner.node, epoch, &options, wait);
        let mut client = self.client.take().expect("the task has dialled");
        let answer = self.await_answer(&mut client, request, options.response_timeout).await;
        if matches!(answer, Awaited::Answer(_)) {
            self.client = Some(client);
        }
        answer
    }

    async fn await_answer(
        &mut self,
        client: &mut ClientConnection,
        request: FetchRequest,
        within: Duration,
    ) -> Awaited {
        let call = call(client, FETCH_VERSION, &request, within);
        tokio::pin!(call);
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return match answer {
                    Ok(response) => Awaited::Answer(response),
                    Err(cause) => Awaited::Failed(cause),
                },
                command = self.commands.recv() => match command {
                    Some(command) => if self.take(command) {
                        return Awaited::Overtaken;
                    },
                    None => return Awaited::Ended,
                },
            }
        }
    }

    fn failed(&self) {
        self.inner.reach.failed(self.leader, self.now());
    }

    fn now(&self) -> crate::model::Instant {
        self.inner.clock.now().instant
    }

    async fn digest(&mut self, response: FetchResponse) {
        self.inner.reach.reached(self.leader);
        if response.error_code != ErrorCode::None {
            debug!(leader = %self.leader, error = ?response.error_code, "the fetch session ended");
            self.session.reset();
            self.rest(PARTITION_BACKOFF).await;
            return;
        }
        self.session.answered(response.session_id);
        let mut out_of_range = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let id = PartitionId { topic: topic.topic_id, index: PartitionIndex::new(data.partition_index) };
                self.digest_partition(id, data, &mut out_of_range);
            }
        }
        for position in out_of_range {
            self.ask_bounds(position).await;
        }
        let until = Instant::now() + FLUSH_WAIT;
        while self.positions.busy_count() > 0 {
            match timeout_at(until, self.commands.recv()).await {
                Ok(Some(command)) => _ = self.take(command),
                Ok(None) => return,
                Err(_) => {
                    warn!(leader = %self.leader, partitions = self.positions.busy_count(), "fetched records are slow to be flushed");
                    return;
                }
            }
        }
    }

    fn digest_partition(&mut self, id: PartitionId, data: PartitionData, out_of_range: &mut Vec<FetchPosition>) {
        let Some(position) = self.positions.answered(id, self.session.position(id)) else { return };
        if data.error_code != ErrorCode::None {
            debug!(partition = %id, leader = %self.leader, error = ?data.error_code, "the leader refuses a partition");
            match refused(data.error_code) {
                Refused::OutOfRange => out_of_range.push(position),
                Refused::Contradicted => self.hand_over(position, FetchedOutcome::Contradicted),
                Refused::ForNow => self.rest_partition(id),
            }
            return;
        }
        let parts = data.diverging_epoch.epoch >= 0 || data.diverging_epoch.end_offset >= 0;
        let outcome = if parts {
            info!(partition = %id, leader = %self.leader, at = %position.offset, "the leader's log parts from this one");
            FetchedOutcome::Diverging(EpochEnd {
                epoch: LeaderEpoch::new(data.diverging_epoch.epoch),
                end: Offset::new(data.diverging_epoch.end_offset),
            })
        } else {
            let bytes = data.records.unwrap_or_default().into_bytes();
            self.inner.metrics.partition.replicated_bytes.inc_by(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            FetchedOutcome::Records {
                bytes,
                high_watermark: Offset::new(data.high_watermark),
                log_start: Offset::new(data.log_start_offset),
            }
        };
        self.hand_over(position, outcome);
    }

    fn hand_over(&mut self, position: FetchPosition, outcome: FetchedOutcome) {
        self.positions.hand_over(position.partition);
        let fetched = FetchedPartition { position, outcome };
        self.inner.shards.tell(position.partition, Event::Fetched(fetched));
    }

    /// The position is outside the leader's log: asks, as a replica, for the log's bounds.
    async fn ask_bounds(&mut self, position: FetchPosition) {
        let start = self.list_offset(position, EARLIEST).await;
        let end = self.list_offset(position, LATEST).await;
        if let (Some(start), Some(end)) = (start, end) {
            info!(partition = %position.partition, at = %position.offset, %start, %end, "outside of the leader's log");
            self.hand_over(position, FetchedOutcome::OutOfRange { start, end });
        } else {
            self.rest_partition(position.partition);
        }
    }

    fn rest_partition(&mut self, partition: PartitionId) {
        self.positions.rest(partition, self.now().plus(PARTITION_BACKOFF));
    }

    async fn list_offset(&mut self, position: FetchPosition, timestamp: i64) -> Option<Offset> {
        let image = self.inner.image();
        let name = image.topic(position.partition.topic)?.name.as_str().to_owned();
        let partition = ListOffsetsPartition {
            partition_index: position.partition.index.get(),
            current_leader_epoch: position.leader_epoch.get(),
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let topic = ListOffsetsTopic { name, partitions: vec![partition] };
        let request = ListOffsetsRequest {
            replica_id: self.inner.node.get(),
            topics: vec![topic],
            ..ListOffsetsRequest::default()
        };
        let client = self.client.as_mut()?;
        let timeout = self.inner.options.fetch.response_timeout;
        let answer: Result<ListOffsetsResponse, _> = call(client, LIST_OFFSETS_VERSION, &request, timeout).await;
        let Ok(response) = answer else {
            self.hang_up();
            return None;
        };
        let partition = response.topics.first()?.partitions.first()?;
        (partition.error_code == ErrorCode::None && partition.offset >= 0).then(|| Offset::new(partition.offset))
    }
}

/// What an error of a partition means; the leader's side is `api/error.rs`.
fn refused(error: ErrorCode) -> Refused {
    if error == ErrorCode::OffsetOutOfRange {
        Refused::OutOfRange
    } else if error == ErrorCode::CorruptMessage {
        Refused::Contradicted
    } else {
        Refused::ForNow
    }
}

/// Sends one request and reads its response.
async fn call<R: Request>(
    client: &mut ClientConnection,
    version: i16,
    request: &R,
    within: Duration,
) -> Result<R::Response, ClientError> {
    let encode = |correlation| encode_request(version, correlation, REPLICA_CLIENT_ID, request).into_unsized_chunks();
    let response = client.call(encode, within).await?;
    decode_response(version, response).map_err(|_| ClientError::Malformed)
}
