//! The partitions that this broker cannot vouch for, as its registration and its heartbeats name them (rule S3).
//!
//! Kept by `lifecycle`, and by the simulation. Invariant: what a former life has lost is named until this one is unfenced, and not after: the
//! copy may have come back into the ISR by then. What cannot be served is named for as long as the process runs, and apart:
//! it is lost only if the disk says so at the next start.

use std::collections::BTreeSet;

use tracing::{error, warn};

use crate::model::PartitionId;
use crate::partition::{Breakage, BrokenPartition, OpenedPartition};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::storage::DataDir;

#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// What former lives may have acknowledged and the disk does not hold.
    lost: BTreeSet<PartitionId>,
    /// What holds something else than its leader.
    contradicted: BTreeSet<PartitionId>,
    /// What this process cannot open or read.
    unserved: BTreeSet<PartitionId>,
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
            suspects.lost.insert(partition);
        }
        for partition in directory.volatile() {
            warn!(%partition, "a log was acknowledged out of the page cache, and not flushed since");
            suspects.lost.insert(partition);
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
                    self.lost.insert(log.partition);
                }
                log.partition
            }
            Recovered::Broken(log) => {
                mark(Mark::LogBroken);
                error!(partition = %log.partition, topic = %log.name, cause = %log.message, "a log cannot be served");
                let named = match log.breakage {
                    Breakage::Unreadable => &mut self.unserved,
                    Breakage::Contradicted => &mut self.contradicted,
                };
                named.insert(log.partition);
                log.partition
            }
        }
    }

    /// What may lack something that was acknowledged.
    pub(crate) fn lost(&self) -> Vec<PartitionId> {
        self.lost.union(&self.contradicted).copied().collect()
    }

    /// What cannot be served, though it may be whole.
    pub(crate) fn unserved(&self) -> Vec<PartitionId> {
        self.unserved.iter().copied().collect()
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
    use crate::model::{PartitionIndex, TopicId, TopicName};

    fn id(index: i32) -> PartitionId {
        PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) }
    }

    fn broken(index: i32, breakage: Breakage) -> Recovered {
        let (partition, name) = (id(index), TopicName::new("t").expect("a good name"));
        Recovered::Broken(BrokenPartition { partition, name, message: "it is broken".to_owned(), breakage })
    }

    #[test]
    fn what_was_lost_is_named_until_unfenced_and_what_is_broken_for_ever() {
        let mut suspects = Suspects::default();
        suspects.lost.insert(id(0));
        suspects.note(broken(1, Breakage::Contradicted));
        suspects.note(broken(2, Breakage::Unreadable));
        assert_eq!((suspects.lost(), suspects.unserved()), (vec![id(0), id(1)], vec![id(2)]));
        suspects.unfenced();
        assert_eq!((suspects.lost(), suspects.unserved()), (vec![id(1)], vec![id(2)]));
    }
}
