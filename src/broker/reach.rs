//! Which leaders this broker cannot fetch from: for its heartbeats (rule S12), and for what clients are told.
//!
//! Written by the fetchers' tasks, read by the heartbeat and by `succession`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Instant, NodeId};

/// For how long a leader must have been out of reach before it is named to the controller: a restart takes less.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(1);
/// For how long a lost leader is expected to be succeeded. After that the controller evidently sees it otherwise.
const JUST_LOST: Duration = Duration::from_secs(2);

/// Since when leaders are out of reach.
#[derive(Debug)]
pub(crate) struct Reach {
    lost: watch::Sender<Lost>,
}

/// The leaders out of reach; at most one entry per broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    since: BTreeMap<NodeId, Instant>,
}

impl Lost {
    /// The leaders that went out of reach a moment ago.
    pub(super) fn just_lost(&self, now: Instant) -> BTreeSet<NodeId> {
        self.since.iter().filter(|(_, since)| now.since(**since) < JUST_LOST).map(|(leader, _)| *leader).collect()
    }
}

impl Default for Reach {
    fn default() -> Self {
        Self { lost: watch::channel(Lost::default()).0 }
    }
}

impl Reach {
    /// A fetch or a dial failed.
    pub(crate) fn failed(&self, leader: NodeId, now: Instant) {
        self.lost.send_if_modified(|lost| {
            let is_new = !lost.since.contains_key(&leader);
            lost.since.entry(leader).or_insert(now);
            is_new
        });
    }

    /// A fetch was answered, or nothing is fetched from there any more.
    pub(crate) fn reached(&self, leader: NodeId) {
        self.lost.send_if_modified(|lost| lost.since.remove(&leader).is_some());
    }

    /// The leaders that have been out of reach for long enough to be named.
    pub(crate) fn unfetchable(&self, now: Instant) -> Vec<NodeId> {
        let lost = self.lost.borrow();
        lost.since.iter().filter(|(_, s)| now.since(**s) >= UNREACHABLE_AFTER).map(|(leader, _)| *leader).collect()
    }

    /// The leaders out of reach, as they change.
    pub(super) fn changes(&self) -> watch::Receiver<Lost> {
        self.lost.subscribe()
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
        assert_eq!(reach.changes().borrow().just_lost(at(999)), BTreeSet::from([leader]));
        assert_eq!(reach.unfetchable(at(1000)), [leader]);
        assert!(reach.changes().borrow().just_lost(at(2000)).is_empty());
        reach.reached(leader);
        assert!(reach.unfetchable(at(5000)).is_empty());
    }
}
