//! What this broker says at every beat of its liveness connections: its last heartbeat, with its progress as of now.
//!
//! Called by the liveness thread, which waits for nothing: the locks here are held for one copy.
//! Invariant: the ages are taken at the beat, so that a stuck thread shows though nothing else of the broker moves
//! (rule S11).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use super::calls;
use super::progress::Progress;
use crate::env::Clock;
use crate::machines::controller::{Event, Heartbeat};
use crate::transport::BeatSource;

/// The source of beats; silent until the broker has registered.
#[derive(Debug, Default)]
pub struct Beats {
    said: OnceLock<Said>,
}

#[derive(Debug)]
struct Said {
    /// The last heartbeat; written by the lifecycle.
    last: Mutex<Option<Heartbeat>>,
    progress: Arc<Progress>,
    clock: Arc<dyn Clock>,
}

impl Beats {
    /// The broker runs.
    pub(super) fn begin(&self, progress: &Arc<Progress>, clock: &Arc<dyn Clock>) {
        let said = Said { last: Mutex::new(None), progress: Arc::clone(progress), clock: Arc::clone(clock) };
        assert!(self.said.set(said).is_ok(), "a node starts its broker once");
    }

    /// The lifecycle says this from now on.
    pub(super) fn say(&self, heartbeat: Option<Heartbeat>) {
        if let Some(said) = self.said.get() {
            *said.last.lock().unwrap_or_else(PoisonError::into_inner) = heartbeat;
        }
    }
}

impl BeatSource for Beats {
    fn beat(&self) -> Bytes {
        let Some(said) = self.said.get() else { return Bytes::new() };
        let Some(mut heartbeat) = said.last.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            return Bytes::new();
        };
        let now = said.clock.now().instant;
        heartbeat.progress.oldest_flush = said.progress.flush_age(now);
        heartbeat.progress.oldest_turn = said.progress.turn_age(now);
        calls::pack_event(&Event::Heartbeat(heartbeat)).unwrap_or_default()
    }
}
