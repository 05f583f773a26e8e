//! `%020d.snapshot`: the producers of a log as of an offset.
//!
//! Invariant: Kafka's reader takes it, and ours gets back all five batches of a producer (rule S8): Kafka keeps the
//! last row of an id, so ours has a row for each batch, oldest first.

use crate::model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::probe::{Mutant, planted};

use super::bytes_at::{BytesAt, Cursor};
use super::producer_state::{Producer, ProducerBatch, Producers};

const VERSION: i16 = 1;
/// Version and CRC come before the bytes that the CRC covers.
const CRC_END: usize = 6;

/// The bytes of a snapshot.
pub(super) fn encode(producers: &Producers) -> Vec<u8> {
    let keeps_all = !planted(Mutant::SnapshotKeepsLastBatch);
    let kept = |p: &Producer| if keeps_all { p.batches.len() } else { p.batches.len().min(1) };
    let rows: usize = producers.iter().map(|(_, p)| kept(p).max(1)).sum();
    let mut out = Vec::with_capacity(CRC_END + 4 + rows * 46);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&i32::try_from(rows).expect("memory ends before 2^31 rows").to_be_bytes());
    for (id, producer) in producers.iter() {
        if producer.batches.is_empty() {
            encode_row(&mut out, id, producer, None, producer.last_timestamp);
        }
        let newest = producer.batches.len().saturating_sub(1);
        for (i, batch) in producer.batches.iter().enumerate().skip(producer.batches.len() - kept(producer)) {
            let timestamp = if i == newest { producer.last_timestamp } else { batch.timestamp };
            encode_row(&mut out, id, producer, Some(batch), timestamp);
        }
    }
    let crc = crc32c::crc32c(&out[CRC_END..]);
    out[2..CRC_END].copy_from_slice(&crc.to_be_bytes());
    out
}

fn encode_row(
    out: &mut Vec<u8>,
    id: ProducerId,
    producer: &Producer,
    batch: Option<&ProducerBatch>,
    timestamp: Timestamp,
) {
    let behind = i32::from(planted(Mutant::SnapshotOffByOne));
    let last_sequence = batch.map_or(-1, |b| b.last.get() - behind);
    let last_offset = batch.map_or(-1, |b| b.end.get() - 1);
    let delta = batch.map_or(0, |b| i32::try_from(b.end.since(b.base) - 1).expect("a batch spans less than 2^31"));
    out.extend_from_slice(&id.get().to_be_bytes());
    out.extend_from_slice(&producer.epoch.get().to_be_bytes());
    out.extend_from_slice(&last_sequence.to_be_bytes());
    out.extend_from_slice(&last_offset.to_be_bytes());
    out.extend_from_slice(&delta.to_be_bytes());
    out.extend_from_slice(&timestamp.get().to_be_bytes());
    out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
    out.extend_from_slice(&producer.transaction_start.map_or(-1, Offset::get).to_be_bytes());
}

/// Reads a snapshot; `None` when it is not one, or not whole.
pub(super) fn decode(bytes: &[u8]) -> Option<Producers> {
    if bytes.i16_at(0)? != VERSION || bytes.u32_at(2)? != crc32c::crc32c(bytes.get(CRC_END..)?) {
        return None;
    }
    let mut cursor = Cursor::new(bytes.get(CRC_END..)?);
    let rows = cursor.i32()?;
    let mut producers = Producers::default();
    for _ in 0..rows {
        decode_row(&mut cursor, &mut producers)?;
    }
    Some(producers)
}

fn decode_row(cursor: &mut Cursor<'_>, producers: &mut Producers) -> Option<()> {
    let id = ProducerId::new(cursor.i64()?);
    let epoch = ProducerEpoch::new(cursor.i16()?);
    let last_sequence = cursor.i32()?;
    let last_offset = cursor.i64()?;
    let delta = cursor.i32()?;
    let timestamp = Timestamp::new(cursor.i64()?);
    let coordinator_epoch = cursor.i32()?;
    let transaction_start = cursor.i64()?;
    let producer = producers.entry(id, epoch);
    producer.epoch = epoch;
    producer.coordinator_epoch = coordinator_epoch;
    producer.last_timestamp = timestamp;
    producer.transaction_start = (transaction_start >= 0).then_some(Offset::new(transaction_start));
    if last_offset >= 0 && delta >= 0 {
        let last = Sequence::new(last_sequence);
        producer.remember(ProducerBatch {
            first: last.plus(-delta),
            last,
            base: Offset::new(last_offset.checked_sub(i64::from(delta))?),
            end: Offset::new(last_offset.checked_add(1)?),
            timestamp,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::producer_state::tests::{header, transactional};
    use super::*;
    use crate::model::CoordinatorEpoch;
    use crate::records::{Marker, MarkerKind};

    #[test]
    fn a_snapshot_brings_back_five_batches_of_each_producer() {
        let mut producers = Producers::default();
        for i in 0..7 {
            producers.apply(&header(3, 1, i * 4, 4, i64::from(i) * 4));
        }
        producers.apply(&header(4, 0, i32::MAX - 1, 4, 60));
        producers.apply(&transactional(header(5, 0, 0, 1, 70)));
        let marker = Marker { kind: MarkerKind::Abort, coordinator_epoch: CoordinatorEpoch::new(9) };
        producers.apply_marker(&transactional(header(6, 2, -1, 1, 71)), marker);
        let bytes = encode(&producers);
        assert_eq!(decode(&bytes), Some(producers));
    }

    #[test]
    fn a_snapshot_that_is_not_whole_is_none() {
        let mut producers = Producers::default();
        producers.apply(&header(3, 1, 0, 4, 0));
        let bytes = encode(&producers);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for i in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[i] ^= 1;
            assert_eq!(decode(&bytes), None, "flipped at {i}");
        }
        assert_eq!(decode(&encode(&Producers::default())), Some(Producers::default()));
    }
}
