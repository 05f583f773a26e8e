//! A follower's side of replication: one request to each leader at a time, for all that is followed there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::message::{Answer, Endpoint, Piece, Request, RequestId};
use super::process::Fetcher;
use super::{Happening, Life, World};
use crate::model::{NodeId, PartitionId};
use crate::partition::{Event, FetchPosition, FetchedOutcome, FetchedPartition, ReadRefusal};

/// How long a partition rests after an error that only time mends.
const PARTITION_BACKOFF: Duration = Duration::from_millis(20);
/// How long a leader rests that did not answer.
const LEADER_BACKOFF: Duration = Duration::from_millis(50);
/// How long an answer may take beyond what it waits at the leader.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl World {
    /// The shard goes on from here.
    pub(super) fn fetch_from(&mut self, node: NodeId, position: FetchPosition) {
        let Some(process) = self.running(node) else { return };
        let (partition, leader) = (position.partition, position.leader);
        for (_, other) in process.fetchers.iter_mut().filter(|(of, _)| **of != leader) {
            other.forget(partition);
        }
        let fetcher = process.fetchers.entry(leader).or_default();
        fetcher.forget(partition);
        fetcher.positions.insert(partition, position);
        // A parked request that does not name it is given up.
        if fetcher.busy.is_empty() || fetcher.request.as_ref().is_some_and(|(_, asked)| !asked.contains(&partition)) {
            fetcher.request = None;
        }
        let life = Life { node, life: process.life };
        self.pump(life, leader);
    }

    /// The shard follows no more.
    pub(super) fn stop_fetching(&mut self, node: NodeId, partition: PartitionId) {
        let Some(process) = self.running(node) else { return };
        process.fetchers.values_mut().for_each(|fetcher| fetcher.forget(partition));
    }

    /// Sends the next request to a leader, if there is anything to ask and no answer is awaited.
    pub(super) fn pump(&mut self, life: Life, leader: NodeId) {
        let (now, wait) = (self.now, self.knobs.fetch_wait);
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
        fetcher.resting.retain(|_, until| *until > now);
        let wanted = fetcher.positions.values();
        let wanted =
            wanted.filter(|p| !fetcher.busy.contains(&p.partition) && !fetcher.resting.contains_key(&p.partition));
        let positions: Vec<FetchPosition> = wanted.copied().collect();
        let rest = fetcher.resting.values().min().copied();
        if positions.is_empty() {
            if let Some(at) = rest {
                self.at(at, Happening::FetchAgain(life, leader));
            }
            return;
        }
        let wait = rest.map_or(wait, |until| until.since(now).min(wait));
        let asked: BTreeSet<PartitionId> = positions.iter().map(|position| position.partition).collect();
        let node = life.node;
        let body = Request::Fetch { node, broker_epoch, positions, wait };
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
        fetcher.lost_since.get_or_insert(now);
        fetcher.rests_until = now.plus(LEADER_BACKOFF);
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
        fetcher.lost_since = None;
        fetcher.request = None;
        let mut outside = Vec::new();
        for (position, result) in parts {
            // Rule R5: only what was fetched for the position that stands now.
            let stands = self.stands(node, leader, position);
            match (stands, result.map(outcome)) {
                (true, Ok(outcome)) => self.give_shard(node, position, outcome),
                // A late answer is told all the same: the shard must not take it.
                (false, Ok(outcome)) => self.tell(node, Event::Fetched(FetchedPartition { position, outcome })),
                (true, Err(ReadRefusal::OutOfRange { .. })) => outside.push(position),
                (true, Err(ReadRefusal::Contradicted)) => self.give_shard(node, position, FetchedOutcome::Contradicted),
                (true, Err(_)) => self.rest(node, leader, position.partition),
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
                && !self.stands_anywhere(node, position)
            {
                let outcome = outcome(piece);
                self.tell(node, Event::Fetched(FetchedPartition { position, outcome }));
            }
        }
    }

    fn stands(&mut self, node: NodeId, leader: NodeId, position: FetchPosition) -> bool {
        let fetcher = self.running(node).and_then(|process| process.fetchers.get(&leader));
        fetcher.is_some_and(|fetcher| {
            fetcher.positions.get(&position.partition) == Some(&position) && !fetcher.busy.contains(&position.partition)
        })
    }

    fn stands_anywhere(&mut self, node: NodeId, position: FetchPosition) -> bool {
        self.stands(node, position.leader, position)
    }

    fn give_shard(&mut self, node: NodeId, position: FetchPosition, outcome: FetchedOutcome) {
        if let Some(fetcher) = self.running(node).and_then(|process| process.fetchers.get_mut(&position.leader)) {
            fetcher.busy.insert(position.partition);
        }
        self.tell(node, Event::Fetched(FetchedPartition { position, outcome }));
    }

    fn rest(&mut self, node: NodeId, leader: NodeId, partition: PartitionId) {
        let until = self.now.plus(PARTITION_BACKOFF);
        if let Some(fetcher) = self.running(node).and_then(|process| process.fetchers.get_mut(&leader)) {
            fetcher.resting.insert(partition, until);
        }
    }

    /// The position is outside of the leader's log: asks for its bounds; the partition rests meanwhile.
    fn ask_bounds(&mut self, life: Life, leader: NodeId, position: FetchPosition) {
        let (node, until) = (life.node, self.now.plus(ANSWER_WITHIN));
        let body = Request::Bounds { node, position };
        let id = self.ask_endpoint(Endpoint::Node(node), Endpoint::Node(leader), body);
        if let Some(fetcher) = self.process(life).and_then(|process| process.fetchers.get_mut(&leader)) {
            fetcher.bounds.insert(id, position);
            fetcher.resting.insert(position.partition, until);
        }
    }

    /// The bounds of a leader's log have come, or nothing did.
    pub(super) fn bounds_answer(&mut self, node: NodeId, leader: NodeId, id: RequestId, body: Option<Answer>) {
        let soon = self.now.plus(PARTITION_BACKOFF);
        let Some(life) = self.life(node) else { return };
        let Some(fetcher) = self.process(life).and_then(|process| process.fetchers.get_mut(&leader)) else { return };
        let Some(position) = fetcher.bounds.remove(&id) else { return };
        fetcher.resting.insert(position.partition, soon);
        if let Some(Answer::Bounded { start, end }) = body
            && self.stands(node, leader, position)
        {
            self.give_shard(node, position, FetchedOutcome::OutOfRange { start, end });
        }
        self.pump(life, leader);
    }

    /// Leaders that have not answered for a while, as heartbeats name them (rule S12).
    pub(super) fn unfetchable(&mut self, node: NodeId) -> Vec<NodeId> {
        let now = self.now;
        let Some(process) = self.running(node) else { return Vec::new() };
        let lost = process.fetchers.iter().filter(|(_, fetcher)| !fetcher.positions.is_empty());
        let lost = lost.filter(|(_, f)| f.lost_since.is_some_and(|since| now.since(since) >= Duration::from_secs(1)));
        lost.map(|(leader, _)| *leader).collect()
    }
}

impl Fetcher {
    fn forget(&mut self, partition: PartitionId) {
        self.positions.remove(&partition);
        self.busy.remove(&partition);
        self.resting.remove(&partition);
        if self.positions.is_empty() {
            self.lost_since = None;
        }
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
