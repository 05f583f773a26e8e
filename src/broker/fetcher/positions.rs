//! From where one leader is asked for what this broker follows there, and what becomes of its answers. Pure.
//!
//! Driven by the task of a leader, and by the simulated world. Invariant: what is handed to a shard was fetched for the
//! position that stands when it comes (rule R5), and nothing more is asked for a partition until its shard goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Instant, PartitionId};
use crate::partition::FetchPosition;
use crate::probe::{Mark, mark};

/// How long a partition rests after an error that only time mends; the leader may just not know yet that it leads.
pub(crate) const PARTITION_BACKOFF: Duration = Duration::from_millis(20);

/// The partitions followed at one leader.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    standing: BTreeMap<PartitionId, FetchPosition>,
    /// Handed to a shard and not yet flushed.
    busy: BTreeSet<PartitionId>,
    /// Resting after an error, until then.
    resting: BTreeMap<PartitionId, Instant>,
}

/// What a leader's refusal of a partition asks of the follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The position is outside of the leader's log: its bounds tell where to go on.
    OutOfRange,
    /// The leader holds another batch before the position, or none that is sound: the shard tells what to do.
    Contradicted,
    /// Only time mends it.
    ForNow,
}

impl Positions {
    /// Whether nothing is followed there.
    pub(crate) fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// How many partitions wait for their shards to flush what came.
    pub(crate) fn busy_count(&self) -> usize {
        self.busy.len()
    }

    /// A shard goes on from here. Whether that is not where the partition stood.
    pub(crate) fn set(&mut self, position: FetchPosition) -> bool {
        self.busy.remove(&position.partition);
        self.resting.remove(&position.partition);
        self.standing.insert(position.partition, position) != Some(position)
    }

    /// A partition is followed no more.
    pub(crate) fn stop(&mut self, partition: PartitionId) {
        self.busy.remove(&partition);
        self.resting.remove(&partition);
        self.standing.remove(&partition);
    }

    /// What is to be asked for: all that is neither busy nor resting.
    pub(crate) fn due(&mut self, now: Instant) -> BTreeMap<PartitionId, FetchPosition> {
        self.resting.retain(|_, until| *until > now);
        let is_due = |id: &PartitionId| !self.busy.contains(id) && !self.resting.contains_key(id);
        self.standing.iter().filter(|(id, _)| is_due(id)).map(|(id, position)| (*id, *position)).collect()
    }

    /// When the first of those that rest is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }

    /// For how long a request may wait at the leader: until what rests is due, and for `longest` at most.
    pub(crate) fn wait(&self, now: Instant, longest: Duration) -> Duration {
        self.next_due().map_or(longest, |due| due.since(now).min(longest))
    }

    /// The position of a partition, if an answer to what was `asked` is for it (rule R5).
    pub(crate) fn answered(&self, partition: PartitionId, asked: Option<FetchPosition>) -> Option<FetchPosition> {
        let stands = self.standing.get(&partition).copied().filter(|position| asked == Some(*position));
        let stands = stands.filter(|_| !self.busy.contains(&partition));
        if stands.is_none() {
            mark(Mark::LateAnswer);
        }
        stands
    }

    /// What came is the shard's now, which says how to go on.
    pub(crate) fn hand_over(&mut self, partition: PartitionId) {
        self.busy.insert(partition);
    }

    /// Nothing is asked for this partition for a while.
    pub(crate) fn rest(&mut self, partition: PartitionId, until: Instant) {
        self.resting.insert(partition, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId};

    fn position(index: i32, offset: i64) -> FetchPosition {
        FetchPosition {
            number: 1,
            partition: PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) },
            leader: NodeId::new(1),
            leader_epoch: LeaderEpoch::new(0),
            offset: Offset::new(offset),
            last_fetched_epoch: None,
            last_crc: None,
            log_start: Offset::ZERO,
        }
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO.plus(Duration::from_millis(ms))
    }

    fn due(positions: &mut Positions, ms: u64) -> Vec<(i32, i64)> {
        positions.due(at(ms)).values().map(|p| (p.partition.index.get(), p.offset.get())).collect()
    }

    #[test]
    fn what_is_with_its_shard_or_rests_is_not_asked_for() {
        let mut positions = Positions::default();
        for index in 0..3 {
            assert!(positions.set(position(index, 5)));
        }
        positions.hand_over(position(0, 5).partition);
        positions.rest(position(1, 5).partition, at(20));
        assert_eq!(due(&mut positions, 0), [(2, 5)]);
        assert_eq!(positions.wait(at(5), Duration::from_secs(1)), Duration::from_millis(15));
        assert_eq!(due(&mut positions, 20), [(1, 5), (2, 5)]);
        assert_eq!(positions.wait(at(20), Duration::from_secs(1)), Duration::from_secs(1));
        assert!(positions.set(position(0, 9)));
        assert_eq!((due(&mut positions, 20), positions.busy_count()), (vec![(0, 9), (1, 5), (2, 5)], 0));
    }

    #[test]
    fn an_answer_is_for_the_position_that_was_asked_and_stands() {
        let mut positions = Positions::default();
        let (old, new) = (position(0, 5), position(0, 9));
        positions.set(old);
        assert_eq!(positions.answered(old.partition, Some(old)), Some(old));
        assert_eq!(positions.answered(old.partition, None), None);
        assert!(positions.set(new) && !positions.set(new));
        assert_eq!(positions.answered(old.partition, Some(old)), None);
        positions.hand_over(new.partition);
        assert_eq!(positions.answered(new.partition, Some(new)), None);
        positions.stop(new.partition);
        assert!(positions.is_empty() && positions.answered(new.partition, Some(new)).is_none());
    }
}
