//! The metadata log as the nodes see it: who leads the quorum, what is committed, and how late each node hears of it.

use std::time::Duration;

use super::process::Process;
use super::quorum::ProposalId;
use super::{Happening, Life, World};
use crate::machines::metadata::{Applied, Record};
use crate::model::{LogIndex, NodeId, Term};
use crate::probe::{Mark, mark};
use crate::verify::history::NodeEventKind;

/// How often the voters look after each other.
const QUORUM_INTERVAL: Duration = Duration::from_millis(20);

impl World {
    /// A process begins with what its disk holds of the metadata, which may be some entries old.
    pub(super) fn recall_metadata(&mut self, process: &mut Process) {
        let behind = u64::try_from(self.chance.below(6)).expect("a small number");
        let index = LogIndex::new(process.coming.get().saturating_sub(behind));
        process.coming = index;
        process.image = self.quorum.image_at(index);
    }

    /// Whether a voter and a majority hear each other.
    fn has_majority(&self, node: NodeId) -> bool {
        let is_well = |other: &NodeId| {
            let process = self.machines[other].process.as_ref();
            process.is_some_and(|process| process.paused_until <= self.now)
        };
        let hears = |other: &&NodeId| self.network.reaches(node, **other) && self.network.reaches(**other, node);
        let is_met = |other: &&NodeId| self.have_met(node, **other);
        let heard = self.machines.keys().filter(|other| is_well(other)).filter(hears).filter(is_met).count();
        is_well(&node) && heard > self.machines.len() / 2
    }

    /// Whether two voters can have a connection. Who can dial nobody keeps those that it had dialled, to processes that
    /// are as old: without any it is voted for by none, and nobody finds a controller that never heard a broker.
    fn have_met(&self, voter: NodeId, other: NodeId) -> bool {
        let ends = [&self.machines[&voter], &self.machines[&other]];
        let blind_since = ends.iter().filter_map(|machine| machine.blind_since).min();
        let lives = || ends.iter().filter_map(|machine| machine.process.as_ref()).map(|process| process.life);
        voter == other || blind_since.is_none_or(|since| lives().all(|life| life <= since))
    }

    /// The voters look after each other: who lost its majority is replaced after a while; who was cut off catches up.
    pub(super) fn quorum_beat(&mut self) {
        self.after(QUORUM_INTERVAL, Happening::QuorumBeat);
        let now = self.now;
        let is_led = self.quorum.leader.is_some_and(|leader| self.has_majority(leader));
        if is_led {
            self.quorum.lost_since = None;
            self.catch_up_all();
            return;
        }
        let since = *self.quorum.lost_since.get_or_insert(now);
        let jitter = self.chance.span(Duration::ZERO, self.knobs.election_timeout);
        if now.since(since) < self.knobs.election_timeout + jitter {
            return;
        }
        let nodes = self.nodes();
        let able: Vec<NodeId> = nodes.into_iter().filter(|node| self.has_majority(*node)).collect();
        if !able.is_empty() {
            let leader = *self.chance.pick(&able);
            self.elect(leader);
        }
    }

    /// The leader's process has ended: started again it is a voter like the others.
    pub(super) fn quorum_lost(&mut self, node: NodeId) {
        if self.quorum.leader == Some(node) {
            self.quorum.leader = None;
            self.quorum.lost_since.get_or_insert(self.now);
        }
    }

    /// A voter begins a term. The one before it learns of that some time later.
    pub(super) fn elect(&mut self, leader: NodeId) {
        let before = self.quorum.leader;
        let old_term = self.quorum.term;
        let chance = &mut self.chance;
        self.quorum.begin_term(leader, self.now, || chance.one_in(2));
        let term = self.quorum.term;
        self.note_committed();
        if let Some(life) = before.and_then(|node| self.life(node)) {
            let late = self.chance.span(Duration::ZERO, self.knobs.election_timeout);
            self.after(late, Happening::Demote(life, old_term));
        }
        let span = self.chance.millis(1, 20);
        if let Some(life) = self.life(leader) {
            self.after(span, Happening::Activate(life, term));
        }
        self.catch_up_all();
    }

