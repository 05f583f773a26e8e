//! Tests of `check`: each of Kafka's rules that the bytes alone can break, in its order, and what becomes of
//! batches that keep them.

use bytes::Bytes;

use crate::model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::batch::Batch;
use super::build::{Builder, Draft, Producer};
use super::compress::{Codec, Compression};
use super::error::{RecordError, RecordFault, Refusal};
use super::header::{Header, TimestampType};
use super::lookup::RecordAt;
use super::sample::{self, NOW};
use super::{Checked, CompressionRule, ProduceRules, check_produced};

fn check(bytes: impl Into<Bytes>) -> Result<Checked, Refusal> {
    check_produced(bytes.into(), &ProduceRules::default(), NOW)
}

fn refused(change: impl FnOnce(&mut Header)) -> Refusal {
    check(sample::with_header(&sample::batch(3), change)).expect_err("the header is broken")
}

fn plain(drafts: &[Draft<'_>]) -> Batch {
    let mut builder = Builder::new(Codec::None);
    drafts.iter().for_each(|draft| builder.push(*draft).expect("a small record"));
    builder.build().expect("a small batch")
}

fn at(timestamp: i64) -> Draft<'static> {
    Draft { timestamp: Timestamp::new(timestamp), key: Some(b"k"), value: Some(b"v"), headers: &[] }
}

fn faults(refusal: &Refusal) -> Vec<(i32, RecordFault)> {
    refusal.failures().iter().map(|f| (f.index, f.fault.clone())).collect()
}

#[test]
fn exactly_one_whole_batch_is_taken() {
    let batch = sample::batch(2);
    assert_eq!(check(Bytes::new()), Err(Refusal::NoBatch { size: 0 }));
    for size in 1..batch.size() {
        assert_eq!(check(batch.bytes().slice(..size)), Err(Refusal::NoBatch { size }));
    }
    let two = [batch.bytes().as_ref(), batch.bytes().as_ref()].concat();
    assert_eq!(check(two), Err(Refusal::SeveralBatches { trailing: batch.size() }));
    assert_eq!(check([batch.bytes().as_ref(), b"x"].concat()), Err(Refusal::SeveralBatches { trailing: 1 }));
}

#[test]
fn old_formats_are_refused() {
    for magic in [0, 1, 3] {
        let mut bytes = sample::batch(1).bytes().to_vec();
        bytes[16] = magic;
        assert_eq!(check(bytes), Err(Refusal::Magic { magic }));
    }
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let rules = ProduceRules { zstd_allowed: false, ..ProduceRules::default() };
    let batch = sample::batch_with(Codec::Zstd { level: 3 }, 2);
    let refusal = check_produced(batch.bytes().clone(), &rules, NOW);
    assert_eq!(refusal, Err(Refusal::UnsupportedCompression { bits: 4 }));
    for bits in 5..8 {
        assert_eq!(refused(|h| h.attributes |= bits), Refusal::UnsupportedCompression { bits });
    }
}

#[test]
fn a_place_in_the_log_is_not_the_producer_s_to_choose() {
    assert_eq!(refused(|h| h.base_offset = Offset::new(5)), Refusal::BaseOffset { base: Offset::new(5) });
    assert_eq!(refused(|h| h.base_offset = Offset::new(-1)), Refusal::BaseOffset { base: Offset::new(-1) });
}

#[test]
fn the_size_is_bounded_as_compressed() {
    let batch = sample::batch(3);
    let rules = |max_message_bytes| ProduceRules { max_message_bytes, ..ProduceRules::default() };
    let size = batch.size();
    assert!(check_produced(batch.bytes().clone(), &rules(size), NOW).is_ok());
    let refusal = check_produced(batch.bytes().clone(), &rules(size - 1), NOW);
    assert_eq!(refusal, Err(Refusal::TooLarge { size, max_message_bytes: size - 1 }));
    let rules = ProduceRules { segment_bytes_max: size - 1, ..ProduceRules::default() };
    let refusal = check_produced(batch.bytes().clone(), &rules, NOW);
    assert_eq!(refusal, Err(Refusal::SegmentTooSmall { size, segment_bytes_max: size - 1 }));
}

