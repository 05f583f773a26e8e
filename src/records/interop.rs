//! Compares batches with those of the `kafka-protocol` crate, an implementation that is not ours.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use kafka_protocol::records::{RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};

use super::batch::Batch;
use super::build::{Builder, Draft};
use super::compress::Codec;
use super::iter::{Record, RecordHeader};
use super::sample;
use super::{ProduceRules, check_produced};

/// Header keys become text and unique, as theirs are a map.
fn tame(records: &mut [Record]) {
    for record in records {
        for (number, header) in record.headers.iter_mut().enumerate() {
            header.key = Bytes::from(format!("key {number}"));
        }
    }
}

fn to_theirs(record: &Record) -> theirs::Record {
    let header = |h: &RecordHeader| {
        let key = StrBytes::try_from(h.key.clone()).expect("tamed keys are text");
        (key, h.value.clone())
    };
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: theirs::TimestampType::Creation,
        offset: record.offset.get(),
        sequence: i32::try_from(record.offset.get()).expect("few records") - 1,
        timestamp: record.timestamp.get(),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect::<IndexMap<_, _>>(),
    }
}

proptest::proptest! {
    #[test]
    fn what_they_write_we_read(mut records in sample::records()) {
        tame(&mut records);
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
        let written: Vec<theirs::Record> = records.iter().map(to_theirs).collect();
        RecordBatchEncoder::encode(&mut bytes, &written, &options).expect("sound records");
        let rules = ProduceRules { timestamp_after_max_ms: i64::MAX, ..ProduceRules::default() };
        let checked = check_produced(bytes.freeze(), &rules, sample::NOW).expect("a sound batch");
        assert_eq!(sample::records_of(&checked.batch), records);
    }

    #[test]
    fn what_we_write_they_read(mut records in sample::records()) {
        tame(&mut records);
        let batch = sample::batch_of(Codec::None, &records);
        let read = RecordBatchDecoder::decode(&mut batch.bytes().clone()).expect("a sound batch");
        // Sequences are theirs to count from the base of -1.
        let expected: Vec<theirs::Record> = records.iter().map(to_theirs).collect();
        assert_eq!(read.records, expected);
    }
}

#[test]
fn the_same_record_has_the_same_bytes() {
    let draft = Draft { timestamp: sample::NOW, key: Some(b"k"), value: Some(b"v"), headers: &[] };
    let mut builder = Builder::new(Codec::None);
    builder.push(draft).expect("a small record");
    let ours = builder.build().expect("one record");
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: theirs::Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &[to_theirs(&sample::records_of(&ours)[0])], &options).expect("a record");
    assert_eq!(Batch::parse(bytes.freeze()), Ok(ours));
}
