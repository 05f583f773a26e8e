//! Walks over the records of a batch, compressed or not, without materialising one.
//!
//! Invariant: a walk holds one chunk of decompressed bytes at a time; lengths that the bytes claim are only ever
//! compared and skipped, never allocated (rule B6).

use std::io::{self, Write};

use super::compress::{Compression, Decompressor};
use super::error::{DecompressError, RecordError};
use super::varint::{self, Reading};

/// Where records are read from: a slice, or a decompressor. Generic, as the first is the hot path.
pub(super) trait Source {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, RecordError>;
    /// Passes over `count` bytes.
    fn skip(&mut self, count: u64) -> Result<(), RecordError>;
    /// Writes the next `count` bytes into `out`.
    fn copy(&mut self, count: u64, out: &mut dyn Write) -> Result<(), CopyError>;
    /// How many bytes have been read.
    fn position(&self) -> u64;
    /// Whether none is left.
    fn is_at_end(&mut self) -> Result<bool, RecordError>;
}

/// Why bytes could not be copied.
pub(super) enum CopyError {
    Read(RecordError),
    Write(io::Error),
}

/// Bytes that are there already.
pub(super) struct Slice<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Slice<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], RecordError> {
        let count = usize::try_from(count).map_err(|_| RecordError::Truncated)?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(RecordError::Truncated)?;
        self.at += count;
        Ok(taken)
    }
}

impl Source for Slice<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        let byte = *self.bytes.get(self.at).ok_or(RecordError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<(), RecordError> {
        self.take(count).map(|_| ())
    }

    fn copy(&mut self, count: u64, out: &mut dyn Write) -> Result<(), CopyError> {
        let bytes = self.take(count).map_err(CopyError::Read)?;
        out.write_all(bytes).map_err(CopyError::Write)
    }

    #[inline]
    fn position(&self) -> u64 {
        u64::try_from(self.at).expect("a position fits in 64 bits")
    }

    fn is_at_end(&mut self) -> Result<bool, RecordError> {
        Ok(self.at == self.bytes.len())
    }
}

/// Bytes that a decompressor gives, one chunk at a time.
pub(super) struct Streamed<'a> {
    decompressor: Decompressor<'a>,
    chunk: Vec<u8>,
    at: usize,
    before: u64,
}

impl<'a> Streamed<'a> {
    pub(super) fn new(
        compression: Compression,
        payload: &'a [u8],
        output_bytes_max: usize,
    ) -> Result<Self, DecompressError> {
        let decompressor = Decompressor::new(compression, payload, output_bytes_max)?;
        Ok(Self { decompressor, chunk: Vec::new(), at: 0, before: 0 })
    }

    /// What is left of the chunk, or the next chunk; empty at the end.
    fn available(&mut self) -> Result<&[u8], RecordError> {
        if self.at == self.chunk.len() {
            self.before = self.position();
            self.at = 0;
            self.decompressor.next_chunk(&mut self.chunk)?;
        }
        Ok(&self.chunk[self.at..])
    }

    /// Hands the next `count` bytes to `each`, piece by piece.
    fn pieces(
        &mut self,
        mut count: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        while count > 0 {
            let available = self.available().map_err(CopyError::Read)?;
            if available.is_empty() {
                return Err(CopyError::Read(RecordError::Truncated));
            }
            let size = usize::try_from(count).unwrap_or(usize::MAX).min(available.len());
            each(&available[..size])?;
            self.at += size;
            count -= u64::try_from(size).expect("no more than was asked for");
        }
        Ok(())
    }
}

impl Source for Streamed<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        let byte = *self.available()?.first().ok_or(RecordError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: u64) -> Result<(), RecordError> {
        self.pieces(count, &mut |_| Ok(())).map_err(|error| match error {
            CopyError::Read(error) => error,
            CopyError::Write(_) => RecordError::Truncated,
        })
    }

    fn copy(&mut self, count: u64, out: &mut dyn Write) -> Result<(), CopyError> {
        self.pieces(count, &mut |piece| out.write_all(piece).map_err(CopyError::Write))
    }

    fn position(&self) -> u64 {
        self.before + u64::try_from(self.at).expect("a position fits in 64 bits")
    }

    fn is_at_end(&mut self) -> Result<bool, RecordError> {
        Ok(self.available()?.is_empty())
    }
}

