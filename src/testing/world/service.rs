//! When a partition could be served: what the run knows who makes the faults, told to the judge of availability.
//!
//! Invariant: a time counts only if throughout it a majority of nodes was well and heard each other, and among them
//! were enough of the partition's replicas that hold all that is committed; and only behind what it takes to find out,
//! to elect and to be found by clients.

use std::collections::BTreeMap;
use std::time::Duration;

use super::groups::data_partitions;
use super::{Happening, World};
use crate::machines::metadata::Partition;
use crate::model::{Instant, NodeId, PartitionId};
use crate::verify::history::ServiceSpan;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(200);
/// What clients and stalled flushes take beside sessions and elections.
const REACTION: Duration = Duration::from_secs(6);

/// Since when partitions could be served.
#[derive(Debug, Default)]
pub(super) struct Service {
    since: BTreeMap<PartitionId, Instant>,
}

impl World {
    /// Looks who is well.
    pub(super) fn look_at_service(&mut self) {
        self.after(INTERVAL, Happening::Look);
        let (now, image) = (self.now, self.quorum.image());
        let well = self.largest_circle();
        let could = |partition: &Partition| self.could_serve(partition, &well);
        let served: Vec<PartitionId> =
            data_partitions(&image).filter(|(_, partition)| could(partition)).map(|(id, _)| id).collect();
        for id in &served {
            self.service.since.entry(*id).or_insert(now);
        }
        let ended: Vec<PartitionId> = self.service.since.keys().copied().filter(|id| !served.contains(id)).collect();
        ended.into_iter().for_each(|id| self.end_of_service(id));
    }

    /// The run is over.
    pub(super) fn end_all_service(&mut self) {
        let all: Vec<PartitionId> = self.service.since.keys().copied().collect();
        all.into_iter().for_each(|id| self.end_of_service(id));
    }

    fn end_of_service(&mut self, partition: PartitionId) {
        let Some(since) = self.service.since.remove(&partition) else { return };
        let begin = since.plus(self.knobs.session_timeout + self.knobs.election_timeout * 2 + REACTION);
        let end = self.now;
        if begin < end {
            self.record.history.serviceable.push(ServiceSpan { partition, begin, end });
        }
    }

    /// A node on which nothing is wrong.
    fn is_well(&self, node: NodeId) -> bool {
        let machine = &self.machines[&node];
        let runs = machine.process.as_ref().is_some_and(|p| p.paused_until <= self.now && !p.stage.is_stopping);
        let is_quick = machine.slow_flush.is_zero() && machine.slow_apply.is_zero() && machine.clock_percent == 100;
        let is_fetched = !self.network.is_data_held(node);
        runs && is_quick
            && is_fetched
            && machine.blind_since.is_none()
            && !self.flushes_slowly(node)
            && machine.ill_until <= self.now
            && self.observer.sick != Some(node)
    }

    /// A flush that was begun on a slow disk goes on when the disk is quick again.
    fn flushes_slowly(&self, node: NodeId) -> bool {
        let flushing = self.machines[&node].process.as_ref().map(|process| &process.flushing);
        flushing.is_some_and(|flushing| flushing.running.is_some() && self.now.since(flushing.begun) > INTERVAL)
    }

    /// The most nodes that are well and hear each other; nobody, if that is no majority.
    fn largest_circle(&self) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.nodes().into_iter().filter(|node| self.is_well(*node)).collect();
        let hears = |a: NodeId, b: NodeId| self.network.reaches(a, b) && self.network.reaches(b, a);
        let is_circle = |set: &[NodeId]| set.iter().all(|a| set.iter().all(|b| hears(*a, *b)));
        let sets = (0..1_u32 << nodes.len()).map(|bits| {
            let is_in = |at: &usize| bits & (1 << at) != 0;
            (0..nodes.len()).filter(is_in).map(|at| nodes[at]).collect::<Vec<NodeId>>()
        });
        let largest = sets.filter(|set| is_circle(set)).max_by_key(Vec::len).unwrap_or_default();
        let is_majority = largest.len() > self.machines.len() / 2;
        let is_calm = self.network.is_calm() && self.quorum.stalls_until <= self.now;
        if is_majority && is_calm { largest } else { Vec::new() }
    }

    fn could_serve(&self, partition: &Partition, well: &[NodeId]) -> bool {
        let eligible = partition.isr.iter().chain(&partition.elr).filter(|node| well.contains(node)).count();
        // Who cannot follow holds every write up until the leader gives it up.
        let is_waited_for = |node: &&NodeId| Some(**node) != partition.leader && !well.contains(node);
        // A leader that enough can reach to acknowledge stays (rule S12), and waits for the others as well.
        let reaches = |a: NodeId, b: NodeId| self.network.reaches(a, b) && self.network.reaches(b, a);
        let follows = |node: &&NodeId| partition.leader.is_some_and(|leader| reaches(leader, **node));
        let followed = partition.isr.iter().filter(follows).count();
        let is_kept = followed >= self.knobs.isr_min && followed < partition.isr.len();
        let is_waiting = is_kept || partition.isr.iter().any(|node| is_waited_for(&node));
        let waits = self.knobs.lag_max > REACTION && is_waiting;
        !waits && eligible >= self.knobs.isr_min
    }
}
