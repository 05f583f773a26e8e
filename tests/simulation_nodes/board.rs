//! What everybody writes down in a run: the history that the judge is shown, and what the simulation tells its clients.
//!
//! Invariant: a moment is the simulation's; what a client is about to do stands here before it does it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ottla::model::{Instant, NodeId, Offset, PartitionId, Timestamp};
use ottla::testing::evidence::{digest, encode_value};
use ottla::verify::history::{Class, ClientId, History, NodeEvent, NodeEventKind, Send, ValueId};

use crate::world::{elapsed, wall};

/// See the file's comment.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) history: History,
    pub(crate) is_created: bool,
    pub(crate) healed_at: Option<Duration>,
    /// When the last producer had its acknowledgements after the healing.
    pub(crate) recovered_at: Option<Duration>,
    pub(crate) producers_done: u64,
    /// When, after the healing, the consumer had read a partition to its end.
    pub(crate) read_at: BTreeMap<PartitionId, Instant>,
    /// The high watermark that a node told of its replica at the end.
    pub(crate) watermarks: BTreeMap<(i32, PartitionId), Offset>,
    values: u64,
    /// How many values a client has for a partition.
    orders: BTreeMap<(ClientId, PartitionId), u64>,
    /// Who acknowledged a value. In which epoch, the record will say.
    answered: BTreeMap<ValueId, NodeId>,
}

pub(crate) type Shared = Rc<RefCell<Board>>;

/// A moment of the simulation as the history has it.
pub(crate) fn moment(elapsed: Duration) -> Instant {
    Instant::ZERO.plus(elapsed)
}

/// This moment, for whoever runs on a host.
pub(crate) fn now() -> Instant {
    moment(elapsed())
}

/// Some values on their way, by their places in the history, with the bytes that stand for them.
#[derive(Debug)]
pub(crate) struct Outgoing {
    first: usize,
    pub(crate) values: Vec<(ValueId, Vec<u8>)>,
    pub(crate) timestamp: Timestamp,
}

impl Board {
    /// A client is about to send so many new values in one batch.
    pub(crate) fn send(&mut self, client: ClientId, partition: PartitionId, count: u64) -> Outgoing {
        let (first, timestamp, invoked) = (self.history.sends.len(), wall(0), now());
        let mut values = Vec::new();
        for at in 0..count {
            self.values += 1;
            let value = ValueId(self.values);
            let bytes = encode_value(value, partition);
            let order = self.orders.entry((client, partition)).or_default();
            self.history.sends.push(Send {
                value,
                client,
                partition,
                session: None,
                order: *order,
                // The next batch waits for this one, and only its last value has nobody beside it.
                alone: at + 1 == count,
                invoked,
                returned: None,
                class: Class::Info,
                offset: None,
                attempts: 1,
                answered_by: None,
                digest: digest(&bytes, timestamp),
                keyed: None,
            });
            *order += 1;
            values.push((value, bytes));
        }
        Outgoing { first, values, timestamp }
    }

    /// It was acknowledged.
    pub(crate) fn acknowledged(&mut self, sent: &Outgoing, node: i32, base: i64) {
        for ((at, (value, _)), offset) in sent.values.iter().enumerate().zip(base..) {
            let send = &mut self.history.sends[sent.first + at];
            (send.returned, send.class, send.offset) = (Some(now()), Class::Ok, Some(Offset::new(offset)));
            self.answered.insert(*value, NodeId::new(node));
        }
    }

    /// It was not: refused, or nobody knows.
    pub(crate) fn failed(&mut self, sent: &Outgoing, class: Class) {
        for send in &mut self.history.sends[sent.first..sent.first + sent.values.len()] {
            (send.returned, send.class) = (Some(now()), class);
        }
    }

    /// A client waits for nothing any more.
    pub(crate) fn gave_up(&mut self, client: ClientId) {
        let open = |send: &&mut Send| send.client == client && send.returned.is_none();
        self.history.sends.iter_mut().filter(open).for_each(|send| send.returned = Some(now()));
    }

    pub(crate) fn note(&mut self, at: Duration, node: i32, what: NodeEventKind) {
        self.history.node_events.push(NodeEvent { node: NodeId::new(node), at: moment(at), what });
    }

    /// The high watermarks that a node told at the end.
    pub(crate) fn watermarks_of(&self, node: i32) -> Vec<(PartitionId, Offset)> {
        let own = self.watermarks.iter().filter(|((of, _), _)| *of == node);
        own.map(|((_, partition), watermark)| (*partition, *watermark)).collect()
    }

    /// How many values were acknowledged.
    pub(crate) fn acked(&self) -> usize {
        self.history.sends.iter().filter(|send| send.class == Class::Ok).count()
    }

    /// One past the last offset of a partition that was acknowledged.
    pub(crate) fn acked_end(&self, partition: PartitionId) -> Offset {
        let own = self.history.sends.iter().filter(|send| send.partition == partition && send.class == Class::Ok);
        own.filter_map(|send| send.offset).max().map_or(Offset::ZERO, |last| last.plus(1))
    }

    /// Puts everything in the order that the judge expects, and says in which epochs writes were acknowledged: a leader
    /// acknowledges what it appended in its own epoch, and the record tells which that was.
    pub(crate) fn finish(&mut self, ended_at: Duration) {
        let history = &mut self.history;
        history.healed_at = self.healed_at.map(moment);
        history.ended_at = moment(ended_at);
        history.sends.sort_by_key(|send| send.invoked);
        history.polls.sort_by_key(|poll| poll.returned);
        history.node_events.sort_by_key(|event| event.at);
        let scanned = history.scans.iter().flat_map(|scan| &scan.records);
        let epochs: BTreeMap<ValueId, _> = scanned.filter_map(|seen| Some((seen.value?, seen.epoch))).collect();
        for send in &mut history.sends {
            let node = self.answered.get(&send.value).copied();
            send.answered_by = node.zip(epochs.get(&send.value).copied());
        }
    }
}
