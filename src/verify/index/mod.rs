//! A history by partition, offset and value: made once, read by every invariant.
//!
//! Invariant: holds what the history says and nothing that it does not; everything in it is sorted, so that each
//! invariant is a sweep or a binary search.

mod facts;
mod floor;
mod keys;
mod lives;
mod scan;
mod told;

pub(crate) use facts::{Committed, Deletion, Fate, PartitionFacts, Reader, Reading};
pub(crate) use floor::{EpochFloor, Evidence};
pub(crate) use keys::{Keys, Known};
pub(crate) use lives::{Lives, Turn, turn};
pub(crate) use scan::Scan;
pub(crate) use told::{at_offset, read_by, sent};

use std::collections::{BTreeMap, BTreeSet};

use self::keys::Circumstances;
use super::history::{Class, ClientId, History, NodeEventKind, Poll, PollOutcome, Seen, Send, ValueId};
use super::{Expectations, FlushPromise, UncleanElection};
use crate::model::{Instant, NodeId, Offset, PartitionId};

/// A history, sorted.
pub(crate) struct Index<'h> {
    /// As it was recorded.
    pub(crate) history: &'h History,
    /// What it was promised.
    pub(crate) expectations: &'h Expectations,
    /// What is known of each partition, in the order of their ids.
    pub(crate) partitions: Vec<PartitionFacts<'h>>,
    /// When processes began and ended.
    pub(crate) lives: Lives,
    /// Each value's place in `history.sends`.
    values: Vec<(ValueId, usize)>,
    /// What became of each of `history.sends`.
    fates: Vec<Fate>,
    loss_is_allowed: bool,
}

impl<'h> Index<'h> {
    /// Sorts a history.
    pub(crate) fn new(history: &'h History, expectations: &'h Expectations) -> Self {
        let mut values: Vec<(ValueId, usize)> = history.sends.iter().enumerate().map(|(i, s)| (s.value, i)).collect();
        values.sort_unstable();
        let mut index = Self {
            history,
            expectations,
            partitions: facts::by_partition(history, expectations.retention),
            lives: Lives::new(&history.node_events),
            values,
            fates: vec![Fate::default(); history.sends.len()],
            loss_is_allowed: loss_is_allowed(history, expectations),
        };
        index.find_fates();
        index.find_keys();
        index
    }

    /// The write of a value.
    pub(crate) fn send_of(&self, value: ValueId) -> Option<(usize, &'h Send)> {
        let at = self.values.partition_point(|(other, _)| *other < value);
        let (found, place) = *self.values.get(at)?;
        (found == value).then(|| (place, &self.history.sends[place]))
    }

    /// What became of a write, by its place in the history.
    pub(crate) fn fate(&self, place: usize) -> &Fate {
        &self.fates[place]
    }

