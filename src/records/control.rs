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

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn marker(kind: MarkerKind) -> (Batch, Marker) {
        let marker = Marker { kind, coordinator_epoch: CoordinatorEpoch::new(258) };
        (marker_batch(ProducerId::new(7), ProducerEpoch::new(2), marker, sample::NOW), marker)
    }

    #[test]
    fn a_marker_is_read_again() {
        for kind in [MarkerKind::Abort, MarkerKind::Commit] {
            let (batch, marker) = marker(kind);
            assert_eq!(read_control(&batch), Ok(Control::Marker(marker)));
            let header = batch.header();
            assert!(header.is_control() && header.is_transactional() && batch.crc_is_valid());
            assert_eq!((header.producer_id, header.producer_epoch), (ProducerId::new(7), ProducerEpoch::new(2)));
            assert_eq!(header.base_sequence, Sequence::new(-1));
            assert_eq!(header.last_sequence(), Sequence::new(-1));
        }
    }

    #[test]
    fn a_marker_has_the_bytes_of_kafka() {
        let record = &sample::records_of(&marker(MarkerKind::Commit).0)[0];
        assert_eq!(record.key.as_deref(), Some(&[0, 0, 0, 1][..]));
        assert_eq!(record.value.as_deref(), Some(&[0, 0, 0, 0, 1, 2][..]));
    }

    #[test]
    fn what_is_no_marker_is_told_apart() {
        assert_eq!(read_control(&sample::batch(1)), Err(ControlError::NotControl));
        let control = |key: &[u8], value: &[u8]| {
            let mut builder = Builder::new(Codec::None).control();
            builder.push(Draft { key: Some(key), value: Some(value), ..Draft::default() }).expect("a small record");
            read_control(&builder.build().expect("one record"))
        };
        assert_eq!(control(&[0, 0, 0, 2], b""), Ok(Control::Other { kind: 2 }));
        assert_eq!(control(&[0, 0, 0], b""), Err(ControlError::Broken));
        assert_eq!(control(&[0, 0, 0, 1], &[0, 0, 0, 0, 1]), Err(ControlError::Broken));
        assert_eq!(control(&[0xff, 0xff, 0, 1], &[0; 6]), Err(ControlError::Broken));
    }
}
