//! Compaction as the owner of a log sees it: which log is the dirtiest, and whether what was made of it still fits.
//!
//! Part of `Shard` and `Replica`. The reading and writing is another thread's (ADR 17). Invariant: one round at a time for
//! each shard; what a round has made is taken over only if the log is what it was made from.

use std::time::Duration;

use crate::model::{Instant, PartitionId};
use crate::storage::{Compacted, CompactionOrder, Dirt, Replacement, TakenOver};

use super::replica::{Replica, Role, Turn};

/// After a round that failed a log is left alone for so long: others are dirty, too.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(300);

/// How a round of compaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionOutcome {
    /// All of it was taken over.
    Done(Compacted),
    /// The log has changed meanwhile, or the broker stops.
    Overtaken,
    /// What stands in the log, or its disk, did not let it go on.
    Failed,
}

/// A round of compaction that a shard wants.
#[derive(Debug)]
pub struct CompactionJob {
    /// What to do.
    pub order: CompactionOrder,
    /// Of which state of the log that was said; for `Event::Inspect`.
    pub generation: u64,
    /// How dirty the log is.
    pub dirt: Dirt,
}

/// The rounds of one shard.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    running: Option<PartitionId>,
    look_at: Instant,
}

impl Compactions {
    /// Whether it is time to look for the dirtiest log. Then the next look is that much later.
    pub(super) fn is_due(&mut self, now: Instant, interval: Duration) -> bool {
        if self.running.is_some() || now < self.look_at {
            return false;
        }
        self.look_at = now.plus(interval);
        true
    }

    pub(super) fn begun(&mut self, partition: PartitionId) {
        self.running = Some(partition);
    }

    /// The round is over; if something was done, there may be more.
    pub(super) fn ended(&mut self, outcome: CompactionOutcome, now: Instant) {
        self.running = None;
        if matches!(outcome, CompactionOutcome::Done(_)) {
            self.look_at = now;
        }
    }
}

impl Replica {
    /// How dirty the log is, if a round is due.
    pub(super) fn compaction_due(&mut self, turn: &mut Turn<'_>) -> Option<Dirt> {
        if self.compact_at > turn.now.instant || matches!(self.role, Role::Idle) {
            return None;
        }
        let high_watermark = self.high_watermark();
        let log = self.log.as_mut()?;
        let (segments, due) = (log.segment_count(), log.compaction_due(turn.now, high_watermark));
        if log.segment_count() != segments {
            // The active segment was closed: that is to be flushed.
            self.note_written(turn.now.instant);
        }
        match due {
            Ok(due) => due,
            Err(error) => {
                self.on_read_error(&error, turn);
                None
            }
        }
    }

    /// Whether there is something to compact once the log is put to rest.
    pub(super) fn waits_for_rest(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.waits_for_rest(self.high_watermark()))
    }

    /// What a round has to do.
    pub(super) fn order_compaction(&mut self, dirt: Dirt, turn: &mut Turn<'_>) -> Option<CompactionJob> {
        let high_watermark = self.high_watermark();
        match self.log.as_mut()?.order_compaction(turn.now, high_watermark) {
            Ok(order) => order.map(|order| CompactionJob { order, generation: self.generation, dirt }),
            Err(error) => {
                self.on_read_error(&error, turn);
                None
            }
        }
    }

    /// Takes a segment over that a round has made, if it still fits.
    pub(super) fn take_over(&mut self, made: &Replacement, turn: &mut Turn<'_>) -> TakenOver {
        let Some(log) = &mut self.log else { return TakenOver::No };
        match log.take_over(made) {
            Ok(taken @ TakenOver::Yes(_)) => {
                // Places in the old segments are none of the new one: who was given one is outdated.
                self.generation += 1;
                self.damaged.forget_segments(made.range());
                self.note_written(turn.now.instant);
                taken
            }
            Ok(TakenOver::No) => TakenOver::No,
            Err(error) => {
                self.on_write_error(&error, turn);
                TakenOver::No
            }
        }
    }

    /// A round is over.
    pub(super) fn compaction_ended(&mut self, outcome: CompactionOutcome, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        match (outcome, &mut self.log) {
            (CompactionOutcome::Done(round), Some(log)) => match log.compacted(&round) {
                Ok(()) => self.note_written(now),
                Err(error) => self.on_write_error(&error, turn),
            },
            (CompactionOutcome::Failed, _) => self.compact_at = now.plus(REST_AFTER_FAILURE),
            (CompactionOutcome::Done(_) | CompactionOutcome::Overtaken, _) => {}
        }
    }

    /// There is something to be flushed, and later to be put to rest.
    pub(super) fn note_written(&mut self, now: Instant) {
        self.dirty = true;
        self.written_at = now;
        self.at_rest = false;
    }
}