/// What a walk tells about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glimpse {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) has_key: bool,
}

/// The start of a record, up to where its offset ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    pub(super) attributes: u8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    /// Where the record ends.
    pub(super) end: u64,
}

/// Reads a record's length and its first three fields.
#[inline]
pub(super) fn read_front(source: &mut impl Source) -> Result<Front, RecordError> {
    let length = read_length(source)?;
    let end = source.position() + length;
    let attributes = source.byte()?;
    let timestamp_delta = read_i64(source)?;
    let offset_delta = read_i32(source)?;
    Ok(Front { attributes, timestamp_delta, offset_delta, end })
}

/// Passes over one record.
#[inline]
pub(super) fn read_record(source: &mut impl Source) -> Result<Glimpse, RecordError> {
    let front = read_front(source)?;
    let has_key = skip_nullable(source, front.end)?;
    skip_nullable(source, front.end)?;
    let headers = read_length(source)?;
    // Each header takes two bytes or more, so that a count that lies ends the loop at the record's end.
    for _ in 0..headers {
        let key = read_length(source)?;
        skip_within(source, key, front.end)?;
        skip_nullable(source, front.end)?;
    }
    if source.position() != front.end {
        return Err(RecordError::Unfilled);
    }
    Ok(Glimpse { timestamp_delta: front.timestamp_delta, offset_delta: front.offset_delta, has_key })
}

/// What a record has of the two fields that matter to compaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) has_key: bool,
    pub(super) has_value: bool,
}

/// Copies the key of a record whose first fields were read, and passes over the rest.
pub(super) fn read_key(source: &mut impl Source, end: u64, key: &mut dyn Write) -> Result<Fields, RecordError> {
    let length = i64::from(read_i32(source)?);
    let has_key = length != -1;
    if has_key {
        let count = u64::try_from(length).map_err(|_| RecordError::Length { length })?;
        if source.position() + count > end {
            return Err(RecordError::Unfilled);
        }
        source.copy(count, key).map_err(|error| match error {
            CopyError::Read(error) => error,
            CopyError::Write(_) => RecordError::Unfilled,
        })?;
    }
    let has_value = skip_nullable(source, end)?;
    let rest = end.checked_sub(source.position()).ok_or(RecordError::Unfilled)?;
    source.skip(rest)?;
    Ok(Fields { has_key, has_value })
}

/// Passes over a field that may be null; returns whether it is not.
#[inline]
fn skip_nullable(source: &mut impl Source, end: u64) -> Result<bool, RecordError> {
    let length = i64::from(read_i32(source)?);
    if length == -1 {
        return Ok(false);
    }
    let count = u64::try_from(length).map_err(|_| RecordError::Length { length })?;
    skip_within(source, count, end)?;
    Ok(true)
}

#[inline]
fn skip_within(source: &mut impl Source, count: u64, end: u64) -> Result<(), RecordError> {
    if source.position() + count > end {
        return Err(RecordError::Unfilled);
    }
    source.skip(count)
}

/// A length or count that may not be negative.
#[inline]
fn read_length(source: &mut impl Source) -> Result<u64, RecordError> {
    let length = read_i32(source)?;
    u64::try_from(length).map_err(|_| RecordError::Length { length: i64::from(length) })
}

#[inline]
fn read_i32(source: &mut impl Source) -> Result<i32, RecordError> {
    let value = varint::signed(read_raw(source, 32)?);
    Ok(i32::try_from(value).expect("32 bits were read"))
}

#[inline]
fn read_i64(source: &mut impl Source) -> Result<i64, RecordError> {
    Ok(varint::signed(read_raw(source, 64)?))
}

#[inline]
fn read_raw(source: &mut impl Source, width: u32) -> Result<u64, RecordError> {
    let first = source.byte()?;
    if first < 0x80 {
        return Ok(u64::from(first));
    }
    let mut reading = Reading::default();
    reading.push(first, width);
    loop {
        match reading.push(source.byte()?, width) {
            Some(Some(raw)) => return Ok(raw),
            Some(None) => {}
            None => return Err(RecordError::Varint),
        }
    }
}
