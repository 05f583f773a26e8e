//! How far the parts of this broker have come, for its heartbeats (rule S11).
//!
//! Written by the shard threads, the flusher and the image follower; read by the heartbeat.
//! Invariant: an age is counted from the begin of something that has not ended, so a stuck thread is seen by others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::Instant;
use crate::probe::{Mutant, planted};

/// The begins of what is under way.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Guards a few instants; held for one assignment.
    begun: Mutex<Begun>,
    /// Until when the controller counts this broker in, as far as its last answer tells; in nanoseconds.
    session_end: AtomicU64,
}

#[derive(Debug)]
struct Begun {
    turns: Vec<Option<Instant>>,
    flush: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(shards: usize) -> Self {
        let begun = Begun { turns: vec![None; shards], flush: None };
        Self { begun: Mutex::new(begun), session_end: AtomicU64::new(0) }
    }

    pub(super) fn turn_begins(&self, shard: usize, now: Instant) {
        self.with(|begun| begun.turns[shard] = Some(now));
    }

    pub(super) fn turn_ends(&self, shard: usize) {
        self.with(|begun| begun.turns[shard] = None);
    }

    pub(super) fn flush_begins(&self, now: Instant) {
        self.with(|begun| begun.flush = Some(now));
    }

    pub(super) fn flush_ends(&self) {
        self.with(|begun| begun.flush = None);
    }

    /// The age of the oldest turn that has not ended; zero when none is under way.
    pub(super) fn turn_age(&self, now: Instant) -> Duration {
        self.with(|begun| begun.turns.iter().flatten().map(|begin| now.since(*begin)).max().unwrap_or_default())
    }

    /// The age of the flush that has not ended; zero when none is under way.
    pub(super) fn flush_age(&self, now: Instant) -> Duration {
        self.with(|begun| begun.flush.map(|begin| now.since(begin)).unwrap_or_default())
    }

    /// What the controller's answer to a heartbeat of `sent` says, if there was one. A broker that it has fenced, or of
    /// which it knows another life, has no session: what that one alone keeps would be cut off (rules R15, R20).
    pub(crate) fn heard(&self, is_fenced: Option<bool>, sent: Instant, session: Duration) {
        let end = match is_fenced {
            Some(false) => sent.plus(session),
            Some(true) if !planted(Mutant::FencedKeepsSession) => Instant::ZERO,
            Some(true) | None => return,
        };
        self.session_end.store(end.as_nanos(), Ordering::Relaxed);
    }

    /// Whether the controller may still count this broker in. Once it does not, a successor may have been elected, and
    /// what only this broker keeps would be cut off (rule R20).
    pub(crate) fn has_session(&self, now: Instant) -> bool {
        now.as_nanos() < self.session_end.load(Ordering::Relaxed) || planted(Mutant::ServesWithoutSession)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Begun) -> T) -> T {
        change(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
