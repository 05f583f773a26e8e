//! A follower's side of replication: one request to each leader at a time, for all that is followed there. What is asked
//! for, and which answers count, is the fetchers' own code; here are only the requests' ways there and back.

use std::time::Duration;

use super::message::{Answer, Endpoint, Piece, Request, RequestId};
use super::process::Process;
use super::{Happening, Life, World};
use crate::broker::fetcher::positions::{PARTITION_BACKOFF, Refused};
use crate::model::{NodeId, PartitionId};
use crate::partition::{Event, FetchPosition, FetchedOutcome, FetchedPartition, ReadRefusal};

/// How long a leader rests that did not answer.
const LEADER_BACKOFF: Duration = Duration::from_millis(50);
/// How long an answer may take beyond what it waits at the leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl World {
    /// The shard goes on from here.
    pub(super) fn fetch_from(&mut self, node: NodeId, position: FetchPosition) {
        let Some(process) = self.running(node) else { return };
        let (partition, leader) = (position.partition, position.leader);
        process.stop_fetching(partition, Some(leader));
        let fetcher = process.fetchers.entry(leader).or_default();
        let is_new = fetcher.positions.set(position);
        // A parked request that does not name it is given up.
        if is_new || fetcher.request.as_ref().is_some_and(|(_, asked)| !asked.contains_key(&partition)) {
            fetcher.request = None;
        }
        let life = Life { node, life: process.life };
        self.pump(life, leader);
    }

    /// The shard follows no more.
    pub(super) fn stop_fetching(&mut self, node: NodeId, partition: PartitionId) {
        if let Some(process) = self.running(node) {
            process.stop_fetching(partition, None);
        }
    }

    /// Sends the next request to a leader, if there is anything to ask and no answer is awaited.
    pub(super) fn pump(&mut self, life: Life, leader: NodeId) {
        let (now, longest) = (self.now, self.knobs.fetch_wait);
        let Some(process) = self.process(life) else { return };
        let (Some(broker_epoch), Some(fetcher)) = (process.epoch, process.fetchers.get_mut(&leader)) else { return };
        if fetcher.request.is_some() || fetcher.positions.is_empty() {
            return;
        }
        if fetcher.rests_until > now {
            let at = fetcher.rests_until;
            self.at(at, Happening::FetchAgain(life, leader));
            return;
        }
        let asked = fetcher.positions.due(now);
        if asked.is_empty() {
            // A shard that was handed something goes on by itself.
            if let Some(at) = fetcher.positions.next_due() {
                self.at(at, Happening::FetchAgain(life, leader));
            }
            return;
        }
        let wait = fetcher.positions.wait(now, longest);
        let node = life.node;
        let body = Request::Fetch { node, broker_epoch, positions: fetcher.in_order(&asked), wait };
        let id = self.ask_endpoint(Endpoint::Node(node), Endpoint::Node(leader), body);
        let process = self.process(life).expect("just seen");
        process.fetchers.get_mut(&leader).expect("just seen").request = Some((id, asked));
        self.after(wait + ANSWER_WITHIN, Happening::FetchEnds(life, leader, id));
    }

    /// No answer came.
    pub(super) fn fetch_failed(&mut self, life: Life, leader: NodeId, id: RequestId) {
        let now = self.now;
        let Some(process) = self.process(life) else { return };
        let Some(fetcher) = process.fetchers.get_mut(&leader) else { return };
        if fetcher.request.as_ref().is_none_or(|(own, _)| *own != id) {
            return;
        }
        fetcher.request = None;
        fetcher.rests_until = now.plus(LEADER_BACKOFF);
        process.reach.failed(leader, now);
        self.pump(life, leader);
    }

    pub(super) fn fetch_answer(&mut self, node: NodeId, leader: NodeId, id: RequestId, body: Option<Answer>) {
        let life = self.life(node).expect("it was asked");
        let process = self.running(node).expect("it was asked");
        let fetcher = process.fetchers.get_mut(&leader).expect("it has asked");
        let parts = match body {
            Some(Answer::Fetched(parts)) => parts,
            Some(_) | None => {
                self.fetch_failed(life, leader, id);
                return;
            }
        };
        let asked = fetcher.request.take().map(|(_, asked)| asked).unwrap_or_default();
        process.reach.reached(leader);
        let mut outside = Vec::new();
        let holds_records =
            |result: &Result<Piece, ReadRefusal>| result.as_ref().is_ok_and(|piece| !piece.bytes.is_empty());
        let given = parts.iter().filter(|(_, result)| holds_records(result));
        given.for_each(|(position, _)| fetcher.note_given(position.partition));
        for (position, result) in parts {
            let asked = asked.get(&position.partition).copied();
            let stands = self.stands(node, position, asked);
            match (stands, result.map(outcome)) {
                (true, Ok(outcome)) => self.give_shard(node, position, outcome),
                // A late answer is told all the same: the shard must not take it.
                (false, Ok(outcome)) => self.tell(node, Event::Fetched(FetchedPartition { position, outcome })),
                (true, Err(refusal)) => match refused(&refusal) {
                    Refused::OutOfRange => outside.push(position),
                    Refused::Contradicted => self.give_shard(node, position, FetchedOutcome::Contradicted),
                    Refused::ForNow => self.rest(node, leader, position.partition),
                },
                (false, Err(_)) => {}
            }
        }
        outside.into_iter().for_each(|position| self.ask_bounds(life, leader, position));
        self.pump(life, leader);
    }

    /// An answer that nobody waits for any more: what it holds is told all the same, as the shard must judge it.
    pub(super) fn late_answer(&mut self, node: NodeId, body: Option<Answer>) {
        let Some(Answer::Fetched(parts)) = body else { return };
        for (position, result) in parts {
            if let Ok(piece) = result
                && !self.stands(node, position, Some(position))
            {
                let outcome = outcome(piece);
                self.tell(node, Event::Fetched(FetchedPartition { position, outcome }));
            }
        }
    }

    /// Whether an answer for a position, come to what was `asked`, is for where the partition stands.
    fn stands(&mut self, node: NodeId, position: FetchPosition, asked: Option<FetchPosition>) -> bool {
        let fetcher = self.running(node).and_then(|process| process.fetchers.get(&position.leader));
        fetcher.and_then(|fetcher| fetcher.positions.answered(position.partition, asked)) == Some(position)
    }

    fn give_shard(&mut self, node: NodeId, position: FetchPosition, outcome: FetchedOutcome) {
        if let Some(fetcher) = self.running(node).and_then(|process| process.fetchers.get_mut(&position.leader)) {
            fetcher.positions.hand_over(position.partition);
        }
        self.tell(node, Event::Fetched(FetchedPartition { position, outcome }));
    }

    fn rest(&mut self, node: NodeId, leader: NodeId, partition: PartitionId) {
        let until = self.now.plus(PARTITION_BACKOFF);
        if let Some(fetcher) = self.running(node).and_then(|process| process.fetchers.get_mut(&leader)) {
            fetcher.positions.rest(partition, until);
        }
    }

    /// The position is outside of the leader's log: asks for its bounds; the partition rests meanwhile.
    fn ask_bounds(&mut self, life: Life, leader: NodeId, position: FetchPosition) {
        let (node, until) = (life.node, self.now.plus(ANSWER_WITHIN));
        let body = Request::Bounds { node, position };
        let id = self.ask_endpoint(Endpoint::Node(node), Endpoint::Node(leader), body);
        if let Some(fetcher) = self.process(life).and_then(|process| process.fetchers.get_mut(&leader)) {
            fetcher.bounds.insert(id, position);
            fetcher.positions.rest(position.partition, until);
        }
    }

    /// The bounds of a leader's log have come, or nothing did.
    pub(super) fn bounds_answer(&mut self, node: NodeId, leader: NodeId, id: RequestId, body: Option<Answer>) {
        let soon = self.now.plus(PARTITION_BACKOFF);
        let Some(life) = self.life(node) else { return };
        let Some(fetcher) = self.process(life).and_then(|process| process.fetchers.get_mut(&leader)) else { return };
        let Some(position) = fetcher.bounds.remove(&id) else { return };
        fetcher.positions.rest(position.partition, soon);
        if let Some(Answer::Bounded { start, end }) = body
            && self.stands(node, position, Some(position))
        {
            self.give_shard(node, position, FetchedOutcome::OutOfRange { start, end });
        }
        self.pump(life, leader);
    }
}

