//! The records of one proposal, within its bound (rule S14).
//!
//! Invariant: `image` is always the image as it would be once the records gathered so far are accepted.

use crate::machines::metadata::{Image, Partition, Record};
use crate::model::PartitionId;
use crate::probe::{Mutant, planted};

/// A proposal in the making.
pub(super) struct Batch {
    image: Image,
    records: Vec<Record>,
    bytes: usize,
    bytes_max: usize,
}

impl Batch {
    pub(super) fn new(image: &Image, bytes_max: usize) -> Self {
        Self { image: image.clone(), records: Vec::new(), bytes: 0, bytes_max }
    }

    /// The image that the next decision of this batch is made on.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a record that has to be in; only few and small ones are added so.
    pub(super) fn add(&mut self, record: Record) {
        self.bytes += record.size_max();
        self.image.assume(std::slice::from_ref(&record));
        self.records.push(record);
    }

    /// Adds all of `records`, or none when they do not fit. Returns whether they did.
    #[must_use]
    pub(super) fn add_fitting(&mut self, records: Vec<Record>) -> bool {
        let bytes = size_max(&records);
        if self.bytes + bytes > self.bytes_max && !planted(Mutant::ProposalUnbounded) {
            return false;
        }
        self.bytes += bytes;
        self.image.assume(&records);
        self.records.extend(records);
        true
    }

    /// Adds a partition's new state, when it fits. Returns whether it did.
    #[must_use]
    pub(super) fn change(&mut self, partition: PartitionId, state: Partition) -> bool {
        assert_eq!(state.flaw(), None, "a decision keeps a partition whole");
        self.add_fitting(vec![Record::PartitionChanged { partition, state }])
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records
    }
}

/// The most bytes that records take together.
pub(super) fn size_max(records: &[Record]) -> usize {
    records.iter().map(Record::size_max).sum()
}
