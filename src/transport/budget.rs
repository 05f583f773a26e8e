//! The bytes that requests in flight may hold, over all connections of a node.
//!
//! Invariant: a reader charges what it has received, not what a frame claims, so that a claim costs nothing. At the
//! bound readers stop; whoever then holds an unfinished frame loses it at its receive deadline, which frees its share.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A shared budget; clones draw from the same one.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    used: Gauge,
}

impl Budget {
    /// A budget of `bytes_max`, which shows its use in `used`.
    #[must_use]
    pub fn new(bytes_max: usize, used: Gauge) -> Self {
        let bytes_max = bytes_max.min(Semaphore::MAX_PERMITS);
        Self { bytes: Arc::new(Semaphore::new(bytes_max)), bytes_max, used }
    }

    /// The whole budget.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is left.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.bytes.available_permits()
    }

    /// An empty share of this budget.
    #[must_use]
    pub(super) fn share(&self) -> Share {
        Share { budget: Some(self.clone()), held: None }
    }
}

/// What one request holds of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Option<Budget>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// A share that draws on nothing, for frames whose number and size are bounded otherwise.
    pub(super) fn unbudgeted() -> Self {
        Self { budget: None, held: None }
    }

    /// Waits until this share holds `bytes` of the budget, or all of it when `bytes` is more than there is at all.
    /// First come, first served.
    pub(super) async fn grow_to(&mut self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        let more = bytes.min(budget.bytes_max).saturating_sub(self.held());
        let permits = u32::try_from(more).expect("frames, and so the growth of a share, are below 2 GiB");
        if permits == 0 {
            return;
        }
        let more = Arc::clone(&budget.bytes).acquire_many_owned(permits).await;
        let more = more.expect("the budget's semaphore is never closed");
        budget.used.inc_by(i64::from(permits));
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
    }

    fn held(&self) -> usize {
        self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.dec_by(i64::try_from(self.held()).expect("a share fits the semaphore"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_dropped_share_lets_the_next_in() {
        let budget = Budget::new(100, Gauge::default());
        let mut first = budget.share();
        first.grow_to(60).await;
        let mut second = budget.share();
        assert!(second.grow_to(50).now_or_never().is_none());
        assert_eq!(budget.used.get(), 60);
        drop(first);
        second.grow_to(50).await;
        assert_eq!((budget.bytes_left(), budget.used.get()), (50, 50));
    }

    #[tokio::test]
    async fn a_request_larger_than_the_budget_gets_all_of_it_and_does_not_hang() {
        let budget = Budget::new(100, Gauge::default());
        let mut share = budget.share();
        share.grow_to(70).await;
        share.grow_to(170).await;
        assert_eq!(budget.bytes_left(), 0);
    }
}
