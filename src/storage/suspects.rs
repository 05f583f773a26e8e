//! Which partitions the disk cannot vouch for, as it was found at the start (rule S3).
//!
//! Called by `broker` before it opens a log and before it registers. Invariant: what is named has lost something that
//! may have been acknowledged, or cannot tell; a log that never held anything is not named.

use std::collections::BTreeSet;

use super::data_dir::DataDir;
use crate::model::PartitionId;
use crate::probe::{Mutant, planted};

impl DataDir {
    /// Partitions of which files are attested, and whose directory is gone.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<PartitionId> {
        let found: BTreeSet<PartitionId> = self.partitions().iter().map(|found| found.id).collect();
        let attested = self.flush_log().all_attested().into_iter().filter(|_| !planted(Mutant::MissingUnnamed));
        attested.filter(|(id, said)| said.needs_files() && !found.contains(id)).map(|(id, _)| id).collect()
    }

    /// Partitions that may have acknowledged what was never flushed, before the last stop or after it.
    #[must_use]
    pub fn volatile(&self) -> BTreeSet<PartitionId> {
        if planted(Mutant::VolatileUnnamed) { BTreeSet::new() } else { self.flush_log().all_volatile() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::Log;
    use super::super::tests::{batch_of, now, small};
    use super::*;
    use crate::env::{Files, SystemFiles, SystemSeed};
    use crate::model::{LeaderEpoch, NodeId, Offset, PartitionIndex, TopicId, TopicName};

    fn id(index: i32) -> PartitionId {
        PartitionId { topic: TopicId::new([9; 16]), index: PartitionIndex::new(index) }
    }

    fn start(root: &Path) -> DataDir {
        let files: Arc<dyn Files> = Arc::new(SystemFiles::default());
        DataDir::open(files, root, NodeId::new(1), &SystemSeed, crate::model::Timestamp::new(0)).unwrap()
    }

    fn log_of(data: &DataDir, index: i32) -> Log {
        Log::open(data, &TopicName::new("orders").unwrap(), id(index), small(), now(0)).unwrap().0
    }

    fn written(data: &DataDir, index: i32) -> Log {
        let mut log = log_of(data, index);
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
        log.rest_now(now(0)).unwrap();
        log
    }

    #[test]
    fn a_partition_whose_directory_is_gone_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let data = start(dir.path());
        for index in 0..2 {
            written(&data, index);
        }
        // Stands at an offset, and was never written.
        log_of(&data, 2).reset(Offset::new(50)).unwrap();
        drop(data);
        assert!(start(dir.path()).missing().is_empty());
        std::fs::remove_dir_all(dir.path().join("orders-1")).unwrap();
        assert_eq!(start(dir.path()).missing(), [id(1)].into());
    }

    #[test]
    fn a_directory_that_was_set_aside_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        written(&start(dir.path()), 0);
        std::fs::write(dir.path().join("orders-0/partition.metadata"), "?").unwrap();
        let data = start(dir.path());
        assert_eq!((data.set_aside(), data.missing()), (&["orders-0".to_owned()][..], [id(0)].into()));
    }

    #[test]
    fn a_log_that_counted_the_page_cache_is_named_until_it_is_wholly_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let data = start(dir.path());
        let mut log = log_of(&data, 0);
        assert!(!log.count_unflushed(), "the disk does not say so yet");
        data.flush_log().attest().unwrap();
        assert!(log.count_unflushed());
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
        log.count_flushed();
        drop((log, data));
        let data = start(dir.path());
        assert_eq!(data.volatile(), [id(0)].into());
        let mut log = log_of(&data, 0);
        log.rest_now(now(0)).unwrap();
        assert_eq!(data.volatile(), [id(0)].into(), "a flush alone says nothing of what was lost before");
        log.count_flushed();
        data.flush_log().attest().unwrap();
        drop((log, data));
        let data = start(dir.path());
        assert!(data.volatile().is_empty());
        assert!(!log_of(&data, 0).count_unflushed(), "it has to be said anew");
        log_of(&data, 0).delete().unwrap();
        assert!(data.volatile().is_empty());
    }

    #[test]
    fn a_log_under_load_is_vouched_for_once_what_counted_unflushed_is_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let data = start(dir.path());
        let mut log = log_of(&data, 0);
        log.count_unflushed();
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
        log.count_flushed();
        assert_eq!(data.volatile(), [id(0)].into());
        log.rest_now(now(0)).unwrap();
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
        log.count_flushed();
        assert!(data.volatile().is_empty(), "the later append counts when it is flushed");
    }

    #[test]
    fn a_partition_that_was_deleted_or_forgotten_is_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        let data = start(dir.path());
        written(&data, 0).delete().unwrap();
        written(&data, 1);
        data.flush_log().attest().unwrap();
        drop(data);
        std::fs::remove_dir_all(dir.path().join("orders-1")).unwrap();
        let data = start(dir.path());
        assert_eq!(data.missing(), [id(1)].into());
        data.forget(id(1));
        data.flush_log().attest().unwrap();
        drop(data);
        assert!(start(dir.path()).missing().is_empty());
    }
}
