//! Makes what is kept in memory of a log anew out of its files, for a segment whose bytes up to `size` are right.
//!
//! Called by `recover` and `truncate`. Invariant: what is made is what appending the same batches would have left.

use std::io;

use crate::env::{OpenMode, is_media_error};
use crate::model::Offset;
use crate::probe::{Mark, mark};
use crate::records::Batch;

use super::append::{as_u64, marker_of};
use super::error::{Corruption, LogError, OpenError};
use super::log::Log;
use super::offset_index::{ENTRY_BYTES as OFFSET_BYTES, OffsetEntry, OffsetIndex};
use super::producer_snapshot;
use super::producer_state::Producers;
use super::scan::{Headers, HeadersFrom, Misplaced};
use super::segment::{Suffix, is_unreadable, read_whole, unless_unreadable};
use super::tail::Tail;
use super::time_index::{ENTRY_BYTES as TIME_BYTES, TimeEntry, TimeIndex};

/// How many entries of the active segment's index files count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct IndexEntries {
    pub(super) offsets: u64,
    pub(super) times: u64,
}

impl Log {
    /// How many entries of the active segment's files lie below the end. Only for files whose every entry was written
    /// by this process, or is known to be durable.
    pub(super) fn entries_below_end(&self, trusted: Option<IndexEntries>) -> io::Result<IndexEntries> {
        let index = self.segments.len() - 1;
        let (base, end) = (self.segments[index].base, self.end);
        let offsets = self.index_file(index, Suffix::OffsetIndex, OFFSET_BYTES, trusted.map(|t| t.offsets))?;
        let times = self.index_file(index, Suffix::TimeIndex, TIME_BYTES, trusted.map(|t| t.times))?;
        let offsets = match &offsets {
            Some((file, count)) => OffsetIndex { file: &**file, base, count: *count }.count_where(|e| e.last < end)?,
            None => 0,
        };
        let times = match &times {
            Some((file, count)) => TimeIndex { file: &**file, base, count: *count }.count_where(|e| e.last < end)?,
            None => 0,
        };
        Ok(IndexEntries { offsets, times })
    }

    /// Makes the tail of the active segment; cuts its index files to `entries`. An index that is not what was written
    /// is made anew, from the headers of this segment alone.
    pub(super) fn resume_tail(&mut self, entries: IndexEntries) -> io::Result<()> {
        match self.resume_tail_behind(entries) {
            Err(error) if is_of_index(&error) => self.resume_tail_behind(IndexEntries::default()),
            resumed => resumed,
        }
    }

    fn resume_tail_behind(&mut self, entries: IndexEntries) -> io::Result<()> {
        let index = self.segments.len() - 1;
        let segment = self.segments[index];
        self.cut_index(index, Suffix::OffsetIndex, entries.offsets * as_u64(OFFSET_BYTES))?;
        self.cut_index(index, Suffix::TimeIndex, entries.times * as_u64(TIME_BYTES))?;
        let last = match self.index_file(index, Suffix::OffsetIndex, OFFSET_BYTES, Some(entries.offsets))? {
            Some((file, count)) => OffsetIndex { file: &*file, base: segment.base, count }.last_where(|_| true)?,
            None => None,
        };
        let last_time = match self.index_file(index, Suffix::TimeIndex, TIME_BYTES, Some(entries.times))? {
            Some((file, count)) => TimeIndex { file: &*file, base: segment.base, count }.last()?,
            None => None,
        };
        self.tail = Tail::resumed(entries.offsets, entries.times, last_time);
        if segment.size == 0 {
            return Ok(());
        }
        // An entry that names a place behind the end would hide the batches that come after the right one.
        let is_beyond = last.is_some_and(|entry| entry.position >= segment.size);
        if is_beyond || last_time.map_or(Ok(false), |entry| self.is_confirmed(index, entry).map(|is| !is))? {
            return self.resume_tail_behind(IndexEntries::default());
        }
        // From the last indexed batch on the batches are noted as if appended now.
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let from = last.map_or(HeadersFrom::batch(0, segment.base), HeadersFrom::entry);
        let mut headers = Headers::new(&*file, from, segment.size, self.thinned_end());
        while let Some((position, header)) = headers.step()? {
            self.tail.note(position, &header, self.options.index_interval_bytes);
        }
        Ok(())
    }

