//! What of a log is not synced yet, and the orders to sync it.
//!
//! Called by `partition` once per turn, and by `quorum`. Invariant: the flushed end rises only in `flush_done`, by an
//! order of this life of the log (rule S1).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::env::{File, OpenMode, SyncItem};
use crate::model::{Now, Offset};
use crate::probe::{Mark, Mutant, mark, planted};

use super::error::LogError;
use super::flush_log::{FlushOrder, Flushed, Ticket};
use super::log::Log;
use super::segment::Suffix;

/// What was written since the last order, and what orders are under way.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    pub(super) incarnation: u64,
    pub(super) serial: u64,
    /// Files with writes, by the descriptors that wrote (rule S7).
    pub(super) files: Vec<Arc<dyn File>>,
    /// Whether entries of the log's directory are new, renamed or gone.
    pub(super) directory: bool,
    /// Whether the directory itself is new.
    pub(super) root: bool,
    /// Whether the flush log should hear of something that needs no sync.
    pub(super) statement: bool,
    /// What orders under way will sync, kept until they have (rule S7).
    pub(super) in_flight: VecDeque<(u64, Vec<SyncItem>)>,
}

impl Unsynced {
    pub(super) fn note_file(&mut self, file: &Arc<dyn File>) {
        if !self.files.iter().any(|known| Arc::ptr_eq(known, file)) {
            self.files.push(file.clone());
        }
    }

    fn has_items(&self) -> bool {
        self.directory || self.root || !self.files.is_empty()
    }

    /// Takes everything that waits for a sync or is under way to one, for a sync at once.
    pub(super) fn take_all(&mut self, items: Vec<SyncItem>) -> Vec<SyncItem> {
        let under_way = std::mem::take(&mut self.in_flight).into_iter().flat_map(|(_, items)| items);
        items.into_iter().chain(under_way).collect()
    }

    /// Whether nothing waits and nothing is under way.
    pub(super) fn is_settled(&self) -> bool {
        !self.has_items() && self.in_flight.is_empty()
    }
}

impl Log {
    /// What must be synced for the present end to be durable; `None` when nothing is new. Give it to
    /// [`super::FlushLog::flush`] and its answer to `flush_done`, or call `flush_failed`.
    pub fn pending_flush(&mut self) -> Option<FlushOrder> {
        if self.poisoned {
            return None;
        }
        if self.derived_is_due() {
            // It can wait for a better day; the log itself is not harmed.
            let _ = self.write_derived();
        }
        self.order()
    }

    /// Notes that an order was carried out. One from before a truncation is ignored.
    pub fn flush_done(&mut self, flushed: &Flushed) {
        if flushed.ticket.incarnation != self.unsynced.incarnation && !planted(Mutant::FormerFlushCounts) {
            mark(Mark::FormerFlush);
            return;
        }
        assert!(flushed.end <= self.end, "a log that was cut has another incarnation");
        let serial = flushed.ticket.serial;
        while self.unsynced.in_flight.front().is_some_and(|(first, _)| *first <= serial) {
            self.unsynced.in_flight.pop_front();
        }
        self.flushed = self.flushed.max(flushed.end);
        self.derived_synced(serial);
        if self.unsynced.is_settled() {
            self.writer = None;
        }
    }

    /// Notes that a flush failed: nothing more is written here, and what was not durable is not (style rule 26).
    pub fn flush_failed(&mut self) {
        self.poisoned = true;
    }

    /// Flushes at once, alone. For the quorum's log; partitions flush in groups.
    ///
    /// # Errors
    /// The sync failed: the log is poisoned.
    pub fn flush_now(&mut self, now: Now) -> Result<Offset, LogError> {
        self.check_writable()?;
        if let Some(order) = self.pending_flush() {
            self.carry_out(order, now)?;
        }
        Ok(self.flushed)
    }

    /// The log is idle, or the node stops: everything in memory is written, and its files are closed. Call it again
    /// after `flush_done` until `None`.
    pub fn rest(&mut self) -> Option<FlushOrder> {
        if self.poisoned {
            return None;
        }
        if self.derived_is_behind() {
            let _ = self.write_derived();
        }
        if let Some(order) = self.order() {
            return Some(order);
        }
        if self.unsynced.is_settled() {
            self.writer = None;
            self.tail.shrink();
            self.written_from = self.end;
            self.home.handles.forget_log(self.number);
        }
        None
    }

    /// `rest` and its flushes, at once.
    ///
    /// # Errors
    /// As `flush_now`.
    pub fn rest_now(&mut self, now: Now) -> Result<(), LogError> {
        self.check_writable()?;
        while let Some(order) = self.rest() {
            self.carry_out(order, now)?;
        }
        self.home.flush_log.attest()?;
        Ok(())
    }

    fn carry_out(&mut self, order: FlushOrder, now: Now) -> Result<(), LogError> {
        let flush_log = self.home.flush_log.clone();
        match flush_log.flush(vec![order], now) {
            Ok(flushed) => {
                flushed.iter().for_each(|one| self.flush_done(one));
                Ok(())
            }
            Err(error) => {
                self.flush_failed();
                Err(error.into())
            }
        }
    }

    fn order(&mut self) -> Option<FlushOrder> {
        if !self.unsynced.has_items() && !self.unsynced.statement {
            return None;
        }
        let items = self.items();
        self.unsynced.serial += 1;
        let serial = self.unsynced.serial;
        let derived = self.derived_ordered(serial);
        let attested = self.attestable(derived);
        if !items.is_empty() {
            self.unsynced.in_flight.push_back((serial, items.clone()));
        }
        self.unsynced.statement = false;
        let ticket = Ticket { incarnation: self.unsynced.incarnation, serial };
        Some(FlushOrder { partition: self.id, end: self.end, items, attested, ticket })
    }

    /// Takes what waits for a sync.
    pub(super) fn items(&mut self) -> Vec<SyncItem> {
        let files = std::mem::take(&mut self.unsynced.files).into_iter();
        let mut items: Vec<SyncItem> = files.map(|file| SyncItem::File(self.descriptor_for(file))).collect();
        if std::mem::take(&mut self.unsynced.directory) && !planted(Mutant::DirectoryUnsynced) {
            items.push(SyncItem::Directory(self.directory.clone()));
        }
        if std::mem::take(&mut self.unsynced.root) && self.directory != self.home.root {
            items.push(SyncItem::Directory(self.home.root.clone()));
        }
        items
    }

    /// The descriptor to sync for one that wrote: that very one (rule S7).
    fn descriptor_for(&self, wrote: Arc<dyn File>) -> Arc<dyn File> {
        let is_writer = self.writer.as_ref().is_some_and(|writer| Arc::ptr_eq(writer, &wrote));
        let Some(active) = self.active().filter(|_| is_writer && planted(Mutant::SyncsAnotherDescriptor)) else {
            return wrote;
        };
        self.home.files.open(&self.path_of(active.base, Suffix::Log), OpenMode::Write).unwrap_or(wrote)
    }
}
