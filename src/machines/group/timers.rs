//! When something is due in which group.
//!
//! Invariant: a timer is in the set exactly while its owner remembers its instant, so that each can be taken back.

use std::collections::BTreeSet;

use crate::model::{GroupId, Instant, MemberId};

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The group has waited long enough for its members to join.
    Join,
    /// The group has waited long enough for its members to sync.
    Sync,
    /// A member may have been silent for too long.
    Session(MemberId),
    /// A member was told an id and did not come back.
    Pending(MemberId),
    /// A member of KIP-848 may have been silent for too long.
    Beat(MemberId),
    /// A member of KIP-848 has had its time to give partitions back.
    Revoke(MemberId),
    /// A group of KIP-848 is to be compared with the image, and to be assigned if need be.
    Refresh,
}

/// All timers of one coordinator.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, GroupId, Timer)>,
}

impl Timers {
    /// Moves a timer; `slot` is where its owner remembers it.
    pub(super) fn set(&mut self, group: &GroupId, timer: Timer, slot: &mut Option<Instant>, at: Option<Instant>) {
        if *slot == at {
            return;
        }
        let mut key = (Instant::ZERO, group.clone(), timer);
        if let Some(old) = *slot {
            key.0 = old;
            let was_there = self.due.remove(&key);
            assert!(was_there, "a timer that is remembered is set");
        }
        *slot = at;
        if let Some(new) = at {
            key.0 = new;
            self.due.insert(key);
        }
    }

    /// The first.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|entry| entry.0)
    }

    /// The first that is due; its owner is to forget it.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(GroupId, Timer)> {
        self.due.first().filter(|entry| entry.0 <= now)?;
        self.due.pop_first().map(|(_, group, timer)| (group, timer))
    }
}
