//! The controller's host on a node: events in, rounds decided, proposals out, answers once they are accepted.

use std::mem;
use std::time::Duration;

use super::message::{Answer, Endpoint, RequestId};
use super::network::Link;
use super::quorum::ProposalId;
use super::{Happening, Life, World};
use crate::machines::controller::{DialOutcome, Effect, Reply, Round};
use crate::machines::metadata::Proposal;
use crate::model::{BootNumber, Instant, LogIndex, NodeId};

/// After a proposal whose outcome is not known, the host rests in the same term.
const UNSETTLED_REST: Duration = Duration::from_millis(500);

impl World {
    /// The host has something to look at.
    pub(super) fn control_soon(&mut self, node: NodeId) {
        let Some(process) = self.running(node) else { return };
        process.host.tick += 1;
        let (life, tick) = (Life { node, life: process.life }, process.host.tick);
        self.after(Duration::from_micros(30), Happening::Control(life, tick));
    }

    pub(super) fn control(&mut self, life: Life, tick: u64) {
        let (world, bytes_max) = (self.now, self.knobs.proposal_bytes_max);
        let Some(process) = self.process(life).filter(|process| process.host.tick == tick) else { return };
        let now = process.now(world);
        let host = &mut process.host;
        let Some(term) = host.active.filter(|_| host.in_flight.is_none()) else { return };
        if host.rests_until > world {
            let at = host.rests_until;
            self.at(at, Happening::Control(life, tick));
            return;
        }
        let image = process.image.clone();
        let mut round = Round::decide(&image, &mut host.soft, now, &mut host.waiting, bytes_max);
        let effects = mem::take(&mut round.effects);
        let records = mem::take(&mut round.records);
        if records.is_empty() {
            let replies = round.settle(None, &mut host.waiting);
            let is_done = host.waiting.is_empty();
            let due = process.world(process.host.soft.next_deadline(now));
            self.say(life.node, replies);
            self.carry_out_all(life, effects);
            if is_done {
                self.at(due.max(world.plus(Duration::from_micros(200))), Happening::Control(life, tick));
            } else {
                self.control_soon(life.node);
            }
            return;
        }
        let proposal = Proposal { term, base: image.last_accepted(), records };
        let id = self.quorum.propose(term, proposal, world);
        let process = self.process(life).expect("just seen");
        process.host.in_flight = Some((id, round));
        self.carry_out_all(life, effects);
        let span = self.chance.span(self.knobs.delay.0, self.knobs.delay.1) * 2
            + self.chance.span(self.knobs.flush.0, self.knobs.flush.1);
        self.after(span, Happening::Commit(life, id));
    }

    /// What became of a proposal: accepted at that index, or nobody knows.
    pub(super) fn settled(&mut self, life: Life, id: ProposalId, accepted: Option<LogIndex>) {
        let world = self.now;
        let Some(process) = self.process(life) else { return };
        if process.host.in_flight.as_ref().is_none_or(|(own, _)| *own != id) {
            return;
        }
        let (_, round) = process.host.in_flight.take().expect("just seen");
        match accepted {
            Some(index) => {
                let replies = round.settle(Some(index), &mut process.host.waiting);
                self.say(life.node, replies);
            }
            None => {
                let askers: Vec<_> = round.into_askers().collect();
                process.host.rests_until = world.plus(UNSETTLED_REST);
                let now = process.now(world);
                process.host.soft.begin(&process.image, now);
                self.refuse(life.node, askers);
                self.refuse_all(life);
            }
        }
        self.control_soon(life.node);
    }

    /// Whoever waits is told to try again.
    pub(super) fn refuse_all(&mut self, life: Life) {
        let Some(process) = self.process(life) else { return };
        let waiting = mem::take(&mut process.host.waiting);
        let in_flight = process.host.in_flight.take().filter(|_| process.host.active.is_none());
        let askers = waiting.into_iter().map(|asked| asked.to);
        let askers: Vec<_> = askers.chain(in_flight.into_iter().flat_map(|(_, round)| round.into_askers())).collect();
        self.refuse(life.node, askers);
    }

    fn refuse(&mut self, node: NodeId, askers: Vec<(NodeId, RequestId)>) {
        for (to, id) in askers {
            self.answer(node, Endpoint::Node(to), id, Answer::Unable);
        }
    }

    fn say(&mut self, node: NodeId, replies: Vec<((NodeId, RequestId), Reply)>) {
        for ((to, id), reply) in replies {
            self.answer(node, Endpoint::Node(to), id, Answer::Controlled(Box::new(reply)));
        }
    }

    fn carry_out_all(&mut self, life: Life, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dial { node, boot } => {
                    let span = self.chance.millis(1, 5);
                    self.after(span, Happening::Dialed(life, node, boot));
                }
                Effect::ReadBarrier { asked } => {
                    let span = self.chance.millis(1, 20);
                    self.after(span, Happening::Barrier(life, asked));
                }
                Effect::HandOver => self.hand_over(life.node),
            }
        }
    }

    /// A dial has ended: a process listens, or none does, or nothing comes back.
    pub(super) fn dialed(&mut self, life: Life, node: NodeId, boot: BootNumber) {
        let link = self.network.link(Endpoint::Node(life.node), Endpoint::Node(node));
        let back = self.network.link(Endpoint::Node(node), Endpoint::Node(life.node));
        let outcome = match (link.or(back), self.running(node).is_some()) {
            _ if self.machines[&life.node].blind_since.is_some() => DialOutcome::Unable,
            (Some(Link::Silent | Link::Held), _) => DialOutcome::Unreachable,
            (Some(Link::Refused), _) | (None, false) => DialOutcome::Refused,
            (None, true) => DialOutcome::Answered,
        };
        let Some(process) = self.process(life) else { return };
        process.host.soft.dialed(node, boot, outcome);
        self.control_soon(life.node);
    }

    /// A read barrier of the host has ended.
    pub(super) fn barrier(&mut self, life: Life, asked: Instant) {
        if self.quorum.leader != Some(life.node) || self.quorum.lost_since.is_some() {
            return;
        }
        let Some(process) = self.process(life) else { return };
        process.host.soft.barrier_passed(asked);
        self.control_soon(life.node);
    }

    /// A broker's liveness connection is open at a voter.
    pub(super) fn note_opened(&mut self, voter: NodeId, node: NodeId, boot: BootNumber) {
        let world = self.now;
        // The end of a connection may overtake its begin here, which it cannot on a wire.
        if self.running(node).is_none_or(|process| process.directory.boot() != boot) {
            return;
        }
        if self.machines[&voter].blind_since.is_some() {
            return;
        }
        let Some(process) = self.running(voter) else { return };
        let now = process.now(world);
        if process.host.connections.insert((node, boot)) {
            process.host.soft.connected(now, node, boot);
        }
        self.control_soon(voter);
    }

    /// A voter loses every connection of the others to it.
    pub(super) fn lose_connections(&mut self, voter: NodeId) {
        let Some(process) = self.running(voter) else { return };
        let held: Vec<_> = process.host.connections.iter().copied().filter(|(node, _)| *node != voter).collect();
        held.into_iter().for_each(|(node, boot)| self.note_closed(voter, node, boot));
    }

    /// It has closed.
    pub(super) fn note_closed(&mut self, voter: NodeId, node: NodeId, boot: BootNumber) {
        let world = self.now;
        let Some(process) = self.running(voter) else { return };
        let now = process.now(world);
        if process.host.connections.remove(&(node, boot)) {
            process.host.soft.closed(now, node, boot);
        }
        self.control_soon(voter);
    }
}
