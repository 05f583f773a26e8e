//! What a leader knows of one follower.
//!
//! Used by `leader.rs` only. Invariant: `flushed_end` is known only from a fetch of the leader's present epoch, in the
//! follower's present registration.

use std::time::Duration;

use crate::model::{BrokerEpoch, Instant, Offset};

/// One follower, as its fetches of this epoch show it.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Its registration in the last order.
    pub(super) broker_epoch: Option<BrokerEpoch>,
    /// Whether the last order says that it may enter the ISR.
    pub(super) may_join: bool,
    flushed_end: Option<Offset>,
    /// When it last had all that there was; `None` for never.
    caught_up_at: Option<Instant>,
    last_fetch: Option<LastFetch>,
}

#[derive(Clone, Copy, Debug)]
struct LastFetch {
    at: Instant,
    /// The leader's log end at that time.
    log_end: Offset,
}

impl Progress {
    pub(super) fn new(broker_epoch: Option<BrokerEpoch>) -> Self {
        Self { broker_epoch, may_join: false, flushed_end: None, caught_up_at: None, last_fetch: None }
    }

    pub(super) fn flushed_end(&self) -> Option<Offset> {
        self.flushed_end
    }

    /// A member of the ISR gets the full lag from here, though it has not fetched yet.
    pub(super) fn grant(&mut self, now: Instant) {
        self.caught_up_at = Some(now);
    }

    /// A new epoch in which another may have led.
    pub(super) fn forget(&mut self) {
        self.flushed_end = None;
        self.caught_up_at = None;
        self.last_fetch = None;
    }

    /// A fetch from `offset`, which is the follower's flushed end. A follower that reads as fast as the leader writes
    /// is caught up as of its previous fetch, though never at the end.
    pub(super) fn on_fetch(&mut self, offset: Offset, log_end: Offset, now: Instant) {
        if offset >= log_end {
            self.caught_up_at = Some(now);
        } else if let Some(last) = self.last_fetch.filter(|last| offset >= last.log_end) {
            self.caught_up_at = self.caught_up_at.max(Some(last.at));
        }
        self.flushed_end = Some(offset);
        self.last_fetch = Some(LastFetch { at: now, log_end });
    }

    /// Whether it lives, as its fetches show.
    pub(super) fn has_fetched(&self, now: Instant, lag_max: Duration) -> bool {
        self.last_fetch.is_some_and(|last| now.since(last.at) <= lag_max)
    }

    pub(super) fn is_caught_up(&self, log_end: Offset, now: Instant, lag_max: Duration) -> bool {
        self.flushed_end == Some(log_end) || self.caught_up_at.is_some_and(|at| now.since(at) <= lag_max)
    }
}
