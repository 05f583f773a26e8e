//! Walks over the batches of a segment's file, all of their bytes or their headers only.
//!
//! Called by `recover` and `compact` (whole batches, checked) and `read` (headers). Invariant: no length that the file merely claims
//! is allocated: a batch must lie within the bytes that are there.

use std::io;

use bytes::{Bytes, BytesMut};

use crate::env::{File, is_media_error};
use crate::model::Offset;
use crate::probe::{Mutant, planted};
use crate::records::{Batch, Header};

use super::offset_index::OffsetEntry;

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

    /// One that goes on where another stopped, with the bytes that it had read ahead.
    pub(super) fn resumed(file: &'a dyn File, position: u64, end: u64, buffer: Bytes) -> Self {
        Self { file, position, end, buffer }
    }

    /// What was read ahead.
    pub(super) fn into_buffer(self) -> Bytes {
        self.buffer
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
        if !batch.crc_is_valid() && !planted(Mutant::RecoveryTrustsLength) {
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

/// Where headers do not follow from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no batch that continues the log at byte {position}")]
pub(super) struct Misplaced {
    /// Where the batch before begins, or, if none was read, this one: either may be the damaged one.
    pub(super) position: u64,
    /// The offset that should stand there, where that is known.
    pub(super) offset: Option<Offset>,
}

impl Misplaced {
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|cause| cause.downcast_ref())
    }

    /// Whether not even the first batch was the one that an index names.
    pub(super) fn is_at_first(error: &io::Error) -> bool {
        Self::of(error).is_some_and(|found| found.offset.is_none())
    }
}

/// From where headers are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadersFrom {
    pub(super) position: u64,
    /// The base offset of the batch there, if it is known.
    pub(super) base: Option<Offset>,
    /// The last offset of the batch there, if an index names it.
    pub(super) last: Option<Offset>,
}

impl HeadersFrom {
    /// A batch with this base.
    pub(super) fn batch(position: u64, base: Offset) -> Self {
        Self { position, base: Some(base), last: None }
    }

    /// What an index entry names.
    pub(super) fn entry(entry: OffsetEntry) -> Self {
        Self { position: entry.position, base: None, last: Some(entry.last) }
    }
}

/// Headers from a position on, each of which continues the one before.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    file: &'a dyn File,
    position: u64,
    /// The base that the next one must have.
    base: Option<Offset>,
    /// The last offset that the first one must have.
    last: Option<Offset>,
    /// Up to where a base may be larger: compaction leaves gaps.
    gaps_end: Offset,
    /// Where to look when something does not fit.
    before: Misplaced,
    end: u64,
    chunk: Vec<u8>,
    chunk_position: u64,
    /// How much is read at once.
    chunk_bytes: usize,
}

impl<'a> Headers<'a> {
    pub(super) fn new(file: &'a dyn File, from: HeadersFrom, end: u64, gaps_end: Offset) -> Self {
        let HeadersFrom { position, base, last } = from;
        let before = Misplaced { position, offset: base };
        let (chunk, chunk_position, chunk_bytes) = (Vec::new(), 0, HEADERS_BYTES);
        Self { file, position, base, last, gaps_end, before, end, chunk, chunk_position, chunk_bytes }
    }

    /// Where the next batch begins, and its base offset, if a batch was read before.
    pub(super) fn place(&self) -> (u64, Option<Offset>) {
        (self.position, self.base)
    }

    /// The next batch's position and header; `None` at the end.
    ///
    /// # Errors
    /// `InvalidData`, with a [`Misplaced`], when there is no batch, or one that does not continue the one before.
    pub(super) fn step(&mut self) -> io::Result<Option<(u64, Header)>> {
        if self.position >= self.end {
            return Ok(None);
        }
        let header = match self.in_chunk() {
            Some(bytes) => Header::parse(bytes),
            None => {
                self.load()?;
                let bytes = self.in_chunk();
                bytes.map_or_else(|| Header::parse(&[]), Header::parse)
            }
        };
        let header = header.map_err(|_| self.misplaced())?;
        let position = self.position;
        let next = position + u64::try_from(header.size()).expect("a batch is smaller than 2^31");
        let continues = self.base.is_none_or(|base| header.continues(base, self.gaps_end));
        if next > self.end || !continues || self.last.take().is_some_and(|last| header.last_offset() != last) {
            return Err(self.misplaced());
        }
        self.before = Misplaced { position, offset: Some(header.base_offset) };
        (self.position, self.base) = (next, Some(header.next_offset()));
        Ok(Some((position, header)))
    }

    /// What is told of the batch last read, or of the place of the first.
    pub(super) fn misplaced(&self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self.before)
    }

    fn in_chunk(&self) -> Option<&[u8]> {
        let at = usize::try_from(self.position.checked_sub(self.chunk_position)?).ok()?;
        self.chunk.get(at..at + Header::SIZE)
    }

    fn load(&mut self) -> io::Result<()> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.chunk.resize(self.chunk_bytes.min(left), 0);
        let mut read = self.file.read_at(self.position, &mut self.chunk);
        if read.as_ref().is_err_and(is_media_error) {
            // What the disk does not give may lie behind this header. From here on each is read alone.
            self.chunk_bytes = Header::SIZE;
            self.chunk.truncate(Header::SIZE);
            read = self.file.read_at(self.position, &mut self.chunk);
        }
        let count = read.map_err(|error| if is_media_error(&error) { self.misplaced() } else { error })?;
        self.chunk.truncate(count);
        self.chunk_position = self.position;
        Ok(())
    }
}
