//! Producers: what they send, what they are told, and what they do about it.
//!
//! A producer with a session tries a batch again until it is told what became of it; one without a session tries once.
//! Both note every attempt's outcome as a client can know it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::groups::data_partitions;
use super::message::{Answer, Endpoint, Request, RequestId};
use super::{Happening, Knobs, World};
use crate::machines::metadata::Image;
use crate::machines::replication::Acks;
use crate::model::{Instant, LeaderEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::partition::{Acked, AppendRefusal};
use crate::records::{self, Batch, Builder, Codec, Draft};
use crate::testing::Chance;
use crate::testing::evidence::{digest, encode_key, encode_value, keyed_digest, name_header};
use crate::verify::history::{Class, ClientId, Keyed, Send, Session, ValueId};

/// How long the broker may take to answer a produce, and how long a client waits beyond that.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
const SOCKET_WITHIN: Duration = Duration::from_millis(2500);
/// Between two attempts.
const BACKOFF: Duration = Duration::from_millis(60);

/// One producing client.
#[derive(Debug)]
pub(super) struct Producer {
    id: ClientId,
    acks: Acks,
    is_idempotent: bool,
    pub(super) image: Option<Arc<Image>>,
    refreshing: Option<RequestId>,
    values: u64,
    lanes: BTreeMap<PartitionId, Lane>,
    chance: Chance,
}

/// What a producer has under way for one partition.
#[derive(Debug, Default)]
struct Lane {
    /// The session's producer and epoch are of this lane alone, so that a new epoch concerns no other.
    epoch: i16,
    sequence: i32,
    order: u64,
    /// How many batches were made.
    batches: usize,
    in_flight: VecDeque<Outgoing>,
    rests_until: Instant,
    /// Whether a batch of this epoch was acknowledged. Before that a leader knows nothing of the session and takes any
    /// sequence for its first, as Kafka's does: one batch at a time then.
    is_known: bool,
}

/// What one record says.
#[derive(Debug)]
struct Value {
    id: ValueId,
    bytes: Vec<u8>,
    keyed: Option<Keyed>,
}

impl Value {
    fn digest(&self, timestamp: Timestamp) -> u64 {
        self.keyed.map_or_else(|| digest(&self.bytes, timestamp), |keyed| keyed_digest(keyed, &self.bytes, timestamp))
    }
}

/// One batch on its way.
#[derive(Debug)]
struct Outgoing {
    /// Its place among the lane's batches.
    number: usize,
    batch: Batch,
    values: Vec<Value>,
    /// Where its values stand in the history.
    sends: Vec<usize>,
    attempts: u32,
    request: Option<RequestId>,
    /// Whether an attempt may have written it.
    is_uncertain: bool,
}

impl Producer {
    pub(super) fn all(knobs: &Knobs, chance: &mut Chance) -> BTreeMap<Endpoint, Self> {
        let count = knobs.idempotent_producers + knobs.plain_producers;
        let producer = |number: usize| {
            let id = ClientId(u32::try_from(number + 1).expect("a few clients"));
            let is_idempotent = number < knobs.idempotent_producers;
            let acks = if is_idempotent || number.is_multiple_of(2) { Acks::All } else { Acks::Leader };
            let (image, refreshing, lanes) = (None, None, BTreeMap::new());
            let producer = Self { id, acks, is_idempotent, image, refreshing, values: 0, lanes, chance: chance.fork() };
            (Endpoint::Client(id), producer)
        };
        (0..count).map(producer).collect()
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.values().all(|lane| lane.in_flight.is_empty())
    }

    fn value(&mut self) -> ValueId {
        self.values += 1;
        ValueId(u64::from(self.id.0) << 44 | self.values)
    }
}

/// The bytes of a value, and some more.
fn encode(value: ValueId, partition: PartitionId, padding: usize) -> Vec<u8> {
    let mut bytes = encode_value(value, partition);
    bytes.extend(std::iter::repeat_n(b'.', padding));
    bytes
}

impl World {
    /// A client does its next thing.
    pub(super) fn client_turn(&mut self, client: Endpoint) {
        if self.producers.contains_key(&client) {
            self.produce(client);
            let span = self.chance.span(self.knobs.send_interval.0, self.knobs.send_interval.1);
            self.after(span, Happening::ClientTurn(client));
        } else if self.committers.contains_key(&client) {
            self.coordinate(client);
            let longest = self.knobs.poll_interval;
            let span = self.committers.get_mut(&client).expect("a committer").rest(longest);
            self.after(span, Happening::ClientTurn(client));
        } else if self.members.contains_key(&client) {
            self.member_turn(client);
            let span = self.members.get_mut(&client).expect("a member").rest();
            self.after(span, Happening::ClientTurn(client));
        } else {
            self.consume(client);
            // In the end consumers have only to catch up.
            let longest = if self.observer.is_quiet { Duration::from_millis(4) } else { self.knobs.poll_interval };
            let span = self.chance.span(longest / 2, longest);
            self.after(span, Happening::ClientTurn(client));
        }
    }

    /// Something a client asked was answered, or will not be.
    pub(super) fn client_answer(&mut self, client: Endpoint, id: RequestId, body: Option<(Endpoint, Answer)>) {
        if self.producers.contains_key(&client) {
            self.produce_answer(client, id, body);
        } else if self.consumers.contains_key(&client) {
            self.consume_answer(client, id, body);
        } else if self.committers.contains_key(&client) {
            self.coordinate_answer(client, id, body);
        } else if self.members.contains_key(&client) {
            self.member_answer(client, id, body);
        } else {
            self.administer_answer(id, body);
        }
    }

    /// A node to ask for metadata: any.
    pub(super) fn any_node(&mut self) -> NodeId {
        let nodes = self.nodes();
        *self.chance.pick(&nodes)
    }

    fn produce(&mut self, client: Endpoint) {
        let now = self.now;
        let (most, padding) =
            (self.knobs.in_flight_max, self.knobs.padding_max.min(self.knobs.segment_bytes as usize / 8));
        let is_over = self.is_healed && self.observer.is_quiet;
        let producer = self.producers.get_mut(&client).expect("a producer");
        let Some(image) = producer.image.clone() else {
            self.refresh(client);
            return;
        };
        self.resend_all(client, now);
        let producer = self.producers.get_mut(&client).expect("a producer");
        // In the end everybody is to write to what was made last.
        if producer.chance.one_in(if self.is_healed { 3 } else { 30 }) {
            self.refresh(client);
        }
        let producer = self.producers.get_mut(&client).expect("a producer");
        let partitions: Vec<PartitionId> = data_partitions(&image).map(|(id, _)| id).collect();
        if partitions.is_empty() {
            self.refresh(client);
            return;
        }
        let partition = *producer.chance.pick(&partitions);
        let first = self.knobs.first_sequence;
        let lane = producer.lanes.entry(partition).or_insert_with(|| Lane { sequence: first, ..Lane::default() });
        let most = if producer.is_idempotent && lane.is_known { most } else { 1 };
        // A leader remembers five batches: no more may be younger than the oldest that is not settled, settled or not.
        let span = lane.in_flight.front().map_or(0, |oldest| lane.batches - oldest.number);
        if is_over || span >= most || lane.rests_until > now {
            return;
        }
        self.compose(client, partition, padding);
        self.send_batches(client, partition);
    }

    /// Makes the next batch of a partition.
    fn compose(&mut self, client: Endpoint, partition: PartitionId, padding: usize) {
        let now = self.now;
        let timestamp = wall(now);
        let producer = self.producers.get_mut(&client).expect("a producer");
        let count = 1 + producer.chance.below(3);
        let values = (0..count).map(|_| {
            let id = producer.value();
            let padding = if padding == 0 { 0 } else { producer.chance.below(padding) };
            let keyed = self.knobs.compaction.as_ref().map(|knobs| self.keys.pick(knobs));
            Value { id, bytes: encode(id, partition, padding), keyed }
        });
        let values: Vec<Value> = values.collect();
        let is_idempotent = producer.is_idempotent;
        let id = producer.id;
        let lane = producer.lanes.get_mut(&partition).expect("a lane was made");
        let session = is_idempotent.then(|| session(id, partition, lane.epoch));
        let batch = build(&values, session.map(|session| (session, lane.sequence)), timestamp);
        let mut sends = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let sequence = Sequence::new(lane.sequence).plus(i32::try_from(at).expect("a few records"));
            sends.push(self.record.history.sends.len());
            self.record.history.sends.push(Send {
                value: value.id,
                client: id,
                partition,
                session: session.map(|session| (session, sequence)),
                order: lane.order,
                alone: !is_idempotent || self.knobs.in_flight_max == 1,
                invoked: now,
                returned: None,
                class: Class::Info,
                offset: None,
                attempts: 0,
                answered_by: None,
                digest: value.digest(timestamp),
                keyed: value.keyed,
            });
            lane.order += 1;
        }
        lane.sequence = Sequence::new(lane.sequence).plus(i32::try_from(count).expect("a few records")).get();
        let (attempts, request, is_uncertain) = (0, None, false);
        let number = lane.batches;
        lane.batches += 1;
        lane.in_flight.push_back(Outgoing { number, batch, values, sends, attempts, request, is_uncertain });
    }

    /// Sends what is not under way, in its order.
    fn send_batches(&mut self, client: Endpoint, partition: PartitionId) {
        let now = self.now;
        let producer = self.producers.get_mut(&client).expect("a producer");
        let leader = producer.image.as_ref().and_then(|image| image.partition(partition)).and_then(|p| p.leader);
        let Some(leader) = leader else {
            self.refresh(client);
            return;
        };
        let Some(lane) = producer.lanes.get(&partition).filter(|lane| lane.rests_until <= now) else { return };
        let acks = producer.acks;
        // What is tried again goes alone, and nothing new before it is settled, as in Kafka's own producer.
        let mut waiting = Vec::new();
        for (at, outgoing) in lane.in_flight.iter().enumerate().filter(|(_, outgoing)| outgoing.request.is_none()) {
            if at > 0 && outgoing.attempts > 0 {
                break;
            }
            waiting.push(at);
        }
        for at in waiting {
            let batch = self.producers[&client].lanes[&partition].in_flight[at].batch.clone();
            let within = ANSWER_WITHIN;
            let body = Request::Produce { partition, batch, acks, leader_epoch: None, within };
            let id = self.ask_endpoint(client, Endpoint::Node(leader), body);
            let producer = self.producers.get_mut(&client).expect("a producer");
            let outgoing = &mut producer.lanes.get_mut(&partition).expect("just seen").in_flight[at];
            (outgoing.request, outgoing.attempts) = (Some(id), outgoing.attempts + 1);
            for send in outgoing.sends.clone() {
                self.record.history.sends[send].attempts += 1;
            }
            self.after(SOCKET_WITHIN, Happening::ClientTimeout(client, id));
        }
    }

    /// What was refused is sent again after its rest; the lanes of deleted topics are given up.
    fn resend_all(&mut self, client: Endpoint, now: Instant) {
        let producer = self.producers.get_mut(&client).expect("a producer");
        let image = producer.image.clone().unwrap_or_default();
        let gone = producer.lanes.extract_if(.., |partition, _| image.partition(*partition).is_none());
        let given_up: Vec<usize> = gone.flat_map(|(_, lane)| lane.in_flight).flat_map(|batch| batch.sends).collect();
        for send in given_up {
            self.record.history.sends[send].returned = Some(now);
        }
        let producer = self.producers.get_mut(&client).expect("a producer");
        let due = |lane: &Lane| lane.rests_until <= now && lane.in_flight.iter().any(|o| o.request.is_none());
        let due: Vec<PartitionId> = producer.lanes.iter().filter(|(_, lane)| due(lane)).map(|(id, _)| *id).collect();
        for partition in due {
            self.send_batches(client, partition);
        }
    }

    /// Asks anybody for the metadata.
    fn refresh(&mut self, client: Endpoint) {
        let node = self.any_node();
        if self.producers[&client].refreshing.is_some() {
            return;
        }
        let id = self.ask_endpoint(client, Endpoint::Node(node), Request::Metadata);
        self.producers.get_mut(&client).expect("a producer").refreshing = Some(id);
        self.after(Duration::from_secs(1), Happening::ClientTimeout(client, id));
    }

    fn produce_answer(&mut self, client: Endpoint, id: RequestId, body: Option<(Endpoint, Answer)>) {
        let producer = self.producers.get_mut(&client).expect("a producer");
        if producer.refreshing == Some(id) {
            producer.refreshing = None;
            if let Some((_, Answer::Metadata(image))) = body {
                // Older metadata than what is known is not taken back.
                let known = producer.image.as_ref().map(|image| image.last_applied());
                if known.is_none_or(|known| image.last_applied() >= known) {
                    producer.image = Some(image);
                }
            }
            return;
        }
        let found = producer.lanes.iter().find_map(|(partition, lane)| {
            let at = lane.in_flight.iter().position(|outgoing| outgoing.request == Some(id))?;
            Some((*partition, at))
        });
        let Some((partition, at)) = found else { return };
        match body {
            Some((Endpoint::Node(node), Answer::Produced { result: Ok(acked), epoch })) => {
                self.acked(client, partition, at, acked, (node, epoch));
            }
            Some((_, Answer::Produced { result: Err(refusal), .. })) => self.refused(client, partition, at, refusal),
            Some(_) | None => self.uncertain(client, partition, at),
        }
    }

    /// A batch was acknowledged.
    fn acked(&mut self, client: Endpoint, partition: PartitionId, at: usize, acked: Acked, by: (NodeId, LeaderEpoch)) {
        let now = self.now;
        let producer = self.producers.get_mut(&client).expect("a producer");
        let class = if producer.acks == Acks::All { Class::Ok } else { Class::Weak };
        let lane = producer.lanes.get_mut(&partition).expect("just found");
        let outgoing = lane.in_flight.remove(at).expect("just found");
        lane.is_known = true;
        self.observer.acked(partition, now);
        for (number, send) in outgoing.sends.iter().enumerate() {
            let entry = &mut self.record.history.sends[*send];
            (entry.returned, entry.class, entry.answered_by) = (Some(now), class, Some(by));
            let offset = i64::try_from(number).expect("a few records");
            // A duplicate of what is long forgotten has no offset.
            entry.offset = (acked.base_offset >= Offset::ZERO).then(|| acked.base_offset.plus(offset));
        }
    }

    /// A batch was refused.
    fn refused(&mut self, client: Endpoint, partition: PartitionId, at: usize, refusal: AppendRefusal) {
        match refusal {
            AppendRefusal::NotLeader
            | AppendRefusal::FencedEpoch { .. }
            | AppendRefusal::UnknownEpoch { .. }
            | AppendRefusal::NotEnoughReplicasAfterAppend
            | AppendRefusal::TimedOut
            | AppendRefusal::Offline => self.uncertain(client, partition, at),
            AppendRefusal::OutOfOrderSequence { .. } if at == 0 => self.bump_epoch(client, partition),
            AppendRefusal::NotEnoughReplicas { .. }
            | AppendRefusal::Busy
            | AppendRefusal::OutOfOrderSequence { .. } => self.again(client, partition, at),
            AppendRefusal::TooLarge
            | AppendRefusal::ProducerFenced { .. }
            | AppendRefusal::TransactionState { .. }
            | AppendRefusal::Marker => self.give_up(client, partition, at),
        }
    }

    /// Nobody knows whether an attempt wrote the batch.
    fn uncertain(&mut self, client: Endpoint, partition: PartitionId, at: usize) {
        let producer = self.producers.get_mut(&client).expect("a producer");
        let lane = producer.lanes.get_mut(&partition).expect("just found");
        lane.in_flight[at].is_uncertain = true;
        self.again(client, partition, at);
    }

    /// A producer with a session tries again; one without gives up.
    fn again(&mut self, client: Endpoint, partition: PartitionId, at: usize) {
        let rests_until = self.now.plus(BACKOFF);
        let producer = self.producers.get_mut(&client).expect("a producer");
        let lane = producer.lanes.get_mut(&partition).expect("just found");
        lane.rests_until = rests_until;
        lane.in_flight[at].request = None;
        if !producer.is_idempotent {
            self.give_up(client, partition, at);
        }
        self.refresh(client);
    }

    fn give_up(&mut self, client: Endpoint, partition: PartitionId, at: usize) {
        let now = self.now;
        let producer = self.producers.get_mut(&client).expect("a producer");
        let lane = producer.lanes.get_mut(&partition).expect("just found");
        let outgoing = lane.in_flight.remove(at).expect("just found");
        let class = if outgoing.is_uncertain { Class::Info } else { Class::Fail };
        for send in outgoing.sends {
            let entry = &mut self.record.history.sends[send];
            (entry.returned, entry.class) = (Some(now), class);
        }
    }

    /// The broker does not know what came before: a new epoch begins, and all that is under way is sent anew (KIP-360).
    fn bump_epoch(&mut self, client: Endpoint, partition: PartitionId) {
        let producer = self.producers.get_mut(&client).expect("a producer");
        let (id, timestamp) = (producer.id, wall(self.now));
        let lane = producer.lanes.get_mut(&partition).expect("just found");
        lane.epoch += 1;
        (lane.sequence, lane.is_known) = (0, false);
        let session = session(id, partition, lane.epoch);
        for outgoing in &mut lane.in_flight {
            outgoing.batch = build(&outgoing.values, Some((session, lane.sequence)), timestamp);
            outgoing.request = None;
            for (number, send) in outgoing.sends.iter().enumerate() {
                let entry = &mut self.record.history.sends[*send];
                let sequence = lane.sequence + i32::try_from(number).expect("a few records");
                entry.session = Some((session, Sequence::new(sequence)));
                entry.digest = outgoing.values[number].digest(timestamp);
            }
            lane.sequence += i32::try_from(outgoing.values.len()).expect("a few records");
        }
        self.send_batches(client, partition);
    }
}

