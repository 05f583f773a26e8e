//! The thread that compacts logs: one round at a time, a piece at a time, not faster than it may.
//!
//! Called by the shard threads; answers into their inboxes. Invariant: it reads closed segments and writes files that
//! nothing counts yet; what becomes of them is the shard's to say, and a round waits for that before it goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::inbox::{Inbox, Taken};
use super::worker::{self, Running};
use crate::env::Clock;
use crate::model::{Instant, Now, PartitionId};
use crate::partition::{CompactionJob, CompactionOutcome, Event};
use crate::storage::{Compaction, CompactionError, CompactionStep, TakenOver};
use crate::telemetry::CleanerMetrics;

/// The longest that the thread sleeps with nothing to do.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// How much is read at once.
const PIECE_BYTES: u64 = 512 << 10;

/// What the thread may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanerOptions {
    /// `log.cleaner.backoff.ms`: how often shards look for what to compact; `None` with `log.cleaner.enable=false`.
    pub interval: Option<Duration>,
    /// `log.cleaner.dedupe.buffer.size`: for the keys of a round.
    pub keys_bytes_max: usize,
    /// `log.cleaner.io.max.bytes.per.second`, read and written; `None` is no bound.
    pub bytes_per_second_max: Option<u64>,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    Compact { shard: usize, job: Box<CompactionJob> },
    GoesOn { partition: PartitionId, taken: TakenOver },
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Cleaner {
    orders: Arc<Inbox<Order>>,
    /// The shards' inboxes by number. Written only before the first order.
    shards: Arc<Mutex<Vec<Arc<Inbox<Event>>>>>,
}

struct Worker {
    cleaner: Cleaner,
    options: CleanerOptions,
    clock: Arc<dyn Clock>,
    metrics: CleanerMetrics,
    /// Rounds that wait: one for each shard at most.
    waiting: VecDeque<(usize, Box<CompactionJob>)>,
    round: Option<Round>,
    /// When the next piece may be read.
    not_before: Instant,
}

/// The round that is under way.
struct Round {
    shard: usize,
    generation: u64,
    compaction: Compaction,
    begun: Instant,
    /// Whether the shard has yet to say what became of a segment.
    waits: bool,
}

impl Cleaner {
    /// Starts the thread.
    pub(super) fn start(
        options: CleanerOptions,
        clock: &Arc<dyn Clock>,
        metrics: &CleanerMetrics,
    ) -> std::io::Result<(Self, Running)> {
        // A shard wants one round at a time, and answers once for each segment of it.
        let cleaner = Self { orders: Arc::new(Inbox::new(usize::MAX)), shards: Arc::default() };
        let worker = Worker {
            cleaner: cleaner.clone(),
            options,
            clock: Arc::clone(clock),
            metrics: metrics.clone(),
            waiting: VecDeque::new(),
            round: None,
            not_before: Instant::ZERO,
        };
        let thread = worker::start("cleaner", Arc::clone(&cleaner.orders), worker)?;
        Ok((cleaner, thread))
    }

    /// Makes a shard known; shards are registered in order of their numbers.
    pub(super) fn register(&self, shard: usize, inbox: Arc<Inbox<Event>>) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(shards.len(), shard, "shards are registered in order");
        shards.push(inbox);
    }

    /// Wants a log compacted.
    pub(super) fn compact(&self, shard: usize, job: Box<CompactionJob>) {
        self.orders.push(Order::Compact { shard, job });
    }

    /// Says what became of a segment that the thread has made.
    pub(super) fn goes_on(&self, partition: PartitionId, taken: TakenOver) {
        self.orders.push(Order::GoesOn { partition, taken });
    }

    /// Lets the thread end; what it was making is thrown away.
    pub(super) fn close(&self) {
        self.orders.close();
    }

    fn tell(&self, shard: usize, event: Event) {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards[shard].push(event);
    }
}

impl worker::Worker<Order> for Worker {
    const PART: &'static str = "cleaner";

    fn patience(&self) -> Duration {
        let has_work = self.round.as_ref().map_or(!self.waiting.is_empty(), |round| !round.waits);
        if !has_work {
            return IDLE_MAX;
        }
        self.not_before.since(self.clock.now().instant).min(IDLE_MAX)
    }

    fn begin(&self, _: &[Order]) -> Now {
        self.clock.now()
    }

