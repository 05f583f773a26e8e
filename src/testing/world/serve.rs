//! A node's side of requests: into the shard, and its replies out again.

use bytes::Bytes;

use super::message::{Answer, Endpoint, Message, Piece, Request, RequestId};
use super::process::{FollowerAsked, Served, ServedRead};
use super::{Happening, Life, World};
use crate::broker::reads::{Trust, trust};
use crate::broker::soundness::inspection;
use crate::machines::group::{self, Refusal};
use crate::machines::replication::{Acks, Ticket};
use crate::model::{LeaderEpoch, NodeId, Offset, PartitionId};
use crate::partition::{
    AppendRefusal, Event, FollowersAsked, ListRefusal, OffsetAnswer, OffsetQuery, ReadAnswer, ReadEvent, ReadRefusal,
    ReadReply, ReadRequest, Reader, Reply, WatchId, Watching,
};
use crate::records::{IntactCheck, OUTPUT_BYTES_MAX};

/// What all partitions of a fetch give together.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whom a ticket of the shard answers, if anybody.
pub(super) fn asker(served: &Served) -> Option<(Endpoint, RequestId)> {
    match served {
        Served::Produce { to, id, .. }
        | Served::List { to, id, .. }
        | Served::Bounds { to, id, .. }
        | Served::EpochEnd { to, id, .. }
        | Served::Group { to, id, .. }
        | Served::Trim { to, id } => Some((*to, *id)),
        Served::Read(_) | Served::Vouch(_) | Served::Close => None,
    }
}

impl World {
    /// A request has come.
    pub(super) fn serve(&mut self, node: NodeId, from: Endpoint, id: RequestId, body: Request) {
        match body {
            Request::Produce { .. } => self.serve_produce(node, from, id, body),
            Request::Fetch { node: follower, broker_epoch, positions, wait } => {
                let reader = Reader::Follower { node: follower, broker_epoch: Some(broker_epoch) };
                let bytes_max = self.knobs.partition_bytes_max;
                let reads = positions.iter().map(|position| ReadRequest {
                    partition: position.partition,
                    offset: position.offset,
                    leader_epoch: Some(position.leader_epoch),
                    last_fetched_epoch: position.last_fetched_epoch,
                    last_crc: position.last_crc,
                    bytes_max,
                });
                let (reads, deadline) = (reads.collect(), self.now.plus(wait));
                self.serve_read(node, ServedRead { to: from, id, reader, reads, positions, deadline, waits: false });
            }
            Request::Poll { partition, offset, epoch, isolation } => {
                let reader = Reader::Consumer { isolation, from_follower: true };
                let (last_fetched_epoch, last_crc, bytes_max) = (None, None, ANSWER_BYTES_MAX);
                let read =
                    ReadRequest { partition, offset, leader_epoch: epoch, last_fetched_epoch, last_crc, bytes_max };
                let (reads, positions, deadline) = (vec![read], Vec::new(), self.now);
                self.serve_read(node, ServedRead { to: from, id, reader, reads, positions, deadline, waits: false });
            }
            Request::List { partition, query } => {
                let isolation = crate::partition::ConsumerIsolation::ReadUncommitted;
                let reader = Reader::Consumer { isolation, from_follower: false };
                let event = |ticket| Event::ListOffset { ticket, partition, leader_epoch: None, reader, query };
                self.serve_question(node, Served::List { to: from, id, partition }, event);
            }
            Request::Bounds { node: follower, position } => {
                let reader = Reader::Follower { node: follower, broker_epoch: None };
                let (partition, leader_epoch) = (position.partition, Some(position.leader_epoch));
                for query in [OffsetQuery::Earliest, OffsetQuery::Latest] {
                    let served = Served::Bounds { to: from, id, start: None };
                    let event = |ticket| Event::ListOffset { ticket, partition, leader_epoch, reader, query };
                    self.serve_question(node, served, event);
                }
            }
            Request::EpochEnd { partition, epoch } => {
                let event = |ticket| Event::EpochEnd { ticket, partition, leader_epoch: None, epoch };
                self.serve_question(node, Served::EpochEnd { to: from, id, partition }, event);
            }
            Request::Trim { partition, before } => {
                let event = |ticket| Event::Trim { ticket, partition, before: Some(before) };
                self.serve_question(node, Served::Trim { to: from, id }, event);
            }
            Request::Group { partition, call } => {
                let event = |ticket| Event::Group { ticket, partition, call };
                self.serve_question(node, Served::Group { to: from, id, partition }, event);
            }
            Request::Metadata => self.serve_metadata(node, from, id),
            Request::Control(event) => self.serve_control(node, from, id, *event),
        }
    }

    fn serve_question(&mut self, node: NodeId, served: Served, event: impl FnOnce(Ticket) -> Event) {
        let ticket = self.ticket();
        if let Some(process) = self.running(node) {
            process.tickets.insert(ticket, served);
        }
        self.tell(node, event(ticket));
    }

