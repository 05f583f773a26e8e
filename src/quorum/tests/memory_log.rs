//! A log in memory whose content outlives the node that wrote it, like a disk.

use std::sync::{Arc, Mutex};

use crate::quorum::entry_log::{Encoded, EntryLog, EntryLogError};
use crate::quorum::envelope::{self, Kind};
use crate::quorum::types::{LogId, RaftEntry};

#[derive(Debug, Default)]
struct Content {
    start: u64,
    entries: Vec<Vec<u8>>,
    flushed: usize,
}

/// The "disk". Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryLog {
    content: Arc<Mutex<Content>>,
}

impl MemoryLog {
    /// Forgets what was never flushed.
    pub(crate) fn cut_power(&self) {
        let mut content = self.content.lock().unwrap();
        let flushed = content.flushed;
        content.entries.truncate(flushed);
    }
}

impl EntryLog for MemoryLog {
    fn start(&self) -> u64 {
        self.content.lock().unwrap().start
    }

    fn end(&self) -> u64 {
        let content = self.content.lock().unwrap();
        content.start + content.entries.len() as u64
    }

    fn append(&mut self, entries: &[Encoded<'_>]) -> Result<(), EntryLogError> {
        for entry in entries {
            // openraft's suite appends below what it purged and leaves a hole; no leader does.
            if entry.index < self.start() {
                continue;
            }
            for index in self.end()..entry.index {
                let leader = openraft::CommittedLeaderId::new(entry.term, 0);
                let blank = RaftEntry { log_id: LogId::new(leader, index), payload: openraft::EntryPayload::Blank };
                let blank = envelope::encode(Kind::Entry, &blank).unwrap();
                self.content.lock().unwrap().entries.push(blank);
            }
            assert_eq!(entry.index, self.end(), "entries are consecutive");
            self.content.lock().unwrap().entries.push(entry.bytes.to_vec());
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EntryLogError> {
        let mut content = self.content.lock().unwrap();
        content.flushed = content.entries.len();
        Ok(())
    }

    fn read(&mut self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<Vec<u8>>, EntryLogError> {
        let content = self.content.lock().unwrap();
        let at = |index: u64| usize::try_from(index - content.start).unwrap();
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        for entry in &content.entries[at(from)..at(end)] {
            bytes += entry.len();
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn truncate(&mut self, end: u64) -> Result<(), EntryLogError> {
        let mut content = self.content.lock().unwrap();
        let keep = usize::try_from(end - content.start).unwrap();
        content.entries.truncate(keep);
        content.flushed = content.flushed.min(keep);
        Ok(())
    }

    fn purge(&mut self, start: u64) -> Result<(), EntryLogError> {
        let mut content = self.content.lock().unwrap();
        let gone = usize::try_from(start - content.start).unwrap().min(content.entries.len());
        content.entries.drain(..gone);
        content.flushed = content.entries.len();
        content.start = start;
        Ok(())
    }
}
