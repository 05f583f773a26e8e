//! What can go wrong, one enum per operation.

use std::io;
use std::path::PathBuf;

use crate::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

use super::segment::Place;

/// Why a batch of an idempotent producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefusal {
    /// Neither the next sequence nor a known duplicate: OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer} sent sequence {given}, expected {expected:?}")]
    OutOfOrder {
        /// The producer.
        producer: ProducerId,
        /// The first sequence of the batch.
        given: Sequence,
        /// The one that would have been right; `None` when it is not known.
        expected: Option<Sequence>,
    },
    /// An older epoch than was seen: INVALID_PRODUCER_EPOCH.
    #[error("producer {producer} sent epoch {given}, epoch {current} is known")]
    Fenced {
        /// The producer.
        producer: ProducerId,
        /// The epoch of the batch.
        given: ProducerEpoch,
        /// The newest epoch seen.
        current: ProducerEpoch,
    },
    /// A batch outside a transaction while one is open: INVALID_TXN_STATE.
    #[error("producer {producer} sent a batch outside its open transaction")]
    InTransaction {
        /// The producer.
        producer: ProducerId,
    },
    /// A marker of an older coordinator than was seen: TRANSACTION_COORDINATOR_FENCED.
    #[error("a marker for producer {producer} comes from coordinator epoch {given}, epoch {current} is known")]
    CoordinatorFenced {
        /// The producer.
        producer: ProducerId,
        /// The marker's coordinator epoch.
        given: i32,
        /// The newest one seen.
        current: i32,
    },
}

/// Why a batch was not appended. The log is as it was, and usable unless it says poisoned.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The producer's state forbids it.
    #[error(transparent)]
    Producer(#[from] ProducerRefusal),
    /// A batch larger than a segment: RECORD_LIST_TOO_LARGE.
    #[error("a batch of {size} bytes is larger than a segment of {segment_bytes}")]
    TooLarge {
        /// The batch's size.
        size: usize,
        /// `segment.bytes`.
        segment_bytes: u32,
    },
    /// The batch carries, or was given, an older epoch than the log's newest.
    #[error("epoch {given} is older than the log's epoch {latest}")]
    StaleEpoch {
        /// The batch's.
        given: LeaderEpoch,
        /// The log's.
        latest: LeaderEpoch,
    },
    /// A fetched batch that does not continue the log.
    #[error("a batch at offset {base} does not continue a log that ends at {end}")]
    NotContiguous {
        /// Where the batch starts.
        base: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// A control batch that is none.
    #[error("the control batch at offset {base} cannot be read")]
    Control {
        /// Where it starts.
        base: Offset,
    },
    /// The disk refused, see there.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The disk refused.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A call failed; the log is as it was.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier failure left the files in an unknown state (style rule 26, KAFKA-10778); drop the log.
    #[error("the log failed earlier and takes no more writes")]
    Poisoned,
    /// The flush log could not be written, see there.
    #[error(transparent)]
    Flush(#[from] FlushError),
}

impl LogError {
    /// Whether the disk did as told, but what stands in the files is not what was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
            }
            Self::Poisoned | Self::Flush(_) => false,
        }
    }
}

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Before the log's start or after its end: OFFSET_OUT_OF_RANGE.
    #[error("offset {offset} is outside {start}..{end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's start.
        start: Offset,
        /// The log's end.
        end: Offset,
    },
    /// Bytes that were attested are not what they were.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The disk refused, see there.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Bytes below the attested end that are not valid, or that the disk does not give back: never cut off, never served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is corrupt or unreadable at byte {} (offset {}), below the attested end {attested}", place.position, place.offset)]
pub struct Corruption {
    /// The segment's file.
    pub path: PathBuf,
    /// Where, and the offset that should stand there.
    pub place: Place,
    /// The end that was attested.
    pub attested: Offset,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Attested data is not what it was.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The disk refused, see there.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A sync failed or had failed before: none of the group is durable, and the directory takes no more (ADR 7).
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// This one failed.
    #[error("{root}: {source}")]
    Io {
        /// The data directory.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier one failed.
    #[error("an earlier flush of {root} failed")]
    Fenced {
        /// The data directory.
        root: PathBuf,
    },
}

/// Why a data directory cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{path} is in use by another process: stop that one, or give each node its own directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It is another node's.
    #[error("{path} belongs to node {found}, this is node {expected}: correct node.id or the directory")]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node in `meta.properties`.
        found: String,
        /// This node.
        expected: String,
    },
    /// It holds data but no `meta.properties`.
    #[error("{path} holds files but no meta.properties: restore that file, or point log.dirs at an empty directory")]
    Unformatted {
        /// The directory.
        path: PathBuf,
    },
    /// A file of ours is not readable.
    #[error("{path} cannot be read as {what}: restore it, or empty the directory and let it be replicated anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The flush log could not be opened.
    #[error(transparent)]
    Flush(#[from] FlushError),
}
