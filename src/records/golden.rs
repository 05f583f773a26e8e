//! Batches that real clients wrote: the Java client 4.3.1 (`MemoryRecords`) and librdkafka 2.0.2 (`kcat -P` against a
//! broker that kept what it got), once for each codec.

use bytes::Bytes;

use crate::model::{CoordinatorEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::batch::Batch;
use super::compress::{Codec, Compression};
use super::control::{Control, Marker, MarkerKind, marker_batch, read_control};
use super::iter::RecordHeader;
use super::{CompressionRule, ProduceRules, check_produced, sample};

const JAVA: [&[u8]; 5] = [
    include_bytes!("golden/java-none.batch"),
    include_bytes!("golden/java-gzip.batch"),
    include_bytes!("golden/java-snappy.batch"),
    include_bytes!("golden/java-lz4.batch"),
    include_bytes!("golden/java-zstd.batch"),
];
const LIBRDKAFKA: [&[u8]; 5] = [
    include_bytes!("golden/librdkafka-none.batch"),
    include_bytes!("golden/librdkafka-gzip.batch"),
    include_bytes!("golden/librdkafka-snappy.batch"),
    include_bytes!("golden/librdkafka-lz4.batch"),
    include_bytes!("golden/librdkafka-zstd.batch"),
];
const JAVA_COMMIT: &[u8] = include_bytes!("golden/java-commit.batch");

/// Accepts the batch unchanged, and with every codec forced.
fn accept(bytes: &'static [u8], compression: Compression) -> Batch {
    let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
    let batch = check_produced(Bytes::from_static(bytes), &rules, sample::NOW).expect("a real client wrote it").batch;
    assert_eq!(batch.bytes().as_ptr(), bytes.as_ptr(), "it is kept as it is");
    assert_eq!(batch.header().compression(), Some(compression));
    for codec in Compression::ALL.map(Compression::codec) {
        let rules = ProduceRules { compression: CompressionRule::Fixed(codec), ..rules };
        let recoded = check_produced(Bytes::from_static(bytes), &rules, sample::NOW).expect("a real client wrote it");
        assert_eq!(sample::records_of(&recoded.batch), sample::records_of(&batch));
    }
    batch
}

#[test]
fn the_java_client_s_batches_are_read() {
    for (bytes, compression) in JAVA.into_iter().zip(Compression::ALL) {
        let batch = accept(bytes, compression);
        let header = batch.header();
        assert_eq!((header.producer_id, header.producer_epoch), (ProducerId::new(7), ProducerEpoch::new(3)));
        assert_eq!((header.base_sequence, header.last_sequence()), (Sequence::new(11), Sequence::new(30)));
        assert!(header.is_transactional());
        let records = sample::records_of(&batch);
        assert_eq!(records.len(), 20);
        for (index, record) in records.iter().enumerate() {
            let key = (index % 5 != 4).then(|| format!("key {index}").into());
            let value = (index % 7 != 6).then(|| format!("value {index} ").repeat(index).into());
            assert_eq!((&record.key, &record.value), (&key, &value));
        }
        let null = RecordHeader { key: Bytes::from_static(b"null"), value: None };
        let one = RecordHeader { key: Bytes::from_static(b"h3"), value: Some(Bytes::from_static(&[3])) };
        assert_eq!(records[3].headers, [one, null]);
        let latest = batch.max_timestamp_record(1 << 20).expect("a sound batch").expect("twenty records");
        assert_eq!((latest.offset.get(), latest.timestamp.get()), (3, 1_700_000_003_000));
    }
}

#[test]
fn librdkafka_s_batches_are_read() {
    for (bytes, compression) in LIBRDKAFKA.into_iter().zip(Compression::ALL) {
        let records = sample::records_of(&accept(bytes, compression));
        assert_eq!(records.len(), 20);
        for (index, record) in records.iter().enumerate() {
            let value = format!("value {index} librdkafka librdkafka librdkafka");
            assert_eq!(record.key, Some(format!("key {index}").into()));
            assert_eq!(record.value, Some(value.into()));
            assert_eq!(record.headers.len(), 1);
        }
    }
}

#[test]
fn a_commit_marker_has_the_very_bytes_of_kafka() {
    let marker = Marker { kind: MarkerKind::Commit, coordinator_epoch: CoordinatorEpoch::new(258) };
    let theirs = Batch::parse(Bytes::from_static(JAVA_COMMIT)).expect("Kafka wrote it");
    assert_eq!(read_control(&theirs), Ok(Control::Marker(marker)));
    let ours = marker_batch(ProducerId::new(7), ProducerEpoch::new(3), marker, Timestamp::new(1_700_000_000_000));
    assert_eq!(ours, theirs);
}

#[test]
fn a_plain_batch_built_anew_has_the_very_bytes_of_the_java_client() {
    let theirs = Batch::parse(Bytes::from_static(JAVA[0])).expect("the Java client wrote it");
    let ours = sample::batch_of(Codec::None, &sample::records_of(&theirs));
    assert_eq!(ours.payload(), theirs.payload());
}
