//! Reads: from an offset to whole batches in a file.
//!
//! Invariant: a plan holds whole batches of one segment, all below the asked end. At the tail no file is looked at.

use std::io;
use std::sync::Arc;

use crate::env::{File, OpenMode, is_media_error};
use crate::model::Offset;
use crate::probe::{Mutant, planted};
use crate::records::Expected;

use super::append::as_u64;
use super::error::{Corruption, LogError, ReadError};
use super::log::Log;
use super::offset_index::{ENTRY_BYTES, OffsetEntry, OffsetIndex};
use super::plan::{ReadPlan, Slice};
use super::scan::{Headers, HeadersFrom, Misplaced};
use super::segment::{Place, Suffix, unless_unreadable};
use super::tail::BatchAt;

/// How many entries of an index are tried until one leads to the batch that it names.
const ENTRIES_TRIED: usize = 4;

/// What to do when the first batch alone is larger than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstBatch {
    /// Give it all the same, so that the reader gets on (KIP-74).
    Whole,
    /// Give nothing.
    WithinBound,
}

impl Log {
    /// Where to read whole batches from `from` on, all of whose records lie below `end`; of one segment only.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, from: Offset, end: Offset, bytes_max: usize, first: FirstBatch) -> Result<ReadPlan, ReadError> {
        if from < self.start || from > self.end {
            return Err(ReadError::OutOfRange { offset: from, start: self.start, end: self.end });
        }
        let end = end.min(self.end);
        let place = Place { offset: from, ..Place::default() };
        let nothing =
            ReadPlan { slice: None, place, next: from, expected: self.expected(from, from), is_recent: false };
        if from >= end {
            return Ok(nothing);
        }
        let Some((index, at)) = self.find(from)? else { return Ok(nothing) };
        let place = Place { segment: self.segments[index].base, position: at.position, offset: at.base };
        if at.next > end {
            // What is readable ends between batches, unless this one is not what it was.
            self.inspect(place)?;
            return Ok(nothing);
        }
        let refused = |e| self.refused(index, e);
        let limit = self.boundary(index, end).or_else(|e| self.boundary_before(index, at, e)).map_err(refused)?;
        let wanted = at.position.saturating_add(as_u64(bytes_max));
        let cut = if wanted >= limit.0 {
            limit
        } else {
            self.cut(index, at, wanted).or_else(|e| self.boundary_before(index, at, e)).map_err(refused)?
        };
        let cut = match first {
            FirstBatch::Whole if cut.0 == at.position => self.cut_after(index, at).map_err(refused)?,
            FirstBatch::Whole | FirstBatch::WithinBound => cut,
        };
        let cut = if cut.0 > limit.0 { limit } else { cut };
        if cut.0 <= at.position {
            if first == FirstBatch::Whole {
                // A readable batch ends below the limit, unless it is not what it was.
                self.inspect(place)?;
            }
            return Ok(nothing);
        }
        let file = self.file(index, Suffix::Log, OpenMode::Write).map_err(|e| self.refused(index, e))?;
        let len = usize::try_from(cut.0 - at.position).expect("a segment is smaller than the address space");
        let slice = Slice { file, position: at.position, len };
        let is_recent = at.base >= self.written_from && self.is_active(index) && self.recent_at(at.base).is_some();
        let next = cut.1.min(limit.1);
        let expected = self.expected(at.base, next);
        Ok(ReadPlan { slice: Some(slice), place, next, expected, is_recent })
    }

    /// The batch that holds `offset`, or the next one behind a gap.
    pub(super) fn find(&self, offset: Offset) -> Result<Option<(usize, BatchAt)>, ReadError> {
        let skips = i64::from(planted(Mutant::ReadSkipsRecord));
        let first = self.segments.partition_point(|segment| segment.base <= offset.plus(skips)).saturating_sub(1);
        for index in first..self.segments.len() {
            if let Some(at) = self.locate(index, offset).map_err(|e| self.refused(index, e))? {
                return Ok(Some((index, at)));
            }
        }
        Ok(None)
    }

    /// The same of the active segment, if that is in memory.
    fn recent_at(&self, offset: Offset) -> Option<Option<BatchAt>> {
        let recent = self.tail.recent();
        let reaches = recent.front().is_some_and(|first| first.base <= offset || first.position == 0);
        reaches.then(|| recent.get(recent.partition_point(|batch| batch.next <= offset)).copied())
    }

    /// What batches from one with this base on, up to `end`, must be like.
    pub(super) fn expected(&self, first: Offset, end: Offset) -> Expected {
        Expected { first, epochs: self.epochs.within(first, end), gaps_end: self.thinned_end() }
    }

    /// The first batch of a segment that ends behind `offset`.
    pub(super) fn locate(&self, index: usize, offset: Offset) -> io::Result<Option<BatchAt>> {
        let size = self.segments[index].size;
        if self.is_active(index)
            && let Some(known) = self.recent_at(offset)
        {
            return Ok(known);
        }
        let front = HeadersFrom::batch(0, self.segments[index].base);
        let end = self.segment_end(index);
        self.walk(
            index,
            front,
            size,
            |entry| entry.last <= offset,
            |headers| {
                while let Some((position, header)) = headers.step()? {
                    if header.next_offset() > end {
                        return Err(headers.misplaced());
                    }
                    if header.next_offset() > offset {
                        return Ok(Some(BatchAt::new(position, &header)));
                    }
                }
                // Every offset of a segment stands in a batch of it, where compaction was not.
                if offset < end && end > self.thinned_end() { Err(headers.misplaced()) } else { Ok(None) }
            },
        )
    }

    /// Up to where in a segment every record is below `end`: the byte, and the offset to read on from there.
    fn boundary(&self, index: usize, end: Offset) -> io::Result<(u64, Offset)> {
        let segment = &self.segments[index];
        let segment_end = self.segment_end(index);
        if end >= segment_end {
            return Ok((segment.size, segment_end));
        }
        Ok(self.locate(index, end)?.map_or((segment.size, segment_end), |at| (at.position, at.base.min(end))))
    }

    /// The last boundary between batches that is not beyond byte `wanted`, from the batch `from` on.
    fn cut(&self, index: usize, from: BatchAt, wanted: u64) -> io::Result<(u64, Offset)> {
        let segment = &self.segments[index];
        let recent = self.tail.recent();
        if self.is_active(index) && recent.front().is_some_and(|first| first.position <= from.position) {
            let behind = recent.partition_point(|batch| batch.position <= wanted);
            let at = recent.get(behind.saturating_sub(1)).expect("`from` is one of them");
            return Ok((at.position, at.base));
        }
        let from = HeadersFrom::batch(from.position, from.base);
        let boundary = self.walk(
            index,
            from,
            segment.size,
            |entry| entry.position <= wanted,
            |headers| {
                loop {
                    // Not a header further: that one may be known not to be what it was.
                    if let (position, Some(base)) = headers.place()
                        && position == wanted
                    {
                        return Ok(Some((position, base)));
                    }
                    match headers.step()? {
                        Some((position, header)) if position + as_u64(header.size()) > wanted => {
                            return Ok(Some((position, header.base_offset)));
                        }
                        Some(_) => {}
                        None => return Ok(None),
                    }
                }
            },
        )?;
        Ok(boundary.unwrap_or((segment.size, self.segment_end(index))))
    }

    /// A boundary behind the batch `from` and before what does not fit: what stands there is refused to whoever comes so
    /// far, and not to who reads before it.
    fn boundary_before(&self, index: usize, from: BatchAt, error: io::Error) -> io::Result<(u64, Offset)> {
        match Misplaced::of(&error) {
            Some(Misplaced { position, offset: Some(offset) }) if *position > from.position => Ok((*position, *offset)),
            Some(_) => self.cut_after(index, from),
            None => Err(error),
        }
    }

    /// The boundary behind one batch.
    fn cut_after(&self, index: usize, at: BatchAt) -> io::Result<(u64, Offset)> {
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let from = HeadersFrom { position: at.position, base: Some(at.base), last: Some(at.next.plus(-1)) };
        let mut headers = Headers::new(&*file, from, self.segments[index].size, Offset::ZERO);
        headers.step()?.ok_or_else(|| headers.misplaced())?;
        Ok((headers.place().0, at.next))
    }

    /// Walks over the headers of a segment up to byte `end`, from the last index entry that is `left` or from `from`,
    /// whichever is later. If the index led to what is not the batch that it names, the entries before it are tried: the
    /// batch may be what is damaged, and the whole segment is not to be read at each look behind it. With more entries
    /// than a few the index is what is damaged, and the walk begins at `from`.
    pub(super) fn walk<T>(
        &self,
        index: usize,
        from: HeadersFrom,
        end: u64,
        left: impl Fn(OffsetEntry) -> bool,
        mut visit: impl FnMut(&mut Headers<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let mut below = end;
        for _ in 0..ENTRIES_TRIED {
            let floor = self.floor(index, |entry| left(entry) && entry.position < below);
            let entry =
                unless_unreadable(floor)?.filter(|entry| entry.position > from.position && entry.position < below);
            let Some(entry) = entry else { break };
            match visit(&mut Headers::new(&*file, HeadersFrom::entry(entry), end, self.thinned_end())) {
                Err(error) if Misplaced::is_at_first(&error) => below = entry.position,
                outcome => return outcome,
            }
        }
        visit(&mut Headers::new(&*file, from, end, self.thinned_end()))
    }

    /// The last index entry that is `left`.
    pub(super) fn floor(&self, index: usize, left: impl Fn(OffsetEntry) -> bool) -> io::Result<Option<OffsetEntry>> {
        let base = self.segments[index].base;
        let mut written = None;
        if self.is_active(index) {
            let pending = &self.tail.offsets;
            let behind = pending.partition_point(|entry| left(*entry));
            if behind > 0 {
                return Ok(Some(pending[behind - 1]));
            }
            written = Some(self.tail.offsets_written);
        }
        match self.index_file(index, Suffix::OffsetIndex, ENTRY_BYTES, written)? {
            Some((file, count)) => OffsetIndex { file: &*file, base, count }.last_where(left),
            None => Ok(None),
        }
    }

    /// An index file and how many of its entries count; `None` when it has none.
    pub(super) fn index_file(
        &self,
        index: usize,
        suffix: Suffix,
        entry_bytes: usize,
        written: Option<u64>,
    ) -> io::Result<Option<(Arc<dyn File>, u64)>> {
        if written == Some(0) {
            return Ok(None);
        }
        let file = match self.file(index, suffix, OpenMode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let held = file.len()? / as_u64(entry_bytes);
        let count = written.map_or(held, |written| written.min(held));
        Ok((count > 0).then_some((file, count)))
    }

    /// The offset after a segment.
    pub(super) fn segment_end(&self, index: usize) -> Offset {
        self.segments.get(index + 1).map_or(self.end, |next| next.base)
    }

    /// What a failed look into a segment means.
    pub(super) fn refused(&self, index: usize, source: io::Error) -> ReadError {
        let path = self.path_of(self.segments[index].base, Suffix::Log);
        if source.kind() == io::ErrorKind::InvalidData || is_media_error(&source) {
            let front = self.segments[index].front();
            let misplaced = Misplaced::of(&source);
            let place = misplaced.map_or(front, |found| Place {
                position: found.position,
                offset: found.offset.unwrap_or(front.offset),
                ..front
            });
            return ReadError::Corrupt(Corruption { path, place, attested: self.flushed });
        }
        ReadError::Log(LogError::Io { path, source })
    }
}
