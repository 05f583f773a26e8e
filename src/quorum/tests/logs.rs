//! Logs for tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::quorum::entry_log::{Encoded, EntryLog, EntryLogError};
use crate::quorum::envelope::{self, Kind};
use crate::quorum::types::{LogId, RaftEntry};

/// A log that forgives what openraft's suite does and no leader: to leave a hole, and to append below what was purged.
pub(crate) struct Forgiving<L>(pub(crate) L);

impl<L: EntryLog> EntryLog for Forgiving<L> {
    fn start(&self) -> u64 {
        self.0.start()
    }

    fn end(&self) -> u64 {
        self.0.end()
    }

    fn append(&mut self, entries: &[Encoded<'_>]) -> Result<(), EntryLogError> {
        let start = self.0.start();
        for entry in entries.iter().filter(|entry| entry.index >= start) {
            for index in self.0.end()..entry.index {
                let leader = openraft::CommittedLeaderId::new(entry.term, 0);
                let blank = RaftEntry { log_id: LogId::new(leader, index), payload: openraft::EntryPayload::Blank };
                let bytes = envelope::encode(Kind::Entry, &blank).unwrap();
                self.0.append(&[Encoded { index, term: entry.term, bytes: &bytes }])?;
            }
            self.0.append(&[*entry])?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EntryLogError> {
        self.0.flush()
    }

    fn read(&mut self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<Vec<u8>>, EntryLogError> {
        self.0.read(from, end, bytes_max)
    }

    fn truncate(&mut self, end: u64) -> Result<(), EntryLogError> {
        self.0.truncate(end)
    }

    fn purge(&mut self, start: u64) -> Result<(), EntryLogError> {
        self.0.purge(start)
    }

    fn rest(&mut self) -> Result<(), EntryLogError> {
        self.0.rest()
    }
}

/// A switch that holds up what waits on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stall {
    hangs: Arc<(Mutex<bool>, Condvar)>,
}

impl Stall {
    pub(crate) fn set(&self, hangs: bool) {
        *self.hangs.0.lock().unwrap() = hangs;
        self.hangs.1.notify_all();
    }

    fn wait(&self) {
        drop(self.hangs.1.wait_while(self.hangs.0.lock().unwrap(), |hangs| *hangs).unwrap());
    }
}

/// A log that tells when it is closed, by letting go of its token, and that can be made slow.
pub(crate) struct Watched<L> {
    pub(crate) log: L,
    pub(crate) _open: Arc<()>,
    pub(crate) stall: Stall,
    pub(crate) broken: Arc<AtomicBool>,
}

impl<L: EntryLog> EntryLog for Watched<L> {
    fn start(&self) -> u64 {
        self.log.start()
    }

    fn end(&self) -> u64 {
        self.log.end()
    }

    fn append(&mut self, entries: &[Encoded<'_>]) -> Result<(), EntryLogError> {
        self.stall.wait();
        self.log.append(entries)
    }

    fn flush(&mut self) -> Result<(), EntryLogError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(EntryLogError("the disk is broken".into()));
        }
        self.log.flush()
    }

    fn read(&mut self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<Vec<u8>>, EntryLogError> {
        self.log.read(from, end, bytes_max)
    }

    fn truncate(&mut self, end: u64) -> Result<(), EntryLogError> {
        self.log.truncate(end)
    }

    fn purge(&mut self, start: u64) -> Result<(), EntryLogError> {
        self.log.purge(start)
    }

    fn rest(&mut self) -> Result<(), EntryLogError> {
        self.log.rest()
    }
}
