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

#[cfg(test)]
mod tests {
    use super::super::build::{Builder, Draft};
    use super::super::sample;
    use super::*;

    const OUTPUT_MAX: usize = 1 << 20;

    fn batch(compression: Compression) -> Batch {
        let mut builder = Builder::new(compression.codec()).base_offset(Offset::new(100));
        for (delta, timestamp) in [(0, 50), (1, 30), (4, 70), (5, 60), (6, 70)] {
            let draft = Draft { timestamp: Timestamp::new(timestamp), value: Some(b"v"), ..Draft::default() };
            builder.push_at(delta, draft).expect("a small record");
        }
        builder.build().expect("five records")
    }

    fn at(offset: i64, timestamp: i64) -> RecordAt {
        RecordAt { offset: Offset::new(offset), timestamp: Timestamp::new(timestamp) }
    }

    #[test]
    fn the_first_record_at_or_after_a_timestamp_is_found() {
        for compression in Compression::ALL {
            let batch = batch(compression);
            let found = |t| batch.first_at_or_after(Timestamp::new(t), OUTPUT_MAX).expect("a sound batch");
            assert_eq!(found(0), Some(at(100, 50)));
            assert_eq!(found(50), Some(at(100, 50)));
            assert_eq!(found(51), Some(at(104, 70)));
            assert_eq!(found(70), Some(at(104, 70)));
            assert_eq!(found(71), None);
        }
    }

    #[test]
    fn of_equal_largest_timestamps_the_first_is_found() {
        for compression in Compression::ALL {
            assert_eq!(batch(compression).max_timestamp_record(OUTPUT_MAX), Ok(Some(at(104, 70))));
        }
    }

    #[test]
    fn with_log_append_time_every_record_has_the_batch_s_time() {
        let bytes = sample::with_header(&sample::batch(3), |header| {
            header.set_log_append_time();
            header.max_timestamp = Timestamp::new(9);
        });
        let batch = Batch::parse(bytes).expect("a sound batch");
        assert_eq!(batch.max_timestamp_record(OUTPUT_MAX), Ok(Some(at(0, 9))));
        assert_eq!(batch.first_at_or_after(Timestamp::new(9), OUTPUT_MAX), Ok(Some(at(0, 9))));
        assert_eq!(batch.first_at_or_after(Timestamp::new(10), OUTPUT_MAX), Ok(None));
        assert!(sample::records_of(&batch).iter().all(|r| r.timestamp == Timestamp::new(9)));
    }

    #[test]
    fn an_emptied_batch_holds_nothing() {
        let bytes = sample::with_header(&sample::batch(1), |header| header.record_count = 0);
        let batch = Batch::parse(bytes).expect("a sound header");
        assert_eq!(batch.max_timestamp_record(OUTPUT_MAX), Ok(None));
        assert_eq!(batch.first_at_or_after(Timestamp::new(0), OUTPUT_MAX), Ok(None));
    }
}
