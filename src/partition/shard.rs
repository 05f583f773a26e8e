//! The shard: owns partitions, takes events in, hands effects out. No thread, no channel.
//!
//! Called by the thread that `broker` gives it, and by the simulation. Invariant: one turn takes its events in order
//! and asks for one flush of all that it wrote, last of its effects.

mod groups;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::machines::group;
use crate::machines::metadata::Image;
use crate::machines::replication::{Ending, Ticket};
use crate::model::{Instant, NodeId, Now, PartitionId, TopicName};
use crate::storage::{DataDir, Dirt, FirstBatch, FlushOrder, Flushed, Log, LogOptions, Replacement, TakenOver};

use super::append::Produce;
use super::compact::Compactions;
use super::effect::{
    AppendRefusal, Breakage, BrokenPartition, Effect, FatalCause, ListRefusal, OpenedPartition, ReadRefusal, ReadReply,
    Reply, TrimRefusal, Watching,
};
use super::event::{Event, ReadEvent};
use super::read::Part;
use super::replica::{FlushPace, Marks, Replica, Turn};
use super::watches::{Line, Place, Watches};

/// How often the shard looks at every partition: lag, retention, idle logs.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// So many logs are given to retention in one sweep; the others wait for the next.
const RETENTIONS_PER_SWEEP_MAX: usize = 64;
/// A log that was not written for so long is put to rest: derived state written, files closed.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// What a shard is made of.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// This broker.
    pub node: NodeId,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention_interval: Duration,
    /// `log.cleaner.backoff.ms`: how often it looks for a log to compact; `None` never.
    pub compaction_interval: Option<Duration>,
    /// Produces that may wait on one partition; more are refused as busy.
    pub waiters_max: usize,
    /// Partitions that waiting reads may stand at, over the whole shard; more wait for their deadline unwatched.
    pub watches_max: usize,
    /// The settings of coordinators.
    pub groups: group::Options,
}

impl ShardOptions {
    /// The defaults.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            lag_max: Duration::from_secs(5),
            retention_interval: Duration::from_secs(300),
            compaction_interval: Some(Duration::from_secs(15)),
            waiters_max: 20_000,
            watches_max: 200_000,
            groups: group::Options::default(),
        }
    }
}

/// Owns some of the partitions of one data directory.
#[derive(Debug)]
pub struct Shard {
    options: ShardOptions,
    directory: Arc<DataDir>,
    replicas: BTreeMap<PartitionId, Replica>,
    watches: Watches,
    /// The metadata that it has heard of last.
    image: Arc<Image>,
    /// When each partition wants a tick.
    timers: BTreeSet<(Instant, PartitionId)>,
    timer_of: BTreeMap<PartitionId, Instant>,
    /// Partitions that this turn has touched.
    touched: BTreeSet<PartitionId>,
    sweep_at: Instant,
    compactions: Compactions,
    /// Logs that are being put to rest: each flush of theirs asks for the next step.
    resting: BTreeSet<PartitionId>,
    /// Orders to be handed out at the end of the turn, beyond those of the touched.
    orders: Vec<FlushOrder>,
    /// Who waits until every log rests, when the broker stops.
    closing: Option<Ticket>,
    /// The broker stops, and stays stopped: whoever waited has been told.
    is_closing: bool,
    /// The directory failed: nothing is acknowledged any more.
    failed: bool,
}

impl Shard {
    /// An empty one.
    #[must_use]
    pub fn new(directory: Arc<DataDir>, options: ShardOptions) -> Self {
        let watches = Watches::new(options.watches_max);
        Self {
            options,
            directory,
            replicas: BTreeMap::new(),
            watches,
            image: Arc::default(),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            touched: BTreeSet::new(),
            sweep_at: Instant::ZERO,
            compactions: Compactions::default(),
            resting: BTreeSet::new(),
            orders: Vec::new(),
            closing: None,
            is_closing: false,
            failed: false,
        }
    }

    /// Takes every event of `inbox`, in order, and adds what follows to `outbox`: at most one `Effect::Flush`, last.
    pub fn turn(&mut self, now: Now, inbox: &mut Vec<Event>, outbox: &mut Vec<Effect>) {
        for event in inbox.drain(..) {
            self.on_event(event, now, outbox);
        }
        self.on_time(now, outbox);
        self.finish(now, outbox);
    }

