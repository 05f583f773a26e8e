//! Finds a record of one batch by its timestamp, for ListOffsets and the time index.
//!
//! Invariant: of several records that would do, the one with the smallest offset is found, as Kafka does.

use crate::model::{Offset, Timestamp};

use super::Compression;
use super::batch::Batch;
use super::error::{DecompressError, RecordError};
use super::header::{Header, TimestampType};
use super::walk::{Glimpse, Slice, Source, Streamed, read_record};

/// A record's place in the log and in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
}

impl Batch {
    /// The first record whose timestamp is `timestamp` or later. Decompresses at most `output_bytes_max`.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn first_at_or_after(
        &self,
        timestamp: Timestamp,
        output_bytes_max: usize,
    ) -> Result<Option<RecordAt>, RecordError> {
        if self.header().max_timestamp < timestamp {
            return Ok(None);
        }
        let mut found = None;
        self.scan(output_bytes_max, &mut |record| {
            found = (record.timestamp >= timestamp).then_some(record);
            found.is_none()
        })?;
        Ok(found)
    }

    /// The first record with the largest timestamp. Decompresses at most `output_bytes_max`.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn max_timestamp_record(&self, output_bytes_max: usize) -> Result<Option<RecordAt>, RecordError> {
        let mut largest: Option<RecordAt> = None;
        self.scan(output_bytes_max, &mut |record| {
            if largest.is_none_or(|found| found.timestamp < record.timestamp) {
                largest = Some(record);
            }
            true
        })?;
        Ok(largest)
    }

    /// Shows each record to `visit` until it answers false.
    fn scan(&self, output_bytes_max: usize, visit: &mut dyn FnMut(RecordAt) -> bool) -> Result<(), RecordError> {
        let header = self.header();
        let compression = header.compression().ok_or(DecompressError::UnknownCodec { bits: header.codec_bits() })?;
        if compression == Compression::None {
            return scan_source(header, &mut Slice::new(self.payload()), visit);
        }
        scan_source(header, &mut Streamed::new(compression, self.payload(), output_bytes_max)?, visit)
    }
}

fn scan_source(
    header: &Header,
    source: &mut impl Source,
    visit: &mut dyn FnMut(RecordAt) -> bool,
) -> Result<(), RecordError> {
    for _ in 0..header.record_count {
        let glimpse = read_record(source)?;
        if !visit(place(header, glimpse)?) {
            return Ok(());
        }
    }
    Ok(())
}

fn place(header: &Header, glimpse: Glimpse) -> Result<RecordAt, RecordError> {
    Ok(RecordAt {
        offset: offset_of(header, glimpse.offset_delta)?,
        timestamp: timestamp_of(header, glimpse.timestamp_delta)?,
    })
}

/// A record's offset.
pub(super) fn offset_of(header: &Header, delta: i32) -> Result<Offset, RecordError> {
    let offset = header.base_offset.get().checked_add(i64::from(delta)).ok_or(RecordError::Delta)?;
    Ok(Offset::new(offset))
}

/// A record's timestamp, as consumers see it.
pub(super) fn timestamp_of(header: &Header, delta: i64) -> Result<Timestamp, RecordError> {
    match header.timestamp_type() {
        TimestampType::LogAppend => Ok(header.max_timestamp),
        TimestampType::Create => {
            let timestamp = header.base_timestamp.get().checked_add(delta).ok_or(RecordError::Delta)?;
            Ok(Timestamp::new(timestamp))
        }
    }
}
