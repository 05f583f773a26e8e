//! Produces that wait: for the leader's own flush (acks=1) or for the high watermark (acks=all).
//!
//! Used by `leader.rs` only. Invariant: a ticket parked here leaves exactly once, by release, expiry or drain.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Instant, Offset};

use super::effect::Ticket;

/// What a produce waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// The leader's flushed end.
    Flush,
    /// The high watermark.
    Commit,
}

/// The waiting produces of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters {
    /// By what they need and where their records end, so that a release takes the front.
    by_end: BTreeMap<(Need, Offset, Ticket), Instant>,
    /// By deadline, with the key of the other map.
    by_deadline: BTreeSet<(Instant, Need, Offset, Ticket)>,
}

impl Waiters {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.by_end.len()
    }

    /// The earliest deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|entry| entry.0)
    }

    /// Parks a produce whose records end at `end`.
    pub(super) fn park(&mut self, need: Need, end: Offset, ticket: Ticket, deadline: Instant) {
        let before = self.by_end.insert((need, end, ticket), deadline);
        assert!(before.is_none(), "a ticket is parked once");
        self.by_deadline.insert((deadline, need, end, ticket));
    }

    /// Takes out those that need no more than `reached`, by end in order.
    pub(super) fn release(&mut self, need: Need, reached: Offset) -> Vec<Ticket> {
        let mut released = Vec::new();
        let first = (need, Offset::new(i64::MIN), Ticket(0));
        let last = (need, reached, Ticket(u64::MAX));
        while let Some((&key, &deadline)) = self.by_end.range(first..=last).next() {
            self.by_end.remove(&key);
            self.by_deadline.remove(&(deadline, key.0, key.1, key.2));
            released.push(key.2);
        }
        assert_eq!(self.by_end.len(), self.by_deadline.len(), "both maps hold the same waiters");
        released
    }

    /// Takes out those whose deadline is not after `now`, by deadline in order.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ticket> {
        let mut expired = Vec::new();
        while let Some(&(deadline, need, end, ticket)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            self.by_deadline.pop_first();
            self.by_end.remove(&(need, end, ticket));
            expired.push(ticket);
        }
        expired
    }

    /// Takes out all, by end in order.
    pub(super) fn drain(&mut self) -> Vec<Ticket> {
        self.by_deadline.clear();
        std::mem::take(&mut self.by_end).into_keys().map(|key| key.2).collect()
    }
}
