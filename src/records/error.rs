//! What can be wrong with a batch.
//!
//! Invariant: these name facts, not answers; `api/error.rs` turns each into an error code (style rule 22).

use crate::model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// Why bytes are not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header has.
    #[error("{size} bytes hold no batch header")]
    Short {
        /// How many there are.
        size: usize,
    },
    /// Another format than v2.
    #[error("the batch has magic {magic}, only 2 is known")]
    Magic {
        /// The magic byte.
        magic: u8,
    },
    /// A length that leaves no room for a header.
    #[error("the batch states a length of {length}, less than its header's")]
    Length {
        /// The length as stated, without the first 12 bytes.
        length: i32,
    },
    /// More or fewer bytes than the header states.
    #[error("the batch states {stated} bytes but has {size}")]
    Size {
        /// What the header says.
        stated: usize,
        /// What there is.
        size: usize,
    },
    /// Offsets or a count that are negative or pass 2^63-1.
    #[error("base offset {base}, last delta {last_offset_delta} and {record_count} records are no range")]
    Range {
        /// The base offset.
        base: Offset,
        /// The last offset minus the base.
        last_offset_delta: i32,
        /// The stated count of records.
        record_count: i32,
    },
}

/// Why records could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The number names no codec.
    #[error("{bits} names no compression codec")]
    UnknownCodec {
        /// The number.
        bits: i16,
    },
    /// The output would pass the bound (rule B8).
    #[error("the records decompress to more than {output_bytes_max} bytes")]
    TooLarge {
        /// The bound.
        output_bytes_max: usize,
    },
    /// The compressed bytes are broken, or use what no client may (a large window, a dictionary, linked blocks).
    #[error("the compressed records are broken: {reason}")]
    Broken {
        /// What the codec found.
        reason: &'static str,
    },
}

/// Why a record, or a batch's records together, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The bytes end inside a record.
    #[error("the records end inside a record")]
    Truncated,
    /// A varint with too many bits.
    #[error("a number has too many bytes")]
    Varint,
    /// A length, count or delta that is negative where it may not be, or larger than what holds it.
    #[error("{length} is no length here")]
    Length {
        /// What was stated.
        length: i64,
    },
    /// The fields do not fill the record's stated length.
    #[error("a record's fields do not fill its length")]
    Unfilled,
    /// Bytes follow the last record.
    #[error("bytes follow the last record")]
    Trailing,
    /// A timestamp or offset that does not fit its type.
    #[error("a delta takes a record's timestamp or offset out of range")]
    Delta,
}

/// Why a control record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The batch is not a control batch, or holds no record.
    #[error("the batch holds no control record")]
    NotControl,
    /// The key or the value is too short or of an unknown version.
    #[error("the control record is broken")]
    Broken,
}

/// Why a batch cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No record was added.
    #[error("a batch holds at least one record")]
    Empty,
    /// More bytes or records than the fields can say.
    #[error("the batch is too large for its format")]
    TooLarge,
    /// Offsets that do not rise, or timestamps too far apart.
    #[error("a record's offset or timestamp is too far from the first one's")]
    Delta,
}

/// What is wrong with one record of a produced batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// It cannot be read; nothing after it was looked at.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
    /// It has no key, and the topic is compacted.
    #[error("a compacted topic takes no record without a key")]
    KeyMissing,
    /// Its timestamp is outside the topic's bounds around the broker's clock.
    #[error("timestamp {timestamp} is not within {earliest} to {latest}")]
    TimestampRange {
        /// What the producer set.
        timestamp: Timestamp,
        /// The earliest allowed.
        earliest: Timestamp,
        /// The latest allowed.
        latest: Timestamp,
    },
    /// Its offset delta is not its place in the (uncompressed) batch.
    #[error("offset delta {delta} is not the record's place in the batch")]
    OffsetDelta {
        /// What it is.
        delta: i32,
    },
}

/// One record that made a batch be refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {index}: {fault}")]
pub struct RecordFailure {
    /// Its place in the batch, from 0: the protocol's `BatchIndex`.
    pub index: i32,
    /// What is wrong.
    pub fault: RecordFault,
}

