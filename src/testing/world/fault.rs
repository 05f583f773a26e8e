//! Faults: what is broken, where, for how long.
//!
//! Invariant: what can destroy acknowledged records on a disk is done to one node of a run only, so that "everything was
//! lost" is never a legal excuse; what every node must survive is done to any. A copy that could not be read for a while
//! is given up by its node: reads fail on several nodes only where nothing is destroyed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::network::Link;
use super::power::End;
use super::process::{DATA, mount};
use super::{Happening, World};
use crate::env::Files as _;
use crate::model::NodeId;
use crate::testing::{Chance, SimulatedFiles};

/// Where a fault is made. Resolved when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The node at this place, counted from 0 and round.
    Node(usize),
    /// The leader of the partition at this place, in the order of the image.
    Leader(usize),
    /// A follower of it, in sync or not.
    Follower(usize, usize),
    /// The active controller.
    Controller,
    /// Who led that partition before its present leader.
    LastLeader(usize),
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; a supervisor starts it again.
    Kill(Which),
    /// SIGKILL and nobody starts it for so long.
    KillFor(Which, Duration),
    /// Its power goes, and comes back.
    CutPower(Which),
    /// The same, and it stays away for so long.
    CutPowerFor(Which, Duration),
    /// All lose their power in one moment.
    CutAllPower,
    /// SIGSTOP, and SIGCONT after so long.
    Pause(Which, Duration),
    /// An orderly stop; it is away for so long.
    Stop(Which, Duration),
    /// All are stopped in an orderly way, and started.
    StopAll,
    /// The other nodes and it hear nothing of each other; clients reach it.
    Isolate(Which, Duration),
    /// The same, and connections are refused.
    Refuse(Which, Duration),
    /// It is heard and hears nothing.
    Deafen(Which, Duration),
    /// It hears and is not heard.
    Mute(Which, Duration),
    /// One direction between two nodes, chosen by the number.
    CutOneWay(u64, Duration),
    /// Nodes fall into two halves, chosen by the number.
    Split(u64, Duration),
    /// Each node hears its two neighbours only.
    Ring(Duration),
    /// What it sends and is sent waits, and arrives together at the end.
    Hold(Which, Duration),
    /// Only its followers' fetches and their answers wait.
    HoldLeader(usize, Duration),
    /// Percent that are lost, percent of requests that come twice, and a delay.
    Weather(usize, usize, Duration, Duration),
    /// Its flushes take this much longer.
    SlowFlush(Which, Duration, Duration),
    /// The metadata comes this much later.
    SlowMetadata(Which, Duration, Duration),
    /// Syncs fail.
    FailSyncs(Which, Duration),
    /// Writes fail half way.
    FailWrites(Which, Duration),
    /// Reads fail.
    FailReads(Which, Duration),
    /// Bits of a segment flip, chosen by the number.
    FlipSegment(Which, u64),
    /// Bits of a file that is derived from others flip, while it is down.
    FlipDerived(Which, u64),
    /// Its disk is replaced by an empty one.
    Wipe(Which),
    /// Another voter leads the quorum.
    MoveController,
    /// Its wall clock jumps.
    Skew(Which, i64),
    /// A topic is deleted and made again under its name.
    Recreate,
}

/// EIO.
const MEDIA_ERROR: i32 = 5;

impl Fault {
    /// How many kinds `random` knows.
    const KINDS: usize = 29;

    /// A few kinds: a run that does everything does nothing long enough.
    pub(super) fn some_kinds(chance: &mut Chance) -> Vec<usize> {
        let count = 2 + chance.below(7);
        (0..count).map(|_| chance.below(Self::KINDS)).collect()
    }

    /// A random fault of some kinds.
    pub(super) fn random(kinds: &[usize], chance: &mut Chance) -> Self {
        let which = Which::random(chance);
        let span = chance.millis(100, 6000);
        match *chance.pick(kinds) {
            0 | 1 => Self::Kill(which),
            2 => Self::KillFor(which, span),
            3 | 4 => Self::CutPower(which),
            5 => Self::CutPowerFor(which, span),
            6 => Self::CutAllPower,
            7 => Self::Pause(which, span),
            8 => Self::Stop(which, span),
            9 => Self::Isolate(which, span),
            10 => Self::Refuse(which, span),
            11 => Self::Deafen(which, span),
            12 => Self::Mute(which, span),
            13 => Self::CutOneWay(chance.number(), span),
            14 => Self::Split(chance.number(), span),
            15 => Self::Ring(span),
            16 => Self::Hold(which, span),
            17 => Self::Weather(chance.below(30), chance.below(30), chance.millis(0, 40), span),
            18 => Self::SlowFlush(which, chance.millis(50, 5000), span),
            19 => Self::SlowMetadata(which, chance.millis(50, 2000), span),
            20 => Self::FailSyncs(which, span),
            21 => Self::FailWrites(which, span),
            22 => Self::FailReads(which, span),
            23 => Self::FlipSegment(which, chance.number()),
            24 => Self::FlipDerived(which, chance.number()),
            25 => Self::Wipe(which),
            26 => Self::MoveController,
            27 => Self::Skew(which, i64::try_from(chance.below(7_200_000)).expect("two hours") - 3_600_000),
            _ => Self::StopAll,
        }
    }

