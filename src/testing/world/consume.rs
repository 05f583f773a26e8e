//! Consumers: polls from leaders and followers, offsets by position and time, and what they make of answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client::wall;
use super::groups::data_partitions;
use super::message::{Answer, Endpoint, Piece, Request, RequestId};
use super::{Happening, Knobs, World};
use crate::machines::metadata::Image;
use crate::model::{Instant, LeaderEpoch, NodeId, Offset, PartitionId, Timestamp};
use crate::partition::{ConsumerIsolation, OffsetQuery, ReadRefusal};
use crate::records::split;
use crate::testing::{Chance, evidence};
use crate::verify::history::{
    ClientId, EpochLookup, Isolation, OffsetLookup, OffsetQuery as Asked, Poll, PollOutcome, Seen,
};

/// How long a consumer waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// One consuming client.
#[derive(Debug)]
pub(super) struct Consumer {
    id: ClientId,
    image: Option<Arc<Image>>,
    positions: BTreeMap<PartitionId, Position>,
    pending: BTreeMap<RequestId, Pending>,
    /// How many positions it has begun at.
    incarnations: u32,
    chance: Chance,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    offset: Offset,
    incarnation: u32,
    is_busy: bool,
}

impl Position {
    /// Where a consumer begins anew.
    fn new(offset: Offset, incarnations: &mut u32) -> Self {
        *incarnations += 1;
        Self { offset, incarnation: *incarnations, is_busy: false }
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Metadata,
    Poll { partition: PartitionId, invoked: Instant, position: Position },
    List { partition: PartitionId, invoked: Instant, query: OffsetQuery, resets: bool },
    Epoch { partition: PartitionId, epoch: LeaderEpoch },
}

impl Consumer {
    pub(super) fn all(knobs: &Knobs, chance: &mut Chance) -> BTreeMap<Endpoint, Self> {
        let consumer = |number: usize| {
            let id = ClientId(u32::try_from(1000 + number).expect("a few clients"));
            let (positions, pending) = (BTreeMap::new(), BTreeMap::new());
            let chance = chance.fork();
            (Endpoint::Client(id), Self { id, image: None, positions, pending, incarnations: 0, chance })
        };
        (0..knobs.consumers).map(consumer).collect()
    }

    /// Whether it has read a partition up to there.
    pub(super) fn has_read(&self, partition: PartitionId, end: Offset) -> bool {
        self.positions.get(&partition).is_some_and(|position| position.offset >= end)
    }
}

impl World {
    pub(super) fn consume(&mut self, client: Endpoint) {
        let (now, follows) = (self.now, self.knobs.reads_followers);
        let any = self.any_node();
        let consumer = self.consumers.get_mut(&client).expect("a consumer");
        let image = consumer.image.clone().filter(|image| data_partitions(image).next().is_some());
        let Some(image) = image.filter(|_| !consumer.chance.one_in(40)) else {
            self.want(client, any, Request::Metadata, Pending::Metadata);
            return;
        };
        let partitions: Vec<PartitionId> = data_partitions(&image).map(|(id, _)| id).collect();
        let behind = partitions.iter().find(|id| {
            let end = self.observer.committed_end(**id);
            self.observer.is_quiet && !consumer.has_read(**id, end)
        });
        let partition = behind.copied().unwrap_or_else(|| *consumer.chance.pick(&partitions));
        let state = image.partition(partition).expect("just listed");
        let incarnations = &mut consumer.incarnations;
        let position = consumer.positions.entry(partition).or_insert_with(|| Position::new(Offset::ZERO, incarnations));
        if position.is_busy {
            return;
        }
        let position = *position;
        let Some(leader) = state.leader else {
            self.want(client, any, Request::Metadata, Pending::Metadata);
            return;
        };
        let follower = *consumer.chance.pick(&state.replicas);
        match consumer.chance.below(100) {
            0..=83 => {
                let at_follower = follows && consumer.chance.percent(30);
                let (node, epoch) = if at_follower { (follower, None) } else { (leader, Some(state.leader_epoch)) };
                let isolation = ConsumerIsolation::ReadUncommitted;
                let body = Request::Poll { partition, offset: position.offset, epoch, isolation };
                let consumer = self.consumers.get_mut(&client).expect("a consumer");
                consumer.positions.get_mut(&partition).expect("just made").is_busy = true;
                self.want(client, node, body, Pending::Poll { partition, invoked: now, position });
            }
            84..=91 => self.want_offset(client, leader, partition, OffsetQuery::Latest, false),
            92..=94 => self.want_offset(client, leader, partition, OffsetQuery::Earliest, false),
            95..=97 => {
                let back = i64::try_from(consumer.chance.below(20_000)).expect("a small number");
                let time = Timestamp::new(wall(now).get() - back);
                self.want_offset(client, leader, partition, OffsetQuery::Timestamp(time), false);
            }
            _ => {
                let epochs = usize::try_from(state.leader_epoch.get() + 1).expect("an epoch");
                let epoch = LeaderEpoch::new(i32::try_from(consumer.chance.below(epochs)).expect("an epoch"));
                let body = Request::EpochEnd { partition, epoch };
                self.want(client, leader, body, Pending::Epoch { partition, epoch });
            }
        }
    }

