//! What a log orders to be compacted, and what it hears of it in the end.
//!
//! Called by the log's owner now and then. Invariant: an order names whole closed segments below the high watermark, the
//! oldest open transaction and everything that the flush log may yet bring a start back to.

use std::path::PathBuf;
use std::sync::Arc;

use crate::env::Files;
use crate::model::{Now, Offset, PartitionId, Timestamp};
use crate::probe::{Mutant, planted};
use crate::storage::error::{LogError, ReadError};
use crate::storage::log::Log;
use crate::storage::options::LogOptions;

use super::choice::{Dirt, Source, is_older};
use super::retention::LastWrites;

/// A part of a log that is to be compacted.
#[derive(Clone, Debug)]
pub struct CompactionOrder {
    /// The log's partition.
    pub partition: PartitionId,
    /// Which state of which segments it was made from.
    pub(super) structure: u64,
    pub(super) files: Arc<dyn Files>,
    pub(super) directory: PathBuf,
    pub(super) options: LogOptions,
    /// What is rewritten; the part from `from` on for the first time.
    pub(super) sources: Vec<Source>,
    pub(super) from: Offset,
    /// Below it batches may be missing already.
    pub(super) thinned_end: Offset,
    /// All segments, and where what is committed of them ends: there stand the markers of transactions.
    pub(super) all: Vec<Source>,
    pub(super) committed: Offset,
    pub(super) lasts: LastWrites,
    pub(super) now: Timestamp,
}

/// A round is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The log's partition.
    pub partition: PartitionId,
    pub(super) structure: u64,
    /// Up to here no key stands twice any more.
    pub end: Offset,
}

impl Log {
    /// How dirty it is, when that is worth a round of compaction or one is owed; `None` when not. An active segment that
    /// has waited for too long is closed, so that it can be compacted at all.
    ///
    /// # Errors
    /// The disk refused.
    pub fn compaction_due(&mut self, now: Now, high_watermark: Offset) -> Result<Option<Dirt>, ReadError> {
        if !self.options.cleanup.compact || self.poisoned {
            return Ok(None);
        }
        self.close_overdue(now, high_watermark)?;
        let dirt = Dirt::of(&self.compactable(now, high_watermark)?, self.clean_end());
        let rules = self.options.compaction;
        let waits = if rules.lag_max.is_some() { self.waits_since(dirt.from)? } else { None };
        Ok(dirt.is_due(&rules, waits, now.timestamp).then_some(dirt))
    }

    /// How dirty it is, whether or not that is worth a round.
    ///
    /// # Errors
    /// The disk refused.
    pub fn dirt(&mut self, now: Now, high_watermark: Offset) -> Result<Dirt, ReadError> {
        Ok(Dirt::of(&self.compactable(now, high_watermark)?, self.clean_end()))
    }

    /// Orders a round over everything that may be compacted; `None` when nothing may.
    ///
    /// # Errors
    /// The disk refused.
    pub fn order_compaction(&mut self, now: Now, high_watermark: Offset) -> Result<Option<CompactionOrder>, ReadError> {
        let (sources, from) = (self.compactable(now, high_watermark)?, self.clean_end());
        if sources.last().is_none_or(|last| last.end <= from) {
            return Ok(None);
        }
        let all = (0..self.segments.len()).map(|index| self.source(index)).collect();
        Ok(Some(CompactionOrder {
            partition: self.id,
            structure: self.structure,
            files: self.home.files.clone(),
            directory: self.directory.clone(),
            options: self.options,
            sources,
            from,
            thinned_end: self.thinned_end(),
            all,
            committed: high_watermark.min(self.end),
            lasts: LastWrites::of(&self.producers),
            now: now.timestamp,
        }))
    }

    /// A round is over that has taken everything over: the next one begins behind it. Not if the log was cut meanwhile.
    ///
    /// # Errors
    /// The disk refused; then the next round does it again.
    pub fn compacted(&mut self, round: &Compacted) -> Result<(), LogError> {
        if round.structure == self.structure {
            self.raise_clean_end(round.end)?;
        }
        Ok(())
    }

    fn source(&self, index: usize) -> Source {
        let segment = &self.segments[index];
        Source { base: segment.base, end: self.segment_end(index), size: segment.size }
    }

    /// The segments that may be compacted now.
    fn compactable(&mut self, now: Now, high_watermark: Offset) -> Result<Vec<Source>, ReadError> {
        // Where the flush log may bring a start back to, there must be a segment.
        let Some(attested) = self.home.flush_log.attested(self.id) else { return Ok(Vec::new()) };
        let settled = attested.end.segment.min(attested.derived.place.segment);
        let end = settled.min(self.decided_end(high_watermark));
        let (start, from) = (self.start, self.clean_end());
        let mut sources = Vec::new();
        for index in 0..self.segments.len().saturating_sub(1) {
            let source = self.source(index);
            let is_fresh = source.end > from && self.is_fresh(index, now)?;
            if source.end > end || is_fresh {
                break;
            }
            // What is deleted goes by itself.
            if source.end > start {
                sources.push(source);
            }
        }
        Ok(sources)
    }

    /// Up to where nothing that stands in the log will be taken back.
    fn decided_end(&self, high_watermark: Offset) -> Offset {
        let decided = self.producers.first_unstable().unwrap_or(self.end);
        let committed = if planted(Mutant::CompactsUncommitted) { self.end } else { high_watermark };
        committed.min(self.flushed).min(decided)
    }

    /// Whether a closed segment could be compacted if the log were put to rest: a start would still look at it again.
    #[must_use]
    pub fn waits_for_rest(&self, high_watermark: Offset) -> bool {
        let Some(attested) = self.home.flush_log.attested(self.id) else { return false };
        let settled = attested.end.segment.min(attested.derived.place.segment);
        let mut closed = (0..self.segments.len().saturating_sub(1)).map(|index| self.segment_end(index));
        let (from, decided) = (self.clean_end().max(settled), self.decided_end(high_watermark));
        self.options.cleanup.compact && closed.any(|end| from < end && end <= decided)
    }

    /// Whether a segment holds a record that must stay as it is for a while.
    fn is_fresh(&mut self, index: usize, now: Now) -> Result<bool, ReadError> {
        let lag = self.options.compaction.lag_min;
        Ok(!lag.is_zero() && !is_older(self.largest_timestamp(index)?, now.timestamp, lag))
    }

    /// When the oldest record was written that no round has seen.
    fn waits_since(&self, from: Offset) -> Result<Option<Timestamp>, ReadError> {
        let first = (0..self.segments.len().saturating_sub(1))
            .find(|index| self.segment_end(*index) > from && self.segments[*index].size > 0);
        let Some(index) = first else { return Ok(None) };
        let found = self.locate(index, from).map_err(|error| self.refused(index, error))?;
        Ok(found.map(|batch| batch.max_timestamp).filter(|timestamp| *timestamp >= Timestamp::new(0)))
    }

    /// Closes the active segment when its first record may stay uncompacted no longer.
    fn close_overdue(&mut self, now: Now, high_watermark: Offset) -> Result<(), LogError> {
        let Some(lag) = self.options.compaction.lag_max else { return Ok(()) };
        let is_open = self.active().is_some_and(|active| active.size > 0);
        if !is_open || self.end > high_watermark {
            return Ok(());
        }
        let first = match self.tail.first_timestamp {
            Some(first) => first,
            None => self.load_first_timestamp(now)?,
        };
        if first >= Timestamp::new(0) && is_older(first, now.timestamp, lag) {
            self.roll(self.end)?;
        }
        Ok(())
    }
}
