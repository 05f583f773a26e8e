//! Takes records out of a batch, as compaction does, and leaves everything else as it was.
//!
//! Called by `storage` for each batch of a log that is compacted. Invariant: offsets, the producer's sequence, the
//! leader's epoch and the batch's first and last offset stay; the records are streamed twice, so that memory is bounded by
//! the batch as it is stored, however much it decompresses to.

use std::io::Write;

use crate::model::{Offset, Timestamp};

use super::batch::Batch;
use super::compress::{Compression, Compressor, OUTPUT_BYTES_MAX};
use super::digest::{Hasher, KeyDigest};
use super::error::{DecompressError, RecordError};
use super::header::{Header, TimestampType};
use super::lookup::{offset_of, timestamp_of};
use super::varint::{put_i32, put_i64, size_i64};
use super::walk::{CopyError, Front, Slice, Source, Streamed, read_front, read_key};

/// What compaction looks at of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRecord {
    /// Its offset.
    pub offset: Offset,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Its key; `None` is Kafka's null.
    pub key: Option<KeyDigest>,
    /// Whether it has a value. One without is a tombstone.
    pub has_value: bool,
}

/// A batch after some of its records were taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thinned {
    /// None were, and it stays as it is.
    Same,
    /// It was written anew.
    Anew(Batch),
    /// All were.
    Empty,
}

/// What to take out of a batch.
pub struct Thinning<'a> {
    /// The delete horizon for a batch that needs one and has none (KIP-534).
    pub horizon: Timestamp,
    /// Whether the batch is a marker of a transaction of which no record is left: it needs a horizon as a tombstone does.
    pub is_spent_marker: bool,
    /// Whether a record stays.
    pub keeps: &'a mut dyn FnMut(&KeyedRecord) -> bool,
}

/// What the first pass over the records has found.
#[derive(Default)]
struct Survey {
    /// For each record, whether it stays.
    kept: Vec<bool>,
    count: i32,
    first: Option<Timestamp>,
    largest: Option<Timestamp>,
    has_tombstone: bool,
}

impl Batch {
    /// Shows each record to `visit` until it answers false.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn keyed(&self, visit: &mut dyn FnMut(&KeyedRecord) -> bool) -> Result<(), RecordError> {
        match self.stored_as()? {
            Compression::None => visit_all(self.header(), &mut Slice::new(self.payload()), visit),
            other @ (Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd) => {
                visit_all(self.header(), &mut Streamed::new(other, self.payload(), OUTPUT_BYTES_MAX)?, visit)
            }
        }
    }

    /// Takes out what is not kept. A batch that keeps a tombstone, or is a spent marker, is given a delete horizon the
    /// first time.
    ///
    /// # Errors
    /// The records cannot be read, or do not fit in a batch any more.
    pub fn thin(&self, thinning: &mut Thinning<'_>) -> Result<Thinned, RecordError> {
        let mut survey = Survey::default();
        self.keyed(&mut |record| {
            let keeps = (thinning.keeps)(record);
            survey.note(record, keeps);
            true
        })?;
        let header = self.header();
        if survey.count == 0 {
            return Ok(Thinned::Empty);
        }
        let needs_horizon = (survey.has_tombstone || thinning.is_spent_marker) && !header.has_delete_horizon();
        if survey.count == header.record_count && !needs_horizon {
            return Ok(Thinned::Same);
        }
        let horizon = if needs_horizon { Some(thinning.horizon) } else { header.delete_horizon() };
        self.write_anew(&survey, horizon).map(Thinned::Anew)
    }

    /// The batch without its records, kept for its producer's sequence or for its last offset. Kafka's form: not
    /// compressed, no delete horizon, no base timestamp.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let mut header = Header { record_count: 0, base_timestamp: Timestamp::NONE, ..*self.header() };
        header.set_compression(Compression::None);
        header.clear_delete_horizon();
        Self::assemble(header, &[]).expect("a header alone fits")
    }

    fn stored_as(&self) -> Result<Compression, DecompressError> {
        let header = self.header();
        header.compression().ok_or(DecompressError::UnknownCodec { bits: header.codec_bits() })
    }

    fn write_anew(&self, survey: &Survey, horizon: Option<Timestamp>) -> Result<Self, RecordError> {
        let mut header = Header { record_count: survey.count, ..*self.header() };
        header.clear_delete_horizon();
        header.base_timestamp = survey.first.unwrap_or(Timestamp::NONE);
        if let Some(horizon) = horizon {
            header.set_delete_horizon(horizon);
        }
        if header.timestamp_type() == TimestampType::Create {
            header.max_timestamp = survey.largest.unwrap_or(Timestamp::NONE);
        }
        let stored_as = self.stored_as()?;
        let out = Compressor::new(stored_as.codec(), Vec::new(), None).map_err(|_| RecordError::Unfilled)?;
        let mut copying = Copying { old: *self.header(), base: header.base_timestamp, out };
        match stored_as {
            Compression::None => copying.run(&mut Slice::new(self.payload()), &survey.kept)?,
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                copying.run(&mut Streamed::new(stored_as, self.payload(), OUTPUT_BYTES_MAX)?, &survey.kept)?;
            }
        }
        let payload = copying.out.finish().map_err(|_| RecordError::Unfilled)?;
        Self::assemble(header, &payload).map_err(|_| RecordError::Delta)
    }
}

