//! Turns for large requests, so that what is made of them is bounded over all connections.
//!
//! Called by `dispatch`. A request of many small elements takes far more memory decoded, looked up and answered than
//! its bytes do, which are all that the transport's budget counts. Invariant: of the requests whose bodies are above
//! `LIGHT_BODY_BYTES`, no more are decoded and served at a time than the budget of bytes would hold of their costs;
//! each is served in its turn, and one that is larger than all of that alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Up to here a body takes no turn: the number of connections bounds these.
pub(super) const LIGHT_BODY_BYTES: usize = 4 << 10;
/// What a byte of a body may cost: the dearest element, a partition in a fetch or a look-up of offsets, takes 12 to 24
/// bytes on the wire and up to a kilobyte here.
const COST_PER_BYTE: usize = 64;

/// How long a request waits for something while others wait for its turn to end: as long as a usual client wants to, and
/// a moment only if few of its size go at once.
const WAIT_MAX: Duration = Duration::from_millis(500);
const LARGE_BODY_BYTES: usize = 64 << 10;
const LARGE_WAIT_MAX: Duration = Duration::from_millis(100);
/// Kafka's `request.timeout.ms` of clients.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(30);

/// The longest that a request with a body of that size may wait for records.
pub(super) fn wait_max(body: usize) -> Duration {
    match body {
        0..=LIGHT_BODY_BYTES => Duration::MAX,
        _ if body <= LARGE_BODY_BYTES => WAIT_MAX,
        _ => LARGE_WAIT_MAX,
    }
}

/// The longest that it may wait for a controller.
pub(super) fn change_wait_max(body: usize) -> Duration {
    if body <= LIGHT_BODY_BYTES { Duration::MAX } else { CHANGE_WAIT_MAX }
}

/// The turns of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    bytes: Arc<Semaphore>,
    bytes_max: u32,
}

impl Turns {
    /// Lets through what costs up to `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        let bytes_max = u32::try_from(budget / COST_PER_BYTE).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(bytes_max).expect("32 bits fit in a usize").min(Semaphore::MAX_PERMITS);
        Self { bytes: Arc::new(Semaphore::new(permits)), bytes_max }
    }

    /// Waits for the turn of a body of that size; it lasts until what is returned is dropped.
    pub(super) async fn turn(self, body: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(body).unwrap_or(u32::MAX).min(self.bytes_max);
        self.bytes.acquire_many_owned(bytes).await.expect("the turns are never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn large_requests_are_served_in_turn_and_the_largest_alone() {
        let turns = Turns::new(100 * COST_PER_BYTE);
        let first = turns.clone().turn(60).await;
        assert!(turns.clone().turn(41).now_or_never().is_none());
        let second = turns.clone().turn(40).now_or_never().expect("there is room");
        drop((first, second));
        let alone = turns.clone().turn(1000).now_or_never().expect("nobody else is served");
        assert!(turns.clone().turn(1).now_or_never().is_none());
        drop(alone);
        assert!(turns.turn(1).now_or_never().is_some());
    }
}
