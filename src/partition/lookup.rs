//! Finds a record by its timestamp, outside the shard: the shard names the batch, its bytes are read and unpacked by
//! whoever can wait for a disk.
//!
//! Called by `broker` on the answer of `Event::ListOffset`. Invariant: what is found lies below the readable end.

use std::io;

use crate::model::{LeaderEpoch, Offset, PartitionId, Timestamp};
use crate::records::{Batch, BatchError, RecordError};
use crate::storage::{Place, Slice};

use super::event::{Event, OffsetQuery};

/// What a shard answers to `Event::ListOffset`.
#[derive(Debug)]
pub enum OffsetAnswer {
    /// This one; or none matches.
    Found(Option<FoundOffset>),
    /// It is in this batch, if anywhere: call `OffsetLookup::resolve` where waiting for a disk is allowed.
    Look(OffsetLookup),
}

/// What ListOffsets found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp; `Timestamp::NONE` for earliest and latest.
    pub timestamp: Timestamp,
    /// The epoch at that offset.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// A batch to be looked into.
#[derive(Debug)]
pub struct OffsetLookup {
    pub(super) slice: Slice,
    pub(super) query: OffsetQuery,
    /// The readable end: nothing at or above it is found.
    pub(super) end: Offset,
    /// Where the batch stands, and in which state of the log; for `Event::Inspect`.
    pub(super) place: Place,
    pub(super) generation: u64,
}

/// Why a look-up failed.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The disk refused.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The batch is not what was written.
    #[error("the batch at offset {base} has a wrong checksum")]
    Checksum {
        /// Where it starts.
        base: Offset,
    },
    /// The batch cannot be parsed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Its records cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl OffsetLookup {
    /// Has the owner look at the batch, which could not be looked into.
    #[must_use]
    pub fn doubt(&self, partition: PartitionId) -> Event {
        Event::Inspect { partition, generation: self.generation, place: self.place }
    }

    /// Reads the batch, unpacking at most `output_bytes_max`, and finds the record.
    ///
    /// # Errors
    /// The batch cannot be read.
    pub fn resolve(&self, output_bytes_max: usize) -> Result<Option<FoundOffset>, LookupError> {
        let batch = Batch::parse(self.slice.read()?)?;
        if !batch.crc_is_valid() {
            return Err(LookupError::Checksum { base: batch.base_offset() });
        }
        let record = match self.query {
            OffsetQuery::Timestamp(timestamp) => batch.first_at_or_after(timestamp, output_bytes_max)?,
            OffsetQuery::MaxTimestamp => batch.max_timestamp_record(output_bytes_max)?,
            OffsetQuery::Earliest | OffsetQuery::Latest => None,
        };
        let record = record.filter(|record| record.offset < self.end);
        let epoch = batch.header().leader_epoch;
        Ok(record.map(|r| FoundOffset { offset: r.offset, timestamp: r.timestamp, leader_epoch: Some(epoch) }))
    }
}