impl Survey {
    fn note(&mut self, record: &KeyedRecord, keeps: bool) {
        self.kept.push(keeps);
        if keeps {
            self.count += 1;
            self.first.get_or_insert(record.timestamp);
            self.largest = self.largest.max(Some(record.timestamp));
            self.has_tombstone |= !record.has_value;
        }
    }
}

fn visit_all(
    header: &Header,
    source: &mut impl Source,
    visit: &mut dyn FnMut(&KeyedRecord) -> bool,
) -> Result<(), RecordError> {
    for _ in 0..header.record_count {
        let front = read_front(source)?;
        let mut hasher = Hasher::new();
        let fields = read_key(source, front.end, &mut hasher)?;
        let record = KeyedRecord {
            offset: offset_of(header, front.offset_delta)?,
            timestamp: timestamp_of(header, front.timestamp_delta)?,
            key: fields.has_key.then(|| hasher.finish()),
            has_value: fields.has_value,
        };
        if !visit(&record) {
            return Ok(());
        }
    }
    Ok(())
}

/// The second pass: what stays is copied.
struct Copying<W: Write> {
    old: Header,
    /// The base timestamp of the new batch.
    base: Timestamp,
    out: Compressor<W>,
}

impl<W: Write> Copying<W> {
    fn run(&mut self, source: &mut impl Source, kept: &[bool]) -> Result<(), RecordError> {
        for keeps in kept {
            let front = read_front(source)?;
            let body = front.end.checked_sub(source.position()).ok_or(RecordError::Unfilled)?;
            if !keeps {
                source.skip(body)?;
                continue;
            }
            let head = self.head(&front, body)?;
            self.out.write_all(&head).map_err(|_| RecordError::Unfilled)?;
            source.copy(body, &mut self.out).map_err(|error| match error {
                CopyError::Read(error) => error,
                CopyError::Write(_) => RecordError::Unfilled,
            })?;
        }
        Ok(())
    }