    /// For how long it is made; nothing for what is done at once.
    fn span(self) -> Duration {
        match self {
            Self::Pause(_, span)
            | Self::Isolate(_, span)
            | Self::Refuse(_, span)
            | Self::Deafen(_, span)
            | Self::Mute(_, span)
            | Self::CutOneWay(_, span)
            | Self::Split(_, span)
            | Self::Ring(span)
            | Self::Hold(_, span)
            | Self::HoldLeader(_, span)
            | Self::Weather(.., span)
            | Self::SlowFlush(.., span)
            | Self::SlowMetadata(.., span)
            | Self::FailSyncs(_, span)
            | Self::FailWrites(_, span)
            | Self::FailReads(_, span)
            | Self::KillFor(_, span)
            | Self::CutPowerFor(_, span)
            | Self::Stop(_, span) => span,
            Self::Kill(_)
            | Self::CutPower(_)
            | Self::CutAllPower
            | Self::StopAll
            | Self::FlipSegment(..)
            | Self::FlipDerived(..)
            | Self::Wipe(_)
            | Self::MoveController
            | Self::Skew(..)
            | Self::Recreate => Duration::ZERO,
        }
    }
}

impl Which {
    fn random(chance: &mut Chance) -> Self {
        match chance.below(10) {
            0..=3 => Self::Leader(chance.below(8)),
            4 | 5 => Self::Follower(chance.below(8), chance.below(4)),
            6 => Self::Controller,
            7 => Self::LastLeader(chance.below(8)),
            _ => Self::Node(chance.below(8)),
        }
    }
}

impl World {
    /// A fault begins.
    pub(super) fn step_begins(&mut self, number: usize) {
        if self.is_healed {
            return;
        }
        let fault = self.plan.steps[number].fault;
        let end = self.now.plus(fault.span());
        self.record.fault(format!("{fault:?}"), self.now, end);
        self.record.say(self.now, &format!("FAULT {fault:?}"));
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
            Undo::Disk(node) => self.machines[&node].files.heal(),
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
            | Fault::Skew(..) => self.disturb_node(fault),
        }
    }

    fn down(&mut self, which: Which, how: End, away: Option<Duration>) -> Vec<Undo> {
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
            Fault::FailSyncs(which, span) => self.ail(which, span, |files| files.fail_syncs_after(0)),
            Fault::FailWrites(which, span) => self.ail(which, span, |files| files.fail_writes_after(0)),
            Fault::FailReads(which, span) => {
                let node = self.which(which);
                if self.observer.sick.is_some_and(|sick| sick != node) {
                    return Vec::new();
                }
                self.observer.unread.insert(node);
                self.ail(Which::Node(index(node)), span, |files| files.fail_reads(MEDIA_ERROR))
            }
            Fault::FlipSegment(which, number) => {
                if let Some(node) = self.may_destroy(which) {
                    self.flip(node, number, ".log");
                }
                Vec::new()
            }
            Fault::FlipDerived(which, number) => {
                let node = self.which(which);
                self.down(Which::Node(index(node)), End::Killed, None);
                let kind = *Chance::new(number).pick(&[".index", ".timeindex", ".snapshot"]);
                self.flip(node, number, kind);
                Vec::new()
            }
            Fault::Wipe(which) => {
                if let Some(node) = self.may_destroy(which) {
                    self.down(Which::Node(index(node)), End::Killed, None);
                    let files = SimulatedFiles::default();
                    mount(&files);
                    self.replace_disk(node, files);
                    self.machine(node).applied = crate::model::LogIndex::new(0);
                }
                Vec::new()
            }
            Fault::Skew(which, ms) => {
                let node = self.which(which);
                self.machine(node).skew_ms = ms;
                if let Some(process) = self.running(node) {
                    process.skew_ms = ms;
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn ail(&mut self, which: Which, span: Duration, how: impl FnOnce(&SimulatedFiles)) -> Vec<Undo> {
        let node = self.which(which);
        let until = self.now.plus(span + Duration::from_secs(5));
        let machine = self.machine(node);
        how(&machine.files);
        machine.ill_until = until;
        vec![Undo::Disk(node)]
    }

    /// The node, if records may be destroyed there: one of a run.
    fn may_destroy(&mut self, which: Which) -> Option<NodeId> {
        let node = self.which(which);
        if self.observer.unread.iter().any(|unread| *unread != node) {
            return None;
        }
        let sick = *self.observer.sick.get_or_insert(node);
        (sick == node).then_some(node)
    }

    /// Flips bits of a file of a partition.
    fn flip(&mut self, node: NodeId, number: u64, suffix: &str) {
        let mut chance = Chance::new(number);
        let files = self.machines[&node].files.clone();
        let found: Vec<PathBuf> =
            files_of(&files).into_iter().filter(|p| p.to_string_lossy().ends_with(suffix)).collect();
        if found.is_empty() {
            return;
        }
        let path = chance.pick(&found).clone();
        let size = files.size_of(&path);
        if size > 0 {
            let bits = 1 << chance.below(8);
            files.flip_bits(&path, chance.below(size), bits);
            self.record.say(self.now, &format!("flipped bits of {} of {node}", path.display()));
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
        self.release();
        let now = self.now;
        for node in self.nodes() {
            let machine = self.machine(node);
            machine.files.heal();
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
    Disk(NodeId),
}

/// A node's place among the nodes.
fn index(node: NodeId) -> usize {
    usize::try_from(node.get() - 1).expect("nodes are counted from 1")
}

/// Every file of every partition, in order.
pub(super) fn files_of(files: &SimulatedFiles) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let root = Path::new(DATA);
    for entry in files.list(root).unwrap_or_default().into_iter().filter(|entry| entry.is_directory) {
        let directory = root.join(&entry.name);
        let inside = files.list(&directory).unwrap_or_default();
        all.extend(inside.into_iter().filter(|e| !e.is_directory).map(|e| directory.join(e.name)));
    }
    all
}
