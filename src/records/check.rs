//! Checks what a producer sent for one partition, as far as the bytes alone can tell.
//!
//! Called by `api/produce.rs` on the connection's task, before any shard sees the batch. Invariant: the bytes stay as
//! they were received unless the topic's settings or the batch's own faults require otherwise; an uncompressed batch
//! is walked in place.

use bytes::Bytes;

use crate::model::{Offset, Timestamp};

use super::batch::Batch;
use super::compress::{Codec, Compression, OUTPUT_BYTES_MAX};
use super::error::{BatchError, DecompressError, RecordError, RecordFailure, RecordFault, Refusal};
use super::header::{Header, TimestampType};
use super::lookup::RecordAt;
use super::recode::{self, Recoding};
use super::walk::{Glimpse, Slice, Source, Streamed, read_record};

/// How much larger than `max.message.bytes` the decompressed records may be (rule B8). Logs of like lines compress
/// by 20 to 50.
const OUTPUT_FACTOR: usize = 100;
/// What decompressed records may always have, so that a small `max.message.bytes` refuses no honest batch.
const OUTPUT_BYTES_FLOOR: usize = 16 << 20;

/// What a topic asks of the batches produced to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// `max.message.bytes`: bounds the batch, compressed as it is.
    pub max_message_bytes: usize,
    /// `segment.bytes`: a batch must fit in one segment.
    pub segment_bytes_max: usize,
    /// `compression.type` and the level of its codec.
    pub compression: CompressionRule,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; not negative.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`; not negative.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` names compaction: then every record needs a key.
    pub compacted: bool,
    /// Whether the request may use zstd: from Produce v7.
    pub zstd_allowed: bool,
}

/// A topic's `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CompressionRule {
    /// What the producer chose stays.
    #[default]
    Producer,
    /// Everything is stored with this codec. A batch that has it already keeps its bytes, whatever its level.
    Fixed(Codec),
}

impl Default for ProduceRules {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            max_message_bytes: (1 << 20) + 12,
            segment_bytes_max: 1 << 30,
            compression: CompressionRule::Producer,
            timestamp_type: TimestampType::Create,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compacted: false,
            zstd_allowed: true,
        }
    }
}

