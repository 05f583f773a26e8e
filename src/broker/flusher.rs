//! The flush thread of a data directory: one group at a time, whatever was written meanwhile is the next group.
//!
//! Called by the shard threads; answers into their inboxes.
//! Invariant: an order is answered after its sync has returned, never before; a failed sync is told to every shard of
//! the directory and never tried again (ADR 7).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::error;

use super::inbox::{Inbox, Taken};
use super::progress::Progress;
use super::worker::{self, Running};
use crate::env::Clock;
use crate::model::Now;
use crate::partition::Event;
use crate::storage::{FlushLog, FlushOrder};
use crate::telemetry::PartitionMetrics;

/// The longest that the thread sleeps with nothing to do and nothing to attest.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// One shard's orders of one turn.
#[derive(Debug)]
pub(super) struct FlushJob {
    /// Which shard is told.
    pub(super) shard: usize,
    /// What it wants durable.
    pub(super) orders: Vec<FlushOrder>,
}

/// The way to the flush thread.
#[derive(Clone, Debug)]
pub(super) struct Flusher {
    jobs: Arc<Inbox<FlushJob>>,
    /// The shards' inboxes by number. Written only before the first job.
    shards: Arc<Mutex<Vec<Arc<Inbox<Event>>>>>,
}

struct Worker {
    flusher: Flusher,
    log: FlushLog,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    metrics: PartitionMetrics,
}

impl Flusher {
    /// Starts the thread.
    pub(super) fn start(
        log: FlushLog,
        clock: &Arc<dyn Clock>,
        progress: &Arc<Progress>,
        metrics: &PartitionMetrics,
    ) -> std::io::Result<(Self, Running)> {
        // Each shard sends at most one job per turn, and waits with the next write of a partition for none: the number
        // of jobs is bounded by the shards' inboxes.
        let flusher = Self { jobs: Arc::new(Inbox::new(usize::MAX)), shards: Arc::default() };
        let worker = Worker {
            flusher: flusher.clone(),
            log,
            clock: Arc::clone(clock),
            progress: Arc::clone(progress),
            metrics: metrics.clone(),
        };
        let thread = worker::start("flush", Arc::clone(&flusher.jobs), worker)?;
        Ok((flusher, thread))
    }

    /// Makes a shard known; shards are registered in order of their numbers.
    pub(super) fn register(&self, shard: usize, inbox: Arc<Inbox<Event>>) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(shards.len(), shard, "shards are registered in order");
        shards.push(inbox);
    }

    /// Wants something durable.
    pub(super) fn order(&self, job: FlushJob) {
        self.jobs.push(job);
    }

    /// Lets the thread finish what it has and end.
    pub(super) fn close(&self) {
        self.jobs.close();
    }
}

impl worker::Worker<FlushJob> for Worker {
    const PART: &'static str = "flusher";

    fn patience(&self) -> Duration {
        let now = self.clock.now();
        self.log.attest_due().map_or(IDLE_MAX, |due| due.since(now.instant).min(IDLE_MAX))
    }

    fn begin(&self, jobs: &[FlushJob]) -> Now {
        let now = self.clock.now();
        if !jobs.is_empty() {
            self.progress.flush_begins(now.instant);
        }
        now
    }

    fn turn(&mut self, begin: Now, jobs: &mut Vec<FlushJob>, taken: Taken) {
        if !jobs.is_empty() {
            self.flush(begin, std::mem::take(jobs));
        }
        if self.log.attest_due().is_some_and(|due| due <= self.clock.now().instant) || taken == Taken::Closed {
            self.attest();
        }
    }
}

impl Worker {
    fn flush(&self, begin: Now, jobs: Vec<FlushJob>) {
        let mut owners = Vec::new();
        let mut orders = Vec::new();
        for job in jobs {
            owners.extend(std::iter::repeat_n(job.shard, job.orders.len()));
            orders.extend(job.orders);
        }
        let outcome = self.log.flush(orders, begin);
        self.progress.flush_ends();
        self.metrics.observe_flush(self.clock.now().instant.since(begin.instant));
        let shards = self.flusher.shards.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match outcome {
            Ok(ends) => {
                let mut by_shard: Vec<Vec<_>> = shards.iter().map(|_| Vec::new()).collect();
                for (shard, end) in owners.into_iter().zip(ends) {
                    by_shard[shard].push(end);
                }
                for (inbox, ends) in shards.iter().zip(by_shard).filter(|(_, ends)| !ends.is_empty()) {
                    inbox.push(Event::Flushed(ends));
                }
            }
            Err(failure) => {
                self.metrics.flush_failures.inc();
                error!(%failure, "a flush failed: the directory is given up");
                shards.iter().for_each(|inbox| inbox.push(Event::FlushFailed));
            }
        }
    }

    fn attest(&self) {
        if let Err(failure) = self.log.attest() {
            super::abort(&format!("the flush log failed: {failure}"));
        }
    }
}
