//! Which leaders this broker cannot fetch from, for its heartbeats (rule S12).
//!
//! Written by the fetchers' tasks, read by the heartbeat.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Instant, NodeId};

/// For how long a leader must have been out of reach before it is named: a restart takes less.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(1);

/// Since when leaders are out of reach.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Guards the table only; at most one entry per broker.
    lost: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Reach {
    /// A fetch or a dial failed.
    pub(super) fn failed(&self, leader: NodeId, now: Instant) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).entry(leader).or_insert(now);
    }

    /// A fetch was answered, or nothing is fetched from there any more.
    pub(super) fn reached(&self, leader: NodeId) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&leader);
    }

    /// The leaders that have been out of reach for long enough to be named.
    pub(super) fn unfetchable(&self, now: Instant) -> Vec<NodeId> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.iter().filter(|(_, since)| now.since(**since) >= UNREACHABLE_AFTER).map(|(leader, _)| *leader).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_named_only_after_a_while_and_until_it_is_reached() {
        let at = |ms| Instant::ZERO.plus(Duration::from_millis(ms));
        let (reach, leader) = (Reach::default(), NodeId::new(2));
        reach.failed(leader, at(0));
        reach.failed(leader, at(900));
        assert!(reach.unfetchable(at(999)).is_empty());
        assert_eq!(reach.unfetchable(at(1000)), [leader]);
        reach.reached(leader);
        assert!(reach.unfetchable(at(5000)).is_empty());
    }
}