impl Process {
    /// A partition is followed no more at any leader but this one.
    fn stop_fetching(&mut self, partition: PartitionId, but: Option<NodeId>) {
        for (leader, fetcher) in self.fetchers.iter_mut().filter(|(leader, _)| Some(**leader) != but) {
            fetcher.positions.stop(partition);
            if fetcher.positions.is_empty() {
                self.reach.reached(*leader);
            }
        }
    }
}

/// What a refusal comes to over the wire (`api/error.rs`, `fetcher/leader.rs`).
fn refused(refusal: &ReadRefusal) -> Refused {
    match refusal {
        ReadRefusal::OutOfRange { .. } => Refused::OutOfRange,
        ReadRefusal::Contradicted | ReadRefusal::Damaged => Refused::Contradicted,
        ReadRefusal::UnknownPartition
        | ReadRefusal::NotLeader
        | ReadRefusal::FencedEpoch { .. }
        | ReadRefusal::UnknownEpoch { .. }
        | ReadRefusal::Offline => Refused::ForNow,
    }
}

fn outcome(piece: Piece) -> FetchedOutcome {
    match piece.diverging {
        Some(diverging) => FetchedOutcome::Diverging(diverging),
        None => FetchedOutcome::Records {
            bytes: piece.bytes,
            high_watermark: piece.high_watermark,
            log_start: piece.log_start,
        },
    }
}