    /// When it wants a turn at the latest, with a `Tick` or whatever is there.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.replicas.is_empty() || self.is_closing {
            return None;
        }
        let timer = self.timers.first().map(|timer| timer.0);
        Some(timer.map_or(self.sweep_at, |at| at.min(self.sweep_at)))
    }

    fn on_event(&mut self, event: Event, now: Now, out: &mut Vec<Effect>) {
        match event {
            // The images go on while the broker stops. A role taken now would outlive the last flush of its log.
            Event::Open { .. } | Event::Lead(_) | Event::Follow(_) | Event::Configure { .. } if self.is_closing => {}
            Event::Open { partition, name } => self.open_found(partition, name, now, out),
            Event::Lead(order) => {
                self.open_ordered(order.partition, &order.name, order.options, now, out);
                self.with(order.partition, now, out, |replica, turn| replica.lead(order, turn));
            }
            Event::Follow(order) => {
                self.open_ordered(order.partition, &order.name, order.options, now, out);
                self.with(order.partition, now, out, |replica, turn| replica.follow(order, turn));
            }
            Event::Stop { partition, delete } => self.stop(partition, delete, out),
            Event::Append { ticket, partition, leader_epoch, batch, acks, deadline } => {
                let produce = Produce { ticket, leader_epoch, batch, acks, deadline };
                let known = self.with(partition, now, out, |replica, turn| replica.append(produce, turn));
                if known.is_none() {
                    out.push(Effect::Reply { ticket, reply: Reply::Append(Err(AppendRefusal::NotLeader)) });
                }
            }
            Event::Group { ticket, partition, call } => self.group(ticket, partition, *call, now, out),
            Event::Image(image) => self.take_image(image, now, out),
            Event::Read(read) => self.read(read, now, out),
            Event::Inspect { partition, generation, place } => {
                self.with(partition, now, out, |replica, turn| replica.inspect(generation, place, turn));
            }
            Event::Unwatch(watch) => self.watches.remove(watch),
            Event::Fetched(fetched) => {
                let partition = fetched.position.partition;
                self.with(partition, now, out, |replica, turn| replica.fetched(fetched, turn));
            }
            Event::Flushed(flushed) => self.flushed(&flushed, now, out),
            Event::FlushFailed => self.fail(out),
            Event::IsrAnswer { partition, leader_epoch, partition_epoch, outcome } => {
                let base = (leader_epoch, partition_epoch);
                self.with(partition, now, out, |replica, turn| replica.isr_answer(base, outcome, turn));
            }
            Event::Configure { partition, options, flush, isr_min } => {
                self.with(partition, now, out, |replica, turn| {
                    replica.configure(options, flush, turn);
                    replica.set_isr_min(isr_min, turn);
                });
            }
            Event::Vouched { partition, leader_epoch, round, node } => {
                let asked = (leader_epoch, round);
                self.with(partition, now, out, |replica, turn| replica.vouched(asked, node, turn));
            }
            Event::CompactionMade(made) => self.take_over(&made, now, out),
            Event::CompactionEnded { partition, outcome } => {
                self.compactions.ended(outcome, now.instant);
                self.with(partition, now, out, |replica, turn| replica.compaction_ended(outcome, turn));
            }
            Event::Close { ticket } => self.close(ticket, out),
            Event::Tick => {}
            Event::ListOffset { .. }
            | Event::EpochEnd { .. }
            | Event::Trim { .. }
            | Event::Vouch { .. }
            | Event::Describe { .. } => {
                self.on_question(event, now, out);
            }
        }
    }

    fn on_question(&mut self, event: Event, now: Now, out: &mut Vec<Effect>) {
        let (ticket, reply) = match event {
            Event::ListOffset { ticket, partition, leader_epoch, reader, query } => {
                let found = self.with(partition, now, out, |r, turn| r.list_offset(reader, leader_epoch, query, turn));
                (ticket, Reply::ListOffset(found.unwrap_or(Err(ListRefusal::UnknownPartition))))
            }
            Event::EpochEnd { ticket, partition, leader_epoch, epoch } => {
                let replica = self.replicas.get(&partition).ok_or(ListRefusal::UnknownPartition);
                (ticket, Reply::EpochEnd(replica.and_then(|replica| replica.epoch_end(leader_epoch, epoch))))
            }
            Event::Trim { ticket, partition, before } => {
                let trimmed = self.with(partition, now, out, |replica, _| replica.trim(before));
                (ticket, Reply::Trim(trimmed.unwrap_or(Err(TrimRefusal::NotLeader))))
            }
            Event::Vouch { ticket, partition, leader, leader_epoch } => {
                let replica = self.replicas.get(&partition);
                (ticket, Reply::Vouch(replica.is_some_and(|replica| replica.follows(leader, leader_epoch))))
            }
            Event::Describe { ticket, partition } => {
                let wanted = self.replicas.values().filter(|r| partition.is_none_or(|id| id == r.id));
                (ticket, Reply::Describe(wanted.map(Replica::describe).collect()))
            }
            Event::Open { .. }
            | Event::Lead(_)
            | Event::Follow(_)
            | Event::Stop { .. }
            | Event::Append { .. }
            | Event::Group { .. }
            | Event::Image(_)
            | Event::Read(_)
            | Event::Inspect { .. }
            | Event::Unwatch(_)
            | Event::Fetched(_)
            | Event::Flushed(_)
            | Event::FlushFailed
            | Event::IsrAnswer { .. }
            | Event::Vouched { .. }
            | Event::Configure { .. }
            | Event::CompactionMade(_)
            | Event::CompactionEnded { .. }
            | Event::Close { .. }
            | Event::Tick => unreachable!("only questions come here"),
        };
        out.push(Effect::Reply { ticket, reply });
    }

    /// Lets `act` work on a partition, then wakes who waited for what it changed.
    fn with<T>(
        &mut self,
        partition: PartitionId,
        now: Now,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Replica, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let replica = self.replicas.get_mut(&partition)?;
        let before = replica.marks();
        let value = act(replica, &mut Turn { now, options: &self.options, image: &self.image, effects: out });
        let after = replica.marks();
        self.touched.insert(partition);
        if before != after {
            self.wake(partition, before, after, out);
        }
        Some(value)
    }

    fn wake(&mut self, partition: PartitionId, before: Marks, after: Marks, out: &mut Vec<Effect>) {
        if before.generation != after.generation {
            out.extend(self.watches.of_partition(partition).into_iter().map(Effect::Wake));
            return;
        }
        if before.high_watermark != after.high_watermark {
            let woken = self.watches.passed(partition, Line::HighWatermark, after.high_watermark);
            out.extend(woken.into_iter().map(Effect::Wake));
        }
        if before.end != after.end {
            let woken = self.watches.passed(partition, Line::LogEnd, after.end);
            out.extend(woken.into_iter().map(Effect::Wake));
        }
    }

    /// Opens what the directory holds, before the broker registers.
    fn open_found(&mut self, partition: PartitionId, name: TopicName, now: Now, out: &mut Vec<Effect>) {
        self.open_ordered(partition, &name, LogOptions::default(), now, out);
        let Some(log) = self.replicas.get(&partition).and_then(|replica| replica.log.as_ref()) else { return };
        let (start, end) = (log.start(), log.end());
        out.push(Effect::Opened(OpenedPartition { partition, start, attested_end: log.flushed_end(), end }));
    }

    /// Opens a partition that is not open yet. What was never written gets its files with the first record.
    fn open_ordered(
        &mut self,
        partition: PartitionId,
        name: &TopicName,
        options: LogOptions,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        if self.replicas.contains_key(&partition) {
            return;
        }
        self.touched.insert(partition);
        let turn = Turn { now, options: &self.options, image: &self.image, effects: out };
        let opened = Log::open(&self.directory, name, partition, options, now);
        let (log, fault) = match opened {
            Ok((log, _)) if !self.failed => (Some(log), None),
            Ok(_) => (None, Some("the directory failed".to_owned())),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut replica = Replica::new(partition, name.clone(), log, &turn);
        if let Some(message) = fault {
            replica.report_broken(message, Breakage::Unreadable, out);
        }
        self.replicas.insert(partition, replica);
    }

    fn stop(&mut self, partition: PartitionId, delete: bool, out: &mut Vec<Effect>) {
        let Some(mut replica) = self.replicas.remove(&partition) else { return };
        self.resting.remove(&partition);
        self.touched.insert(partition);
        replica.resign(Ending::NotLeader, out);
        replica.stop_fetching(out);
        // The order keeps the descriptors that wrote until they are synced, should the log be opened again (rule S7).
        self.orders.extend(replica.take_flush(FlushPace::Sweep));
        out.extend(self.watches.of_partition(partition).into_iter().map(Effect::Wake));
        if !delete {
            return;
        }
        if let Some(log) = replica.log.take() {
            if let Err(error) = log.delete() {
                let cause = FatalCause::Write { partition, message: error.to_string() };
                out.push(Effect::Fatal { cause });
            }
        } else if let Err(error) = self.directory.delete(&replica.name, partition) {
            // What is broken goes as well, lest every start find and name it; that it will not go tells nothing new.
            let message = format!("its files cannot be removed: {error}");
            let (name, breakage) = (replica.name.clone(), Breakage::Unreadable);
            out.push(Effect::Broken(BrokenPartition { partition, name, message, breakage }));
        }
    }

    fn read(&mut self, read: ReadEvent, now: Now, out: &mut Vec<Effect>) {
        let mut reads = Vec::with_capacity(read.reads.len());
        let mut places: Vec<Place> = Vec::new();
        let mut bytes = 0;
        let mut waits = true;
        for request in read.reads {
            let whole = bytes == 0 && read.whole_first;
            let part = Part {
                reader: read.reader,
                request,
                bytes_max: request.bytes_max.min(read.bytes_max.saturating_sub(bytes)),
                first: if whole { FirstBatch::Whole } else { FirstBatch::WithinBound },
                again: read.again,
            };
            let partition = request.partition;
            let found = self.with(partition, now, out, |replica, turn| replica.read(part, turn));
            let outcome = found.unwrap_or(Err(ReadRefusal::UnknownPartition)).map(|found| {
                bytes += found.answer.plan.as_ref().map_or(0, crate::storage::ReadPlan::len);
                waits &= !found.more;
                places.push(found.place);
                found.answer
            });
            waits &= outcome.is_ok();
            reads.push(ReadReply { partition, outcome });
        }
        let watching = match read.watch {
            Some(watch) if waits && bytes < read.bytes_min => {
                if self.watches.leave(watch, places) {
                    Watching::Yes
                } else {
                    Watching::Refused
                }
            }
            Some(watch) => {
                self.watches.remove(watch);
                Watching::No
            }
            None => Watching::No,
        };
        out.push(Effect::Reply { ticket: read.ticket, reply: Reply::Read { reads, watching } });
    }

    fn flushed(&mut self, flushed: &[Flushed], now: Now, out: &mut Vec<Effect>) {
        if self.failed {
            return;
        }
        for one in flushed {
            self.with(one.partition, now, out, |replica, turn| replica.flushed(one, turn));
            if self.resting.contains(&one.partition) {
                self.rest(one.partition);
            }
        }
    }

    /// Nothing of the directory is acknowledged from here on (ADR 7); whoever waits is told.
    fn fail(&mut self, out: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        for (partition, replica) in &mut self.replicas {
            if let Some(log) = &mut replica.log {
                log.flush_failed();
            }
            replica.give_up(out);
            out.extend(self.watches.of_partition(*partition).into_iter().map(Effect::Wake));
        }
        self.orders.clear();
        out.push(Effect::Fatal { cause: FatalCause::Flush });
    }

    /// The broker stops: nobody leads or follows any more, and every log goes to rest.
    fn close(&mut self, ticket: Ticket, out: &mut Vec<Effect>) {
        self.closing = Some(ticket);
        self.is_closing = true;
        for replica in self.replicas.values_mut() {
            replica.retire(out);
        }
        let all: Vec<PartitionId> = self.replicas.keys().copied().collect();
        for partition in all {
            self.rest(partition);
        }
    }

    /// Puts a log to rest, one flush after another until it has nothing more to write.
    fn rest(&mut self, partition: PartitionId) {
        let log = self.replicas.get_mut(&partition).and_then(|replica| replica.log.as_mut());
        let Some(order) = log.and_then(Log::rest) else {
            self.resting.remove(&partition);
            return;
        };
        self.resting.insert(partition);
        self.orders.push(order);
    }

    fn on_time(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_closing {
            return;
        }
        while let Some(&(at, partition)) = self.timers.first() {
            if at > now.instant {
                break;
            }
            self.timers.pop_first();
            self.timer_of.remove(&partition);
            self.with(partition, now, out, |replica, turn| replica.tick(turn));
        }
        if now.instant < self.sweep_at {
            return;
        }
        self.sweep_at = now.instant.plus(SWEEP_INTERVAL);
        let all: Vec<PartitionId> = self.replicas.keys().copied().collect();
        let mut retentions = 0;
        for partition in all {
            self.with(partition, now, out, |replica, turn| {
                replica.tick(turn);
                if replica.retain_at <= now.instant && retentions < RETENTIONS_PER_SWEEP_MAX {
                    retentions += 1;
                    replica.retain(turn);
                }
            });
            self.sweep(partition, now.instant);
        }
        self.compact(now, out);
    }

    /// Wants the dirtiest log compacted, if one is dirty enough.
    fn compact(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(interval) = self.options.compaction_interval else { return };
        if !self.compactions.is_due(now.instant, interval) {
            return;
        }
        let all: Vec<PartitionId> = self.replicas.keys().copied().collect();
        let mut dirtiest: Option<(PartitionId, Dirt)> = None;
        for partition in all {
            let due = self.with(partition, now, out, Replica::compaction_due).flatten();
            let waits = due.is_none() && self.replicas.get(&partition).is_some_and(Replica::waits_for_rest);
            if waits && !self.resting.contains(&partition) {
                self.rest(partition);
            }
            let is_dirtier =
                |due: &Dirt| dirtiest.is_none_or(|(_, dirt)| due.ratio_millionths() > dirt.ratio_millionths());
            dirtiest = due.filter(is_dirtier).map(|due| (partition, due)).or(dirtiest);
        }
        let Some((partition, dirt)) = dirtiest else { return };
        let job = self.with(partition, now, out, |replica, turn| replica.order_compaction(dirt, turn)).flatten();
        if let Some(job) = job {
            self.compactions.begun(partition);
            out.push(Effect::Compact(Box::new(job)));
        }
    }

    /// A segment was made by compaction. While the broker stops no log is changed any more.
    fn take_over(&mut self, made: &Replacement, now: Now, out: &mut Vec<Effect>) {
        let taken = if self.is_closing || self.failed {
            None
        } else {
            self.with(made.partition, now, out, |replica, turn| replica.take_over(made, turn))
        };
        out.push(Effect::CompactionGoesOn { partition: made.partition, taken: taken.unwrap_or(TakenOver::No) });
    }

    /// Flushes what Kafka's mode left in the page cache, and puts an idle log to rest.
    fn sweep(&mut self, partition: PartitionId, now: Instant) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        self.orders.extend(replica.take_flush(FlushPace::Sweep));
        let idle = now.since(replica.written_at) >= IDLE_AFTER && !replica.at_rest;
        if idle && !self.resting.contains(&partition) {
            replica.at_rest = true;
            self.rest(partition);
        }
    }

    /// Positions, timers and the one flush of the turn.
    fn finish(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut orders = std::mem::take(&mut self.orders);
        for partition in std::mem::take(&mut self.touched) {
            let (mut deadline, mut marks) = (None, None);
            if let Some(replica) = self.replicas.get_mut(&partition) {
                let before = replica.marks();
                replica.settle_decisions(&mut Turn { now, options: &self.options, image: &self.image, effects: out });
                orders.extend(replica.take_flush(FlushPace::Turn));
                replica.settle_damage(now.instant, out);
                replica.hand_out_position(out);
                deadline = replica.deadline();
                marks = Some((before, replica.marks())).filter(|(before, after)| before != after);
            }
            if let Some((before, after)) = marks {
                self.wake(partition, before, after, out);
            }
            self.set_timer(partition, deadline);
        }
        if self.failed {
            orders.clear();
        }
        if self.resting.is_empty()
            && orders.is_empty()
            && let Some(ticket) = self.closing.take()
        {
            out.push(Effect::Reply { ticket, reply: Reply::Closed });
        }
        if !orders.is_empty() {
            out.push(Effect::Flush(orders));
        }
    }

    fn set_timer(&mut self, partition: PartitionId, deadline: Option<Instant>) {
        if self.timer_of.get(&partition).copied() == deadline {
            return;
        }
        if let Some(old) = self.timer_of.remove(&partition) {
            self.timers.remove(&(old, partition));
        }
        if let Some(at) = deadline {
            self.timers.insert((at, partition));
            self.timer_of.insert(partition, at);
        }
        assert_eq!(self.timers.len(), self.timer_of.len(), "both maps hold the same timers");
    }
}

#[cfg(test)]
mod tests;