    /// Whether the batch that an entry names is there and says the same.
    fn is_confirmed(&self, index: usize, entry: TimeEntry) -> io::Result<bool> {
        match self.locate(index, entry.last) {
            Ok(found) => Ok(found.is_some_and(|batch| entry.is_of(&batch))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn cut_index(&self, index: usize, suffix: Suffix, bytes: u64) -> io::Result<()> {
        let file = match self.file(index, suffix, OpenMode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && bytes == 0 => return Ok(()),
            Err(error) => return Err(error),
        };
        if file.len()? < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.set_len(bytes)
    }

    /// The producers as of `at`: the newest snapshot not beyond it, and the batches from there.
    pub(super) fn producers_as_of(&self, at: Offset) -> Result<Producers, OpenError> {
        let (from, mut producers) = self.newest_snapshot(at).map_err(|e| Self::failure(&self.directory, e))?;
        let first = self.segments.partition_point(|segment| segment.base <= from).saturating_sub(1);
        for index in first..self.segments.len() {
            let replayed = self.replay_producers(index, from, at, &mut producers);
            replayed.map_err(|e| self.open_error(index, e))?;
        }
        Ok(producers)
    }

    fn newest_snapshot(&self, at: Offset) -> io::Result<(Offset, Producers)> {
        let first = self.segments.first().map_or(at, |segment| segment.base);
        let names = self.home.files.list(&self.directory)?;
        let mut offsets: Vec<Offset> = names
            .iter()
            .filter_map(|entry| Suffix::parse(&entry.name))
            .filter(|(offset, suffix)| *suffix == Suffix::Snapshot && *offset <= at && *offset >= first)
            .map(|(offset, _)| offset)
            .collect();
        while let Some(offset) = offsets.pop() {
            let path = self.path_of(offset, Suffix::Snapshot);
            let bytes = unless_unreadable(read_whole(&*self.home.files, &path))?.unwrap_or_default();
            if let Some(producers) = producer_snapshot::decode(&bytes) {
                mark(Mark::ProducersLoaded);
                return Ok((offset, producers));
            }
        }
        Ok((first, Producers::default()))
    }

    /// Notes the batches of one segment in `from..to`.
    fn replay_producers(&self, index: usize, from: Offset, to: Offset, producers: &mut Producers) -> io::Result<()> {
        let segment = self.segments[index];
        if from >= to || segment.base >= to || segment.size == 0 {
            return Ok(());
        }
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let front = HeadersFrom::batch(0, segment.base);
        let left = |entry: OffsetEntry| entry.last < from;
        self.walk(index, front, segment.size, left, |headers| {
            while let Some((position, header)) = headers.step()? {
                if header.base_offset >= to {
                    break;
                }
                if header.base_offset < from || !header.has_producer() {
                    continue;
                }
                if !header.is_control() {
                    producers.apply(&header);
                    continue;
                }
                let mut bytes = vec![0; header.size()];
                let read = file.read_at(position, &mut bytes);
                read.map_err(|error| if is_media_error(&error) { headers.misplaced() } else { error })?;
                let batch = Batch::parse(bytes.into()).map_err(|_| headers.misplaced())?;
                if let Ok(Some(marker)) = marker_of(&batch) {
                    producers.apply_marker(&header, marker);
                }
            }
            Ok(None::<()>)
        })?;
        Ok(())
    }

    /// Writes the index files of a segment that is not active and has lost one.
    pub(super) fn rebuild_indexes(&mut self, index: usize) -> io::Result<()> {
        let segment = self.segments[index];
        let file = self.file(index, Suffix::Log, OpenMode::Read)?;
        let mut tail = Tail::default();
        let mut headers = Headers::new(&*file, HeadersFrom::batch(0, segment.base), segment.size, self.thinned_end());
        while let Some((position, header)) = headers.step()? {
            tail.note(position, &header, self.options.index_interval_bytes);
        }
        tail.push_time();
        let offsets: Vec<u8> = tail.offsets.iter().flat_map(|entry| entry.encode(segment.base)).collect();
        let times: Vec<u8> = tail.times.iter().flat_map(|entry| entry.encode(segment.base)).collect();
        for (suffix, bytes) in [(Suffix::OffsetIndex, offsets), (Suffix::TimeIndex, times)] {
            let file = self.home.files.open(&self.path_of(segment.base, suffix), OpenMode::Create)?;
            file.set_len(as_u64(bytes.len()))?;
            file.write_at(0, &[&bytes])?;
            self.unsynced.note_file(&file);
        }
        self.unsynced.directory = true;
        Ok(())
    }

    /// A failed look into a segment that was attested.
    pub(super) fn open_error(&self, index: usize, source: io::Error) -> OpenError {
        let segment = self.segments[index];
        let path = self.path_of(segment.base, Suffix::Log);
        if source.kind() == io::ErrorKind::InvalidData {
            return Corruption { path, place: segment.front(), attested: self.flushed }.into();
        }
        LogError::Io { path, source }.into()
    }
}

/// Whether an index is lost, cannot be read, or names what is not there.
fn is_of_index(error: &io::Error) -> bool {
    Misplaced::is_at_first(error) || is_unreadable(error) || error.kind() == io::ErrorKind::NotFound
}
