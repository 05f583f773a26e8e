//! The model's logs: append, fetch, truncate, flush, the high watermark.

use std::collections::BTreeMap;

use super::{World, offset};
use crate::model::{LeaderEpoch, NodeId, Sequence, Timestamp};
use crate::verify::history::{PartitionState, Seen, Session, ValueId};
use crate::verify::tests::random::mixed;

/// One replica of a partition.
#[derive(Clone, Default)]
pub(super) struct Replica {
    pub(super) log: Vec<Record>,
    pub(super) start: usize,
    pub(super) flushed: usize,
    pub(super) watermark: usize,
    /// The metadata's state as its node knows it in this life.
    pub(super) view: Option<PartitionState>,
    pub(super) lead: Option<Lead>,
}

/// What a leader knows.
#[derive(Clone)]
pub(super) struct Lead {
    pub(super) epoch: LeaderEpoch,
    /// Where its epoch began.
    pub(super) begin: usize,
    /// How far each follower has flushed, as it said in this epoch.
    pub(super) progress: BTreeMap<NodeId, usize>,
}

/// One record of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) value: ValueId,
    pub(super) session: Option<(Session, Sequence)>,
    pub(super) epoch: LeaderEpoch,
    pub(super) timestamp: Timestamp,
    /// How many records of its batch stand before it, and behind it.
    pub(super) before: usize,
    pub(super) behind: usize,
}

/// The digest of a value's record.
pub(super) const fn digest(value: ValueId) -> u64 {
    mixed(value.0)
}

impl Replica {
    pub(super) fn leads_in(&self) -> Option<LeaderEpoch> {
        self.lead.as_ref().map(|lead| lead.epoch)
    }

    /// Whether its view lets it commit.
    pub(super) fn has_enough(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.isr.len() >= view.isr_min)
    }

    /// Moves a leader's high watermark as far as its whole ISR has flushed.
    pub(super) fn advance(&mut self, own: NodeId) {
        let (Some(lead), Some(view), true) = (&self.lead, &self.view, self.has_enough()) else { return };
        let others = view.isr.iter().filter(|node| **node != own);
        let flushed = others.map(|node| lead.progress.get(node).copied().unwrap_or(0)).min().unwrap_or(usize::MAX);
        self.watermark = self.watermark.max(flushed.min(self.flushed));
    }

    /// What a producer's session wrote last here.
    pub(super) fn last_of(&self, session: Session) -> Option<Sequence> {
        let mut newest = self.log.iter().rev().filter_map(|record| record.session);
        newest.find(|(own, _)| *own == session).map(|(_, sequence)| sequence)
    }

    /// Whether the producer has gone on to a later epoch here.
    pub(super) fn fences(&self, session: Session) -> bool {
        let mut sessions = self.log.iter().filter_map(|record| record.session);
        sessions.any(|(other, _)| other.producer == session.producer && other.epoch > session.epoch)
    }
}

impl World {
    /// A record as a reader of this partition sees it.
    pub(super) fn seen(&self, partition: usize, at: usize, record: &Record) -> Seen {
        Seen {
            offset: offset(at),
            value: Some(record.value),
            wrote_to: Some(self.partitions[partition].id),
            epoch: record.epoch,
            digest: digest(record.value),
            timestamp: record.timestamp,
        }
    }

    /// A follower fetches, or somebody flushes.
    pub(super) fn replicate(&mut self) {
        let Some(at) = self.some_partition() else { return };
        let node = self.some_node();
        if !self.nodes[&node].is_up {
            return;
        }
        if self.random.chance(30) {
            self.flush(at, node);
            return;
        }
        self.fetch(at, node);
        if self.random.chance(50) {
            self.flush(at, node);
            self.fetch(at, node);
        }
    }

    pub(super) fn flush(&mut self, at: usize, node: NodeId) {
        let replica = self.partitions[at].replicas.get_mut(&node).expect("every node has a replica");
        replica.flushed = replica.log.len();
        replica.advance(node);
    }

    /// A follower fetches from the leader that it knows, if that leads in the same epoch.
    pub(super) fn fetch(&mut self, at: usize, node: NodeId) {
        let count = self.random.between(1, 8);
        let partition = &mut self.partitions[at];
        let Some(view) = partition.replicas[&node].view.clone() else { return };
        let Some(leader) = view.leader.filter(|leader| *leader != node && self.nodes[leader].is_up) else { return };
        if partition.replicas[&leader].leads_in() != Some(view.leader_epoch) {
            return;
        }
        let mut own = partition.replicas.remove(&node).expect("every node has a replica");
        let source = partition.replicas.get_mut(&leader).expect("every node has a replica");
        let common = own.log.iter().zip(&source.log).take_while(|(a, b)| a == b).count();
        if common < own.log.len() {
            own.log.truncate(common);
            own.flushed = own.flushed.min(common);
            own.watermark = own.watermark.min(common);
        } else {
            let lead = source.lead.as_mut().expect("it leads");
            lead.progress.insert(node, own.flushed);
            source.advance(leader);
            let end = whole_batches(source, common.max(source.start), count);
            own.log.extend_from_slice(source.log.get(common..end).unwrap_or_default());
            own.start = own.start.max(source.start);
            if own.flushed < own.start {
                own.flushed = own.log.len();
            }
            own.watermark = own.watermark.max(source.watermark.min(own.log.len())).max(own.start);
        }
        partition.replicas.insert(node, own);
    }
}

/// Where a fetch of some records ends: never within a batch.
fn whole_batches(source: &Replica, from: usize, count: usize) -> usize {
    let last = (from + count).min(source.log.len());
    last.checked_sub(1).map_or(0, |last| last + 1 + source.log[last].behind)
}
