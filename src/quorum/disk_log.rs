//! The quorum's log as a `storage::Log`: one record batch per raft entry, offset = index, epoch = term, value = the
//! entry's envelope. One format, one recovery, one fuzzer with the partitions.
//!
//! Called by the log's owner thread only.
//! Invariant: batches are consecutive and hold one record each, so that every index is a batch boundary.

use std::path::Path;
use std::sync::Arc;

use super::entry_log::{Encoded, EntryLog, EntryLogError};
use crate::env::{Clock, Files};
use crate::model::{LeaderEpoch, Offset};
use crate::records::{Batch, Builder, Codec, Draft, split};
use crate::storage::{Cleanup, FirstBatch, Home, Log, LogOptions};

/// Small, because only whole segments are given back after a snapshot.
const SEGMENT_BYTES: u32 = 16 << 20;
/// An entry's envelope is bounded; nothing is compressed.
const RECORD_BYTES_MAX: usize = 2 << 20;

/// See the file's comment.
#[derive(Debug)]
pub(crate) struct DiskLog {
    home: Arc<Home>,
    log: Log,
    clock: Arc<dyn Clock>,
}

fn error(source: impl std::error::Error + Send + Sync + 'static) -> EntryLogError {
    EntryLogError(Box::new(source))
}

fn offset(index: u64) -> Offset {
    Offset::new(i64::try_from(index).expect("a log has fewer than 2^63 entries"))
}

fn index(offset: Offset) -> u64 {
    u64::try_from(offset.get()).expect("an offset in a log is not negative")
}

impl DiskLog {
    /// Opens the log in `dir`, made if it is not there.
    pub(crate) fn open(files: Arc<dyn Files>, dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, EntryLogError> {
        let home = Home::alone(files, dir).map_err(error)?;
        let options = LogOptions {
            segment_bytes: SEGMENT_BYTES,
            retention_span: None,
            cleanup: Cleanup { delete: false, compact: false },
            ..LogOptions::default()
        };
        let (log, recovery) = Log::open_at(&home, options, clock.now()).map_err(error)?;
        tracing::info!(?recovery, "metadata log opened");
        Ok(Self { home, log, clock })
    }

    fn batch(entry: &Encoded<'_>, clock: &dyn Clock) -> Result<Batch, EntryLogError> {
        let term = i32::try_from(entry.term).map_err(error)?;
        let builder = Builder::new(Codec::None);
        let mut builder = builder.base_offset(offset(entry.index)).leader_epoch(LeaderEpoch::new(term));
        let draft = Draft { timestamp: clock.now().timestamp, value: Some(entry.bytes), ..Draft::default() };
        builder.push(draft).map_err(error)?;
        builder.build().map_err(error)
    }

    /// The envelope in a batch at `wanted`.
    fn envelope(batch: &Batch, wanted: u64) -> Result<Vec<u8>, EntryLogError> {
        let damaged = |what: &str| error(std::io::Error::other(format!("entry {wanted}: {what}")));
        if batch.base_offset() != offset(wanted) || batch.next_offset() != offset(wanted + 1) {
            return Err(damaged("another batch stands there"));
        }
        if !batch.crc_is_valid() {
            return Err(damaged("its CRC does not match"));
        }
        let mut records = batch.records(RECORD_BYTES_MAX).map_err(error)?;
        let record = records.next().ok_or_else(|| damaged("an empty batch"))?.map_err(error)?;
        record.value.map(|value| value.to_vec()).ok_or_else(|| damaged("a record without a value"))
    }
}

impl EntryLog for DiskLog {
    fn start(&self) -> u64 {
        index(self.log.start())
    }

    fn end(&self) -> u64 {
        index(self.log.end())
    }

    fn append(&mut self, entries: &[Encoded<'_>]) -> Result<(), EntryLogError> {
        let first = entries.first().map_or(self.end(), |entry| entry.index);
        assert_eq!(first, self.end(), "openraft appends at the log's end");
        let batches = entries.iter().map(|entry| Self::batch(entry, &*self.clock));
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        self.log.append_fetched(&batches, self.clock.now()).map_err(error)
    }

    fn flush(&mut self) -> Result<(), EntryLogError> {
        let end = self.log.flush_now(self.clock.now()).map_err(error)?;
        assert_eq!(end, self.log.end(), "a flush with nothing written meanwhile reaches the end");
        Ok(())
    }

    fn read(&mut self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<Vec<u8>>, EntryLogError> {
        let plan = self.log.read(offset(from), offset(end), bytes_max, FirstBatch::Whole).map_err(error)?;
        let mut found = Vec::new();
        for (next, batch) in (from..).zip(split(plan.read().map_err(error)?)) {
            found.push(Self::envelope(&batch.map_err(error)?, next)?);
        }
        if found.is_empty() {
            return Err(error(std::io::Error::other(format!("entry {from} is not in the log"))));
        }
        Ok(found)
    }

    fn truncate(&mut self, end: u64) -> Result<(), EntryLogError> {
        let cut = self.log.truncate(offset(end)).map_err(error)?;
        assert_eq!(index(cut), end, "every index is a batch boundary");
        Ok(())
    }

    fn purge(&mut self, start: u64) -> Result<(), EntryLogError> {
        if start > self.end() {
            return self.log.reset(offset(start)).map_err(error);
        }
        self.log.advance_start(offset(start));
        self.log.flush_now(self.clock.now()).map_err(error)?;
        self.log.purge(self.clock.now()).map_err(error)?;
        Ok(())
    }

    fn rest(&mut self) -> Result<(), EntryLogError> {
        // What is durable is attested a little later; without this, the last group before an idle time would look like
        // a torn tail if it rotted.
        let due = self.home.flush_log().attest_due();
        if due.is_some_and(|due| due <= self.clock.now().instant) {
            self.home.flush_log().attest().map_err(error)?;
        }
        Ok(())
    }
}
