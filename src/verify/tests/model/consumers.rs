//! The model's readers: consumers that poll leaders and followers, and lookups of offsets, timestamps and epochs.
//!
//! An answer is made at one moment, between a request's invocation and its return.

use super::producers::number;
use super::replicas::Replica;
use super::{World, offset};
use crate::model::{Instant, LeaderEpoch, NodeId, Offset, Timestamp};
use crate::verify::history::{
    Administration, AdministrationKind, Class, ClientId, EpochLookup, Isolation, MetadataFact, OffsetLookup,
    OffsetQuery, Poll, PollOutcome,
};

/// A consumer of one partition.
pub(super) struct Consumer {
    client: ClientId,
    pub(super) partition: usize,
    incarnation: u32,
    isolation: Isolation,
    pub(super) position: usize,
    returned: u64,
}

impl World {
    pub(super) fn hire_consumers(&mut self, partition: usize) {
        for _ in 0..self.random.between(1, 2) {
            let client = ClientId(100 + u32::try_from(self.consumers.len()).expect("there are few clients"));
            let isolation = if self.random.chance(50) { Isolation::ReadUncommitted } else { Isolation::ReadCommitted };
            self.consumers.push(Consumer { client, partition, incarnation: 0, isolation, position: 0, returned: 0 });
        }
    }

    pub(super) fn poll(&mut self) {
        let at = self.random.below(self.consumers.len());
        let partition = self.consumers[at].partition;
        if self.partitions[partition].is_deleted {
            return;
        }
        if self.random.chance(3) {
            self.restart_consumer(at);
        }
        let leaders = self.leaders_in_their_view(partition);
        let follower = self.some_node();
        let node = if self.random.chance(70) { self.random.pick(&leaders).copied() } else { Some(follower) };
        if let Some(node) = node {
            self.poll_from(at, node);
        }
    }

    /// Begins anew from somewhere that it may have committed.
    fn restart_consumer(&mut self, at: usize) {
        let back = self.random.between(0, self.consumers[at].position);
        let consumer = &mut self.consumers[at];
        consumer.incarnation += 1;
        consumer.position = back;
    }

    /// Whether a node may answer a reader in a run with leases: it leads in the newest epoch, and knows what is committed.
    fn may_serve(&self, partition: usize, node: NodeId) -> bool {
        let (partition, up) = (&self.partitions[partition], self.nodes[&node].is_up);
        let replica = &partition.replicas[&node];
        let is_newest = replica
            .lead
            .as_ref()
            .is_some_and(|lead| lead.epoch == partition.state.leader_epoch && replica.watermark >= lead.begin);
        up && (!self.options.strict || is_newest)
    }

    pub(super) fn poll_from(&mut self, at: usize, node: NodeId) {
        let Consumer { client, partition, incarnation, isolation, position, returned } = self.consumers[at];
        let replica = &self.partitions[partition].replicas[&node];
        let (Some(view), true) = (&replica.view, returned <= self.now && self.may_serve(partition, node)) else {
            return;
        };
        let (as_leader, leader_epoch) = (replica.lead.is_some(), view.leader_epoch);
        let id = self.partitions[partition].id;
        let invoked = self.some_time_between(returned, self.now);
        let outcome = self.read(partition, node, position);
        let returned = self.soon();
        self.consumers[at].returned = returned;
        match &outcome {
            PollOutcome::Records { next, .. } => self.consumers[at].position = number(*next),
            PollOutcome::OutOfRange | PollOutcome::Corrupt => self.reset(at, node),
        }
        self.history.polls.push(Poll {
            client,
            incarnation,
            partition: id,
            isolation,
            node,
            as_leader,
            leader_epoch,
            invoked: Instant::from_nanos(invoked),
            returned: Instant::from_nanos(returned),
            position: offset(position),
            outcome,
        });
    }

    /// After "out of range": to the start, if that was passed; else it asks another node, or, when records were lost,
    /// goes to the end.
    fn reset(&mut self, at: usize, node: NodeId) {
        let replica = &self.partitions[self.consumers[at].partition].replicas[&node];
        let (start, end) = (replica.start, replica.log.len());
        let consumer = &mut self.consumers[at];
        if consumer.position < start {
            consumer.position = start;
            consumer.incarnation += 1;
        } else if self.options.unclean {
            consumer.position = end.max(start);
            consumer.incarnation += 1;
        }
    }

    /// What a node answers to a fetch.
    fn read(&mut self, partition: usize, node: NodeId, position: usize) -> PollOutcome {
        let count = self.random.between(1, 10);
        let replica = &self.partitions[partition].replicas[&node];
        if position < replica.start || position > replica.log.len() {
            return PollOutcome::OutOfRange;
        }
        let end = replica.watermark.min(position + count).max(position);
        let records: Vec<_> = (position..end).map(|place| self.seen(partition, place, &replica.log[place])).collect();
        PollOutcome::Records {
            records,
            next: offset(end),
            high_watermark: offset(replica.watermark),
            last_stable: offset(replica.watermark),
            log_start: offset(replica.start),
        }
    }

    fn some_time_between(&mut self, first: u64, last: u64) -> u64 {
        let percent = u64::try_from(self.random.below(101)).expect("it is small");
        first + (last - first) / 100 * percent
    }

    fn soon(&mut self) -> u64 {
        self.now + u64::try_from(self.random.below(3)).expect("it is below 3") * self.options.step_max / 2
    }