    /// What is known of a partition.
    pub(crate) fn partition(&self, id: PartitionId) -> Option<&PartitionFacts<'h>> {
        let at = self.partitions.binary_search_by_key(&id, |facts| facts.id).ok()?;
        Some(&self.partitions[at])
    }

    /// Whether the run allowed that acknowledged records go: by an unclean election, or by a power failure over a
    /// page cache that nobody had promised to sync.
    pub(crate) const fn loss_is_allowed(&self) -> bool {
        self.loss_is_allowed
    }

    /// Whether a write is known to be in the log: it was promised, or somebody has seen it.
    pub(crate) fn is_proven(&self, place: usize) -> bool {
        let fate = &self.fates[place];
        self.history.sends[place].class == Class::Ok || fate.lowest.is_some()
    }

    /// Where a write stands: where a promise says, or where it was seen. In a run that may lose records only the end
    /// counts.
    pub(crate) fn place_of(&self, place: usize) -> Option<Offset> {
        let (send, fate) = (&self.history.sends[place], &self.fates[place]);
        if self.loss_is_allowed {
            return fate.scanned;
        }
        send.offset.filter(|_| send.class == Class::Ok).or(fate.lowest)
    }

    /// When everything was well again, or should have been; `None` when the run ended before.
    pub(crate) fn settled_at(&self) -> Option<Instant> {
        let due = self.history.healed_at?.plus(self.expectations.bounds.recovery);
        self.history.rested_at.or_else(|| (due <= self.history.ended_at).then_some(due))
    }

    /// Whether a node must have known, at a moment, what had been so since `since`: the faults were over and it was so,
    /// and the node's process ran, for the bound of stale reads.
    pub(crate) fn must_know(&self, node: NodeId, since: Instant, moment: Instant) -> bool {
        let bound = self.expectations.bounds.stale;
        let is_old = |at: Instant| at.plus(bound) < moment;
        let is_over = self.history.healed_at.is_some_and(is_old);
        let before = Instant::ZERO.plus(moment.since(Instant::ZERO.plus(bound)));
        is_over && is_old(since) && !self.lives.began_within(node, before, moment)
    }

    /// Polls that one client had one after the other from one node in one life of its.
    pub(crate) fn successions<'a>(
        &'a self,
        polls: impl Iterator<Item = &'h Poll> + 'a,
    ) -> impl Iterator<Item = (&'h Poll, &'h Poll)> + 'a {
        let mut last: BTreeMap<(ClientId, NodeId), &Poll> = BTreeMap::new();
        polls.filter_map(move |poll| {
            let before = last.insert((poll.client, poll.node), poll)?;
            // An answer may have been on its way when its node died.
            let one_life = !self.lives.began_within(poll.node, before.invoked, poll.returned);
            (before.returned <= poll.invoked && one_life).then_some((before, poll))
        })
    }

    fn find_fates(&mut self) {
        for at in 0..self.partitions.len() {
            let id = self.partitions[at].id;
            for reading in 0..self.partitions[at].readings.len() {
                let Reading { seen, by } = self.partitions[at].readings[reading];
                let Some((place, send)) = seen.value.and_then(|value| self.send_of(value)) else { continue };
                if send.partition == id {
                    self.fates[place].note(seen.offset, by);
                }
            }
        }
    }
}

impl<'h> Index<'h> {
    /// What compaction may have taken, where records have keys.
    fn find_keys(&mut self) {
        let Some(compaction) = self.expectations.compaction else { return };
        for at in 0..self.partitions.len() {
            let facts = &self.partitions[at];
            if facts.sends.iter().all(|place| self.history.sends[*place].keyed.is_none()) {
                continue;
            }
            if self.loss_is_allowed {
                self.partitions[at].keys = Some(Keys::unknown());
                continue;
            }
            let promised = facts.sends.iter().filter_map(|place| {
                let send = &self.history.sends[*place];
                Some((send.offset.filter(|_| send.class == Class::Ok)?, send))
            });
            let read = facts.readings.iter().map(|reading| reading.seen);
            let held = facts.dumps.iter().flat_map(|dump| {
                let records = dump.batches.iter().flat_map(|batch| &batch.records);
                records.filter(|seen| seen.offset < dump.high_watermark)
            });
            let seen = read.chain(held).filter_map(|seen| {
                let (_, send) = self.send_of(seen.value?)?;
                (send.partition == facts.id).then_some((seen.offset, send))
            });
            let committed: Vec<(Offset, &'h Send)> = promised.chain(seen).collect();
            let placed: BTreeSet<ValueId> = committed.iter().map(|(_, send)| send.value).collect();
            let sends = facts.sends.iter().map(|place| &self.history.sends[*place]);
            let may_stand_elsewhere = |send: &&Send| !placed.contains(&send.value) || send.may_stand_twice();
            let strays = sends.filter(may_stand_elsewhere);
            let circumstances = Circumstances {
                tombstones: compaction.tombstones,
                removed: facts.deleted_from.map_or_else(|| facts.start_at_most_ever(), |_| Offset::new(i64::MAX)),
                ended_at: self.history.ended_at,
            };
            self.partitions[at].keys = Some(Keys::new(committed, strays, circumstances));
        }
    }
}

fn loss_is_allowed(history: &History, expectations: &Expectations) -> bool {
    let lost_power = || history.node_events.iter().any(|event| event.what == NodeEventKind::PowerLost);
    expectations.unclean_election == UncleanElection::Allowed
        || (expectations.flush == FlushPromise::PageCache && lost_power())
}

/// The records of a poll's answer; none when it brought an error.
pub(crate) fn records_of(outcome: &PollOutcome) -> &[Seen] {
    match outcome {
        PollOutcome::Records { records, .. } => records,
        PollOutcome::OutOfRange | PollOutcome::Corrupt => &[],
    }
}