#[test]
fn a_changed_byte_is_seen() {
    let mut bytes = sample::batch(3).bytes().to_vec();
    bytes[90] ^= 1;
    assert!(matches!(check(bytes), Err(Refusal::Crc { .. })));
    assert_eq!(refused(|h| h.length = 48), Refusal::HeaderLength { length: 48 });
    assert_eq!(refused(|h| h.length = -1), Refusal::HeaderLength { length: -1 });
}

#[test]
fn the_count_fills_the_offsets() {
    for (record_count, last_offset_delta) in [(3, 1), (3, 3), (0, -1), (-1, -2), (i32::MIN, i32::MAX), (i32::MAX, 2)] {
        let refusal = refused(|h| {
            h.record_count = record_count;
            h.last_offset_delta = last_offset_delta;
        });
        assert_eq!(refusal, Refusal::Count { record_count, last_offset_delta });
    }
}

#[test]
fn a_count_that_lies_is_found_by_walking() {
    for (compression, count) in [(Compression::None, 4), (Compression::Gzip, i32::MAX), (Compression::Lz4, 4)] {
        let batch = sample::batch_with(compression.codec(), 3);
        let bytes = sample::with_header(&batch, |h| {
            h.record_count = count;
            h.last_offset_delta = count - 1;
        });
        let refusal = check(bytes).expect_err("there are three records");
        assert_eq!(faults(&refusal), [(3, RecordFault::Unreadable(RecordError::Truncated))]);
        let bytes = sample::with_header(&batch, |h| {
            h.record_count = 2;
            h.last_offset_delta = 1;
        });
        let refusal = check(bytes).expect_err("there are three records");
        assert_eq!(faults(&refusal), [(1, RecordFault::Unreadable(RecordError::Trailing))]);
    }
}

#[test]
fn flags_of_the_broker_are_refused() {
    assert_eq!(refused(|h| h.set_control()), Refusal::Control);
    assert_eq!(refused(|h| h.set_log_append_time()), Refusal::LogAppendTime);
    assert_eq!(refused(|h| h.attributes |= 1 << 6), Refusal::Attributes { bits: 1 << 6 });
    assert_eq!(refused(|h| h.attributes |= i16::MIN), Refusal::Attributes { bits: i16::MIN });
}

#[test]
fn producer_id_epoch_and_sequence_go_together() {
    let with = |id, epoch, sequence, transactional: bool| {
        check(sample::with_header(&sample::batch(1), |h| {
            h.producer_id = ProducerId::new(id);
            h.producer_epoch = ProducerEpoch::new(epoch);
            h.base_sequence = Sequence::new(sequence);
            if transactional {
                h.set_transactional();
            }
        }))
    };
    assert!(with(-1, -1, -1, false).is_ok());
    assert!(with(-1, -1, 0, false).is_ok(), "sarama sends sequence 0 without a producer id");
    assert!(with(0, 0, 0, false).is_ok());
    assert!(with(7, i16::MAX, i32::MAX, true).is_ok());
    for (id, epoch, sequence, transactional) in
        [(7, 0, -1, false), (7, -1, 0, false), (-1, -1, -1, true), (-2, 0, 0, false), (i64::MIN, 0, 0, true)]
    {
        assert!(matches!(with(id, epoch, sequence, transactional), Err(Refusal::Producer { .. })), "{id}");
    }
}

#[test]
fn a_compacted_topic_takes_no_null_key() {
    let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
    let null = Draft { key: None, ..at(1) };
    let empty = Draft { key: Some(b""), ..at(1) };
    let batch = plain(&[at(1), null, empty, null]);
    let refusal = check_produced(batch.bytes().clone(), &rules, NOW).expect_err("two records lack a key");
    assert!(matches!(refusal, Refusal::Records { .. }));
    assert_eq!(faults(&refusal), [(1, RecordFault::KeyMissing), (3, RecordFault::KeyMissing)]);
    assert!(check(batch.bytes().clone()).is_ok());
}

