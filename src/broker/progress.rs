//! How far the parts of this broker have come, for its heartbeats (rule S11).
//!
//! Written by the shard threads, the flusher and the image follower; read by the heartbeat.
//! Invariant: an age is counted from the begin of something that has not ended, so a stuck thread is seen by others.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use crate::model::Instant;

/// The begins of what is under way.
#[derive(Debug)]
pub(super) struct Progress {
    /// Guards a few instants; held for one assignment.
    begun: Mutex<Begun>,
}

#[derive(Debug)]
struct Begun {
    turns: Vec<Option<Instant>>,
    flush: Option<Instant>,
}

impl Progress {
    pub(super) fn new(shards: usize) -> Self {
        Self { begun: Mutex::new(Begun { turns: vec![None; shards], flush: None }) }
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

    fn with<T>(&self, change: impl FnOnce(&mut Begun) -> T) -> T {
        change(&mut self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