/// The wall clock of clients.
pub(super) fn wall(now: Instant) -> Timestamp {
    let ms = i64::try_from(now.since(Instant::ZERO).as_millis()).expect("a short run");
    Timestamp::new(1_700_000_000_000 + ms)
}

fn session(client: ClientId, partition: PartitionId, epoch: i16) -> Session {
    let topic = i64::from(u32::from_be_bytes(partition.topic.get()[..4].try_into().expect("four bytes")));
    let producer = (i64::from(client.0) << 48) | (topic << 8) | i64::from(partition.index.get());
    Session { producer: ProducerId::new(producer), epoch: ProducerEpoch::new(epoch) }
}

fn build(values: &[Value], session: Option<(Session, i32)>, timestamp: Timestamp) -> Batch {
    let mut builder = Builder::new(Codec::None);
    if let Some((session, sequence)) = session {
        let base_sequence = Sequence::new(sequence);
        builder = builder.producer(records::Producer { id: session.producer, epoch: session.epoch, base_sequence });
    }
    for Value { bytes, keyed, .. } in values {
        let key = keyed.map(|keyed| encode_key(keyed.key));
        let key = key.as_ref().map(|key| &key[..]);
        let name = [name_header(bytes)];
        let draft = match keyed {
            Some(Keyed { is_tombstone: true, .. }) => Draft { timestamp, key, value: None, headers: &name },
            Some(_) | None => Draft { timestamp, key, value: Some(bytes), headers: &[] },
        };
        builder.push(draft).expect("a small record");
    }
    builder.build().expect("a small batch")
}
