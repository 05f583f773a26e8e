//! What a power cut leaves.
//!
//! Invariant: what was synced is in every outcome; of what was not, any part may be.

use std::sync::Arc;

use super::SimulatedFiles;
use super::change::{Image, Operation};
use super::disk::Disk;

/// What a power cut at one moment would find: what is durable, and what is not yet.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    pub(super) images: Vec<Arc<Image>>,
    /// In the order in which they were asked for.
    pub(super) pending: Vec<Operation>,
}

impl CrashPoint {
    /// How many ways each waiting operation can end: 0 not at all, 1 whole, 2 only its first sectors, 3 only its last.
    #[must_use]
    pub fn ways(&self) -> Vec<usize> {
        self.pending.iter().map(|operation| operation.change.ends().len()).collect()
    }

    /// The files after the power cut, each waiting operation having ended as told.
    #[must_use]
    pub fn after(&self, ends: &[usize]) -> SimulatedFiles {
        assert_eq!(ends.len(), self.pending.len(), "each operation ends in one way");
        let mut images = self.images.clone();
        for (operation, end) in self.pending.iter().zip(ends) {
            let change = &operation.change;
            if let Some(left) = change.ended(change.ends()[*end]) {
                Arc::make_mut(&mut images[operation.node]).apply(&left);
            }
        }
        SimulatedFiles::of(Disk::of(images))
    }
}
