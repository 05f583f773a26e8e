//! The end of a run of the model: all comes back, catches up, is written to and read, and is then looked at.

use super::{MILLISECOND, World, offset};
use crate::model::{Instant, LeaderEpoch, NodeId, Offset};
use crate::verify::history::{DumpedBatch, FinalScan, PartitionEnding, ReplicaDump};
use crate::verify::tests::random::mixed;

/// Rounds within which a cluster that is right comes to rest.
const ROUNDS_MAX: usize = 200;

impl World {
    pub(super) fn finish(&mut self) {
        // What is on its way arrives; from here on all is fast.
        self.now += self.options.step_max * 2;
        self.options.step_max = MILLISECOND;
        self.history.healed_at = Some(self.instant());
        self.history.faults[0].end = self.instant();
        self.settle_down();
        for at in self.living() {
            let (acknowledged_at, read_at) = (self.probe(at), self.read_all(at));
            let state = self.partitions[at].state.clone();
            self.history.endings.push(PartitionEnding {
                state,
                acknowledged_at: Some(acknowledged_at),
                read_at: Some(read_at),
            });
        }
        // Long after that, everything is quiet, and asked once more.
        self.now += 16_000 * MILLISECOND;
        for at in self.living() {
            let leader = self.partitions[at].state.leader.expect("all is well");
            for _ in 0..6 {
                self.look_up_at(at, leader);
                self.tell();
            }
            self.read_all(at);
        }
        self.settle_down();
        for at in self.living() {
            self.look_at(at);
        }
        self.now += 16_000 * MILLISECOND;
        self.history.ended_at = self.instant();
        self.say_who_was_alone();
        self.history.polls.sort_by_key(|poll| poll.returned);
        self.history.offset_lookups.sort_by_key(|lookup| lookup.returned);
        self.history.epoch_lookups.sort_by_key(|lookup| lookup.returned);
    }

    /// Everybody comes back and catches up, and every request ends.
    fn settle_down(&mut self) {
        for round in 0..ROUNDS_MAX {
            self.now += MILLISECOND;
            let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
            for node in &nodes {
                if !self.nodes[node].is_up {
                    self.fence(*node);
                    self.restart(*node);
                }
                self.learn(*node);
                self.unfence(*node);
                self.learn(*node);
            }
            for at in self.living() {
                nodes.iter().for_each(|node| self.fetch(at, *node));
                nodes.iter().for_each(|node| self.flush(at, *node));
                nodes.iter().for_each(|node| self.fetch(at, *node));
                nodes.iter().for_each(|node| self.grow_by(at, *node));
            }
            self.finish_requests(round);
            let rests = self.living().into_iter().all(|at| self.is_at_rest(at));
            if rests && !self.has_requests() && self.open_batches().is_empty() {
                return;
            }
        }
        panic!("the model came to no rest");
    }

    fn finish_requests(&mut self, round: usize) {
        for _ in 0..4 {
            self.deliver();
            self.answer();
        }
        if round > 2 && round.is_multiple_of(3) {
            for batch in self.open_batches() {
                // Giving one up may have given up those behind it.
                if !self.open_batches().contains(&batch) {
                    continue;
                }
                if self.random.chance(30) {
                    self.give_up(batch);
                } else {
                    self.retry(batch);
                }
            }
        }
    }

    fn is_at_rest(&self, at: usize) -> bool {
        let partition = &self.partitions[at];
        let Some(leader) = partition.state.leader else { return false };
        let end = partition.replicas[&leader].log.len();
        let same = partition.replicas.values().all(|replica| {
            replica.log.len() == end && replica.watermark == end && replica.view.as_ref() == Some(&partition.state)
        });
        // What one leader has aged, another may still have.
        let start = partition.replicas[&leader].start;
        let starts = partition.replicas.values().all(|replica| replica.start == start) || self.options.retention;
        same && starts && partition.state.isr.len() == partition.state.replicas.len()
    }

    /// A write with acks=all is promised.
    fn probe(&mut self, at: usize) -> Instant {
        let producer = self.probe_of(at);
        for _ in 0..ROUNDS_MAX {
            let batch = self.begin_batch_of(producer).expect("no request is open");
            self.settle_down();
            if self.is_promised(batch) {
                return self.instant();
            }
        }
        panic!("the model promises nothing");
    }

    /// Every consumer of a partition reads to its end.
    fn read_all(&mut self, at: usize) -> Instant {
        let leader = self.partitions[at].state.leader.expect("all is well");
        for consumer in 0..self.consumers.len() {
            for _ in 0..ROUNDS_MAX {
                let end = self.partitions[at].replicas[&leader].log.len();
                if self.consumers[consumer].partition != at {
                    break;
                }
                let was_there = self.consumers[consumer].position == end;
                self.now += self.options.step_max * 2 + 1;
                self.poll_from(consumer, leader);
                if was_there {
                    break;
                }
            }
        }
        self.instant()
    }

    /// What every node holds, and what a fresh consumer reads.
    fn look_at(&mut self, at: usize) {
        let partition = &self.partitions[at];
        let leader = partition.state.leader.expect("all is well");
        let source = &partition.replicas[&leader];
        let records = (source.start..source.log.len()).map(|place| self.seen(at, place, &source.log[place])).collect();
        let (log_start, end) = (offset(source.start), offset(source.log.len()));
        let scan = FinalScan { partition: partition.id, log_start, end, records };
        let dumps: Vec<ReplicaDump> = partition.replicas.keys().map(|node| self.dump(at, *node)).collect();
        self.history.scans.push(scan);
        self.history.replicas.extend(dumps);
    }

    fn dump(&self, at: usize, node: NodeId) -> ReplicaDump {
        let partition = &self.partitions[at];
        let replica = &partition.replicas[&node];
        let mut epochs: Vec<(LeaderEpoch, Offset)> = Vec::new();
        let mut batches = Vec::new();
        for (place, record) in replica.log.iter().enumerate() {
            let last = place + record.behind;
            if record.before > 0 || last < replica.start {
                continue;
            }
            if epochs.last().is_none_or(|(epoch, _)| *epoch < record.epoch) {
                epochs.push((record.epoch, offset(place.max(replica.start))));
            }
            let records: Vec<_> = (place..=last).map(|place| self.seen(at, place, &replica.log[place])).collect();
            let content =
                records.iter().fold(mixed(u64::try_from(place).unwrap_or(0)), |sum, seen| mixed(sum ^ seen.digest));
            batches.push(DumpedBatch {
                base: offset(place),
                last: offset(last),
                epoch: record.epoch,
                session: record.session,
                is_sound: true,
                is_thinned: false,
                digest: content,
                records,
            });
        }
        if replica.lead.is_some() && epochs.last().is_none_or(|(epoch, _)| *epoch < partition.state.leader_epoch) {
            // A leader may note its epoch before the first record of it.
            epochs.push((partition.state.leader_epoch, offset(replica.log.len())));
        }
        ReplicaDump {
            is_internal: false,
            node,
            partition: partition.id,
            log_start: offset(replica.start),
            high_watermark: offset(replica.watermark),
            end: offset(replica.log.len()),
            epochs,
            batches,
        }
    }
}
