//! Cuts a log's end off, or all of it, durably.
//!
//! Invariant: the flush log says so first, durably, so that after a crash in between no byte that is missing was still
//! attested; when it returns, log, epochs, indexes and producers agree and are on the disk.

use std::io;
use std::path::Path;

use crate::env::{OpenMode, SyncItem};
use crate::model::{EpochHistory, Offset};
use crate::probe::{Mutant, planted};

use super::attestation::Attested;
use super::checkpoint::{encode_epochs, replace};
use super::derive::{EPOCHS_FILE, Stage};
use super::error::{LogError, OpenError};
use super::log::Log;
use super::offset_index::OffsetEntry;
use super::producer_state::Producers;
use super::resume::IndexEntries;
use super::scan::HeadersFrom;
use super::segment::{DerivedAt, Place, Suffix, unless_unreadable};
use super::tail::Tail;

/// Where to cut.
struct Cut {
    index: usize,
    position: u64,
    /// Where the last batch before the cut ends.
    end: Offset,
    /// Whether that segment is the active one before the cut, too.
    was_active: bool,
}

impl Log {
    /// Removes everything from `to` on, and the batch that holds `to` if it starts before. Returns the new end. Durable
    /// when it returns; then the whole log is.
    ///
    /// # Errors
    /// The disk refused: the log is poisoned, and may or may not be cut.
    pub fn truncate(&mut self, to: Offset) -> Result<Offset, LogError> {
        self.check_writable()?;
        if to >= self.end {
            return Ok(self.end);
        }
        if to <= self.start {
            self.reset(to)?;
            return Ok(self.end);
        }
        let cut = self.place_cut(to)?;
        if cut.end < self.start {
            // Only what is deleted would be left, and a gap behind it, at which nothing would tell the end.
            let producers = match self.producers_before(cut.end) {
                // What is deleted need not be sound.
                Err(error) if error.is_damage() => Producers::default(),
                producers => producers?,
            };
            self.begin_anew(self.start, producers)?;
            return Ok(self.end);
        }
        let segment = self.segments[cut.index].base;
        let derived = if self.derived.at.place.offset <= cut.end {
            self.derived.at
        } else {
            DerivedAt::front_of(segment, segment)
        };
        let epoch = self.epochs.epoch_at(Offset::new(cut.end.get() - 1)).unwrap_or(self.latest_epoch());
        let end = Place { segment, position: cut.position, offset: cut.end };
        self.poisoned = true;
        self.unsynced.incarnation =
            self.home.flush_log.lower(self.id, Attested { start: self.start, end, epoch, derived })?;
        self.lower_clean_end(cut.end)?;
        self.structure += 1;
        self.cut_files(&cut)?;
        self.resume_after(&cut)?;
        self.settle()?;
        self.poisoned = false;
        Ok(self.end)
    }

    /// Empties the log and lets it start at `start`. Durable when it returns.
    ///
    /// # Errors
    /// As `truncate`.
    pub fn reset(&mut self, start: Offset) -> Result<(), LogError> {
        self.begin_anew(start, Producers::default())
    }

    /// As `reset`, with producers whose batches lie before the start.
    pub(super) fn begin_anew(&mut self, start: Offset, producers: Producers) -> Result<(), LogError> {
        self.check_writable()?;
        let end = Place { segment: start, position: 0, offset: start };
        let derived = DerivedAt::front_of(start, start);
        self.poisoned = true;
        self.unsynced.incarnation =
            self.home.flush_log.revise(self.id, Attested { start, end, epoch: self.latest_epoch(), derived })?;
        self.lower_clean_end(start)?;
        self.structure += 1;
        self.reset_files()?;
        (self.start, self.end, self.flushed, self.written_from) = (start, start, start, start);
        self.derived.at = derived;
        self.epochs = EpochHistory::default();
        if !producers.is_empty() {
            // A start reads their snapshot only where a segment stands.
            self.make_segment(start)?;
        }
        self.producers = producers;
        self.settle()?;
        self.poisoned = false;
        Ok(())
    }

    fn place_cut(&self, to: Offset) -> Result<Cut, LogError> {
        let index = self.segments.partition_point(|segment| segment.base <= to).saturating_sub(1);
        let located = self.locate(index, to).and_then(|at| {
            let segment_end = (self.segments[index].size, self.segment_end(index));
            let (position, base) = at.map_or(segment_end, |at| (at.position, at.base));
            Ok((
                position,
                self.end_before(index, Place { segment: self.segments[index].base, position, offset: base })?,
            ))
        });
        let failure = |e| Self::failure(&self.path_of(self.segments[index].base, Suffix::Log), e);
        let (position, end) = located.map_err(failure)?;
        Ok(Cut { index, position, end, was_active: self.is_active(index) })
    }

    /// The end of the batch before a boundary: a log never ends in a gap that compaction left, where nothing on the
    /// disk would tell its end. What a header tells is compared with what stands behind it before it is attested.
    fn end_before(&self, index: usize, boundary: Place) -> io::Result<Offset> {
        let Place { segment, position, offset } = boundary;
        let left = |entry: OffsetEntry| entry.last < offset && entry.position < position;
        let end = self.walk(index, HeadersFrom::batch(0, segment), position, left, |headers| {
            while headers.step()?.is_some() {}
            let end = headers.place().1.expect("a walk that reads no header begins at a known base");
            if end == offset || end < offset && offset <= self.thinned_end() {
                Ok(Some(end))
            } else {
                Err(headers.misplaced())
            }
        })?;
        Ok(end.expect("the visit gives an end"))
    }

