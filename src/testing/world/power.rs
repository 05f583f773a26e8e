//! Starts and ends of processes: by a supervisor, by a signal, by a power cut, by their own hand.

use std::time::Duration;

use super::message::{Endpoint, Message};
use super::process::Process;
use super::{Happening, Life, World};
use crate::machines::controller::{Defaults, Options};
use crate::model::{BootNumber, NodeId, Timestamp, TopicConfigs};
use crate::partition::{Event, ShardOptions};
use crate::testing::SimulatedFiles;
use crate::verify::history::NodeEventKind;

/// How a process ends from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// SIGKILL: the page cache stays.
    Killed,
    /// The power goes: what was not synced is lost, in part or in whole.
    PowerLost,
}

impl World {
    /// The controller's options of this run.
    pub(super) fn options(&self) -> Options {
        let mut topic = TopicConfigs::new();
        topic.set("min.insync.replicas", &self.knobs.isr_min.to_string()).expect("a number");
        Options {
            session_timeout: self.knobs.session_timeout,
            heartbeat_interval: self.knobs.heartbeat_interval,
            proposal_bytes_max: self.knobs.proposal_bytes_max,
            defaults: Defaults { topic, ..Defaults::default() },
            ..Options::default()
        }
    }

    /// A supervisor starts the process, if the machine is up.
    pub(super) fn start(&mut self, node: NodeId) {
        let (now, life) = (self.now, self.lives + 1);
        let (options, compaction) = (self.options(), self.knobs.compaction.as_ref());
        let shard = ShardOptions {
            lag_max: self.knobs.lag_max,
            retention_interval: Duration::from_secs(3),
            compaction_interval: Some(compaction.map_or(Duration::from_secs(2), |knobs| knobs.interval)),
            groups: super::members::options(),
            ..ShardOptions::new(node)
        };
        let machine = self.machine(node);
        if machine.process.is_some() || machine.down_until > now {
            return;
        }
        machine.starts += 1;
        let files = machine.files.clone();
        let wall = super::client::wall(now).get();
        files.set_clock(wall);
        let wall = Timestamp::new(wall + self.machines[&node].skew_ms);
        self.lives = life;
        self.record.node(now, node, NodeEventKind::Started);
        match Process::start(&files, node, life, now, shard, options, wall) {
            Ok(mut process) => {
                let machine = self.machine(node);
                process.skew_ms = machine.skew_ms;
                process.set_clock_rate(now, machine.clock_percent);
                process.coming = machine.applied;
                self.recall_metadata(&mut process);
                self.machine(node).process = Some(process);
                self.wake_up(Life { node, life });
            }
            Err(cause) => self.exited(node, format!("the data directory cannot be opened: {cause}")),
        }
    }

    /// The process exists: its logs are opened, and it makes itself known.
    fn wake_up(&mut self, life: Life) {
        let process = self.process(life).expect("it has just started");
        let found = process.directory.partitions().to_vec();
        let boot = process.directory.boot();
        for partition in found {
            self.tell(life.node, Event::Open { partition: partition.id, name: partition.name });
        }
        self.greet(life.node, boot);
        self.hear_others(life.node);
        self.after(Duration::from_millis(1), Happening::Beat(life, 0));
        self.after(Duration::from_millis(1), Happening::Control(life, 0));
        if let Some(leader) = self.quorum.leader.filter(|leader| self.network.reaches(*leader, life.node)) {
            let term = self.quorum.term;
            let process = self.process(life).expect("it has just started");
            process.leadership = (term, Some(leader));
        }
    }

    /// Its liveness connections open at all voters.
    fn greet(&mut self, node: NodeId, boot: BootNumber) {
        for voter in self.nodes() {
            self.send(Endpoint::Node(node), Endpoint::Node(voter), Message::Opened { node, boot });
        }
    }

    /// The others dial a voter that has just started.
    pub(super) fn hear_others(&mut self, voter: NodeId) {
        for node in self.nodes() {
            if let Some(boot) = self.running(node).map(|process| process.directory.boot()) {
                self.send(Endpoint::Node(node), Endpoint::Node(voter), Message::Opened { node, boot });
            }
        }
    }

    /// Ends a process from outside.
    pub(super) fn end(&mut self, node: NodeId, how: End) {
        let what = match how {
            End::Killed => NodeEventKind::Killed,
            End::PowerLost => NodeEventKind::PowerLost,
        };
        self.record.node(self.now, node, what);
        self.drop_process(node);
        if how == End::PowerLost {
            self.cut_power(node);
        }
    }

    /// What was not synced is lost, in part or in whole.
    fn cut_power(&mut self, node: NodeId) {
        let point = self.machines[&node].files.crash_point();
        let ways = point.ways();
        let ends: Vec<usize> = match self.chance.below(4) {
            // Nothing that was not synced is there.
            0 => vec![0; ways.len()],
            // The first part of it is.
            1 => {
                let kept = self.chance.below(ways.len() + 1);
                (0..ways.len()).map(|at| usize::from(at < kept)).collect()
            }
            _ => ways.into_iter().map(|ways| self.chance.below(ways)).collect(),
        };
        self.machine(node).files = point.after(&ends);
    }

    /// The process is gone, and with it its connections. What it did in its last turn counts.
    pub(super) fn drop_process(&mut self, node: NodeId) {
        self.observe(node);
        let Some(process) = self.machine(node).process.take() else { return };
        self.machine(node).applied = process.image.last_applied();
        let boot = process.directory.boot();
        for voter in self.nodes() {
            self.send(Endpoint::Node(node), Endpoint::Node(voter), Message::Closed { node, boot });
        }
        // Whoever waits for an answer sees the connection close.
        let waiting: Vec<_> = process
            .tickets
            .values()
            .filter_map(super::serve::asker)
            .chain(process.reads.values().map(|read| (read.to, read.id)))
            .collect();
        for (to, id) in waiting {
            self.send(Endpoint::Node(node), to, Message::Broken { id });
        }
        self.quorum_lost(node);
        self.observer.forget(node);
    }

    /// It ends by itself: a disk that fails, or a start that cannot be.
    pub(super) fn exited(&mut self, node: NodeId, reason: String) {
        let expected = self.machines[&node].ill_until > self.now;
        self.record.node(self.now, node, NodeEventKind::Exited { reason, expected });
        self.drop_process(node);
        let span = self.chance.millis(200, 1500);
        self.machine(node).down_until = self.now.plus(span);
        self.after(span, Happening::Start(node));
    }

    /// An administrator replaces a disk.
    pub(super) fn replace_disk(&mut self, node: NodeId, files: SimulatedFiles) {
        let machine = self.machine(node);
        assert!(machine.process.is_none(), "a disk is replaced while nobody uses it");
        machine.files = files;
    }
}