    fn turn(&mut self, now: Now, orders: &mut Vec<Order>, taken: Taken) {
        for order in orders.drain(..) {
            match order {
                Order::Compact { shard, job } => self.waiting.push_back((shard, job)),
                Order::GoesOn { partition, taken } => self.go_on(partition, taken, now.instant),
            }
        }
        if taken == Taken::Closed {
            if let Some(round) = self.round.take() {
                discard(round.compaction);
            }
            return;
        }
        if self.not_before <= now.instant {
            self.work(now.instant);
        }
    }
}

impl Worker {
    /// Reads and writes one piece.
    fn work(&mut self, now: Instant) {
        if self.round.is_none() {
            self.begin_round(now);
        }
        let Some(mut round) = self.round.take_if(|round| !round.waits) else { return };
        let partition = round.compaction.partition();
        match round.compaction.step(PIECE_BYTES) {
            Ok(CompactionStep::Worked(bytes)) => {
                self.not_before = now.plus(self.pause_after(bytes));
                self.round = Some(round);
            }
            Ok(CompactionStep::Made(made)) => {
                round.waits = true;
                self.cleaner.tell(round.shard, Event::CompactionMade(made));
                self.round = Some(round);
            }
            Ok(CompactionStep::Done(done)) => self.end_round(round, CompactionOutcome::Done(done), now),
            Err(CompactionError::Gone) => self.end_round(round, CompactionOutcome::Overtaken, now),
            Err(cause) => {
                warn!(%partition, %cause, "a log cannot be compacted");
                if let CompactionError::Damaged(place) = cause {
                    let generation = round.generation;
                    self.cleaner.tell(round.shard, Event::Inspect { partition, generation, place });
                }
                self.end_round(round, CompactionOutcome::Failed, now);
            }
        }
    }

    fn begin_round(&mut self, now: Instant) {
        let Some((shard, job)) = self.waiting.pop_front() else { return };
        let CompactionJob { order, generation, dirt } = *job;
        self.metrics.observe_dirt(dirt.ratio_millionths());
        debug!(partition = %order.partition, from = %dirt.from, until = %dirt.until, "compacts");
        let compaction = Compaction::new(order, self.options.keys_bytes_max);
        self.round = Some(Round { shard, generation, compaction, begun: now, waits: false });
    }

    fn go_on(&mut self, partition: PartitionId, taken: TakenOver, now: Instant) {
        let is_meant = |round: &mut Round| round.waits && round.compaction.partition() == partition;
        let Some(mut round) = self.round.take_if(is_meant) else { return };
        match taken {
            TakenOver::Yes(structure) => {
                round.compaction.resume(structure);
                round.waits = false;
                self.round = Some(round);
            }
            TakenOver::No => self.end_round(round, CompactionOutcome::Overtaken, now),
        }
    }

    fn end_round(&self, round: Round, outcome: CompactionOutcome, now: Instant) {
        let Round { shard, compaction, begun, .. } = round;
        let (partition, stats) = (compaction.partition(), compaction.stats());
        let (name, is_done) = match outcome {
            CompactionOutcome::Done(_) => ("done", true),
            CompactionOutcome::Overtaken => ("overtaken", false),
            CompactionOutcome::Failed => ("failed", false),
        };
        self.metrics.count_round(name, now.since(begun));
        self.metrics.bytes_in.inc_by(stats.bytes_in);
        self.metrics.bytes_out.inc_by(stats.bytes_out);
        self.metrics.records_in.inc_by(stats.records_in);
        self.metrics.records_out.inc_by(stats.records_out);
        if is_done {
            let (before, after) = (stats.bytes_in, stats.bytes_out);
            info!(%partition, bytes_before = before, bytes_after = after, "compacted a log");
        }
        discard(compaction);
        self.cleaner.tell(shard, Event::CompactionEnded { partition, outcome });
    }

    /// How long to pause after so many bytes.
    fn pause_after(&self, bytes: u64) -> Duration {
        let Some(rate) = self.options.bytes_per_second_max else { return Duration::ZERO };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Removes what was being made. What stays is removed by the next round, or the next start.
fn discard(compaction: Compaction) {
    let partition = compaction.partition();
    if let Err(cause) = compaction.discard() {
        debug!(%partition, %cause, "what was made of a log cannot be removed");
    }
}
