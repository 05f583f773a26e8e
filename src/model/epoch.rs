//! Epochs, and where each leader epoch starts in a log.
//!
//! Invariant: an `EpochHistory` rises strictly in epoch and never falls in start offset, so that the end of an
//! epoch is the start of the next (KIP-101, KIP-279).

use serde::{Deserialize, Serialize};

use super::{Offset, number};

number! {
    /// Rises with every election of a partition's leader, the same leader again included (rule R1).
    LeaderEpoch(i32)
}
number! {
    /// Rises with every change of a partition's state; guards every change of the ISR (rule R9).
    PartitionEpoch(i32)
}
number! {
    /// The index of a broker's registration in the metadata log: a later life has a higher one (rule R14).
    BrokerEpoch(i64)
}
number! {
    /// The leader epoch of the coordinator's partition, by which its transaction markers fence each other.
    CoordinatorEpoch(i32)
}
number! {
    /// Counts the starts of a node; written and synced before anything is sent (rule S15).
    BootNumber(u64)
}
number! {
    /// A term of the metadata quorum.
    Term(u64)
}
number! {
    /// The index of an entry in the metadata log.
    LogIndex(u64)
}

impl LeaderEpoch {
    /// "No epoch" on the wire.
    pub const NONE: Self = Self::new(-1);

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.get().checked_add(1).expect("a leader epoch stays below 2^31"))
    }
}

impl PartitionEpoch {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.get().checked_add(1).expect("a partition epoch stays below 2^31"))
    }
}

/// Where an epoch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its first record, or where it would be.
    pub start: Offset,
}

/// The leader epochs of one log, oldest first. Pure; `storage` keeps it on disk as `leader-epoch-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EpochHistory {
    entries: Vec<EpochStart>,
}

impl EpochHistory {
    /// A history read from disk; entries out of order are refused.
    #[must_use]
    pub fn from_entries(entries: Vec<EpochStart>) -> Option<Self> {
        let ordered = entries.windows(2).all(|w| w[0].epoch < w[1].epoch && w[0].start <= w[1].start);
        ordered.then_some(Self { entries })
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    /// Notes that `epoch` starts at `start`. Returns whether anything changed: an epoch already known, or older than
    /// the newest, changes nothing. Entries that hold no record (they start at or after `start`) are replaced.
    pub fn begin(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.latest().is_some_and(|last| last.epoch >= epoch) {
            return false;
        }
        self.entries.retain(|e| e.start < start);
        self.entries.push(EpochStart { epoch, start });
        true
    }

    /// Forgets what starts at or after `end`, after a truncation to `end`. Returns whether anything changed.
    pub fn truncate_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.start < end);
        self.entries.len() != before
    }

    /// Moves the log's start to `start`: older epochs go, the one that covers `start` begins there. Returns whether
    /// anything changed.
    pub fn truncate_start(&mut self, start: Offset) -> bool {
        let covering = self.entries.iter().rposition(|e| e.start <= start);
        let Some(keep) = covering else { return false };
        let changed = keep > 0 || self.entries[keep].start < start;
        self.entries.drain(..keep);
        self.entries[0].start = start;
        changed
    }

    /// The answer to OffsetForLeaderEpoch for a log that ends at `end`: the largest epoch not above the asked one and
    /// where it ends. `None` when the epoch is newer than any, or none is known.
    #[must_use]
    pub fn end_of(&self, asked: LeaderEpoch, end: Offset) -> Option<EpochStart> {
        let latest = self.latest()?;
        if asked == latest.epoch {
            return Some(EpochStart { epoch: asked, start: end });
        }
        if asked > latest.epoch {
            return None;
        }
        let next = self.entries.iter().position(|e| e.epoch > asked)?;
        let found = if next == 0 { asked } else { self.entries[next - 1].epoch };
        Some(EpochStart { epoch: found, start: self.entries[next].start })
    }

    /// What it says of the offsets from `first` to `end`.
    #[must_use]
    pub fn within(&self, first: Offset, end: Offset) -> Self {
        let before = self.entries.partition_point(|e| e.start <= first).saturating_sub(1);
        let behind = self.entries.partition_point(|e| e.start < end).max(before);
        Self { entries: self.entries[before..behind].to_vec() }
    }

    /// The epoch of the record at `offset`, were it in the log.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.entries.iter().rev().find(|e| e.start <= offset).map(|e| e.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(i32, i64)]) -> EpochHistory {
        let entries = entries
            .iter()
            .map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch::new(epoch), start: Offset::new(start) });
        EpochHistory::from_entries(entries.collect()).expect("the test's entries rise")
    }

    fn end_of(h: &EpochHistory, asked: i32) -> Option<(i32, i64)> {
        h.end_of(LeaderEpoch::new(asked), Offset::new(100)).map(|e| (e.epoch.get(), e.start.get()))
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let h = history(&[(2, 10), (4, 20), (7, 50)]);
        assert_eq!(end_of(&h, 7), Some((7, 100)));
        assert_eq!(end_of(&h, 8), None);
        assert_eq!(end_of(&h, 4), Some((4, 50)));
        assert_eq!(end_of(&h, 5), Some((4, 50)));
        assert_eq!(end_of(&h, 2), Some((2, 20)));
        assert_eq!(end_of(&h, 1), Some((1, 10)));
        assert_eq!(end_of(&EpochHistory::default(), 0), None);
    }

    #[test]
    fn an_epoch_without_records_is_replaced_by_the_next() {
        let mut h = history(&[(1, 0), (2, 10)]);
        assert!(h.begin(LeaderEpoch::new(3), Offset::new(10)));
        assert_eq!(h, history(&[(1, 0), (3, 10)]));
        assert!(!h.begin(LeaderEpoch::new(3), Offset::new(12)));
    }

    #[test]
    fn truncation_forgets_from_either_end() {
        let mut h = history(&[(1, 0), (2, 10), (3, 20)]);
        assert!(h.truncate_end(Offset::new(20)));
        assert_eq!(h, history(&[(1, 0), (2, 10)]));
        assert!(h.truncate_start(Offset::new(15)));
        assert_eq!(h, history(&[(2, 15)]));
    }
}
