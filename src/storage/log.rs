//! The log of one partition: what is in memory of it, and the verbs that need no file.
//!
//! Called by `partition` and `quorum`; each log has one owner. The verbs that touch files stand each in a file of their
//! own: `append`, `read`, `timestamps`, `flush`, `truncate`, `retain`, `compact`; `recover` makes a log out of its files.
//!
//! Invariants: start <= flushed end <= end, once the start was not moved past the flushed end; segments are ordered and
//! the last is the active one; a log that was never written has no segment and no directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{File, OpenMode};
use crate::model::{EpochHistory, LeaderEpoch, Now, Offset, PartitionId, PartitionIndex, TopicId, TopicName};

use super::attestation::Attested;
use super::compact::Marker;
use super::data_dir::DataDir;
use super::derive::Derived;
use super::error::{LogError, OpenError};
use super::flush::Unsynced;
use super::flush_log::FlushLog;
use super::home::Home;
use super::options::LogOptions;
use super::producer_state::Producers;
use super::recover::{self, Recovery};
use super::retain::Doomed;
use super::segment::{DerivedAt, Place, Segment, Suffix};
use super::tail::Tail;

/// See the file's comment.
#[derive(Debug)]
pub struct Log {
    pub(super) home: Arc<Home>,
    pub(super) id: PartitionId,
    pub(super) directory: PathBuf,
    /// Tells its files from those of other logs in the cache of handles.
    pub(super) number: u64,
    pub(super) options: LogOptions,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) flushed: Offset,
    pub(super) epochs: EpochHistory,
    pub(super) producers: Producers,
    pub(super) segments: Vec<Segment>,
    pub(super) tail: Tail,
    /// The descriptor of the active segment, while it has writes that are not synced (rule S7).
    pub(super) writer: Option<Arc<dyn File>>,
    pub(super) unsynced: Unsynced,
    pub(super) derived: Derived,
    /// Files of deleted segments that wait for their removal.
    pub(super) doomed: Vec<Doomed>,
    /// Whether the directory, with its `partition.metadata`, is there.
    pub(super) has_directory: bool,
    pub(super) poisoned: bool,
    /// What is known of its compaction.
    pub(super) marker: Marker,
    /// Counts the changes of its segments other than at their end.
    pub(super) structure: u64,
    /// Whether the flush log says, or is to say, that appends may count unflushed.
    pub(super) is_volatile: bool,
    /// The end when appends were last told to count flushed only; see `volatile.rs`.
    pub(super) durable_from: Option<Offset>,
    /// From here on this process has written the log, not long ago.
    pub(super) written_from: Offset,
}

impl Log {
    /// Opens the log of a partition, recovering what a crash left. One that was never written is empty and makes no
    /// directory until its first append.
    ///
    /// # Errors
    /// Attested data is not what it was, or the disk refused.
    pub fn open(
        dir: &DataDir,
        name: &TopicName,
        id: PartitionId,
        options: LogOptions,
        now: Now,
    ) -> Result<(Self, Recovery), OpenError> {
        let directory = dir.home().root.join(format!("{name}-{}", id.index));
        recover::open(dir.home().clone(), id, directory, options, now)
    }

    /// Opens the only log of a home (see [`Home::alone`]).
    ///
    /// # Errors
    /// As `open`.
    pub fn open_at(home: &Arc<Home>, options: LogOptions, now: Now) -> Result<(Self, Recovery), OpenError> {
        let only = PartitionId { topic: TopicId::ZERO, index: PartitionIndex::new(0) };
        recover::open(home.clone(), only, home.root.clone(), options, now)
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The end of what is known to be on the disk (rule S1).
    #[must_use]
    pub fn flushed_end(&self) -> Offset {
        self.flushed
    }

    /// Where each leader epoch starts.
    #[must_use]
    pub fn epochs(&self) -> &EpochHistory {
        &self.epochs
    }

    /// The state of its producers.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The partition it belongs to.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.id
    }

    /// The flush log of its home.
    #[must_use]
    pub fn flush_log(&self) -> &FlushLog {
        &self.home.flush_log
    }

    /// Its directory, there or not.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether an earlier failure forbids further writes; drop it and open it anew.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Takes other settings; they count from the next append on.
    pub fn set_options(&mut self, options: LogOptions) {
        self.options = options;
    }

    /// Notes that the epoch starts at the current end (rule R2). It costs no sync: an epoch that has records is read
    /// from them after a crash, and one that has none is of no consequence.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.begin(epoch, self.end) {
            self.derived.epochs_changed = true;
        }
    }

    pub(super) fn check_writable(&self) -> Result<(), LogError> {
        if self.poisoned { Err(LogError::Poisoned) } else { Ok(()) }
    }

    pub(super) fn active(&self) -> Option<&Segment> {
        self.segments.last()
    }

    pub(super) fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log that is written has a segment")
    }

    pub(super) fn is_active(&self, index: usize) -> bool {
        index + 1 == self.segments.len()
    }

    /// Where the log ends.
    pub(super) fn end_place(&self) -> Place {
        match self.active() {
            Some(active) => Place { segment: active.base, position: active.size, offset: self.end },
            None => Place { segment: self.end, position: 0, offset: self.end },
        }
    }

    /// What may be attested once everything up to the end is synced.
    pub(super) fn attestable(&self, derived: DerivedAt) -> Attested {
        Attested { start: self.start, end: self.end_place(), epoch: self.latest_epoch(), derived }
    }

    pub(super) fn latest_epoch(&self) -> LeaderEpoch {
        self.epochs.latest().map_or(LeaderEpoch::NONE, |latest| latest.epoch)
    }

    /// The path of one of its files.
    pub(super) fn path_of(&self, base: Offset, suffix: Suffix) -> PathBuf {
        self.directory.join(suffix.file_name(base))
    }

    /// An open file of a segment; for the active segment the descriptor that has unflushed writes, if there is one.
    pub(super) fn file(&self, index: usize, suffix: Suffix, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if suffix == Suffix::Log
            && self.is_active(index)
            && let Some(writer) = &self.writer
        {
            return Ok(writer.clone());
        }
        self.home.handles.get((self.number, self.segments[index].base, suffix), &self.directory, mode)
    }

    /// An error with the name of the file.
    pub(super) fn failure(path: &Path, source: io::Error) -> LogError {
        LogError::Io { path: path.to_owned(), source }
    }
}