impl ProduceRules {
    /// How much the records of one batch may decompress to (rule B8).
    #[must_use]
    pub fn output_bytes_max(&self) -> usize {
        self.max_message_bytes.saturating_mul(OUTPUT_FACTOR).clamp(OUTPUT_BYTES_FLOOR, OUTPUT_BYTES_MAX)
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// As it is to be stored, still at offset 0.
    pub batch: Batch,
    /// The first record with the largest timestamp; its offset counts from the batch's base.
    pub max_timestamp: RecordAt,
    /// The broker's clock if it set the timestamps, as the response tells.
    pub log_append_time: Option<Timestamp>,
}

/// Checks the `records` of one partition in a Produce request, and makes them what the topic stores.
///
/// # Errors
/// The first rule that the batch breaks; of records, up to [`Refusal::FAILURES_MAX`].
pub fn check_produced(bytes: Bytes, rules: &ProduceRules, now: Timestamp) -> Result<Checked, Refusal> {
    let header = read_one_batch(&bytes)?;
    let compression = check_codec(&header, rules)?;
    check_envelope(&header, &bytes, rules)?;
    check_header(&header)?;
    let survey = survey(&header, compression, &bytes[Header::SIZE..], rules, now)?;
    let log_append_time = (rules.timestamp_type == TimestampType::LogAppend).then_some(now);
    let batch = store_form(header, compression, bytes, rules, &survey, log_append_time)?;
    if batch.size() > rules.segment_bytes_max {
        let segment_bytes_max = rules.segment_bytes_max;
        return Err(Refusal::SegmentTooSmall { size: batch.size(), segment_bytes_max });
    }
    let max_timestamp = match log_append_time {
        Some(now) => RecordAt { offset: Offset::ZERO, timestamp: now },
        None => survey.latest,
    };
    Ok(Checked { batch, max_timestamp, log_append_time })
}

/// Exactly one whole batch of the v2 format (rules B2, B3, B4).
fn read_one_batch(bytes: &Bytes) -> Result<Header, Refusal> {
    let size = bytes.len();
    let header = Header::read(bytes).map_err(|error| match error {
        BatchError::Magic { magic } => Refusal::Magic { magic },
        BatchError::Length { length } => Refusal::HeaderLength { length },
        BatchError::Short { .. } | BatchError::Size { .. } | BatchError::Range { .. } => Refusal::NoBatch { size },
    })?;
    if header.size() > size {
        return Err(Refusal::NoBatch { size });
    }
    match size - header.size() {
        0 => Ok(header),
        trailing => Err(Refusal::SeveralBatches { trailing }),
    }
}

/// A codec that exists and that the request may use (rule B9).
fn check_codec(header: &Header, rules: &ProduceRules) -> Result<Compression, Refusal> {
    let usable = header.compression().filter(|codec| rules.zstd_allowed || *codec != Compression::Zstd);
    usable.ok_or(Refusal::UnsupportedCompression { bits: header.codec_bits() })
}

/// The batch as a parcel: its place, its size, its CRC (rules B1, B5, B13).
fn check_envelope(header: &Header, bytes: &Bytes, rules: &ProduceRules) -> Result<(), Refusal> {
    if header.base_offset != Offset::ZERO {
        return Err(Refusal::BaseOffset { base: header.base_offset });
    }
    if bytes.len() > rules.max_message_bytes {
        return Err(Refusal::TooLarge { size: bytes.len(), max_message_bytes: rules.max_message_bytes });
    }
    let computed = crc32c::crc32c(&bytes[Header::CRC_START..]);
    if computed != header.crc {
        return Err(Refusal::Crc { stated: header.crc, computed });
    }
    Ok(())
}

/// What the header says of its records and of who wrote them (rules B5, B7).
fn check_header(header: &Header) -> Result<(), Refusal> {
    let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if record_count <= 0 || record_count - 1 != last_offset_delta {
        return Err(Refusal::Count { record_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(Refusal::Control);
    }
    if header.foreign_bits() != 0 {
        return Err(Refusal::Attributes { bits: header.foreign_bits() });
    }
    if !producer_is_consistent(header) {
        return Err(Refusal::Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
            transactional: header.is_transactional(),
        });
    }
    if header.timestamp_type() == TimestampType::LogAppend {
        return Err(Refusal::LogAppendTime);
    }
    Ok(())
}

/// With a producer id there are an epoch and a sequence; without one there is no transaction. A sequence without a
/// producer id means nothing and is let pass: sarama sends 0.
fn producer_is_consistent(header: &Header) -> bool {
    if header.has_producer() {
        return header.producer_epoch.get() >= 0 && header.base_sequence.get() >= 0;
    }
    header.producer_id.get() == -1 && !header.is_transactional()
}

/// What a walk over the records found.
struct Survey {
    latest: RecordAt,
    /// Offset deltas are not 0, 1, 2, …: old clients did this inside compressed batches.
    misnumbered: bool,
    records_bytes: u64,
}

fn survey(
    header: &Header,
    compression: Compression,
    payload: &[u8],
    rules: &ProduceRules,
    now: Timestamp,
) -> Result<Survey, Refusal> {
    let inspection = Inspection::new(header, compression, rules, now);
    if compression == Compression::None {
        return inspection.run(&mut Slice::new(payload));
    }
    let source = Streamed::new(compression, payload, rules.output_bytes_max());
    inspection.run(&mut source.map_err(|error| refusal_of(0, error.into(), Vec::new()))?)
}

/// A walk over the records under a topic's rules (rules B5, B6, B10, B12).
struct Inspection {
    header: Header,
    compacted: bool,
    /// Whether another numbering is repaired rather than refused.
    renumbered: bool,
    earliest: Timestamp,
    latest: Timestamp,
    ranged: bool,
}

impl Inspection {
    fn new(header: &Header, compression: Compression, rules: &ProduceRules, now: Timestamp) -> Self {
        Self {
            header: *header,
            compacted: rules.compacted,
            renumbered: compression != Compression::None,
            earliest: Timestamp::new(now.get().saturating_sub(rules.timestamp_before_max_ms)),
            latest: Timestamp::new(now.get().saturating_add(rules.timestamp_after_max_ms)),
            ranged: rules.timestamp_type == TimestampType::Create,
        }
    }

    fn run(&self, source: &mut impl Source) -> Result<Survey, Refusal> {
        let mut latest = RecordAt { offset: Offset::ZERO, timestamp: Timestamp::NONE };
        let mut misnumbered = false;
        let mut failures = Vec::new();
        for index in 0..self.header.record_count {
            let glimpse = match read_record(source) {
                Ok(glimpse) => glimpse,
                Err(error) => return Err(refusal_of(index, error, failures)),
            };
            misnumbered |= glimpse.offset_delta != index;
            match self.judge(index, glimpse) {
                Ok(timestamp) if timestamp > latest.timestamp => {
                    latest = RecordAt { offset: Offset::new(i64::from(index)), timestamp };
                }
                Ok(_) => {}
                Err(fault) => failures.push(RecordFailure { index, fault }),
            }
            if failures.len() == Refusal::FAILURES_MAX {
                return Err(refusal_of_failures(failures));
            }
        }
        if !failures.is_empty() {
            return Err(refusal_of_failures(failures));
        }
        let last = self.header.record_count - 1;
        match source.is_at_end() {
            Ok(true) => Ok(Survey { latest, misnumbered, records_bytes: source.position() }),
            Ok(false) => Err(refusal_of(last, RecordError::Trailing, failures)),
            Err(error) => Err(refusal_of(last, error, failures)),
        }
    }

    /// The record's timestamp, or what is wrong with it.
    #[inline]
    fn judge(&self, index: i32, glimpse: Glimpse) -> Result<Timestamp, RecordFault> {
        if glimpse.offset_delta != index && !self.renumbered {
            return Err(RecordFault::OffsetDelta { delta: glimpse.offset_delta });
        }
        if self.compacted && !glimpse.has_key {
            return Err(RecordFault::KeyMissing);
        }
        let base = self.header.base_timestamp.get();
        let timestamp = base.checked_add(glimpse.timestamp_delta).ok_or(RecordError::Delta)?;
        let timestamp = Timestamp::new(timestamp);
        let in_range = self.earliest <= timestamp && timestamp <= self.latest;
        if self.ranged && !in_range && timestamp != Timestamp::NONE {
            let (earliest, latest) = (self.earliest, self.latest);
            return Err(RecordFault::TimestampRange { timestamp, earliest, latest });
        }
        Ok(timestamp)
    }
}

/// The refusal for a record that cannot be read, after `failures` before it.
fn refusal_of(index: i32, error: RecordError, mut failures: Vec<RecordFailure>) -> Refusal {
    if let RecordError::Decompress(error) = error {
        return refusal_of_codec(error);
    }
    failures.push(RecordFailure { index, fault: RecordFault::Unreadable(error) });
    refusal_of_failures(failures)
}

fn refusal_of_codec(error: DecompressError) -> Refusal {
    match error {
        DecompressError::UnknownCodec { bits } => Refusal::UnsupportedCompression { bits },
        DecompressError::TooLarge { output_bytes_max } => Refusal::DecompressedTooLarge { output_bytes_max },
        DecompressError::Broken { reason } => Refusal::Compressed { reason },
    }
}

fn refusal_of_failures(failures: Vec<RecordFailure>) -> Refusal {
    assert!(!failures.is_empty(), "a refusal for its records names one");
    if failures.iter().any(|f| matches!(f.fault, RecordFault::TimestampRange { .. })) {
        Refusal::Timestamps { failures }
    } else {
        Refusal::Records { failures }
    }
}

/// The batch as the topic stores it. The maximal timestamp is the broker's finding, not the client's word.
fn store_form(
    received: Header,
    compression: Compression,
    bytes: Bytes,
    rules: &ProduceRules,
    survey: &Survey,
    log_append_time: Option<Timestamp>,
) -> Result<Batch, Refusal> {
    let mut header = received;
    match log_append_time {
        Some(now) => {
            header.set_log_append_time();
            header.max_timestamp = now;
        }
        None => header.max_timestamp = survey.latest.timestamp,
    }
    let codec = match rules.compression {
        CompressionRule::Producer => compression.codec(),
        CompressionRule::Fixed(codec) => codec,
    };
    if survey.misnumbered || codec.compression() != compression {
        let recoding = Recoding {
            header,
            compression,
            payload: &bytes[Header::SIZE..],
            records_bytes: survey.records_bytes,
            codec,
            output_bytes_max: rules.output_bytes_max(),
            max_message_bytes: rules.max_message_bytes,
        };
        return recode::recode(&recoding, survey.misnumbered).map_err(|error| recode_refusal(error, rules));
    }
    if header == received {
        return Ok(Batch::from_parts(header, bytes));
    }
    Ok(Batch::assemble(header, &bytes[Header::SIZE..]).expect("a batch that was received fits its length field"))
}

fn recode_refusal(error: recode::RecodeError, rules: &ProduceRules) -> Refusal {
    match error {
        recode::RecodeError::Read(error) => refusal_of(0, error, Vec::new()),
        recode::RecodeError::TooLarge => Refusal::RecodedTooLarge { max_message_bytes: rules.max_message_bytes },
    }
}
