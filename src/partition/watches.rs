//! Reads that wait for more: which partition, past which offset.
//!
//! Used by `shard.rs` only. Invariant: a watch fires once and is gone from every partition, and no more of its places
//! are held than the bound says.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Offset, PartitionId};

use super::event::WatchId;

/// What a watch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// The high watermark: consumers.
    HighWatermark,
    /// The log's end: followers.
    LogEnd,
}

/// One place of a watch: it fires when the line passes `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) partition: PartitionId,
    pub(super) line: Line,
    pub(super) offset: Offset,
}

/// Every watch of a shard.
#[derive(Debug)]
pub(super) struct Watches {
    places_max: usize,
    by_place: BTreeSet<(Place, WatchId)>,
    by_watch: BTreeMap<WatchId, Vec<Place>>,
}

impl Watches {
    pub(super) fn new(places_max: usize) -> Self {
        Self { places_max, by_place: BTreeSet::new(), by_watch: BTreeMap::new() }
    }

    /// Leaves a watch at all of `places`, instead of where it was; not, and answers so, beyond the bound.
    pub(super) fn leave(&mut self, watch: WatchId, places: Vec<Place>) -> bool {
        self.remove(watch);
        if self.by_place.len() + places.len() > self.places_max {
            return false;
        }
        self.by_place.extend(places.iter().map(|place| (*place, watch)));
        self.by_watch.insert(watch, places);
        true
    }

    /// Nobody waits any more.
    pub(super) fn remove(&mut self, watch: WatchId) {
        for place in self.by_watch.remove(&watch).unwrap_or_default() {
            self.by_place.remove(&(place, watch));
        }
    }

    /// Takes the watches that this line has passed, now that it stands at `reached`.
    pub(super) fn passed(&mut self, partition: PartitionId, line: Line, reached: Offset) -> Vec<WatchId> {
        let first = Place { partition, line, offset: Offset::new(i64::MIN) };
        let end = Place { partition, line, offset: reached };
        self.take(first, (end, WatchId(0)))
    }

    /// Takes every watch on a partition.
    pub(super) fn of_partition(&mut self, partition: PartitionId) -> Vec<WatchId> {
        let first = Place { partition, line: Line::HighWatermark, offset: Offset::new(i64::MIN) };
        let last = Place { partition, line: Line::LogEnd, offset: Offset::new(i64::MAX) };
        self.take(first, (last, WatchId(u64::MAX)))
    }

    fn take(&mut self, first: Place, end: (Place, WatchId)) -> Vec<WatchId> {
        let range = self.by_place.range((first, WatchId(0))..end);
        // A watch may stand at several offsets of one partition, and is taken once.
        let taken: BTreeSet<WatchId> = range.map(|(_, watch)| *watch).collect();
        for watch in &taken {
            self.remove(*watch);
        }
        taken.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{PartitionIndex, TopicId};

    use super::*;

    fn partition(index: i32) -> PartitionId {
        PartitionId { topic: TopicId::ZERO, index: PartitionIndex::new(index) }
    }

    fn place(index: i32, line: Line, offset: i64) -> Place {
        Place { partition: partition(index), line, offset: Offset::new(offset) }
    }

    #[test]
    fn a_watch_fires_once_when_its_line_passes_its_offset() {
        let mut watches = Watches::new(10);
        let places = vec![place(0, Line::HighWatermark, 5), place(1, Line::HighWatermark, 0)];
        assert!(watches.leave(WatchId(1), places));
        assert!(watches.leave(WatchId(2), vec![place(0, Line::LogEnd, 5)]));
        assert_eq!(watches.passed(partition(0), Line::HighWatermark, Offset::new(5)), []);
        assert_eq!(watches.passed(partition(0), Line::HighWatermark, Offset::new(6)), [WatchId(1)]);
        assert_eq!(watches.passed(partition(1), Line::HighWatermark, Offset::new(9)), []);
        assert_eq!(watches.of_partition(partition(0)), [WatchId(2)]);
        assert_eq!(watches.by_place.len() + watches.by_watch.len(), 0);
    }

    #[test]
    fn a_watch_beyond_the_bound_is_refused() {
        let mut watches = Watches::new(1);
        assert!(watches.leave(WatchId(1), vec![place(0, Line::LogEnd, 5)]));
        assert!(!watches.leave(WatchId(2), vec![place(1, Line::LogEnd, 5)]));
        watches.remove(WatchId(1));
        assert!(watches.leave(WatchId(2), vec![place(1, Line::LogEnd, 5)]));
    }
}
