//! Valid batches, bent in random ways: nothing may panic, and nothing may be taken that cannot be read again.

use bytes::Bytes;
use proptest::prelude::*;

use super::batch::{Batch, split};
use super::compress::Compression;
use super::control::read_control;
use super::error::Refusal;
use super::header::Header;
use super::{CompressionRule, ProduceRules, check_produced, sample};

const OUTPUT_MAX: usize = 1 << 20;
/// Over all codecs. Each batch is bent in up to four places.
const CASES: u32 = 100_000;

#[derive(Clone, Debug)]
enum Bend {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
}

fn bend() -> impl Strategy<Value = Bend> {
    let edge = prop_oneof![Just(0u8), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), edge).prop_map(|(at, byte)| Bend::Set(at, byte)),
        (at(), 0..8u8).prop_map(|(at, bit)| Bend::Flip(at, bit)),
        (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Bend::Insert(at, bytes)),
        (at(), 1..8usize).prop_map(|(at, count)| Bend::Remove(at, count)),
    ]
}

impl Bend {
    /// Bends what comes after the first `from` bytes.
    fn apply(&self, bytes: &mut Vec<u8>, from: usize) {
        let place = |at: &prop::sample::Index| from + at.index(bytes.len() - from);
        match self {
            Self::Set(at, byte) => {
                let at = place(at);
                bytes[at] = *byte;
            }
            Self::Flip(at, bit) => {
                let at = place(at);
                bytes[at] ^= 1 << bit;
            }
            Self::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = place(at);
                let end = (at + count).min(bytes.len() - usize::from(at == from));
                bytes.drain(at..end.max(at));
            }
        }
    }
}

/// Everything that takes bytes from outside, on these.
fn try_all(bytes: &Bytes, rules: &ProduceRules) -> Result<Batch, Refusal> {
    for batch in split(bytes.clone()).flatten() {
        let _ = batch.crc_is_valid();
        let _ = batch.max_timestamp_record(OUTPUT_MAX);
        let _ = batch.first_at_or_after(sample::NOW, OUTPUT_MAX);
        let _ = read_control(&batch);
        for record in batch.records(OUTPUT_MAX).into_iter().flatten() {
            let _ = record;
        }
    }
    check_produced(bytes.clone(), rules, sample::NOW).map(|checked| checked.batch)
}

fn check(bytes: &Bytes, rules: &ProduceRules) {
    let Ok(batch) = try_all(bytes, rules) else { return };
    assert!(batch.crc_is_valid());
    assert_eq!(batch.size(), batch.bytes().len());
    let records = sample::records_of(&batch);
    assert_eq!(records.len(), usize::try_from(batch.header().record_count).expect("checked"));
    assert!((0..).zip(&records).all(|(place, record)| record.offset.get() == place));
    let latest = records.iter().map(|r| r.timestamp.get()).max().expect("at least one record");
    assert_eq!(batch.header().max_timestamp.get(), latest.max(-1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES / 5, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_bent_payload_is_refused_or_sound(
        compression in prop::sample::select(Compression::ALL.to_vec()),
        forced in prop::option::of(sample::codecs()),
        count in 1..5usize,
        bends in prop::collection::vec(bend(), 1..4),
    ) {
        let batch = sample::batch_with(compression.codec(), count);
        let mut payload = batch.payload().to_vec();
        bends.iter().for_each(|bend| if !payload.is_empty() { bend.apply(&mut payload, 0) });
        let compression = forced.map_or(CompressionRule::Producer, CompressionRule::Fixed);
        check(&sample::with_payload(&batch, &payload), &ProduceRules { compression, ..ProduceRules::default() });
    }

    #[test]
    fn a_bent_header_is_refused_or_sound(
        compression in prop::sample::select(Compression::ALL.to_vec()),
        bends in prop::collection::vec(bend(), 1..3),
    ) {
        let mut bytes = sample::batch_with(compression.codec(), 2).bytes().to_vec();
        bends.iter().for_each(|bend| bend.apply(&mut bytes, 0));
        if bytes.len() > Header::SIZE {
            check(&sample::reseal(&bytes), &ProduceRules::default());
        }
    }

    #[test]
    fn bent_plain_records_are_refused_or_sound(bends in prop::collection::vec(bend(), 1..4)) {
        let batch = sample::batch(3);
        let mut payload = batch.payload().to_vec();
        bends.iter().for_each(|bend| bend.apply(&mut payload, 0));
        check(&sample::with_payload(&batch, &payload), &ProduceRules::default());
    }

    #[test]
    fn bent_records_within_an_intact_codec_are_refused_or_sound(
        codec in sample::codecs(),
        forced in prop::option::of(sample::codecs()),
        bends in prop::collection::vec(bend(), 1..4),
    ) {
        let mut records = sample::batch(3).payload().to_vec();
        bends.iter().for_each(|bend| bend.apply(&mut records, 0));
        let payload = super::compress::compress(codec, &records);
        let batch = sample::batch_with(codec, 3);
        let compression = forced.map_or(CompressionRule::Producer, CompressionRule::Fixed);
        check(&sample::with_payload(&batch, &payload), &ProduceRules { compression, ..ProduceRules::default() });
    }

    #[test]
    fn noise_is_refused_or_sound(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes.into(), &ProduceRules::default());
    }
}
