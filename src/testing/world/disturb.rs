//! Faults as they are made and undone: processes, the network, clocks.
//!
//! Invariant: what a fault does is undone at its end, or when everything is healed.

use std::time::Duration;

use super::fault::{Fault, Which};
use super::groups::is_internal;
use super::network::Link;
use super::power::End;
use super::{Happening, World};
use crate::model::{NodeId, PartitionId};
use crate::testing::Chance;

impl World {
    /// A fault begins.
    pub(super) fn step_begins(&mut self, number: usize) {
        if self.is_healed {
            return;
        }
        let fault = self.plan.steps[number].fault;
        let end = self.now.plus(fault.span());
        self.record.fault(format!("{fault:?}"), self.now, if fault.outlasts_itself() { self.now } else { end });
        self.record.say(self.now, &format!("FAULT {fault:?}"));
        // What could be served before may have to be found out anew.
        self.end_all_service();
        let undo = self.make(fault);
        if !undo.is_empty() {
            self.observer.undo.insert(number, undo);
            self.at(end, Happening::StepEnds(number));
        }
    }

    /// It ends.
    pub(super) fn step_ends(&mut self, number: usize) {
        for undo in self.observer.undo.remove(&number).unwrap_or_default() {
            self.undo(undo);
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Link(from, to) => {
                self.network.set(from, to, None);
                self.release();
            }
            Undo::Weather => self.network.set_weather(0, 0, Duration::ZERO),
            Undo::SlowFlush(node) => self.machine(node).slow_flush = Duration::ZERO,
            Undo::SlowMetadata(node) => self.machine(node).slow_apply = Duration::ZERO,
            Undo::ClockRate(node) => self.set_clock_rate(node, 100),
            Undo::Disk(node) => self.machines[&node].files.heal(),
            Undo::Data(node) => {
                self.network.release_data(node);
                self.release();
            }
            Undo::Blind(node) => {
                self.machine(node).blind_since = None;
                self.hear_others(node);
            }
        }
    }

    /// What was held goes on its way, if its link is free.
    pub(super) fn release(&mut self) {
        for (from, to, message) in std::mem::take(&mut self.held) {
            self.send(from, to, message);
        }
    }

