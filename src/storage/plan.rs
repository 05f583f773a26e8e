//! Where to read: open files and ranges, handed out by the owner of a log and read by others.
//!
//! Invariant: a slice is whole batches. Its file stays readable after the segment is deleted.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::env::File;
use crate::model::Offset;
use crate::records::Expected;

use super::segment::Place;

/// A range of an open file.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The segment's file.
    pub file: Arc<dyn File>,
    /// Where the range begins.
    pub position: u64,
    /// How many bytes it has; more than none.
    pub len: usize,
}

/// The answer to a read: whole batches of one segment, perhaps none.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// The bytes; `None` when there are none.
    pub slice: Option<Slice>,
    /// Where the first batch stands; its base is at most the offset asked for.
    pub place: Place,
    /// Where to read on.
    pub next: Offset,
    /// What the log knows of the batches.
    pub expected: Expected,
    /// Whether this process has written them not long ago: their places are still in memory.
    pub is_recent: bool,
}

impl Slice {
    /// Reads the range.
    ///
    /// # Errors
    /// What the system said; `UnexpectedEof` when a truncation has overtaken the reader.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut buffer = vec![0; self.len];
        let count = self.file.read_at(self.position, &mut buffer)?;
        if count < self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(buffer.into())
    }

    /// Reads the range if that needs no waiting for the disk.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_cached(&self) -> io::Result<Option<Bytes>> {
        let mut buffer = vec![0; self.len];
        match self.file.read_cached_at(self.position, &mut buffer)? {
            None => Ok(None),
            Some(count) if count < self.len => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(_) => Ok(Some(buffer.into())),
        }
    }
}

impl ReadPlan {
    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slice.is_none()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.len)
    }

    /// Reads everything.
    ///
    /// # Errors
    /// As [`Slice::read`].
    pub fn read(&self) -> io::Result<Bytes> {
        self.slice.as_ref().map_or(Ok(Bytes::new()), Slice::read)
    }

    /// Ends the plan before a place at which a batch begins, if it reaches so far. That may leave nothing.
    pub fn end_before(&mut self, place: Place) {
        let Some(slice) = &mut self.slice else { return };
        let Some(distance) = place.position.checked_sub(slice.position) else { return };
        let distance = usize::try_from(distance).unwrap_or(usize::MAX);
        if place.segment != self.place.segment || distance >= slice.len {
            return;
        }
        slice.len = distance;
        self.next = place.offset;
        if distance == 0 {
            self.slice = None;
        }
    }
}