    /// A leader of this node asks whether it is.
    pub(super) fn serve_vouch(&mut self, node: NodeId, asked: FollowerAsked) {
        let FollowerAsked { leader, partition, leader_epoch, .. } = asked;
        let event = |ticket| Event::Vouch { ticket, partition, leader, leader_epoch };
        self.serve_question(node, Served::Vouch(asked), event);
    }

    /// Who does not follow says nothing that a leader could use.
    fn vouched(&mut self, node: NodeId, asked: FollowerAsked, follows: bool) {
        let FollowerAsked { leader, partition, leader_epoch, round } = asked;
        if follows {
            let message = Message::Vouched { node, partition, leader_epoch, round };
            self.send(Endpoint::Node(node), Endpoint::Node(leader), message);
        }
    }

    /// A leader wants to know who follows it.
    pub(super) fn ask_followers(&mut self, leader: NodeId, asked: FollowersAsked) {
        let FollowersAsked { partition, leader_epoch, round } = asked;
        for member in round.members {
            let message = Message::AskFollower { leader, partition, leader_epoch, round: round.round };
            self.send(Endpoint::Node(leader), Endpoint::Node(member), message);
        }
    }

    fn serve_produce(&mut self, node: NodeId, from: Endpoint, id: RequestId, body: Request) {
        let Request::Produce { partition, batch, acks, leader_epoch, within } = body else { return };
        let (ticket, world) = (self.ticket(), self.now);
        let Some(process) = self.running(node) else { return };
        if acks != Acks::All && !process.has_session(world) {
            // Rule R20.
            let (result, epoch) = (Err(AppendRefusal::NotLeader), LeaderEpoch::NONE);
            self.answer(node, from, id, Answer::Produced { result, epoch });
            return;
        }
        let deadline = process.local(world).plus(within);
        process.tickets.insert(ticket, Served::Produce { to: from, id, partition });
        self.tell(node, Event::Append { ticket, partition, leader_epoch, batch, acks, deadline });
    }

    fn serve_read(&mut self, node: NodeId, read: ServedRead) {
        let key = self.ticket().0;
        if let Some(process) = self.running(node) {
            process.reads.insert(key, read);
            self.read(node, key, false);
        }
    }

    /// Asks the shard, for the first time or again.
    fn read(&mut self, node: NodeId, key: u64, again: bool) {
        let (ticket, now) = (self.ticket(), self.now);
        let Some(process) = self.running(node) else { return };
        let Some(read) = process.reads.get(&key) else { return };
        let event = ReadEvent {
            ticket,
            reader: read.reader,
            reads: read.reads.clone(),
            bytes_max: ANSWER_BYTES_MAX,
            bytes_min: 1,
            whole_first: true,
            watch: (now < read.deadline).then_some(WatchId(key)),
            again,
        };
        process.tickets.insert(ticket, Served::Read(key));
        self.tell(node, Event::Read(event));
    }

    /// There may be more to read.
    pub(super) fn wake(&mut self, node: NodeId, key: u64) {
        self.read(node, key, true);
    }

    /// A parked fetch has waited for long enough.
    pub(super) fn read_due(&mut self, life: Life, key: u64) {
        let Some(process) = self.process(life) else { return };
        if process.reads.contains_key(&key) {
            self.tell(life.node, Event::Unwatch(WatchId(key)));
            self.read(life.node, key, true);
        }
    }

    /// The shard has answered.
    pub(super) fn reply(&mut self, node: NodeId, ticket: Ticket, reply: Reply) {
        let Some(served) = self.running(node).and_then(|process| process.tickets.remove(&ticket)) else { return };
        match (served, reply) {
            (Served::Produce { to, id, partition }, Reply::Append(result)) => {
                let epoch = self.told_epoch(node, partition);
                self.answer(node, to, id, Answer::Produced { result, epoch });
            }
            (Served::Read(key), Reply::Read { reads, watching }) => self.read_reply(node, key, reads, watching),
            (Served::List { to, id, partition }, Reply::ListOffset(result)) => {
                let epoch = self.told_epoch(node, partition);
                let result = result.and_then(resolve);
                self.answer(node, to, id, Answer::Listed { result, epoch });
            }
            (Served::Bounds { to, id, start }, Reply::ListOffset(result)) => self.bound(node, (to, id), start, result),
            (Served::EpochEnd { to, id, partition }, Reply::EpochEnd(result)) => {
                let epoch = self.told_epoch(node, partition);
                let answer = result.map_or(Answer::Unable, |result| Answer::EpochEnd { result, epoch });
                self.answer(node, to, id, answer);
            }
            (Served::Trim { to, id }, Reply::Trim(_)) => self.answer(node, to, id, Answer::Trimmed),
            (Served::Group { to, id, partition }, Reply::Group(reply)) => {
                let reply = self.vouched_for(node, reply);
                self.answer(node, to, id, Answer::Group { partition, reply: Box::new(reply) });
            }
            (Served::Vouch(asked), Reply::Vouch(follows)) => self.vouched(node, asked, follows),
            (Served::Close, Reply::Closed) => self.closed(node),
            (served, reply) => panic!("{served:?} was answered with {reply:?}"),
        }
    }