    fn make(&mut self, fault: Fault) -> Vec<Undo> {
        match fault {
            Fault::Kill(which) => self.down(which, End::Killed, None),
            Fault::KillFor(which, span) => self.down(which, End::Killed, Some(span)),
            Fault::CutPower(which) => self.down(which, End::PowerLost, None),
            Fault::CutPowerFor(which, span) => self.down(which, End::PowerLost, Some(span)),
            Fault::CutAllPower => {
                for node in self.nodes() {
                    self.down(Which::Node(index(node)), End::PowerLost, None);
                }
                Vec::new()
            }
            Fault::Pause(which, span) => {
                let (node, until) = (self.which(which), self.now.plus(span));
                if let Some(process) = self.running(node) {
                    process.paused_until = process.paused_until.max(until);
                }
                Vec::new()
            }
            Fault::Stop(which, span) => {
                let (node, until) = (self.which(which), self.now.plus(span));
                self.machine(node).down_until = until;
                self.stop(node);
                self.at(until, Happening::Start(node));
                Vec::new()
            }
            Fault::StopAll => {
                self.nodes().into_iter().for_each(|node| self.stop(node));
                Vec::new()
            }
            Fault::MoveController
            | Fault::Recreate
            | Fault::Grow
            | Fault::HoldData(..)
            | Fault::StallQuorum(_)
            | Fault::Twin(..) => self.disturb_others(fault),
            Fault::Isolate(..)
            | Fault::Refuse(..)
            | Fault::Deafen(..)
            | Fault::Mute(..)
            | Fault::CutOneWay(..)
            | Fault::Split(..)
            | Fault::Ring(_)
            | Fault::Hold(..)
            | Fault::HoldLeader(..)
            | Fault::Weather(..) => self.disturb_network(fault),
            Fault::SlowFlush(..)
            | Fault::SlowMetadata(..)
            | Fault::FailSyncs(..)
            | Fault::FailWrites(..)
            | Fault::FailReads(..)
            | Fault::FlipSegment(..)
            | Fault::FlipDerived(..)
            | Fault::Wipe(_)
            | Fault::FillDisk(..)
            | Fault::Damage(..)
            | Fault::Forge(..)
            | Fault::FlipTail(..)
            | Fault::KeepImage(_)
            | Fault::OldImage(_)
            | Fault::Blind(..)
            | Fault::ClockRate(..)
            | Fault::Skew(..) => self.disturb_node(fault),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "called for the other ones only")]
    fn disturb_others(&mut self, fault: Fault) -> Vec<Undo> {
        match fault {
            Fault::MoveController => {
                if let Some(leader) = self.quorum.leader {
                    self.hand_over(leader);
                }
                Vec::new()
            }
            Fault::Recreate => {
                self.administrator.wants_recreation();
                Vec::new()
            }
            Fault::Grow => {
                self.administrator.wants_growth();
                Vec::new()
            }
            Fault::HoldData(which, _) => {
                let node = self.which(which);
                self.network.hold_data(node);
                vec![Undo::Data(node)]
            }
            Fault::StallQuorum(span) => {
                self.quorum.stalls_until = self.now.plus(span);
                Vec::new()
            }
            Fault::Twin(which, span) => {
                // Where the node itself is away, its place goes to the other, and its claims with it.
                if let Some(node) = self.may_destroy(which) {
                    self.impersonate(node, self.now.plus(span));
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn down(&mut self, which: Which, how: End, away: Option<Duration>) -> Vec<Undo> {
        let node = self.which(which);
        let span = away.unwrap_or_else(|| self.chance.span(self.knobs.down.0, self.knobs.down.1));
        if self.machines[&node].process.is_some() || how == End::PowerLost {
            self.end(node, how);
        }
        let until = self.now.plus(span);
        self.machine(node).down_until = until;
        self.at(until, Happening::Start(node));
        Vec::new()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "called for those of the network only")]
    fn disturb_network(&mut self, fault: Fault) -> Vec<Undo> {
        let nodes = self.nodes();
        let pairs: Vec<(NodeId, NodeId)> =
            nodes.iter().flat_map(|a| nodes.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b).collect();
        let cut: Vec<(NodeId, NodeId)> = match fault {
            Fault::Isolate(which, _) | Fault::Refuse(which, _) | Fault::Hold(which, _) => {
                let node = self.which(which);
                pairs.into_iter().filter(|(a, b)| *a == node || *b == node).collect()
            }
            Fault::Deafen(which, _) => {
                let node = self.which(which);
                pairs.into_iter().filter(|(_, b)| *b == node).collect()
            }
            Fault::Mute(which, _) => {
                let node = self.which(which);
                pairs.into_iter().filter(|(a, _)| *a == node).collect()
            }
            Fault::HoldLeader(partition, _) => {
                let node = self.which(Which::Leader(partition));
                let controller = self.quorum.leader;
                let is_data = |a: &NodeId| Some(*a) != controller;
                let touches = |(a, b): &(NodeId, NodeId)| (*a == node && is_data(b)) || (*b == node && is_data(a));
                pairs.into_iter().filter(touches).collect()
            }
            Fault::CutOneWay(number, _) => vec![pairs[Chance::new(number).below(pairs.len())]],
            Fault::Split(number, _) => {
                let mut chance = Chance::new(number);
                let half: Vec<bool> = nodes.iter().map(|_| chance.one_in(2)).collect();
                let side = |node: &NodeId| half[index(*node)];
                pairs.into_iter().filter(|(a, b)| side(a) != side(b)).collect()
            }
            Fault::Ring(_) => {
                let count = nodes.len();
                let apart = |(a, b): &(NodeId, NodeId)| {
                    let distance = (index(*a) + count - index(*b)) % count;
                    distance != 1 && distance != count - 1
                };
                pairs.into_iter().filter(apart).collect()
            }
            Fault::Weather(loss, doubles, slow, _) => {
                self.network.set_weather(loss, doubles, slow);
                return vec![Undo::Weather];
            }
            _ => Vec::new(),
        };
        let link = match fault {
            Fault::Refuse(..) => Link::Refused,
            Fault::Hold(..) | Fault::HoldLeader(..) => Link::Held,
            _ => Link::Silent,
        };
        for (from, to) in &cut {
            self.network.set(*from, *to, Some(link));
        }
        cut.into_iter().map(|(from, to)| Undo::Link(from, to)).collect()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "called for those of a node only")]
    fn disturb_node(&mut self, fault: Fault) -> Vec<Undo> {
        match fault {
            Fault::SlowFlush(which, by, _) => {
                let node = self.which(which);
                self.machine(node).slow_flush = by;
                vec![Undo::SlowFlush(node)]
            }
            Fault::SlowMetadata(which, by, _) => {
                let node = self.which(which);
                self.machine(node).slow_apply = by;
                vec![Undo::SlowMetadata(node)]
            }
            Fault::Skew(which, ms) => {
                let node = self.which(which);
                self.machine(node).skew_ms = ms;
                if let Some(process) = self.running(node) {
                    process.skew_ms = ms;
                }
                Vec::new()
            }
            Fault::ClockRate(which, percent, _) => {
                let node = self.which(which);
                self.set_clock_rate(node, percent);
                vec![Undo::ClockRate(node)]
            }
            Fault::Blind(which, _) => {
                let node = self.which(which);
                self.machine(node).blind_since = Some(self.lives);
                self.lose_connections(node);
                vec![Undo::Blind(node)]
            }
            _ => self.disturb_disk(fault),
        }
    }

    fn set_clock_rate(&mut self, node: NodeId, percent: u32) {
        let now = self.now;
        self.machine(node).clock_percent = percent;
        if let Some(process) = self.running(node) {
            process.set_clock_rate(now, percent);
        }
    }

    /// Who is meant now.
    pub(super) fn which(&mut self, which: Which) -> NodeId {
        let nodes = self.nodes();
        let any = |number: usize| nodes[number % nodes.len()];
        let image = self.quorum.image();
        let all: Vec<_> = image.topics().partitions().map(|(id, state)| (id, state.clone())).collect();
        let at = |number: usize| (!all.is_empty()).then(|| &all[number % all.len()]);
        match which {
            Which::Node(number) => any(number),
            Which::Leader(number) => at(number).and_then(|(_, p)| p.leader).unwrap_or_else(|| any(number)),
            Which::Follower(number, place) => {
                let Some((_, partition)) = at(number) else { return any(number) };
                let others = partition.replicas.iter().filter(|node| Some(**node) != partition.leader);
                let others: Vec<NodeId> = others.copied().collect();
                if others.is_empty() { any(number) } else { others[place % others.len()] }
            }
            Which::Coordinator(number) => {
                let keeps = |(id, _): &&(PartitionId, _)| is_internal(&image, *id);
                let coordinators: Vec<_> =
                    all.iter().filter(keeps).filter_map(|(_, partition)| partition.leader).collect();
                if coordinators.is_empty() { any(number) } else { coordinators[number % coordinators.len()] }
            }
            Which::Elected => self.observer.elected.unwrap_or_else(|| any(0)),
            Which::Controller => self.quorum.leader.unwrap_or_else(|| any(0)),
            Which::LastLeader(number) => {
                let last = at(number).and_then(|(id, _)| self.observer.last_leader(*id));
                last.unwrap_or_else(|| any(number))
            }
        }
    }

    /// Everything works from here on: links, disks, clocks, and every process runs.
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        self.record.say(self.now, "HEALED");
        let undo: Vec<Undo> = std::mem::take(&mut self.observer.undo).into_values().flatten().collect();
        undo.into_iter().for_each(|undo| self.undo(undo));
        self.network.heal();
        self.quorum.stalls_until = self.now;
        self.release();
        let now = self.now;
        for node in self.nodes() {
            let machine = self.machine(node);
            machine.files.heal();
            machine.blind_since = None;
            machine.down_until = now;
            if let Some(process) = &mut machine.process {
                process.paused_until = now;
            }
            self.after(Duration::from_millis(1), Happening::Start(node));
        }
    }
}

/// How a fault ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Undo {
    Link(NodeId, NodeId),
    Weather,
    SlowFlush(NodeId),
    SlowMetadata(NodeId),
    ClockRate(NodeId),
    Disk(NodeId),
    Data(NodeId),
    Blind(NodeId),
}

/// A node's place among the nodes.
pub(super) fn index(node: NodeId) -> usize {
    usize::try_from(node.get() - 1).expect("nodes are counted from 1")
}
