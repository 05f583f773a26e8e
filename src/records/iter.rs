//! Hands out the records of a batch, for whoever needs their contents.
//!
//! Invariant: keys and values share the batch's memory (or that of its decompressed records); nothing is copied.

use bytes::{Buf, Bytes};

use crate::model::{Offset, Timestamp};

use super::batch::Batch;
use super::compress::{self, Compression};
use super::error::{DecompressError, RecordError};
use super::header::Header;
use super::lookup::{offset_of, timestamp_of};
use super::varint::{self, Reading};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log.
    pub offset: Offset,
    /// When it was made, or appended (see the batch's [`Header::timestamp_type`]).
    pub timestamp: Timestamp,
    /// The key; `None` is Kafka's null.
    pub key: Option<Bytes>,
    /// The value; `None` is Kafka's null, a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// The headers, in order, repeated keys included.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The key: text in UTF-8, though nobody checks that.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

impl Batch {
    /// The records, decompressed to at most `output_bytes_max` bytes.
    ///
    /// # Errors
    /// They cannot be decompressed within the bound.
    pub fn records(&self, output_bytes_max: usize) -> Result<Records, RecordError> {
        let header = *self.header();
        let compression = header.compression().ok_or(DecompressError::UnknownCodec { bits: header.codec_bits() })?;
        let bytes = match compression {
            Compression::None => self.bytes().slice(Header::SIZE..),
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                compress::decompress(compression, self.payload(), output_bytes_max)?.into()
            }
        };
        Ok(Records { header, bytes, left: header.record_count })
    }
}

/// Iterates over records. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Records {
    header: Header,
    bytes: Bytes,
    left: i32,
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

impl Records {
    fn read(&mut self) -> Result<Record, RecordError> {
        let length = read_i32(&mut self.bytes)?;
        let mut fields = take(&mut self.bytes, length)?;
        if self.left == 0 && !self.bytes.is_empty() {
            return Err(RecordError::Trailing);
        }
        take(&mut fields, 1)?;
        let timestamp = timestamp_of(&self.header, read_i64(&mut fields)?)?;
        let offset = offset_of(&self.header, read_i32(&mut fields)?)?;
        let key = read_nullable(&mut fields)?;
        let value = read_nullable(&mut fields)?;
        let headers = read_headers(&mut fields)?;
        if !fields.is_empty() {
            return Err(RecordError::Unfilled);
        }
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

fn read_headers(fields: &mut Bytes) -> Result<Vec<RecordHeader>, RecordError> {
    let count = read_i32(fields)?;
    if count < 0 {
        return Err(RecordError::Length { length: i64::from(count) });
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        let length = read_i32(fields)?;
        let key = take(fields, length)?;
        let value = read_nullable(fields)?;
        headers.push(RecordHeader { key, value });
    }
    Ok(headers)
}

fn read_nullable(fields: &mut Bytes) -> Result<Option<Bytes>, RecordError> {
    let length = read_i32(fields)?;
    if length == -1 { Ok(None) } else { take(fields, length).map(Some) }
}

fn take(bytes: &mut Bytes, length: i32) -> Result<Bytes, RecordError> {
    let count = usize::try_from(length).map_err(|_| RecordError::Length { length: i64::from(length) })?;
    if count > bytes.len() {
        return Err(RecordError::Truncated);
    }
    Ok(bytes.split_to(count))
}

fn read_i32(bytes: &mut Bytes) -> Result<i32, RecordError> {
    let value = varint::signed(read_raw(bytes, 32)?);
    Ok(i32::try_from(value).expect("32 bits were read"))
}

fn read_i64(bytes: &mut Bytes) -> Result<i64, RecordError> {
    Ok(varint::signed(read_raw(bytes, 64)?))
}

fn read_raw(bytes: &mut Bytes, width: u32) -> Result<u64, RecordError> {
    let mut reading = Reading::default();
    for (at, byte) in bytes.iter().enumerate() {
        match reading.push(*byte, width) {
            Some(Some(raw)) => {
                bytes.advance(at + 1);
                return Ok(raw);
            }
            Some(None) => {}
            None => return Err(RecordError::Varint),
        }
    }
    Err(RecordError::Truncated)
}
