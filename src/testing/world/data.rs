//! The data plane of one node: turns of its shard, what follows from them, and the flushes of its directory.

use std::mem;
use std::time::Duration;

use super::observe::OBSERVER;
use super::{Happening, Life, World};
use crate::broker::suspects::Recovered;
use crate::machines::replication::Ticket;
use crate::model::{Instant, NodeId};
use crate::partition::{Effect, Event, Reply};
use crate::verify::history::NodeEventKind;

impl World {
    /// Tells a node's shard something; it takes it with its next turn.
    pub(super) fn tell(&mut self, node: NodeId, event: Event) {
        let delay = Duration::from_micros(u64::try_from(self.chance.below(80)).expect("a small number"));
        let at = self.now.plus(delay);
        let Some(process) = self.running(node) else { return };
        process.inbox.push(event);
        self.turn_at(node, at);
    }

    /// A turn is wanted by then.
    fn turn_at(&mut self, node: NodeId, at: Instant) {
        let at = at.max(self.now);
        let Some(process) = self.running(node) else { return };
        if process.turn_at.is_some_and(|due| due <= at) {
            return;
        }
        process.turn_at = Some(at);
        let life = Life { node, life: process.life };
        self.at(at, Happening::Turn(life));
    }

    pub(super) fn turn_due(&mut self, life: Life) {
        let now = self.now;
        let Some(process) = self.process(life) else { return };
        if process.turn_at.is_none_or(|due| due > now) {
            return;
        }
        process.turn_at = None;
        self.turn(life.node);
    }

    fn turn(&mut self, node: NodeId) {
        let world = self.now;
        let Some(process) = self.running(node) else { return };
        let now = process.now(world);
        let mut inbox = mem::take(&mut process.inbox);
        if inbox.is_empty() || process.shard.next_deadline().is_some_and(|due| due <= now.instant) {
            inbox.push(Event::Tick);
        }
        self.record.trace_events(world, node, &inbox);
        let process = self.running(node).expect("just seen");
        let life = process.life;
        let mut effects = Vec::new();
        process.shard.turn(now, &mut observed(inbox), &mut effects);
        for effect in effects {
            if let Effect::Reply { ticket: OBSERVER, reply: Reply::Describe(all) } = effect {
                self.glance_within(Life { node, life }, &all);
                continue;
            }
            self.record.trace_effect(world, node, &effect);
            self.carry_out(node, effect);
        }
        self.observe(node);
        let Some(process) = self.running(node).filter(|process| process.life == life) else { return };
        if let Some(due) = process.shard.next_deadline() {
            let at = process.world(due);
            // A turn per moment at most, so that what is overdue does not stop the time.
            self.turn_at(node, at.max(world.plus(Duration::from_micros(50))));
        }
    }

    pub(super) fn carry_out(&mut self, node: NodeId, effect: Effect) {
        match effect {
            Effect::Reply { ticket, reply } => self.reply(node, ticket, reply),
            Effect::Wake(watch) => self.wake(node, watch.0),
            Effect::Flush(orders) => {
                if let Some(process) = self.running(node) {
                    process.flushing.waiting.extend(orders);
                }
                self.flush(node);
            }
            Effect::Compact(job) => self.compact(node, *job),
            Effect::CompactionGoesOn { taken, .. } => self.compaction_goes_on(node, taken),
            Effect::ProposeIsr(wish) => self.wish(node, wish),
            Effect::AskFollowers(asked) => self.ask_followers(node, asked),
            Effect::FetchFrom(position) => self.fetch_from(node, position),
            Effect::StopFetching(partition) => self.stop_fetching(node, partition),
            Effect::Opened(opened) => self.recovered(node, Recovered::Opened(opened)),
            Effect::Broken(broken) => self.recovered(node, Recovered::Broken(broken)),
            // Told to people.
            Effect::Unusable(_) | Effect::Damaged(_) | Effect::Unreadable(_) | Effect::Contradicted(_) => {}
            Effect::Fatal { cause } => self.exited(node, format!("the data directory failed: {cause}")),
        }
    }

    /// A log on disk is open, or cannot be.
    fn recovered(&mut self, node: NodeId, report: Recovered) {
        if let Recovered::Opened(opened) = &report {
            let name = self.running(node).and_then(|process| {
                let found = process.directory.partitions().iter().find(|found| found.id == opened.partition);
                found.map(|found| found.name.clone())
            });
            // A log may end above all its batches: where it was reset to.
            let raw = name.and_then(|name| self.raw_end(node, &name, opened.partition, opened.start));
            // Where bits were flipped, an outsider cannot tell.
            let raw = raw.filter(|_| self.observer.sick != Some(node));
            let durable = raw.map(|raw| raw.max(opened.start).max(opened.attested_end));
            let what = NodeEventKind::Recovered {
                partition: opened.partition,
                end: opened.end,
                attested: opened.attested_end,
                durable,
                suspected: opened.end < opened.attested_end,
            };
            self.record.node(self.now, node, what);
        }
        let Some(process) = self.running(node) else { return };
        let partition = process.suspects.note(report);
        process.outstanding.remove(&partition);
    }

    /// Starts the next group flush, unless one is under way.
    pub(super) fn flush(&mut self, node: NodeId) {
        let (now, bounds, slow) = (self.now, self.knobs.flush, self.machines[&node].slow_flush);
        let span = self.chance.span(bounds.0, bounds.1) + slow;
        let Some(process) = self.running(node) else { return };
        if process.flushing.running.is_some() || process.flushing.waiting.is_empty() {
            return;
        }
        let orders = mem::take(&mut process.flushing.waiting);
        (process.flushing.running, process.flushing.begun) = (Some(orders), now);
        let life = Life { node, life: process.life };
        self.after(span, Happening::Flushed(life));
    }

    pub(super) fn flush_done(&mut self, life: Life) {
        let world = self.now;
        let Some(process) = self.process(life) else { return };
        let now = process.now(process.flushing.begun);
        let orders = process.flushing.running.take().expect("a flush is under way");
        let outcome = process.directory.flush_log().flush(orders, now);
        let due = process.directory.flush_log().attest_due().map(|due| process.world(due));
        match outcome {
            Ok(ends) => self.tell(life.node, Event::Flushed(ends)),
            Err(_) => self.tell(life.node, Event::FlushFailed),
        }
        if let Some(due) = due {
            self.at(due.max(world), Happening::Attest(life));
        }
        self.flush(life.node);
    }

    /// Statements that found no group to ride on.
    pub(super) fn attest(&mut self, life: Life) {
        let world = self.now;
        let Some(process) = self.process(life) else { return };
        let due = process.directory.flush_log().attest_due().map(|due| process.world(due));
        if due.is_some_and(|due| due <= world)
            && let Err(cause) = process.directory.flush_log().attest()
        {
            self.exited(life.node, format!("the flush log failed: {cause}"));
        }
    }

    /// A ticket that was not used before.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }
}

/// The same events, and after each the observer's question: what a leader told in a turn counts, though an order, a flush
/// that failed or a damaged place ends its leadership in the same turn.
fn observed(inbox: Vec<Event>) -> Vec<Event> {
    let describe = || Event::Describe { ticket: OBSERVER, partition: None };
    inbox.into_iter().flat_map(|event| [event, describe()]).collect()
}