    /// The record's first fields: its timestamp counts from another base now.
    fn head(&self, front: &Front, body: u64) -> Result<Vec<u8>, RecordError> {
        let timestamp = timestamp_of(&self.old, front.timestamp_delta)?;
        let delta = timestamp.get().checked_sub(self.base.get()).ok_or(RecordError::Delta)?;
        let fields = 1 + size_i64(delta) + size_i64(i64::from(front.offset_delta));
        let length = u64::try_from(fields).expect("some twenty bytes") + body;
        let length = i32::try_from(length).map_err(|_| RecordError::Delta)?;
        let mut head = Vec::with_capacity(fields + 5);
        put_i32(&mut head, length);
        head.push(front.attributes);
        put_i64(&mut head, delta);
        put_i32(&mut head, front.offset_delta);
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample;
    use super::super::{Builder, Draft, Producer, Record};
    use super::*;
    use crate::model::{LeaderEpoch, ProducerEpoch, ProducerId, Sequence};

    const HORIZON: Timestamp = Timestamp::new(1_800_000_000_000);

    fn thin(batch: &Batch, is_spent_marker: bool, keeps: &mut dyn FnMut(&KeyedRecord) -> bool) -> Thinned {
        batch.thin(&mut Thinning { horizon: HORIZON, is_spent_marker, keeps }).expect("a sound batch")
    }

    fn anew(thinned: Thinned) -> Batch {
        match thinned {
            Thinned::Anew(batch) => batch,
            other @ (Thinned::Same | Thinned::Empty) => panic!("it is {other:?}"),
        }
    }

    /// Like `batch_of`, at a place in a log, of a producer.
    fn placed(batch: &Batch) -> Batch {
        let change = |header: &mut Header| {
            header.producer_id = ProducerId::new(7);
            header.producer_epoch = ProducerEpoch::new(2);
            header.base_sequence = Sequence::new(40);
        };
        let changed = Batch::parse(sample::with_header(batch, change)).expect("a sound batch");
        changed.stamp(Offset::new(1000), LeaderEpoch::new(3)).to_batch()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_stays_is_what_it_was_and_the_batch_keeps_its_range_and_sequence(
            records in sample::records(),
            codec in sample::codecs(),
            choice: u64,
        ) {
            let batch = placed(&sample::batch_of(codec, &records));
            let stays = |offset: Offset| (choice >> (offset.get() % 64)) & 1 == 1;
            let all = sample::records_of(&batch);
            let expected: Vec<Record> = all.iter().filter(|r| stays(r.offset)).cloned().collect();
            let thinned = match thin(&batch, false, &mut |record| stays(record.offset)) {
                Thinned::Same => batch.clone(),
                Thinned::Anew(batch) => batch,
                Thinned::Empty => batch.emptied(),
            };
            prop_assert!(thinned.crc_is_valid());
            let (old, new) = (batch.header(), thinned.header());
            prop_assert_eq!((new.base_offset, new.last_offset_delta), (old.base_offset, old.last_offset_delta));
            prop_assert_eq!((new.leader_epoch, new.producer_id), (old.leader_epoch, old.producer_id));
            prop_assert_eq!((new.producer_epoch, new.base_sequence), (old.producer_epoch, old.base_sequence));
            prop_assert_eq!(new.last_sequence(), old.last_sequence());
            prop_assert_eq!(new.record_count, i32::try_from(expected.len()).unwrap());
            if !expected.is_empty() {
                prop_assert_eq!(new.compression(), old.compression());
                prop_assert_eq!(new.has_delete_horizon(), expected.iter().any(|r| r.value.is_none()));
                prop_assert_eq!(sample::records_of(&thinned), expected);
            }
        }
    }

    #[test]
    fn keys_are_told_as_digests_whatever_the_codec() {
        for compression in Compression::ALL {
            let batch = sample::batch_with(compression.codec(), 50);
            let mut keys = Vec::new();
            batch
                .keyed(&mut |record| {
                    keys.push(record.key.expect("each has a key"));
                    true
                })
                .expect("a sound batch");
            let expected: Vec<KeyDigest> = (0..50).map(|i| KeyDigest::of(format!("key {i}").as_bytes())).collect();
            assert_eq!(keys, expected, "{compression:?}");
        }
    }

    #[test]
    fn a_tombstone_gives_its_batch_a_horizon_once() {
        let mut builder = Builder::new(Compression::Lz4.codec());
        for (key, value, millis) in [("a", None, 50), ("b", Some("x"), 30), ("c", Some("y"), 90)] {
            let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
            builder.push(Draft { timestamp: Timestamp::new(millis), key, value, headers: &[] }).unwrap();
        }
        let batch = placed(&builder.build().unwrap());
        let marked = anew(thin(&batch, false, &mut |_| true));
        assert_eq!(marked.header().delete_horizon(), Some(HORIZON));
        assert_eq!(marked.header().max_timestamp, Timestamp::new(90));
        assert_eq!(sample::records_of(&marked), sample::records_of(&batch));
        let later = Timestamp::new(HORIZON.get() + 5);
        let again = marked.thin(&mut Thinning { horizon: later, is_spent_marker: false, keeps: &mut |_| true });
        assert_eq!(again, Ok(Thinned::Same));
        // Fewer records, and the horizon stays, with the tombstone or without.
        let less = anew(thin(&marked, false, &mut |record| record.has_value));
        assert_eq!(less.header().delete_horizon(), Some(HORIZON));
        assert_eq!(less.header().max_timestamp, Timestamp::new(90));
        assert_eq!(sample::records_of(&less), sample::records_of(&batch)[1..]);
        let small = anew(thin(&batch, false, &mut |record| record.offset == Offset::new(1001)));
        assert_eq!(small.header().delete_horizon(), None);
        assert_eq!(
            (small.header().base_timestamp, small.header().max_timestamp),
            (Timestamp::new(30), Timestamp::new(30))
        );
    }

    #[test]
    fn a_spent_marker_is_given_a_horizon() {
        let marker = super::super::Marker {
            kind: super::super::MarkerKind::Commit,
            coordinator_epoch: crate::model::CoordinatorEpoch::new(3),
        };
        let batch = super::super::marker_batch(ProducerId::new(7), ProducerEpoch::new(1), marker, sample::NOW);
        assert_eq!(thin(&batch, false, &mut |_| true), Thinned::Same);
        let marked = anew(thin(&batch, true, &mut |_| true));
        assert_eq!(marked.header().delete_horizon(), Some(HORIZON));
        assert!(marked.header().is_control() && marked.header().is_transactional());
        assert_eq!(super::super::read_control(&marked), super::super::read_control(&batch));
    }

    #[test]
    fn an_emptied_batch_is_a_header_of_kafkas_form() {
        let producer =
            Producer { id: ProducerId::new(9), epoch: ProducerEpoch::new(4), base_sequence: Sequence::new(8) };
        let mut builder = Builder::new(Compression::Zstd.codec()).producer(producer).base_offset(Offset::new(20));
        for millis in [70, 60] {
            builder.push(Draft { timestamp: Timestamp::new(millis), ..Draft::default() }).unwrap();
        }
        let batch = builder.build().unwrap();
        let emptied = batch.emptied();
        let header = emptied.header();
        assert_eq!((emptied.size(), header.record_count, header.attributes), (Header::SIZE, 0, 0));
        assert_eq!((header.base_timestamp, header.max_timestamp), (Timestamp::NONE, Timestamp::new(70)));
        assert_eq!((header.base_offset, header.next_offset()), (Offset::new(20), Offset::new(22)));
        assert_eq!((header.base_sequence, header.last_sequence()), (Sequence::new(8), Sequence::new(9)));
        assert!(emptied.crc_is_valid() && header.is_thinned() && !batch.header().is_thinned());
    }

    #[test]
    fn bytes_that_are_no_records_are_an_error() {
        let batch = sample::batch(3);
        let broken = Batch::parse(sample::with_payload(&batch, &[0xff; 20])).expect("a sound header");
        assert!(broken.keyed(&mut |_| true).is_err());
        let long = Batch::parse(sample::with_header(&batch, |header| header.record_count = i32::MAX)).unwrap();
        assert_eq!(long.keyed(&mut |_| true), Err(RecordError::Truncated));
    }
}
