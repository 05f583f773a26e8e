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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::worker::Worker as _;
    use super::*;
    use crate::env::SystemClock;
    use crate::model::{LeaderEpoch, Timestamp};
    use crate::records::{Builder, Codec, Draft};
    use crate::storage::{Cleanup, Home, Log, LogOptions};
    use crate::testing::SimulatedFiles;

    /// A worker, the inbox of the only shard, and a log that is dirty.
    struct World {
        worker: Worker,
        shard: Arc<Inbox<Event>>,
        log: Log,
    }

    fn at(millis: u64) -> Now {
        let instant = Instant::from_nanos(millis * 1_000_000);
        Now { instant, timestamp: Timestamp::new(i64::try_from(millis).unwrap()) }
    }

    impl World {
        fn new(bytes_per_second_max: Option<u64>) -> Self {
            let home = Home::alone(Arc::new(SimulatedFiles::default()), Path::new("/log")).unwrap();
            let options = LogOptions {
                segment_bytes: 4000,
                derived_interval_bytes: 500,
                cleanup: Cleanup { delete: false, compact: true },
                ..LogOptions::default()
            };
            let (mut log, _) = Log::open_at(&home, options, at(1)).unwrap();
            for number in 0..200_u8 {
                let mut builder = Builder::new(Codec::None);
                let draft = Draft { key: Some(&[number % 3]), value: Some(&[number; 40]), ..Draft::default() };
                builder.push(draft).unwrap();
                log.append(&builder.build().unwrap(), LeaderEpoch::new(1), at(1)).unwrap();
            }
            log.rest_now(at(1)).unwrap();
            let shard = Arc::new(Inbox::new(10));
            let cleaner = Cleaner { orders: Arc::new(Inbox::new(10)), shards: Arc::default() };
            cleaner.register(0, Arc::clone(&shard));
            let options = CleanerOptions { interval: None, keys_bytes_max: 1 << 20, bytes_per_second_max };
            let worker = Worker {
                cleaner,
                options,
                clock: Arc::new(SystemClock::new()),
                metrics: CleanerMetrics::default(),
                waiting: VecDeque::new(),
                round: None,
                not_before: Instant::ZERO,
            };
            Self { worker, shard, log }
        }

        fn job(&mut self) -> Box<CompactionJob> {
            let dirt = self.log.dirt(at(1), self.log.end()).unwrap();
            let order = self.log.order_compaction(at(1), self.log.end()).unwrap().unwrap();
            Box::new(CompactionJob { order, generation: 0, dirt })
        }

        /// What the shard is told in a turn.
        fn turn(&mut self, millis: u64, taken: Taken) -> Option<Event> {
            let mut orders = Vec::new();
            self.worker.cleaner.orders.take(&mut orders, Duration::ZERO);
            self.worker.turn(at(millis), &mut orders, taken);
            let mut told = Vec::new();
            self.shard.take(&mut told, Duration::ZERO);
            assert!(told.len() <= 1, "{told:?}");
            told.pop()
        }
    }

    #[test]
    fn a_round_waits_for_the_shard_with_each_segment_and_ends() {
        let mut world = World::new(None);
        let (job, partition) = (world.job(), world.log.partition());
        world.worker.cleaner.compact(0, job);
        let (mut made, mut outcome) = (0, None);
        for _ in 0..100 {
            match world.turn(5, Taken::Open) {
                Some(Event::CompactionMade(segment)) => {
                    assert!(world.turn(5, Taken::Open).is_none(), "it waits");
                    let taken = world.log.take_over(&segment).unwrap();
                    world.worker.cleaner.goes_on(partition, taken);
                    made += 1;
                }
                Some(Event::CompactionEnded { outcome: ended, .. }) => outcome = Some(ended),
                Some(other) => panic!("{other:?}"),
                None => {}
            }
        }
        assert!(made > 0 && matches!(outcome, Some(CompactionOutcome::Done(_))), "{made} segments, {outcome:?}");
        let metrics = &world.worker.metrics;
        assert!(metrics.bytes_in.get() > 2 * metrics.bytes_out.get() && metrics.bytes_out.get() > 0);
        assert!(metrics.records_in.get() > 100 && metrics.records_out.get() < 10);
    }

    #[test]
    fn a_segment_that_is_not_taken_over_ends_its_round() {
        let mut world = World::new(None);
        let (job, partition) = (world.job(), world.log.partition());
        world.worker.cleaner.compact(0, job);
        while !matches!(world.turn(5, Taken::Open), Some(Event::CompactionMade(_))) {}
        world.worker.cleaner.goes_on(partition, TakenOver::No);
        let ended = world.turn(5, Taken::Open);
        let Some(Event::CompactionEnded { outcome: CompactionOutcome::Overtaken, .. }) = ended else {
            panic!("{ended:?}")
        };
        assert!(world.worker.round.is_none() && world.turn(5, Taken::Open).is_none());
    }

    #[test]
    fn it_reads_and_writes_no_faster_than_it_may() {
        // The pieces of this round are some ten kilobytes: at ten a second, each costs more than half a second.
        let mut world = World::new(Some(10_000));
        let job = world.job();
        world.worker.cleaner.compact(0, job);
        assert!(world.turn(1000, Taken::Open).is_none());
        let due = world.worker.not_before;
        assert!(due > at(1500).instant, "{due:?}");
        let before = world.worker.round.as_ref().unwrap().compaction.stats();
        world.turn(1400, Taken::Open);
        assert_eq!(world.worker.not_before, due, "nothing is done before");
        assert_eq!(world.worker.round.as_ref().unwrap().compaction.stats(), before);
    }

    #[test]
    fn at_the_end_what_was_being_made_is_thrown_away() {
        let mut world = World::new(None);
        let job = world.job();
        world.worker.cleaner.compact(0, job);
        // The keys are known, and a segment is begun.
        (0..2).for_each(|_| assert!(world.turn(5, Taken::Open).is_none()));
        assert!(world.turn(5, Taken::Closed).is_none());
        assert!(world.worker.round.is_none());
    }
}
