//! Control batches: the markers that end a transaction in a partition (KIP-98).
//!
//! Invariant: a marker is one record in a transactional control batch; consumers pass over it.

use bytes::Bytes;

use crate::model::{CoordinatorEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::batch::Batch;
use super::build::{Builder, Draft, Producer};
use super::compress::Codec;
use super::error::ControlError;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;
/// A control record takes some tens of bytes, and is never compressed by a broker.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerKind {
    /// Its records are void.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of a producer's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// How it ended.
    pub kind: MarkerKind,
    /// The epoch of the transaction coordinator that says so.
    pub coordinator_epoch: CoordinatorEpoch,
}

/// What a control batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// A transaction ended.
    Marker(Marker),
    /// Something that only Kafka's own metadata log holds.
    Other {
        /// The number of its kind.
        kind: i16,
    },
}

impl MarkerKind {
    /// Its number in the record's key.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
        }
    }
}

/// The batch that ends a transaction of `id`.
#[must_use]
pub fn marker_batch(id: ProducerId, epoch: ProducerEpoch, marker: Marker, now: Timestamp) -> Batch {
    let key = [KEY_VERSION.to_be_bytes(), marker.kind.number().to_be_bytes()].concat();
    let mut value = VALUE_VERSION.to_be_bytes().to_vec();
    value.extend_from_slice(&marker.coordinator_epoch.get().to_be_bytes());
    let producer = Producer { id, epoch, base_sequence: Sequence::new(-1) };
    let mut builder = Builder::new(Codec::None).producer(producer).transactional().control();
    let draft = Draft { timestamp: now, key: Some(&key), value: Some(&value), headers: &[] };
    builder.push(draft).expect("the first record of a batch is in range");
    builder.build().expect("a batch of one small record fits")
}

/// Reads a control batch.
///
/// # Errors
/// The batch is another kind, or its record is broken.
pub fn read_control(batch: &Batch) -> Result<Control, ControlError> {
    if !batch.header().is_control() {
        return Err(ControlError::NotControl);
    }
    let record = batch.records(RECORD_BYTES_MAX)?.next().ok_or(ControlError::NotControl)??;
    let key = record.key.ok_or(ControlError::Broken)?;
    // A later version only adds fields at the end, as in Kafka.
    if read_i16(&key, 0)? < KEY_VERSION {
        return Err(ControlError::Broken);
    }
    let marker_kind = match read_i16(&key, 2)? {
        0 => MarkerKind::Abort,
        1 => MarkerKind::Commit,
        kind => return Ok(Control::Other { kind }),
    };
    let value = record.value.ok_or(ControlError::Broken)?;
    if read_i16(&value, 0)? < VALUE_VERSION {
        return Err(ControlError::Broken);
    }
    let epoch = value.get(2..6).ok_or(ControlError::Broken)?;
    let epoch = i32::from_be_bytes(epoch.try_into().expect("four bytes"));
    Ok(Control::Marker(Marker { kind: marker_kind, coordinator_epoch: CoordinatorEpoch::new(epoch) }))
}

fn read_i16(bytes: &Bytes, at: usize) -> Result<i16, ControlError> {
    let bytes = bytes.get(at..at + 2).ok_or(ControlError::Broken)?;
    Ok(i16::from_be_bytes(bytes.try_into().expect("two bytes")))
}
