//! Batches for the tests of this room.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::model::{Offset, Timestamp};

use super::batch::Batch;
use super::build::{Builder, Draft};
use super::compress::{Codec, Compression};
use super::header::Header;
use super::iter::{Record, RecordHeader};

/// The clock of the tests; records of [`batch`] are made at and after it.
pub(super) const NOW: Timestamp = Timestamp::new(1_700_000_000_000);

/// An uncompressed batch of `count` small records.
pub(super) fn batch(count: usize) -> Batch {
    batch_with(Codec::None, count)
}

/// A batch of `count` small records, a millisecond apart.
pub(super) fn batch_with(codec: Codec, count: usize) -> Batch {
    let mut builder = Builder::new(codec);
    for index in 0..count {
        let key = format!("key {index}");
        let value = format!("value {index} ").repeat(4);
        let timestamp = Timestamp::new(NOW.get() + i64::try_from(index).expect("few records"));
        let headers = [RecordHeader { key: Bytes::from_static(b"h"), value: None }];
        builder
            .push(Draft { timestamp, key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &headers })
            .expect("a small record");
    }
    builder.build().expect("a small batch")
}

/// The batch that holds `records`.
pub(super) fn batch_of(codec: Codec, records: &[Record]) -> Batch {
    let mut builder = Builder::new(codec);
    for record in records {
        builder.push(draft(record)).expect("a small record");
    }
    builder.build().expect("a small batch")
}

/// A record as a draft.
pub(super) fn draft(record: &Record) -> Draft<'_> {
    Draft {
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
    }
}

/// The batch with a changed header and a valid CRC.
pub(super) fn with_header(batch: &Batch, change: impl FnOnce(&mut Header)) -> Bytes {
    let mut header = *batch.header();
    change(&mut header);
    reseal(&[&header.encode()[..], batch.payload()].concat())
}

/// The batch with another payload, and length and CRC to match.
pub(super) fn with_payload(batch: &Batch, payload: &[u8]) -> Bytes {
    Batch::assemble(*batch.header(), payload).expect("a small batch").bytes().clone()
}

/// The bytes with the CRC that they should have.
pub(super) fn reseal(bytes: &[u8]) -> Bytes {
    let mut out = BytesMut::from(&bytes[..17]);
    out.put_u32(crc32c::crc32c(&bytes[Header::CRC_START..]));
    out.put_slice(&bytes[Header::CRC_START..]);
    out.freeze()
}

/// All the records of a batch.
pub(super) fn records_of(batch: &Batch) -> Vec<Record> {
    batch.records(1 << 24).expect("a sound batch").map(|r| r.expect("a sound record")).collect()
}

/// Any codec at its default level.
pub(super) fn codecs() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Compression::ALL.map(Compression::codec).to_vec())
}

/// One to forty records, numbered from 0.
pub(super) fn records() -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..40).prop_map(|mut records| {
        for (offset, record) in (0..).zip(&mut records) {
            record.offset = Offset::new(offset);
        }
        records
    })
}

fn record() -> impl Strategy<Value = Record> {
    let header = (field(), option::of(field())).prop_map(|(key, value)| RecordHeader { key, value });
    let timestamp = prop_oneof![Just(-1), 0..NOW.get() * 2];
    (timestamp, option::of(field()), option::of(field()), vec(header, 0..4)).prop_map(
        |(timestamp, key, value, headers)| Record {
            offset: Offset::ZERO,
            timestamp: Timestamp::new(timestamp),
            key,
            value,
            headers,
        },
    )
}

fn field() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..300), vec(Just(7), 0..3_000)].prop_map(Bytes::from)
}
