//! The partitions that this broker cannot vouch for, as its registration and its heartbeats name them (rule S3).
//!
//! Kept by `lifecycle`. Invariant: what a former life has lost is named until this one is unfenced, and not after: the
//! copy may have come back into the ISR by then. What cannot be served is named for as long as the process runs.

use std::collections::BTreeSet;

use crate::model::PartitionId;

#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// What former lives may have acknowledged and the disk does not hold.
    lost: BTreeSet<PartitionId>,
    /// What this process cannot open or read.
    broken: BTreeSet<PartitionId>,
}

impl Suspects {
    pub(super) fn lost(&mut self, partition: PartitionId) {
        self.lost.insert(partition);
    }

    pub(super) fn broken(&mut self, partition: PartitionId) {
        self.broken.insert(partition);
    }

    /// What is to be named now.
    pub(super) fn named(&self) -> Vec<PartitionId> {
        self.lost.union(&self.broken).copied().collect()
    }

    /// The controller has unfenced this life, and so has heard of all.
    pub(super) fn unfenced(&mut self) {
        self.lost.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PartitionIndex, TopicId};

    fn id(index: i32) -> PartitionId {
        PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) }
    }

    #[test]
    fn what_was_lost_is_named_until_unfenced_and_what_is_broken_for_ever() {
        let mut suspects = Suspects::default();
        suspects.lost(id(0));
        suspects.broken(id(2));
        suspects.lost(id(2));
        assert_eq!(suspects.named(), [id(0), id(2)]);
        suspects.unfenced();
        assert_eq!(suspects.named(), [id(2)]);
    }
}