#[test]
fn timestamps_stay_within_the_topic_s_bounds() {
    let rules = ProduceRules { timestamp_before_max_ms: 100, timestamp_after_max_ms: 50, ..ProduceRules::default() };
    let now = NOW.get();
    let inside = plain(&[at(now), at(now - 100), at(now + 50), at(-1)]);
    assert!(check_produced(inside.bytes().clone(), &rules, NOW).is_ok());
    let outside = plain(&[at(now), at(now - 101), at(now + 51), at(0)]);
    let refusal = check_produced(outside.bytes().clone(), &rules, NOW).expect_err("three are outside");
    assert!(matches!(refusal, Refusal::Timestamps { .. }));
    assert_eq!(faults(&refusal).iter().map(|f| f.0).collect::<Vec<_>>(), [1, 2, 3]);
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppend, ..rules };
    assert!(check_produced(outside.bytes().clone(), &rules, NOW).is_ok());
}

#[test]
fn extreme_timestamps_overflow_nothing() {
    assert!(check(plain(&[at(-2), at(i64::MIN + NOW.get() + 1)]).bytes().clone()).is_ok());
    assert!(matches!(check(plain(&[at(i64::MAX)]).bytes().clone()), Err(Refusal::Timestamps { .. })));
    let late = sample::with_header(&sample::batch(2), |h| h.base_timestamp = Timestamp::new(i64::MAX));
    let refusal = check(late).expect_err("the second record is later than time itself");
    assert_eq!(faults(&refusal)[1], (1, RecordFault::Unreadable(RecordError::Delta)));
}

#[test]
fn failures_are_listed_up_to_a_bound() {
    let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
    let batch = plain(&[Draft { key: None, ..at(1) }; 500]);
    let refusal = check_produced(batch.bytes().clone(), &rules, NOW).expect_err("no record has a key");
    assert_eq!(refusal.failures().len(), Refusal::FAILURES_MAX);
}

#[test]
fn a_plain_batch_with_other_numbers_is_refused() {
    let refusal = check(misnumbered(Codec::None)).expect_err("offset deltas are 0, 2, 3");
    let expected = [(1, RecordFault::OffsetDelta { delta: 2 }), (2, RecordFault::OffsetDelta { delta: 3 })];
    assert_eq!(faults(&refusal), expected);
}

/// Three records with offset deltas 0, 2, 3 in a batch that says 0 to 2.
fn misnumbered(codec: Codec) -> Bytes {
    let mut builder = Builder::new(codec);
    for (delta, record) in [0, 2, 3].into_iter().zip(&sample::records_of(&sample::batch(3))) {
        builder.push_at(delta, sample::draft(record)).expect("a small record");
    }
    sample::with_header(&builder.build().expect("a small batch"), |h| h.last_offset_delta = 2)
}

#[test]
fn a_compressed_batch_with_other_numbers_is_written_anew() {
    let expected = sample::records_of(&sample::batch(3));
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let bytes = misnumbered(compression.codec());
        let batch = check(bytes).expect("it can be repaired").batch;
        assert_eq!(sample::records_of(&batch), expected);
        assert_eq!(batch.header().compression(), Some(compression));
        assert!(batch.crc_is_valid());
    }
}

#[test]
fn broken_compression_is_refused() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let batch = sample::batch_with(compression.codec(), 3);
        let refusal = check(sample::with_payload(&batch, b"\xff not compressed"));
        assert!(matches!(refusal, Err(Refusal::Compressed { .. })), "{refusal:?}");
    }
}