    /// What rests on the broker's session is told while it has one.
    fn vouched_for(&mut self, node: NodeId, reply: group::Reply) -> group::Reply {
        let world = self.now;
        let has_session = self.running(node).is_some_and(|process| process.has_session(world));
        if has_session || !reply.is_light() { reply } else { reply.refused(Refusal::NotCoordinator) }
    }

    fn read_reply(&mut self, node: NodeId, key: u64, reads: Vec<ReadReply>, watching: Watching) {
        let now = self.now;
        let Some(process) = self.running(node) else { return };
        let life = Life { node, life: process.life };
        let Some(read) = process.reads.get_mut(&key) else { return };
        if watching != Watching::No && now < read.deadline {
            if !std::mem::replace(&mut read.waits, true) {
                let due = read.deadline;
                self.at(due, Happening::ReadDue(life, key));
            }
            return;
        }
        let read = process.reads.remove(&key).expect("just seen");
        let pieces: Vec<_> = reads.into_iter().map(|reply| self.collect(node, read.reader, reply)).collect();
        let body = match read.reader {
            Reader::Follower { .. } => Answer::Fetched(read.positions.into_iter().zip(pieces).collect()),
            Reader::Consumer { .. } => {
                let partition = read.reads[0].partition;
                let result = pieces.into_iter().next().expect("one partition was asked for");
                let (epoch, as_leader) = (self.told_epoch(node, partition), self.leads(node, partition));
                Answer::Polled { result, epoch, as_leader }
            }
        };
        self.answer(node, read.to, read.id, body);
    }

    /// Reads what a plan names, and refuses what is not what was written.
    pub(super) fn collect(&mut self, node: NodeId, reader: Reader, reply: ReadReply) -> Result<Piece, ReadRefusal> {
        let ReadAnswer { high_watermark, last_stable, log_start, plan, diverging, generation, .. } = reply.outcome?;
        let piece = |bytes| Piece { bytes, high_watermark, last_stable, log_start, diverging };
        let Some(plan) = plan else { return Ok(piece(Bytes::new())) };
        let mut check = IntactCheck::new(plan.expected.clone());
        let damage = match plan.read() {
            Ok(bytes) if trust(reader, plan.is_recent) == Trust::Believe => return Ok(piece(bytes)),
            Ok(bytes) => match check.feed(&bytes).and_then(|()| check.finish()) {
                Ok(()) => return Ok(piece(bytes)),
                Err(damage) => damage,
            },
            Err(_) => {
                let slice = plan.slice.as_ref().expect("what cannot be read is not empty");
                let mut again = IntactCheck::new(plan.expected.clone());
                slice.look(0, &mut again).err().unwrap_or_else(|| check.here())
            }
        };
        self.tell(node, inspection(reply.partition, generation, plan.place, damage));
        Err(ReadRefusal::Offline)
    }

    /// One bound of a log: the first waits for the second, which is answered in the same turn.
    fn bound(
        &mut self,
        node: NodeId,
        (to, id): (Endpoint, RequestId),
        start: Option<Offset>,
        result: Result<OffsetAnswer, ListRefusal>,
    ) {
        let found = result.and_then(resolve).ok().flatten();
        let Some(process) = self.running(node) else { return };
        let second = process.tickets.values_mut().find_map(|served| match served {
            Served::Bounds { id: own, start, .. } if *own == id => Some(start),
            Served::Produce { .. }
            | Served::Read(_)
            | Served::List { .. }
            | Served::Bounds { .. }
            | Served::EpochEnd { .. }
            | Served::Trim { .. }
            | Served::Group { .. }
            | Served::Vouch(_)
            | Served::Close => None,
        });
        match (second, start, found) {
            (Some(second), _, _) => *second = found,
            (None, Some(start), Some(end)) => self.answer(node, to, id, Answer::Bounded { start, end }),
            (None, _, _) => self.answer(node, to, id, Answer::Unable),
        }
    }

    /// The leader epoch of the node's last order for a partition.
    pub(super) fn told_epoch(&mut self, node: NodeId, partition: PartitionId) -> LeaderEpoch {
        self.observer.epoch_of(node, partition)
    }

    pub(super) fn leads(&mut self, node: NodeId, partition: PartitionId) -> bool {
        self.observer.leads(node, partition)
    }
}

/// Finds the record by its time, where a batch has to be looked into.
fn resolve(answer: OffsetAnswer) -> Result<Option<Offset>, ListRefusal> {
    let found = match answer {
        OffsetAnswer::Found(found) => found,
        OffsetAnswer::Look(lookup) => lookup.resolve(OUTPUT_BYTES_MAX).map_err(|_| ListRefusal::Offline)?,
    };
    Ok(found.map(|found| found.offset))
}
