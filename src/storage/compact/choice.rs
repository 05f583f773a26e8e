//! Which part of a log is dirty, whether that is worth a round, and which segments become one.
//!
//! Pure. Asked by the log's owner now and then, and by a round. Invariant: only whole closed segments are chosen that
//! are committed, flushed and decided; the rules are Kafka's (`LogCleanerManager`).

use std::time::Duration;

use crate::model::{Offset, Timestamp};

/// What a topic's configuration says about its compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionOptions {
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_min_millionths: u32,
    /// `delete.retention.ms`.
    pub delete_retention: Duration,
    /// `min.compaction.lag.ms`.
    pub lag_min: Duration,
    /// `max.compaction.lag.ms`; `None` is no bound.
    pub lag_max: Option<Duration>,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        Self {
            dirty_ratio_min_millionths: 500_000,
            delete_retention: Duration::from_secs(24 * 60 * 60),
            lag_min: Duration::ZERO,
            lag_max: None,
        }
    }
}

/// A segment that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage) struct Source {
    pub(in crate::storage) base: Offset,
    pub(in crate::storage) end: Offset,
    pub(in crate::storage) size: u64,
}

/// How dirty a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirt {
    /// Where the dirty part begins.
    pub from: Offset,
    /// Where what may be compacted ends.
    pub until: Offset,
    /// Bytes that earlier rounds have compacted.
    pub clean_bytes: u64,
    /// Bytes behind them that this one could.
    pub dirty_bytes: u64,
}

impl Dirt {
    /// Of these segments, which all may be compacted, when the dirty part begins at `from`.
    pub(in crate::storage) fn of(sources: &[Source], from: Offset) -> Self {
        let bytes = |is_dirty: bool| {
            sources.iter().filter(|source| (source.end > from) == is_dirty).map(|source| source.size).sum()
        };
        let until = sources.last().map_or(from, |source| source.end).max(from);
        Self { from, until, clean_bytes: bytes(false), dirty_bytes: bytes(true) }
    }

    /// The dirty part of all, in millionths.
    #[must_use]
    pub fn ratio_millionths(&self) -> u32 {
        let (dirty, all) = (u128::from(self.dirty_bytes), u128::from(self.dirty_bytes) + u128::from(self.clean_bytes));
        let ratio = (dirty * 1_000_000).checked_div(all).unwrap_or(0);
        u32::try_from(ratio).expect("a part is at most the whole")
    }

    /// Whether a round is worth it, or owed: `waits` is since when the oldest dirty record does.
    pub(in crate::storage) fn is_due(
        &self,
        rules: &CompactionOptions,
        waits: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        if self.dirty_bytes == 0 {
            return false;
        }
        let is_owed = rules.lag_max.zip(waits).is_some_and(|(lag, since)| is_older(since, now, lag));
        is_owed || self.ratio_millionths() > rules.dirty_ratio_min_millionths
    }
}

/// Whether a moment lies further back than this.
pub(in crate::storage) fn is_older(moment: Timestamp, now: Timestamp, span: Duration) -> bool {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    now.get().saturating_sub(moment.get()) > span
}

/// Whether a segment joins those before it that become one: no larger together than a segment may be, even if nothing of
/// it goes, and no wider than an index can say. Without joining them, a log would end as a row of empty files.
pub(super) fn joins(base: Offset, size: u64, next: &Source, segment_bytes: u32) -> bool {
    size + next.size <= u64::from(segment_bytes) && next.end.since(base) <= i64::from(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(list: &[(i64, i64, u64)]) -> Vec<Source> {
        let source =
            |&(base, end, size): &(i64, i64, u64)| Source { base: Offset::new(base), end: Offset::new(end), size };
        list.iter().map(source).collect()
    }

    const THREE: [(i64, i64, u64); 3] = [(0, 10, 100), (10, 20, 200), (20, 30, 300)];

    #[test]
    fn what_lies_behind_the_last_round_is_dirty() {
        let check = |from, clean, dirty, ratio| {
            let dirt = Dirt::of(&sources(&THREE), Offset::new(from));
            assert_eq!((dirt.clean_bytes, dirt.dirty_bytes, dirt.ratio_millionths()), (clean, dirty, ratio));
            assert_eq!(dirt.until, Offset::new(30));
        };
        check(0, 0, 600, 1_000_000);
        check(10, 100, 500, 833_333);
        check(15, 100, 500, 833_333);
        check(20, 300, 300, 500_000);
        check(30, 600, 0, 0);
        let nothing = Dirt::of(&[], Offset::new(7));
        assert_eq!((nothing.until, nothing.ratio_millionths()), (Offset::new(7), 0));
    }

    #[test]
    fn a_round_is_due_by_its_ratio_or_by_the_age_of_what_waits() {
        let due = |from, ratio, lag: Option<u64>| {
            let rules = CompactionOptions {
                dirty_ratio_min_millionths: ratio,
                lag_max: lag.map(Duration::from_millis),
                ..CompactionOptions::default()
            };
            let dirt = Dirt::of(&sources(&THREE), Offset::new(from));
            dirt.is_due(&rules, Some(Timestamp::new(1_000)), Timestamp::new(5_000))
        };
        assert!(due(20, 499_999, None) && !due(20, 500_000, None));
        assert!(due(20, 1_000_000, Some(3_999)) && !due(20, 1_000_000, Some(4_000)));
        assert!(!due(30, 0, Some(0)), "nothing is dirty");
    }

    #[test]
    fn neighbours_become_one_up_to_the_size_and_the_width_of_a_segment() {
        let check = |base, size, segment_bytes| joins(Offset::new(base), size, &sources(&THREE)[1], segment_bytes);
        assert!(check(0, 100, 300) && !check(0, 101, 300) && check(0, 0, 200));
        let (far, at_most) = (20 - i64::from(i32::MAX) - 1, 20 - i64::from(i32::MAX));
        assert!(!check(far, 0, 300) && check(at_most, 0, 300));
    }
}
