//! The partitions that this broker cannot vouch for, as its registration and its heartbeats name them (rule S3).
//!
//! Kept by `lifecycle`, and by the simulation. Invariant: what a former life has lost is named until this one is unfenced, and not after: the
//! copy may have come back into the ISR by then. What cannot be served is named for as long as the process runs.

use std::collections::BTreeSet;

use tracing::{error, warn};

use crate::model::PartitionId;
use crate::partition::{BrokenPartition, OpenedPartition};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::storage::DataDir;

#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// What former lives may have acknowledged and the disk does not hold.
    lost: BTreeSet<PartitionId>,
    /// What this process cannot open or read.
    broken: BTreeSet<PartitionId>,
}

/// What the shards report of the logs on disk.
#[derive(Debug)]
pub(crate) enum Recovered {
    Opened(OpenedPartition),
    Broken(BrokenPartition),
}

impl Suspects {
    /// What the directory alone tells.
    pub(crate) fn of(directory: &DataDir) -> Self {
        let mut suspects = Self::default();
        for partition in directory.missing() {
            // Also what a crash left of a deletion: then the image does not list it, and nobody misses it.
            warn!(%partition, "a log that was flushed has no directory any more");
            suspects.lost(partition);
        }
        for partition in directory.volatile() {
            warn!(%partition, "a log was acknowledged out of the page cache, and not flushed since");
            suspects.lost(partition);
        }
        suspects
    }

    /// Takes a shard's report of a log. Of which it is.
    pub(crate) fn note(&mut self, report: Recovered) -> PartitionId {
        match report {
            Recovered::Opened(log) => {
                if log.end < log.attested_end {
                    mark(Mark::EndBelowAttested);
                    error!(partition = %log.partition, end = %log.end, attested = %log.attested_end, "a log has lost what it vouched for");
                    self.lost(log.partition);
                }
                log.partition
            }
            Recovered::Broken(log) => {
                mark(Mark::LogBroken);
                error!(partition = %log.partition, topic = %log.name, cause = %log.message, "a log cannot be served");
                self.broken(log.partition);
                log.partition
            }
        }
    }

    pub(crate) fn lost(&mut self, partition: PartitionId) {
        self.lost.insert(partition);
    }

    pub(crate) fn broken(&mut self, partition: PartitionId) {
        self.broken.insert(partition);
    }

    /// What is to be named now.
    pub(crate) fn named(&self) -> Vec<PartitionId> {
        self.lost.union(&self.broken).copied().collect()
    }

    /// The controller has unfenced this life, and so has heard of all.
    pub(crate) fn unfenced(&mut self) {
        if !planted(Mutant::LostNamedForEver) {
            self.lost.clear();
        }
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