    fn cut_files(&mut self, cut: &Cut) -> Result<(), LogError> {
        // From the end, so that what a crash leaves has no hole.
        for index in (cut.index + 1..self.segments.len()).rev() {
            self.remove_segment_files(self.segments[index].base)?;
        }
        self.remove_snapshots_after(cut.end)?;
        self.segments.truncate(cut.index + 1);
        self.writer = None;
        let path = self.path_of(self.segments[cut.index].base, Suffix::Log);
        let file = self.file(cut.index, Suffix::Log, OpenMode::Write).map_err(|e| Self::failure(&path, e))?;
        file.set_len(cut.position).map_err(|e| Self::failure(&path, e))?;
        self.unsynced.note_file(&file);
        self.writer = Some(file);
        self.unsynced.directory = true;
        Ok(())
    }

    fn resume_after(&mut self, cut: &Cut) -> Result<(), LogError> {
        // The segment that is active now may have been closed: then all of its entries are in the files.
        let trusted = cut
            .was_active
            .then_some(IndexEntries { offsets: self.tail.offsets_written, times: self.tail.times_written });
        self.segments[cut.index].size = cut.position;
        self.segments[cut.index].largest = None;
        self.end = cut.end;
        self.written_from = self.written_from.min(cut.end);
        let path = self.directory.clone();
        let entries = unless_unreadable(self.entries_below_end(trusted).map(Some));
        let resumed = entries.and_then(|entries| self.resume_tail(entries.unwrap_or_default()));
        resumed.map_err(|e| Self::failure(&path, e))?;
        if !planted(Mutant::EpochsSurviveCut) {
            self.epochs.truncate_end(cut.end);
        }
        self.producers = self.producers_before(cut.end)?;
        Ok(())
    }

    fn producers_before(&self, end: Offset) -> Result<Producers, LogError> {
        self.producers_as_of(end).map_err(|error| match error {
            OpenError::Log(error) => error,
            OpenError::Corrupt(corruption) => {
                Self::failure(&corruption.path, io::Error::new(io::ErrorKind::InvalidData, corruption.clone()))
            }
        })
    }

    /// Writes what is derived as of the end and syncs everything at once.
    fn settle(&mut self) -> Result<(), LogError> {
        if !self.has_directory {
            return Ok(());
        }
        if !self.segments.is_empty() {
            self.tail.push_time();
            self.write_indexes()?;
            self.write_snapshot(self.end)?;
        }
        let items = self.items();
        let items: Vec<SyncItem> = self.unsynced.take_all(items);
        self.home.files.sync_all(&self.home.root, &items).map_err(|e| Self::failure(&self.directory, e))?;
        let path = self.directory.join(EPOCHS_FILE);
        replace(&*self.home.files, &path, encode_epochs(&self.epochs).as_bytes())
            .map_err(|e| Self::failure(&path, e))?;
        self.derived.epochs_changed = false;
        self.derived.stage = Stage::Settled;
        if !self.segments.is_empty() {
            self.derived.at = self.derived_here();
        }
        self.flushed = self.end;
        self.home.flush_log.note(self.id, self.attestable(self.derived.at));
        self.writer = None;
        Ok(())
    }

    /// Removes all segments and snapshots.
    fn reset_files(&mut self) -> Result<(), LogError> {
        for index in (0..self.segments.len()).rev() {
            self.remove_segment_files(self.segments[index].base)?;
        }
        self.remove_snapshots_after(Offset::new(-1))?;
        self.segments.clear();
        self.tail = Tail::default();
        self.writer = None;
        // A log that was never written has no directory to sync.
        self.unsynced.directory = self.has_directory;
        // Their content is of no interest any more; a sync of a removed file does no harm.
        Ok(())
    }

    /// Removes a segment's files but for the snapshot, log first: an index alone is nothing.
    pub(super) fn remove_segment_files(&self, base: Offset) -> Result<(), LogError> {
        for suffix in [Suffix::Log, Suffix::OffsetIndex, Suffix::TimeIndex] {
            self.home.handles.forget((self.number, base, suffix));
            let path = self.path_of(base, suffix);
            remove_if_there(&*self.home.files, &path).map_err(|e| Self::failure(&path, e))?;
        }
        Ok(())
    }

    /// Removes the snapshots that lie behind `end`.
    pub(super) fn remove_snapshots_after(&self, end: Offset) -> Result<(), LogError> {
        if !self.has_directory {
            return Ok(());
        }
        let entries = self.home.files.list(&self.directory).map_err(|e| Self::failure(&self.directory, e))?;
        for entry in entries {
            if let Some((offset, Suffix::Snapshot)) = Suffix::parse(&entry.name)
                && offset > end
            {
                let path = self.directory.join(&entry.name);
                remove_if_there(&*self.home.files, &path).map_err(|e| Self::failure(&path, e))?;
            }
        }
        Ok(())
    }
}

pub(super) fn remove_if_there(files: &dyn crate::env::Files, path: &Path) -> io::Result<()> {
    match files.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
