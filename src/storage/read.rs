//! Reads: from an offset to whole batches in a file.
//!
//! Invariant: a plan holds whole batches of one segment, all below the asked end. At the tail no file is looked at.

use std::io;
use std::sync::Arc;

use crate::env::{File, OpenMode, is_media_error};
use crate::model::Offset;

use super::append::as_u64;
use super::error::{Corruption, LogError, ReadError};
use super::log::Log;
use super::offset_index::{ENTRY_BYTES, OffsetEntry, OffsetIndex};
use super::plan::{ReadPlan, Slice};
use super::scan::Headers;
use super::segment::{Place, Suffix};
use super::tail::BatchAt;

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
        let nothing = ReadPlan::empty(from);
        if from >= end {
            return Ok(nothing);
        }
        let Some((index, at)) = self.find(from)? else { return Ok(nothing) };
        if at.next > end {
            return Ok(nothing);
        }
        let limit = self.boundary(index, end).map_err(|e| self.refused(index, e))?;
        let wanted = at.position.saturating_add(as_u64(bytes_max));
        let cut =
            if wanted >= limit.0 { limit } else { self.cut(index, at, wanted).map_err(|e| self.refused(index, e))? };
        let cut = match first {
            FirstBatch::Whole if cut.0 == at.position => {
                self.cut_after(index, at).map_err(|e| self.refused(index, e))?
            }
            FirstBatch::Whole | FirstBatch::WithinBound => cut,
        };
        if cut.0 == at.position {
            return Ok(nothing);
        }
        assert!(cut.0 <= limit.0, "no plan passes the asked end");
        let file = self.file(index, Suffix::Log, OpenMode::Write).map_err(|e| self.refused(index, e))?;
        let len = usize::try_from(cut.0 - at.position).expect("a segment is smaller than the address space");
        let slice = Slice { file, position: at.position, len };
        let place = Place { segment: self.segments[index].base, position: at.position, offset: at.base };
        Ok(ReadPlan { slice: Some(slice), place, next: cut.1 })
    }

    /// The batch that holds `offset`, or the next one behind a gap.
    pub(super) fn find(&self, offset: Offset) -> Result<Option<(usize, BatchAt)>, ReadError> {
        let first = self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
        for index in first..self.segments.len() {
            if let Some(at) = self.locate(index, offset).map_err(|e| self.refused(index, e))? {
                return Ok(Some((index, at)));
            }
        }
        Ok(None)
    }

    /// The first batch of a segment that ends behind `offset`.
    pub(super) fn locate(&self, index: usize, offset: Offset) -> io::Result<Option<BatchAt>> {
        let size = self.segments[index].size;
        if self.is_active(index) {
            let recent = self.tail.recent();
            if recent.front().is_some_and(|first| first.base <= offset || first.position == 0) {
                return Ok(recent.get(recent.partition_point(|batch| batch.next <= offset)).copied());
            }
        }
        let start = self.floor(index, |entry| entry.last <= offset)?;
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let mut headers = Headers::new(&*file, start, size);
        while let Some((position, header)) = headers.step()? {
            if header.next_offset() > offset {
                return Ok(Some(BatchAt::new(position, &header)));
            }
        }
        Ok(None)
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
        let start = self.floor(index, |entry| entry.position <= wanted)?.max(from.position);
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let mut headers = Headers::new(&*file, start, segment.size);
        while let Some((position, header)) = headers.step()? {
            if position + as_u64(header.size()) > wanted {
                return Ok((position, header.base_offset));
            }
        }
        Ok((segment.size, self.segment_end(index)))
    }

    /// The boundary behind one batch.
    fn cut_after(&self, index: usize, at: BatchAt) -> io::Result<(u64, Offset)> {
        let file = self.file(index, Suffix::Log, OpenMode::Write)?;
        let mut headers = Headers::new(&*file, at.position, self.segments[index].size);
        let (position, header) = headers.step()?.ok_or(io::ErrorKind::InvalidData)?;
        Ok((position + as_u64(header.size()), header.next_offset()))
    }

    /// The place of the last index entry that is `left`, or the segment's first byte.
    pub(super) fn floor(&self, index: usize, left: impl Fn(OffsetEntry) -> bool) -> io::Result<u64> {
        let base = self.segments[index].base;
        let mut written = None;
        if self.is_active(index) {
            let pending = &self.tail.offsets;
            let behind = pending.partition_point(|entry| left(*entry));
            if behind > 0 {
                return Ok(pending[behind - 1].position);
            }
            written = Some(self.tail.offsets_written);
        }
        let Some((file, count)) = self.index_file(index, Suffix::OffsetIndex, ENTRY_BYTES, written)? else {
            return Ok(0);
        };
        let found = OffsetIndex { file: &*file, base, count }.last_where(left)?;
        // An entry beyond the data is a broken index: correct, if slow, from the front.
        Ok(found.map_or(0, |entry| entry.position).min(self.segments[index].size))
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
            return ReadError::Corrupt(Corruption {
                path,
                place: self.segments[index].front(),
                attested: self.flushed,
            });
        }
        ReadError::Log(LogError::Io { path, source })
    }
}
