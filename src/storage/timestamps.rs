//! Looks up batches by timestamp (ListOffsets).
//!
//! Invariant: the batch found is the first, in offset order, that has a record at or after the time asked for. Which
//! record of it that is takes its bytes: the caller reads them (outside the shard) and asks `records`.

use std::io;

use crate::env::OpenMode;
use crate::model::{Offset, Timestamp};
use crate::probe::{Mutant, planted};

use super::append::as_u64;
use super::error::ReadError;
use super::log::Log;
use super::plan::Slice;
use super::scan::{Headers, HeadersFrom};
use super::segment::{Place, Segment, Suffix, unless_unreadable};
use super::tail::BatchAt;
use super::time_index::{ENTRY_BYTES, TimeEntry, TimeIndex};

/// A batch to look into.
#[derive(Clone, Debug)]
pub struct BatchPlace {
    /// Its bytes.
    pub slice: Slice,
    /// Where it stands, and its base offset.
    pub place: Place,
    /// The offset after its last record.
    pub next: Offset,
    /// Its largest timestamp.
    pub max_timestamp: Timestamp,
}

impl Log {
    /// The first batch that has a record with this timestamp or a later one, and lies below `end`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn offset_for_timestamp(&mut self, wanted: Timestamp, end: Offset) -> Result<Option<BatchPlace>, ReadError> {
        for index in 0..self.segments.len() {
            if self.segment_end(index) <= self.start {
                continue;
            }
            let largest = self.largest_timestamp(index)?;
            if largest < wanted {
                continue;
            }
            let found = self.first_at_or_after(index, wanted)?;
            if let Some(found) = found {
                if found.next > end && found.place.offset < end {
                    // No batch reaches over such an end: its header says what is not so.
                    self.inspect(found.place)?;
                }
                return Ok((found.next <= end).then_some(found));
            }
        }
        Ok(None)
    }

    /// The batch with the largest timestamp of all; the first of several.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn batch_of_max_timestamp(&mut self) -> Result<Option<BatchPlace>, ReadError> {
        let mut best: Option<(Timestamp, usize)> = None;
        for index in 0..self.segments.len() {
            let largest = self.largest_timestamp(index)?;
            let is_better = best.is_none_or(|(timestamp, _)| largest > timestamp);
            if is_better && largest > Timestamp::NONE && self.segment_end(index) > self.start {
                best = Some((largest, index));
            }
        }
        let Some((timestamp, index)) = best else { return Ok(None) };
        self.first_at_or_after(index, timestamp)
    }

    /// The largest timestamp of a segment; -1 when its records have none. From its time index the first time, if the
    /// batch that the index names confirms it.
    pub(super) fn largest_timestamp(&mut self, index: usize) -> Result<Timestamp, ReadError> {
        if self.is_active(index) {
            return Ok(self.tail.largest.map_or(Timestamp::NONE, |largest| largest.timestamp));
        }
        if let Some(largest) = self.segments[index].largest {
            return Ok(largest);
        }
        let last = self.last_time(index).map_err(|e| self.refused(index, e))?;
        let largest = match last {
            Some(entry) if self.confirms(index, entry)? => entry.timestamp,
            _ => self.search_largest(index).map_err(|e| self.refused(index, e))?,
        };
        self.segments[index].largest = Some(largest);
        Ok(largest)
    }

    fn last_time(&self, index: usize) -> io::Result<Option<TimeEntry>> {
        let base = self.segments[index].base;
        let Some((file, count)) = self.index_file(index, Suffix::TimeIndex, ENTRY_BYTES, None)? else {
            return Ok(None);
        };
        unless_unreadable(TimeIndex { file: &*file, base, count }.last())
    }

    /// Whether the batch that an entry names has the entry's timestamp. No CRC guards an entry, and one that is wrong
    /// would delete records early, or pass over some; if the batch is the one that is wrong, that is told.
    fn confirms(&self, index: usize, entry: TimeEntry) -> Result<bool, ReadError> {
        let Some(at) = self.locate(index, entry.last).map_err(|e| self.refused(index, e))? else { return Ok(false) };
        if entry.is_of(&at) {
            return Ok(true);
        }
        self.inspect(Place { segment: self.segments[index].base, position: at.position, offset: at.base })?;
        Ok(false)
    }

    fn search_largest(&self, index: usize) -> io::Result<Timestamp> {
        let Segment { base, size, .. } = self.segments[index];
        let mut largest = Timestamp::NONE;
        self.walk(
            index,
            HeadersFrom::batch(0, base),
            size,
            |_| false,
            |headers| {
                while let Some((_, header)) = headers.step()? {
                    if header.record_count > 0 {
                        largest = largest.max(header.max_timestamp);
                    }
                }
                Ok(None::<()>)
            },
        )?;
        Ok(largest)
    }

    fn first_at_or_after(&self, index: usize, wanted: Timestamp) -> Result<Option<BatchPlace>, ReadError> {
        let refused = |e| self.refused(index, e);
        // No batch before the one that brought a smaller maximum can be it.
        let behind = match self.time_floor(index, wanted).map_err(refused)? {
            Some(entry) if self.confirms(index, entry)? => entry.last,
            _ => self.segments[index].base,
        };
        let Some(at) = self.locate(index, behind.max(self.start)).map_err(refused)? else { return Ok(None) };
        let (found, passed) = self.first_from(index, at, wanted).map_err(refused)?;
        // A timestamp that was passed over may be a damaged one.
        self.check_passed(index, at, passed)?;
        Ok(found)
    }

    /// The first such batch from one on, and up to where those before it reach.
    fn first_from(&self, index: usize, at: BatchAt, wanted: Timestamp) -> io::Result<(Option<BatchPlace>, u64)> {
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let from = HeadersFrom::batch(at.position, at.base);
        let mut headers = Headers::new(&*file, from, self.segments[index].size, self.thinned_end());
        while let Some((position, header)) = headers.step()? {
            // One that compaction has emptied keeps a timestamp that no record has.
            let is_late = header.record_count > 0 && header.max_timestamp >= wanted;
            if is_late && !(planted(Mutant::LaterTimeFound) && header.max_timestamp == wanted) {
                let slice = Slice { file: file.clone(), position, len: header.size() };
                assert!(as_u64(slice.len) > 0, "a batch has bytes");
                let (next, max_timestamp) = (header.next_offset(), header.max_timestamp);
                let place = Place { segment: self.segments[index].base, position, offset: header.base_offset };
                return Ok((Some(BatchPlace { slice, place, next, max_timestamp }), position));
            }
        }
        Ok((None, self.segments[index].size))
    }

    /// The last entry of the time index that is not later.
    fn time_floor(&self, index: usize, wanted: Timestamp) -> io::Result<Option<TimeEntry>> {
        let left = |entry: TimeEntry| entry.timestamp <= wanted;
        let mut written = None;
        if self.is_active(index) {
            let pending = &self.tail.times;
            let behind = pending.partition_point(|entry| left(*entry));
            if behind > 0 {
                return Ok(Some(pending[behind - 1]));
            }
            written = Some(self.tail.times_written);
        }
        let base = self.segments[index].base;
        let found = self.index_file(index, Suffix::TimeIndex, ENTRY_BYTES, written)?;
        let Some((file, count)) = found else { return Ok(None) };
        unless_unreadable(TimeIndex { file: &*file, base, count }.last_where(left))
    }
}

#[cfg(test)]
mod tests;
