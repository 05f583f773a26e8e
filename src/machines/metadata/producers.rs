//! Which producer ids are given out.
//!
//! Invariant: `next` only rises, so that no id is given twice.

use crate::model::ProducerId;

/// The producer ids of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producers {
    next: ProducerId,
}

impl Default for Producers {
    fn default() -> Self {
        Self { next: ProducerId::new(0) }
    }
}

impl Producers {
    /// The first id that is free.
    #[must_use]
    pub fn next(&self) -> ProducerId {
        self.next
    }

    pub(super) fn advance(&mut self, next: ProducerId) {
        self.next = self.next.max(next);
    }
}
