//! What a power cut leaves.
//!
//! Invariant: what was synced is in every outcome; of what was not, any part may be.

use std::sync::Arc;

use super::SimulatedFiles;
use super::change::{End, Image, Operation};
use super::disk::{Disk, Medium};
use super::outcomes::Outcomes;

/// What a power cut at one moment would find: what is durable, and what is not yet.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    pub(super) images: Vec<Arc<Image>>,
    /// In the order in which they were asked for.
    pub(super) pending: Vec<Operation>,
    pub(super) medium: Medium,
}

/// How much of what was not synced a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing: the longest possible loss.
    Nothing,
    /// All of it, as if only the process had died.
    Everything,
    /// What was asked for first, the last of it perhaps in part: a file system that orders its writes.
    Prefix,
    /// Any part, each operation by itself, writes by sectors: a disk with a cache that orders nothing.
    Any,
}

impl CrashPoint {
    /// How many ways each waiting operation can end: 0 not at all, 1 whole; writes also in part, the largest number
    /// being that only the file's length is there.
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
            let end = operation.change.ends()[*end];
            if end != End::Lost {
                operation.change.apply_ended(Arc::make_mut(&mut images[operation.node]), end);
            }
        }
        self.files(images)
    }

    /// The files after the power cut, with so much of what was not synced; `pick` draws a number below its argument.
    #[must_use]
    pub fn random(&self, survival: Survival, pick: &mut dyn FnMut(usize) -> usize) -> SimulatedFiles {
        let count = self.pending.len();
        let ends = match survival {
            Survival::Nothing => vec![0; count],
            Survival::Everything => vec![1; count],
            Survival::Prefix => {
                let whole = pick(count + 1);
                let mut ends = vec![1; count];
                ends[whole..].fill(0);
                if let Some(last) = self.pending.get(whole) {
                    ends[whole] = pick(last.change.ends().len());
                }
                ends
            }
            Survival::Any => return self.any(pick),
        };
        self.after(&ends)
    }

    fn any(&self, pick: &mut dyn FnMut(usize) -> usize) -> SimulatedFiles {
        let mut images = self.images.clone();
        for operation in &self.pending {
            let ends = operation.change.ends();
            let parts = operation.change.by_sector();
            // Where there are several sectors, one way more: each of them by itself.
            let drawn = pick(ends.len() + usize::from(parts.len() > 1));
            let image = Arc::make_mut(&mut images[operation.node]);
            match ends.get(drawn) {
                Some(end) => operation.change.apply_ended(image, *end),
                None => parts.iter().filter(|_| pick(2) == 1).for_each(|part| image.apply(part)),
            }
        }
        self.files(images)
    }

    /// Its outcomes, one of which can be told from another at little cost.
    #[must_use]
    pub fn outcomes(&self) -> Outcomes<'_> {
        Outcomes::new(self)
    }

    pub(super) fn files(&self, images: Vec<Arc<Image>>) -> SimulatedFiles {
        SimulatedFiles::of(Disk::of(images, self.medium.clone()))
    }
}