    fn want_offset(
        &mut self,
        client: Endpoint,
        node: NodeId,
        partition: PartitionId,
        query: OffsetQuery,
        resets: bool,
    ) {
        let pending = Pending::List { partition, invoked: self.now, query, resets };
        self.want(client, node, Request::List { partition, query }, pending);
    }

    fn want(&mut self, client: Endpoint, node: NodeId, body: Request, pending: Pending) {
        let id = self.ask_endpoint(client, Endpoint::Node(node), body);
        self.consumers.get_mut(&client).expect("a consumer").pending.insert(id, pending);
        self.after(ANSWER_WITHIN, Happening::ClientTimeout(client, id));
    }

    pub(super) fn consume_answer(&mut self, client: Endpoint, id: RequestId, body: Option<(Endpoint, Answer)>) {
        let consumer = self.consumers.get_mut(&client).expect("a consumer");
        let Some(pending) = consumer.pending.remove(&id) else { return };
        if let Pending::Poll { partition, position: of, .. } = pending
            && let Some(position) = consumer.positions.get_mut(&partition)
            && position.incarnation == of.incarnation
        {
            position.is_busy = false;
        }
        let node = match &body {
            Some((Endpoint::Node(node), _)) => *node,
            Some((Endpoint::Client(_), _)) | None => {
                consumer.image = None;
                return;
            }
        };
        match (pending, body.map(|(_, body)| body)) {
            (Pending::Metadata, Some(Answer::Metadata(image))) => self.take_image(client, image),
            (Pending::Poll { partition, invoked, position }, Some(Answer::Polled { result, epoch, as_leader })) => {
                let poll = Poll {
                    client: consumer.id,
                    incarnation: position.incarnation,
                    partition,
                    isolation: Isolation::ReadUncommitted,
                    node,
                    as_leader,
                    leader_epoch: epoch,
                    invoked,
                    returned: self.now,
                    position: position.offset,
                    outcome: PollOutcome::OutOfRange,
                };
                self.polled(client, poll, result);
            }
            (
                Pending::List { partition, invoked, query, resets },
                Some(Answer::Listed { result: Ok(answer), epoch: leader_epoch }),
            ) => {
                if resets && let Some(offset) = answer {
                    let position = Position::new(offset, &mut consumer.incarnations);
                    consumer.positions.insert(partition, position);
                }
                let query = match query {
                    OffsetQuery::Earliest => Asked::Earliest,
                    OffsetQuery::Latest | OffsetQuery::MaxTimestamp => Asked::Latest,
                    OffsetQuery::Timestamp(time) => Asked::Timestamp(time),
                };
                let returned = self.now;
                let lookup = OffsetLookup { partition, node, leader_epoch, invoked, returned, query, answer };
                // Where a segment is gone, the next one is taken for the answer.
                let is_damaged = self.observer.sick == Some(node);
                if !is_damaged || !matches!(query, Asked::Timestamp(_)) {
                    self.record.history.offset_lookups.push(lookup);
                }
            }
            (Pending::Epoch { partition, epoch }, Some(Answer::EpochEnd { result: answer, epoch: leader_epoch })) => {
                let answer = answer.map(|found| (found.epoch, found.end));
                let returned = self.now;
                let lookup = EpochLookup { partition, node, leader_epoch, returned, epoch, answer };
                self.record.history.epoch_lookups.push(lookup);
            }
            (_, _) => consumer.image = None,
        }
    }

    fn take_image(&mut self, client: Endpoint, image: Arc<Image>) {
        let consumer = self.consumers.get_mut(&client).expect("a consumer");
        consumer.positions.retain(|partition, _| image.partition(*partition).is_some());
        consumer.image = Some(image);
    }

    fn polled(&mut self, client: Endpoint, mut poll: Poll, result: Result<Piece, ReadRefusal>) {
        let consumer = self.consumers.get_mut(&client).expect("a consumer");
        let partition = poll.partition;
        match result {
            Ok(piece) => {
                // Of a compacted batch the last records may be gone: a reader goes on behind the batch.
                let next = ends(piece.bytes.clone()).map_or(poll.position, |end| end.max(poll.position));
                let records: Vec<Seen> =
                    seen(piece.bytes).into_iter().filter(|seen| seen.offset >= poll.position).collect();
                // Another answer may have moved it on meanwhile.
                if let Some(position) = consumer.positions.get_mut(&partition)
                    && position.incarnation == poll.incarnation
                {
                    position.offset = position.offset.max(next);
                }
                poll.outcome = PollOutcome::Records {
                    records,
                    next,
                    high_watermark: piece.high_watermark,
                    last_stable: piece.last_stable,
                    log_start: piece.log_start,
                };
                self.record.history.polls.push(poll);
            }
            Err(ReadRefusal::OutOfRange { .. }) => {
                let node = poll.node;
                self.record.history.polls.push(poll);
                self.want_offset(client, node, partition, OffsetQuery::Earliest, true);
            }
            Err(_) => consumer.image = None,
        }
    }
}

/// Where the last of some batches ends.
pub(super) fn ends(bytes: Bytes) -> Option<Offset> {
    split(bytes).map_while(Result::ok).last().map(|batch| batch.next_offset())
}

/// The records of some batches, as somebody reads them.
pub(super) fn seen(bytes: Bytes) -> Vec<Seen> {
    let mut all = Vec::new();
    for batch in split(bytes) {
        let Ok(batch) = batch else { break };
        all.extend(evidence::seen(&batch));
    }
    all
}
