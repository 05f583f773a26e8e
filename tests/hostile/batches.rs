//! What is sent in the `records` of Produce: mostly sound batches, so that the node does all that it does with them.

use bytes::Bytes;
use ottla::model::{ProducerEpoch, ProducerId, Sequence, Timestamp};
use ottla::records::{Batch, Builder, Codec, Draft, Producer, RecordHeader};

use crate::random::Random;
use crate::world::PRODUCER_IDS;

/// Every codec.
pub(crate) const CODECS: [Codec; 5] =
    [Codec::None, Codec::Gzip { level: 1 }, Codec::Snappy, Codec::Lz4, Codec::Zstd { level: 1 }];

/// Before every clock that runs this test, so that no topic finds it too late.
pub(crate) const MADE_AT: i64 = 1_700_000_000_000;

/// A sound batch of a few small records.
pub(crate) fn sound(random: &mut Random) -> Batch {
    let codec = *random.pick(&CODECS);
    let records = 1 + random.below(4);
    with(codec, records, random)
}

/// A sound batch with a codec and a number of records.
pub(crate) fn with(codec: Codec, records: usize, random: &mut Random) -> Batch {
    let mut builder = Builder::new(codec);
    if random.chance(3) {
        let id = i64::try_from(random.next() % PRODUCER_IDS).expect("few ids");
        let epoch = i16::try_from(random.below(3)).expect("few epochs");
        let base_sequence = Sequence::new(i32::try_from(random.below(3)).expect("few sequences"));
        builder =
            builder.producer(Producer { id: ProducerId::new(id), epoch: ProducerEpoch::new(epoch), base_sequence });
    }
    for index in 0..records {
        let timestamp = Timestamp::new(MADE_AT + i64::try_from(index).expect("few records"));
        let size = random.below(60);
        let value = if random.chance(2) { vec![b'v'; size] } else { random.bytes(size) };
        let headers = [RecordHeader { key: Bytes::from_static(b"header"), value: None }];
        let headers = if random.chance(3) { &headers[..] } else { &[] };
        let draft = Draft { timestamp, key: Some(b"key"), value: Some(&value), headers };
        builder.push(draft).expect("a small record");
    }
    builder.build().expect("a small batch")
}

/// A sound batch, nothing at all, or bytes that are no batch.
pub(crate) fn any(random: &mut Random) -> Bytes {
    match random.below(12) {
        0 => Bytes::new(),
        1 => {
            let size = random.below(200);
            random.bytes(size).into()
        }
        _ => sound(random).bytes().clone(),
    }
}
