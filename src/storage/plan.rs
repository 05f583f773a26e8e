//! Where to read: open files and ranges, handed out by the owner of a log and read by others.
//!
//! Invariant: a slice is whole batches. Its file stays readable after the segment is deleted.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::env::File;
use crate::model::Offset;

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

/// The answer to a read: whole batches, perhaps none.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    /// The bytes, in order.
    pub slices: Vec<Slice>,
    /// The base offset of the first batch, at most the offset asked for; the asked one when there is none.
    pub first: Offset,
    /// Where to read on.
    pub next: Offset,
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
        self.slices.is_empty()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices.iter().map(|slice| slice.len).sum()
    }

    /// Reads everything, as one piece.
    ///
    /// # Errors
    /// As [`Slice::read`].
    pub fn read(&self) -> io::Result<Bytes> {
        if let [slice] = &self.slices[..] {
            return slice.read();
        }
        let mut all = Vec::with_capacity(self.len());
        for slice in &self.slices {
            all.extend_from_slice(&slice.read()?);
        }
        Ok(all.into())
    }
}