    /// Another voter is to lead (rule S16).
    pub(super) fn hand_over(&mut self, node: NodeId) {
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|other| *other != node).collect();
        let able: Vec<NodeId> = others.into_iter().filter(|other| self.has_majority(*other)).collect();
        if self.quorum.leader == Some(node) && !able.is_empty() {
            let leader = *self.chance.pick(&able);
            self.elect(leader);
        }
    }

    /// What is committed is on its way to every node that hears the leader.
    fn catch_up_all(&mut self) {
        let Some(leader) = self.quorum.leader else { return };
        let (last, term, bounds) = (self.quorum.last(), self.quorum.term, self.knobs.apply);
        for node in self.nodes() {
            if !self.network.reaches(leader, node) || !self.network.reaches(node, leader) {
                continue;
            }
            let slow = self.machines[&node].slow_apply;
            let span = self.chance.span(bounds.0, bounds.1) + slow;
            let Some(process) = self.running(node) else { continue };
            process.leadership = (term, Some(leader));
            if process.coming < last {
                process.coming = last;
                let life = Life { node, life: process.life };
                self.after(span, Happening::Apply(life, last));
            }
        }
    }

    /// A node has applied the log up to an index.
    pub(super) fn apply(&mut self, life: Life, index: LogIndex) {
        let image = self.quorum.image_at(index);
        let late = Duration::from_micros(u64::try_from(self.chance.below(2000)).expect("a small number"));
        let Some(process) = self.process(life) else { return };
        if process.image.last_applied() >= index {
            return;
        }
        process.image = image;
        process.coming = process.coming.max(index);
        // All nodes have the stand-in's own images: nothing could differ. Whole nodes tell theirs apart (plane 2, E4).
        self.record.node(self.now, life.node, NodeEventKind::Applied { index, digest: 0 });
        self.after(late, Happening::Reconcile(life));
        self.control_soon(life.node);
    }

    /// A voter acts as the controller from here on.
    pub(super) fn activate(&mut self, life: Life, term: Term) {
        let (last, world) = (self.quorum.last(), self.now);
        if self.quorum.term != term || self.quorum.leader != Some(life.node) {
            return;
        }
        self.apply(life, last);
        let Some(process) = self.process(life) else { return };
        let now = process.now(world);
        process.host.active = Some(term);
        process.host.in_flight = None;
        process.host.waiting.clear();
        process.host.soft.begin(&process.image, now);
        self.record.node(world, life.node, NodeEventKind::Controls { term });
        self.control_soon(life.node);
    }

    /// It learns that it leads no more.
    pub(super) fn demote(&mut self, life: Life, term: Term) {
        let Some(process) = self.process(life).filter(|process| process.host.active == Some(term)) else { return };
        process.host.active = None;
        self.refuse_all(life);
    }

    /// A proposal is replicated, unless its leader has lost the quorum.
    pub(super) fn commit(&mut self, life: Life, id: ProposalId) {
        let leads = self.quorum.leader == Some(life.node) && self.process(life).is_some();
        if !leads {
            // It is decided when the next term begins, or never.
            self.unsettled_soon(life, id);
            return;
        }
        if !self.has_majority(life.node) || self.quorum.stalls_until > self.now {
            self.after(QUORUM_INTERVAL, Happening::Commit(life, id));
            // Whoever has waited for long enough does not know what becomes of it; it may be committed yet.
            if self.quorum.age(id, self.now) >= self.knobs.proposal_timeout {
                self.settled(life, id, None);
            }
            return;
        }
        match self.quorum.settle(id, self.now) {
            Some((index, applied)) => {
                self.note_committed();
                self.apply(life, index);
                if applied == Applied::Dropped {
                    mark(Mark::ProposalDropped);
                }
                self.settled(life, id, Some(index).filter(|_| applied == Applied::Accepted));
                self.catch_up_all();
            }
            None => self.settled(life, id, None),
        }
    }

    fn unsettled_soon(&mut self, life: Life, id: ProposalId) {
        self.settled(life, id, None);
    }

    /// Whoever keeps the history notes what is committed.
    pub(super) fn note_committed(&mut self) {
        let isr_min = self.knobs.isr_min;
        while self.record.metadata_noted() < self.quorum.last() {
            let index = LogIndex::new(self.record.metadata_noted().get() + 1);
            let entry = self.quorum.entry(index).clone();
            let before = self.quorum.image_at(self.record.metadata_noted());
            let records: &[Record] = entry.proposal.as_ref().map_or(&[], |proposal| &proposal.records);
            let accepted = entry.applied == Applied::Accepted;
            self.record.metadata(index, entry.term, entry.at, accepted, records, &before, isr_min);
            let facts = self.record.history.metadata.last().expect("just noted").facts.clone();
            self.note_elections(&facts);
        }
    }
}