    pub(super) fn look_up(&mut self) {
        let Some(partition) = self.some_partition() else { return };
        let leaders = self.leaders_in_their_view(partition);
        if let Some(node) = self.random.pick(&leaders).copied() {
            self.look_up_at(partition, node);
        }
    }

    /// A leader answers, once its high watermark has reached where its epoch began.
    pub(super) fn look_up_at(&mut self, partition: usize, node: NodeId) {
        let replica = self.partitions[partition].replicas[&node].clone();
        let Some(lead) = &replica.lead else { return };
        let (id, leader_epoch) = (self.partitions[partition].id, lead.epoch);
        let (invoked, returned) = (self.some_time_between(self.now - self.now / 10, self.now), self.soon());
        let (invoked, returned) = (Instant::from_nanos(invoked), Instant::from_nanos(returned));
        let kind = self.random.below(4);
        if kind == 3 {
            let asked = self.random.below(usize::try_from(leader_epoch.get()).expect("it is not negative") + 1);
            let epoch = LeaderEpoch::new(i32::try_from(asked).expect("it is small"));
            let answer = end_of(&replica, epoch);
            self.history.epoch_lookups.push(EpochLookup { partition: id, node, leader_epoch, returned, epoch, answer });
            return;
        }
        if replica.watermark < lead.begin || !self.may_serve(partition, node) {
            return;
        }
        let (query, answer) = match kind {
            0 => (OffsetQuery::Earliest, Some(offset(replica.start))),
            1 => (OffsetQuery::Latest, Some(offset(replica.watermark))),
            _ => {
                let newest = i64::try_from(self.now / super::MILLISECOND).expect("a run is short") + 3;
                let asked = self.random.below(usize::try_from(newest).expect("it is positive"));
                let timestamp = Timestamp::new(i64::try_from(asked).expect("it is small"));
                (OffsetQuery::Timestamp(timestamp), first_not_older(&replica, timestamp))
            }
        };
        let lookup = OffsetLookup { partition: id, node, leader_epoch, invoked, returned, query, answer };
        self.history.offset_lookups.push(lookup);
    }

    /// Records or a topic go.
    pub(super) fn remove(&mut self) {
        let Some(at) = self.some_partition() else { return };
        if self.options.unclean {
            return;
        }
        if self.options.deletes_topic && self.living().len() > 1 && self.random.chance(20) {
            self.delete_topic(at);
        } else if self.options.retention && self.random.chance(50) {
            self.age(at);
        } else {
            self.delete_records(at);
        }
    }

    fn delete_topic(&mut self, at: usize) {
        let topic = self.partitions[at].id.topic;
        let what = AdministrationKind::DeleteTopic { topic };
        let class = [Class::Ok, Class::Info, Class::Fail][self.random.below(3)];
        let takes_effect = class == Class::Ok || (class == Class::Info && self.random.chance(50));
        if takes_effect {
            self.partitions[at].is_deleted = true;
            self.commit(vec![MetadataFact::TopicDeleted { topic }]);
        }
        let (invoked, returned) = (self.instant(), Some(Instant::from_nanos(self.now + 1)));
        self.history.administrations.push(Administration { what, invoked, returned, class });
    }

    /// The leader removes what is old; its followers hear of it when they fetch.
    fn age(&mut self, at: usize) {
        let Some(node) = self.partitions[at].state.leader else { return };
        let replica = self.partitions[at].replicas.get_mut(&node).expect("every node has a replica");
        if replica.lead.is_some() {
            replica.start = self.random.between(replica.start, replica.watermark);
        }
    }

    /// Every replica removes what an administrator wants gone; the model does so only when all are there and current.
    fn delete_records(&mut self, at: usize) {
        let state = self.partitions[at].state.clone();
        let knows = |(node, replica): (&NodeId, &Replica)| {
            self.nodes[node].is_up && replica.view.as_ref() == Some(&state) && state.isr.contains(node)
        };
        let Some(leader) = state.leader.filter(|_| self.partitions[at].replicas.iter().all(knows)) else { return };
        let source = &self.partitions[at].replicas[&leader];
        if source.lead.is_none() {
            return;
        }
        let before = self.random.between(source.start, source.watermark);
        for replica in self.partitions[at].replicas.values_mut() {
            replica.start = replica.start.max(before);
            replica.watermark = replica.watermark.max(before);
        }
        let what = AdministrationKind::DeleteRecords { partition: self.partitions[at].id, before: offset(before) };
        let (invoked, returned) = (self.instant(), Some(Instant::from_nanos(self.now + 1)));
        let class = if self.random.chance(80) { Class::Ok } else { Class::Info };
        self.history.administrations.push(Administration { what, invoked, returned, class });
    }
}

/// The end of an epoch in a log that may have lost its start.
fn end_of(replica: &Replica, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
    let log = replica.log.get(replica.start..).unwrap_or_default();
    let end = log.iter().position(|record| record.epoch > asked).map_or(replica.log.len(), |at| replica.start + at);
    let found = log.iter().map(|record| record.epoch).filter(|epoch| *epoch <= asked).max().unwrap_or(asked);
    Some((found, offset(end)))
}

/// The first readable record that is not older.
fn first_not_older(replica: &Replica, timestamp: Timestamp) -> Option<Offset> {
    let mut readable = replica.start..replica.watermark;
    readable.find(|at| replica.log[*at].timestamp >= timestamp).map(offset)
}