/// Why a produced batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no whole batch. INVALID_RECORD.
    #[error("the {size} bytes of records hold no whole batch")]
    NoBatch {
        /// How many bytes there are.
        size: usize,
    },
    /// The batch is not of the v2 format. INVALID_RECORD.
    #[error("the batch has magic {magic}, only 2 may be produced")]
    Magic {
        /// The magic byte.
        magic: u8,
    },
    /// Bytes follow the batch: another one, or garbage. INVALID_RECORD.
    #[error("{trailing} bytes follow the batch; one batch per partition may be produced")]
    SeveralBatches {
        /// How many.
        trailing: usize,
    },
    /// A codec that is unknown, or zstd before Produce v7. UNSUPPORTED_COMPRESSION_TYPE.
    #[error("compression codec {bits} may not be used here")]
    UnsupportedCompression {
        /// The codec's number.
        bits: i16,
    },
    /// The base offset is not 0. INVALID_RECORD.
    #[error("base offset {base} of a produced batch is not 0")]
    BaseOffset {
        /// What it is.
        base: Offset,
    },
    /// Larger than `max.message.bytes`. MESSAGE_TOO_LARGE.
    #[error("the batch has {size} bytes, more than the topic's maximum of {max_message_bytes}")]
    TooLarge {
        /// The batch's size as received.
        size: usize,
        /// The topic's bound.
        max_message_bytes: usize,
    },
    /// The stated length holds no header. CORRUPT_MESSAGE.
    #[error("the batch states a length of {length}, less than its header's")]
    HeaderLength {
        /// The stated length.
        length: i32,
    },
    /// The bytes are not those that the CRC was made from. CORRUPT_MESSAGE.
    #[error("the batch's crc is {stated:#010x}, its bytes have {computed:#010x}")]
    Crc {
        /// In the header.
        stated: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The count of records and the offset range disagree, or are empty. INVALID_RECORD.
    #[error("{record_count} records do not fill offset deltas 0 to {last_offset_delta}")]
    Count {
        /// The stated count.
        record_count: i32,
        /// The last offset delta.
        last_offset_delta: i32,
    },
    /// A client wrote a control batch. INVALID_RECORD.
    #[error("only the broker writes control batches")]
    Control,
    /// Flags that mean nothing, or that only compaction sets. INVALID_RECORD.
    #[error("the batch has attribute bits {bits:#x}, which a producer may not set")]
    Attributes {
        /// The offending bits.
        bits: i16,
    },
    /// Producer id, epoch, sequence and transaction flag contradict each other. INVALID_RECORD.
    #[error(
        "producer id {id}, epoch {epoch} and sequence {sequence} do not go together (transactional: {transactional})"
    )]
    Producer {
        /// The producer id.
        id: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
        /// The first sequence number.
        sequence: Sequence,
        /// Whether the batch belongs to a transaction.
        transactional: bool,
    },
    /// The producer claims to have set log append time. INVALID_TIMESTAMP.
    #[error("only the broker sets log append time")]
    LogAppendTime,
    /// The records decompress to too much (rule B8). MESSAGE_TOO_LARGE.
    #[error("the records decompress to more than {output_bytes_max} bytes")]
    DecompressedTooLarge {
        /// The bound.
        output_bytes_max: usize,
    },
    /// The compressed bytes are broken (rule B8). CORRUPT_MESSAGE.
    #[error("the compressed records are broken: {reason}")]
    Compressed {
        /// What the codec found.
        reason: &'static str,
    },
    /// Records are broken or lack a key. INVALID_RECORD with RecordErrors.
    #[error("{} records were refused, the first: {}", failures.len(), failures[0])]
    Records {
        /// At least one, at most [`Refusal::FAILURES_MAX`].
        failures: Vec<RecordFailure>,
    },
    /// Records have timestamps out of bounds, and perhaps other faults. INVALID_TIMESTAMP with RecordErrors.
    #[error("{} records were refused, some for their timestamps, the first: {}", failures.len(), failures[0])]
    Timestamps {
        /// At least one, at most [`Refusal::FAILURES_MAX`].
        failures: Vec<RecordFailure>,
    },
    /// Larger than a segment. RECORD_LIST_TOO_LARGE.
    #[error("the batch has {size} bytes, more than a segment of {segment_bytes_max}")]
    SegmentTooSmall {
        /// The batch's size.
        size: usize,
        /// The topic's `segment.bytes`.
        segment_bytes_max: usize,
    },
    /// Larger than `max.message.bytes` once recoded with the topic's codec. MESSAGE_TOO_LARGE.
    #[error("the batch has more than the topic's maximum of {max_message_bytes} bytes after recompression")]
    RecodedTooLarge {
        /// The topic's bound.
        max_message_bytes: usize,
    },
}

impl Refusal {
    /// How many records at fault are listed; those after are not looked for.
    pub const FAILURES_MAX: usize = 100;

    /// The records at fault, for the protocol's `RecordErrors`.
    #[must_use]
    pub fn failures(&self) -> &[RecordFailure] {
        if let Self::Records { failures } | Self::Timestamps { failures } = self { failures } else { &[] }
    }
}
