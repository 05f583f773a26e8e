//! Walks over the batches of a segment's file, all of their bytes or their headers only.
//!
//! Called by `recover` (whole batches, checked) and `read` (headers). Invariant: no length that the file merely claims
//! is allocated: a batch must lie within the bytes that are there.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::env::File;
use crate::records::{Batch, Header};

/// How much is read at once when every byte is wanted.
const CHUNK_BYTES: usize = 256 << 10;
/// How much is read at once when only headers are: about what lies between two index entries.
const HEADERS_BYTES: usize = 8 << 10;

/// Whole batches from a position on.
#[derive(Debug)]
pub(super) struct Batches<'a> {
    file: &'a dyn File,
    /// Where the next batch starts.
    position: u64,
    /// Where the file, or the part of it that counts, ends.
    end: u64,
    /// Bytes from `position` on.
    buffer: Bytes,
}

/// What stands at a position.
#[derive(Debug)]
pub(super) enum Step {
    /// A batch with a valid CRC.
    Batch(Batch),
    /// Something else.
    Invalid,
    /// Nothing: the end.
    End,
}

impl<'a> Batches<'a> {
    pub(super) fn new(file: &'a dyn File, position: u64, end: u64) -> Self {
        Self { file, position, end, buffer: Bytes::new() }
    }

    /// Where the next batch starts.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch. After `Invalid` it is `Invalid` again.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let left = self.end.saturating_sub(self.position);
        if left == 0 {
            return Ok(Step::End);
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if !self.fill(Header::SIZE.min(left), left)? {
            return Ok(Step::Invalid);
        }
        let Ok(header) = Header::parse(&self.buffer) else { return Ok(Step::Invalid) };
        if header.size() > left || !self.fill(header.size(), left)? {
            return Ok(Step::Invalid);
        }
        let bytes = self.buffer.split_to(header.size());
        let batch = Batch::parse(bytes).expect("its header was parsed and its size is the header's");
        if !batch.crc_is_valid() {
            self.buffer = Bytes::new();
            return Ok(Step::Invalid);
        }
        self.position += u64::try_from(batch.size()).expect("a batch is smaller than 2^31");
        Ok(Step::Batch(batch))
    }

    /// Sees to `wanted` bytes in the buffer; false when the file has fewer.
    fn fill(&mut self, wanted: usize, left: usize) -> io::Result<bool> {
        if self.buffer.len() >= wanted {
            return Ok(true);
        }
        let mut buffer = BytesMut::zeroed(wanted.max(CHUNK_BYTES).min(left));
        let count = self.file.read_at(self.position, &mut buffer)?;
        buffer.truncate(count);
        self.buffer = buffer.freeze();
        Ok(self.buffer.len() >= wanted)
    }
}

/// Headers from a position on.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_position: u64,
}

impl<'a> Headers<'a> {
    pub(super) fn new(file: &'a dyn File, position: u64, end: u64) -> Self {
        Self { file, position, end, chunk: Vec::new(), chunk_position: 0 }
    }

    /// The next batch's position and header; `None` at the end.
    ///
    /// # Errors
    /// `InvalidData` when there is no batch.
    pub(super) fn step(&mut self) -> io::Result<Option<(u64, Header)>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let header = match self.in_chunk() {
            Some(bytes) => Header::parse(bytes),
            None => {
                self.load()?;
                Header::parse(self.in_chunk().ok_or(io::ErrorKind::InvalidData)?)
            }
        };
        let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let position = self.position;
        self.position += u64::try_from(header.size()).expect("a batch is smaller than 2^31");
        if self.position > self.end {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some((position, header)))
    }

    fn in_chunk(&self) -> Option<&[u8]> {
        let at = usize::try_from(self.position.checked_sub(self.chunk_position)?).ok()?;
        self.chunk.get(at..at + Header::SIZE)
    }

    fn load(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.chunk.resize(HEADERS_BYTES.min(left), 0);
        let count = self.file.read_at(self.position, &mut self.chunk)?;
        self.chunk.truncate(count);
        self.chunk_position = self.position;
        Ok(())
    }
}