#[test]
fn a_bomb_is_refused_at_the_bound() {
    let mut builder = Builder::new(Codec::Zstd { level: 1 });
    let value = vec![0; 18 << 20];
    builder.push(Draft { value: Some(&value), ..at(1) }).expect("a large record");
    let batch = builder.build().expect("18 MiB of zeros");
    let rules = ProduceRules { max_message_bytes: 10_000, ..ProduceRules::default() };
    let refusal = check_produced(batch.bytes().clone(), &rules, NOW);
    assert_eq!(refusal, Err(Refusal::DecompressedTooLarge { output_bytes_max: 16 << 20 }));
    assert!(check(batch.bytes().clone()).is_ok());
}

#[test]
fn recompression_may_not_pass_the_bound() {
    let mut builder = Builder::new(Codec::Gzip { level: 6 });
    builder.push(Draft { value: Some(&[0; 5_000]), ..at(1) }).expect("a small record");
    let batch = builder.build().expect("a small batch");
    let rules = ProduceRules {
        compression: CompressionRule::Fixed(Codec::None),
        max_message_bytes: 1_000,
        ..ProduceRules::default()
    };
    let refusal = check_produced(batch.bytes().clone(), &rules, NOW);
    assert_eq!(refusal, Err(Refusal::RecodedTooLarge { max_message_bytes: 1_000 }));
}

#[test]
fn a_sound_batch_keeps_its_very_bytes() {
    for compression in Compression::ALL {
        let batch = sample::batch_with(compression.codec(), 3);
        for compression in [CompressionRule::Producer, CompressionRule::Fixed(compression.codec())] {
            let rules = ProduceRules { compression, ..ProduceRules::default() };
            let checked = check_produced(batch.bytes().clone(), &rules, NOW).expect("a sound batch");
            assert_eq!(checked.batch.bytes().as_ptr(), batch.bytes().as_ptr());
        }
    }
}

#[test]
fn the_maximal_timestamp_is_the_broker_s_finding() {
    let batch = plain(&[at(50), at(70), at(30), at(70)]);
    let bytes = sample::with_header(&batch, |h| h.max_timestamp = Timestamp::new(i64::MAX));
    let checked = check(bytes).expect("a sound batch");
    assert_eq!(checked.batch, batch);
    let latest = RecordAt { offset: Offset::new(1), timestamp: Timestamp::new(70) };
    assert_eq!((checked.max_timestamp, checked.log_append_time), (latest, None));
}

#[test]
fn log_append_time_is_the_broker_s_clock() {
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppend, ..ProduceRules::default() };
    let batch = sample::batch_with(Codec::Lz4, 3);
    let checked = check_produced(batch.bytes().clone(), &rules, Timestamp::new(9)).expect("a sound batch");
    let header = checked.batch.header();
    assert_eq!(header.timestamp_type(), TimestampType::LogAppend);
    assert_eq!(header.max_timestamp, Timestamp::new(9));
    assert_eq!(header.base_timestamp, batch.header().base_timestamp);
    assert_eq!(checked.batch.payload(), batch.payload());
    assert!(checked.batch.crc_is_valid());
    assert_eq!(checked.log_append_time, Some(Timestamp::new(9)));
    assert_eq!(checked.max_timestamp, RecordAt { offset: Offset::ZERO, timestamp: Timestamp::new(9) });
    assert!(sample::records_of(&checked.batch).iter().all(|r| r.timestamp == Timestamp::new(9)));
}

#[test]
fn recompression_keeps_what_the_header_says_of_the_producer() {
    let producer = Producer { id: ProducerId::new(4), epoch: ProducerEpoch::new(1), base_sequence: Sequence::new(17) };
    let mut builder = Builder::new(Codec::None).producer(producer).transactional();
    builder.push(at(5)).expect("a small record");
    let batch = builder.build().expect("one record");
    let compression = CompressionRule::Fixed(Codec::Zstd { level: 3 });
    let rules = ProduceRules { compression, ..ProduceRules::default() };
    let header = *check_produced(batch.bytes().clone(), &rules, NOW).expect("a sound batch").batch.header();
    let attributes = batch.header().attributes | Compression::Zstd.bits();
    assert_eq!(Header { attributes, length: header.length, crc: header.crc, ..*batch.header() }, header);
}
