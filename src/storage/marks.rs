//! Which logs count appends before they are flushed (`flush.mode=kafka`), and which of these the disk knows of.
//!
//! Kept by the flush log under its lock, and written into its file. Invariant: a mark that is durable was written and
//! synced before, and no statement that takes it away was made since (rule S3).

use std::collections::{BTreeMap, BTreeSet};

use super::attestation::{Said, Statement};
use crate::model::PartitionId;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The marks as they are to be.
    volatile: BTreeSet<PartitionId>,
    /// Those that are on the disk.
    durable: BTreeSet<PartitionId>,
    /// What the file does not say yet: `Volatile` or `Settled`.
    unwritten: BTreeMap<PartitionId, Said>,
    /// Marks that were written and wait for a sync.
    written: BTreeSet<PartitionId>,
}

impl Marks {
    /// Takes a statement from the file at a start, in its order.
    pub(super) fn read(&mut self, statement: &Statement) {
        match statement.said {
            Said::Attested(_) => {}
            Said::Volatile => _ = self.volatile.insert(statement.partition),
            Said::Gone | Said::Settled => _ = self.volatile.remove(&statement.partition),
        }
    }

    pub(super) fn add(&mut self, partition: PartitionId) {
        if self.volatile.insert(partition) {
            self.unwritten.insert(partition, Said::Volatile);
        }
    }

    pub(super) fn settle(&mut self, partition: PartitionId) {
        if self.volatile.contains(&partition) {
            self.forget(partition);
            self.unwritten.insert(partition, Said::Settled);
        }
    }

    /// The log is gone; another statement says so.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        self.volatile.remove(&partition);
        self.durable.remove(&partition);
        self.written.remove(&partition);
        self.unwritten.remove(&partition);
    }

    pub(super) fn is_durable(&self, partition: PartitionId) -> bool {
        self.durable.contains(&partition)
    }

    /// All marks.
    pub(super) fn all(&self) -> &BTreeSet<PartitionId> {
        &self.volatile
    }

    pub(super) fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// What is to be written now.
    pub(super) fn write(&mut self) -> Vec<Statement> {
        let unwritten = std::mem::take(&mut self.unwritten);
        self.written.extend(unwritten.iter().filter(|(_, said)| **said == Said::Volatile).map(|(id, _)| *id));
        unwritten.into_iter().map(|(partition, said)| Statement { partition, said }).collect()
    }

    /// Everything that was written is on the disk.
    pub(super) fn synced(&mut self) {
        self.durable.append(&mut self.written);
    }

    /// The file was replaced by one that says all of this.
    pub(super) fn rewritten(&mut self) {
        self.unwritten.clear();
        self.written.clear();
        self.durable.clone_from(&self.volatile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PartitionIndex, TopicId};

    #[test]
    fn a_mark_counts_once_it_is_synced_and_not_after_it_was_taken_away() {
        let id = PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) };
        let mut marks = Marks::default();
        marks.add(id);
        marks.synced();
        assert!(!marks.is_durable(id) && !marks.is_written());
        assert_eq!(marks.write(), [Statement { partition: id, said: Said::Volatile }]);
        assert!(!marks.is_durable(id) && marks.is_written());
        marks.synced();
        marks.add(id);
        assert!(marks.is_durable(id) && marks.is_written());
        marks.settle(id);
        assert!(!marks.is_durable(id) && marks.all().is_empty());
        marks.add(id);
        assert_eq!(marks.write(), [Statement { partition: id, said: Said::Volatile }]);
        marks.forget(id);
        marks.synced();
        assert!(!marks.is_durable(id) && marks.is_written());
    }
}
