//! Batches that lie, each with the error codes that may answer it.
//!
//! Where a CRC stands over what was changed, it is put right: a batch with a wrong CRC is one lie of many.

use bytes::Bytes;
use ottla::records::{Codec, Header};

use crate::random::Random;
use crate::{batches, bombs};

/// The error codes of the protocol that lies are answered with.
const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const RECORD_LIST_TOO_LARGE: i16 = 18;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
const INVALID_TXN_STATE: i16 = 48;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const INVALID_RECORD: i16 = 87;

/// Where the fields of a batch's header stand.
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const PRODUCER_ID: usize = 43;
const BASE_SEQUENCE: usize = 53;
const COUNT: usize = 57;

/// A batch and what must become of it on a topic with Kafka's defaults.
#[derive(Clone, Debug)]
pub(crate) struct Lie {
    pub(crate) records: Bytes,
    /// One of these; empty: whatever the node makes of it.
    pub(crate) codes: &'static [i16],
}

/// One way to lie.
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&mut Random) -> Lie,
}

macro_rules! recipes {
    ($($name:ident)*) => { &[$(Recipe { name: stringify!($name), make: $name }),*] };
}

/// Every way to lie that costs the node little.
pub(crate) const ALL: &[Recipe] = recipes! {
    wrong_crc short_length long_length impossible_length other_magic two_batches no_batch cut_header base_offset
    last_offset_delta record_count inner_delta inner_length inner_count key_length control transactional
    producer_without_sequence negative_producer unknown_codec foreign_attributes future log_append_time
    timestamp_overflow garbage_in_codec truncated_codec flipped_and_resealed header_extremes_resealed
};

/// Those that cost the node time, and so come rarely.
pub(crate) const COSTLY: &[Recipe] = recipes! { bomb too_large };

fn plain(random: &mut Random) -> Vec<u8> {
    let records = 1 + random.below(4);
    without_producer(batches::with(Codec::None, records, random).bytes())
}

fn without_producer(batch: &Bytes) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[PRODUCER_ID..COUNT].fill(0xff);
    reseal(&mut bytes);
    bytes
}

/// Puts the CRC right.
fn reseal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[Header::CRC_START..]);
    bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
}

/// Puts the length and the CRC right.
fn refit(bytes: &mut [u8]) {
    let length = i32::try_from(bytes.len() - Header::LENGTH_END).expect("a small batch");
    put(bytes, LENGTH, &length.to_be_bytes());
    reseal(bytes);
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn lie(bytes: Vec<u8>, codes: &'static [i16]) -> Lie {
    Lie { records: bytes.into(), codes }
}

/// A change of the header, resealed.
fn resealed(mut bytes: Vec<u8>, at: usize, value: &[u8], codes: &'static [i16]) -> Lie {
    put(&mut bytes, at, value);
    reseal(&mut bytes);
    lie(bytes, codes)
}

fn wrong_crc(random: &mut Random) -> Lie {
    let mut bytes = plain(random);
    let at = CRC + random.below(4);
    bytes[at] ^= 1 << random.below(8);
    lie(bytes, &[CORRUPT_MESSAGE])
}

fn length_of(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len() - Header::LENGTH_END).expect("a small batch")
}

fn short_length(random: &mut Random) -> Lie {
    let bytes = plain(random);
    let length = length_of(&bytes) - 1 - i32::try_from(random.below(5)).expect("small");
    resealed(bytes, LENGTH, &length.to_be_bytes(), &[CORRUPT_MESSAGE, INVALID_RECORD])
}

fn long_length(random: &mut Random) -> Lie {
    let bytes = plain(random);
    let more = *random.pick(&[1, 2, 1_000, i32::MAX - 1_000]);
    let length = length_of(&bytes).saturating_add(more);
    resealed(bytes, LENGTH, &length.to_be_bytes(), &[CORRUPT_MESSAGE, INVALID_RECORD])
}

fn impossible_length(random: &mut Random) -> Lie {
    let length: i32 = *random.pick(&[0, -1, 48, i32::MIN, -12, -13]);
    resealed(plain(random), LENGTH, &length.to_be_bytes(), &[CORRUPT_MESSAGE, INVALID_RECORD])
}

fn other_magic(random: &mut Random) -> Lie {
    let magic = *random.pick(&[0, 1, 3, 0x7f, 0xff]);
    // Kafka knows the formats before the present one and refuses them; what it does not know at all is corrupt.
    let codes: &[i16] = if magic < 2 { &[INVALID_RECORD, UNSUPPORTED_FOR_MESSAGE_FORMAT] } else { &[CORRUPT_MESSAGE] };
    resealed(plain(random), MAGIC, &[magic], codes)
}

fn two_batches(random: &mut Random) -> Lie {
    let bytes = [plain(random), plain(random)].concat();
    lie(bytes, &[INVALID_RECORD])
}

fn no_batch(_: &mut Random) -> Lie {
    lie(Vec::new(), &[INVALID_RECORD])
}

fn cut_header(random: &mut Random) -> Lie {
    let mut bytes = plain(random);
    bytes.truncate(1 + random.below(Header::SIZE - 1));
    lie(bytes, &[CORRUPT_MESSAGE, INVALID_RECORD])
}

fn base_offset(random: &mut Random) -> Lie {
    let offset: i64 = *random.pick(&[1, -1, i64::MAX, i64::MIN, i64::MAX - 1]);
    resealed(plain(random), 0, &offset.to_be_bytes(), &[INVALID_RECORD])
}

fn last_offset_delta(random: &mut Random) -> Lie {
    let delta: i32 = *random.pick(&[-1, 100, i32::MAX, i32::MIN]);
    resealed(plain(random), LAST_OFFSET_DELTA, &delta.to_be_bytes(), &[INVALID_RECORD])
}

fn record_count(random: &mut Random) -> Lie {
    let count: i32 = *random.pick(&[0, -1, i32::MAX, i32::MIN, 5, 1_000_000]);
    let mut bytes = plain(random);
    if count > 0 && random.chance(2) {
        put(&mut bytes, LAST_OFFSET_DELTA, &(count - 1).to_be_bytes());
    }
    resealed(bytes, COUNT, &count.to_be_bytes(), &[INVALID_RECORD])
}

/// The bytes of one record in an otherwise sound batch.
fn with_record(record: &[u8], random: &mut Random, codes: &'static [i16]) -> Lie {
    let mut bytes = without_producer(batches::with(Codec::None, 1, random).bytes());
    bytes.truncate(Header::SIZE);
    bytes.extend_from_slice(record);
    refit(&mut bytes);
    lie(bytes, codes)
}

fn inner_delta(random: &mut Random) -> Lie {
    let delta = random.piece(&[&[0x02], &[0x01], &[0xff, 0xff, 0xff, 0xff, 0x0f]]);
    let rest = [&[0, 0][..], delta, &[1, 1, 0]].concat();
    let length = u8::try_from(rest.len() * 2).expect("small");
    with_record(&[&[length][..], &rest].concat(), random, &[INVALID_RECORD])
}

fn inner_length(random: &mut Random) -> Lie {
    let length = random.piece(&[
        &[0x0e],
        &[0x0a],
        &[0x01],
        &[0x00],
        &[0xfe, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    ]);
    with_record(&[length, &[0, 0, 0, 1, 1, 0]].concat(), random, &[INVALID_RECORD])
}

fn inner_count(random: &mut Random) -> Lie {
    let headers = random.piece(&[&[0x02], &[0x01], &[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0xff; 9], &[4, 2, b'k', 1]]);
    let rest = [&[0, 0, 0, 1, 1], headers].concat();
    let length = u8::try_from(rest.len() * 2).expect("small");
    with_record(&[&[length][..], &rest].concat(), random, &[INVALID_RECORD])
}

fn key_length(random: &mut Random) -> Lie {
    let key = random.piece(&[&[0x03], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xfe, 0xff, 0xff, 0xff, 0x0f], &[8]]);
    let rest = [&[0, 0, 0], key, &[1, 0]].concat();
    let length = u8::try_from(rest.len() * 2).expect("small");
    with_record(&[&[length][..], &rest].concat(), random, &[INVALID_RECORD])
}

fn control(random: &mut Random) -> Lie {
    resealed(plain(random), ATTRIBUTES, &[0, 0x20], &[INVALID_RECORD])
}

fn transactional(random: &mut Random) -> Lie {
    let mut bytes = plain(random);
    if random.chance(2) {
        put(&mut bytes, PRODUCER_ID, &[0; 14]);
    }
    let codes = &[TRANSACTIONAL_ID_AUTHORIZATION_FAILED, INVALID_RECORD, INVALID_TXN_STATE];
    resealed(bytes, ATTRIBUTES, &[0, 0x10], codes)
}

fn producer_without_sequence(random: &mut Random) -> Lie {
    let mut bytes = plain(random);
    put(&mut bytes, PRODUCER_ID, &[0; 8]);
    let sequence: i32 = *random.pick(&[-1, i32::MIN, -2]);
    resealed(bytes, BASE_SEQUENCE, &sequence.to_be_bytes(), &[INVALID_RECORD, INVALID_TXN_STATE])
}

fn negative_producer(random: &mut Random) -> Lie {
    let id: i64 = *random.pick(&[-2, i64::MIN]);
    resealed(plain(random), PRODUCER_ID, &id.to_be_bytes(), &[INVALID_RECORD, INVALID_TXN_STATE])
}

fn unknown_codec(random: &mut Random) -> Lie {
    let bits = *random.pick(&[5, 6, 7]);
    resealed(plain(random), ATTRIBUTES, &[0, bits], &[CORRUPT_MESSAGE, UNSUPPORTED_COMPRESSION_TYPE])
}

fn foreign_attributes(random: &mut Random) -> Lie {
    let attributes = *random.pick(&[[0x80, 0], [0x01, 0], [0, 0x80], [0, 0x40]]);
    resealed(plain(random), ATTRIBUTES, &attributes, &[INVALID_RECORD])
}

fn future(random: &mut Random) -> Lie {
    let timestamp: i64 = *random.pick(&[1 << 62, 9_000_000_000_000, i64::MAX - 1_000]);
    resealed(plain(random), BASE_TIMESTAMP, &timestamp.to_be_bytes(), &[INVALID_TIMESTAMP])
}

fn log_append_time(random: &mut Random) -> Lie {
    resealed(plain(random), ATTRIBUTES, &[0, 0x08], &[INVALID_TIMESTAMP])
}

fn timestamp_overflow(random: &mut Random) -> Lie {
    let mut bytes = without_producer(batches::with(Codec::None, 1, random).bytes());
    bytes.truncate(Header::SIZE);
    // A timestamp delta of 2^63 - 1 on the latest timestamp there is.
    bytes.extend_from_slice(&[0x1e, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 1, 1, 0]);
    put(&mut bytes, BASE_TIMESTAMP, &i64::MAX.to_be_bytes());
    refit(&mut bytes);
    lie(bytes, &[INVALID_TIMESTAMP, INVALID_RECORD])
}

fn garbage_in_codec(random: &mut Random) -> Lie {
    let mut bytes = plain(random);
    bytes[ATTRIBUTES + 1] = *random.pick(&[1, 2, 3, 4]);
    bytes.truncate(Header::SIZE);
    let size = random.below(300);
    bytes.extend(random.bytes(size));
    refit(&mut bytes);
    lie(bytes, &[CORRUPT_MESSAGE, INVALID_RECORD, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE])
}

fn truncated_codec(random: &mut Random) -> Lie {
    let codec = *random.pick(&batches::CODECS[1..]);
    let mut bytes = without_producer(batches::with(codec, 4, random).bytes());
    let payload = bytes.len() - Header::SIZE;
    bytes.truncate(Header::SIZE + random.below(payload));
    refit(&mut bytes);
    lie(bytes, &[CORRUPT_MESSAGE, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE])
}

fn flipped_and_resealed(random: &mut Random) -> Lie {
    let mut bytes = batches::sound(random).bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
    bound_producer(&mut bytes);
    reseal(&mut bytes);
    lie(bytes, &[])
}

fn header_extremes_resealed(random: &mut Random) -> Lie {
    let mut bytes = batches::sound(random).bytes().to_vec();
    for _ in 0..=random.below(3) {
        let (at, width) = *random.pick(&[
            (0, 8),
            (8, 4),
            (12, 4),
            (ATTRIBUTES, 2),
            (LAST_OFFSET_DELTA, 4),
            (BASE_TIMESTAMP, 8),
            (35, 8),
            (PRODUCER_ID, 8),
            (51, 2),
            (BASE_SEQUENCE, 4),
            (COUNT, 4),
        ]);
        let edge: i64 = *random.pick(&[0, 1, -1, i64::MIN, i64::MAX, 0x7fff_ffff, 0x7fff]);
        put(&mut bytes, at, &edge.to_be_bytes()[8 - width..]);
    }
    bound_producer(&mut bytes);
    reseal(&mut bytes);
    lie(bytes, &[])
}

/// A log remembers each producer id that wrote to it, so attackers have few.
fn bound_producer(bytes: &mut [u8]) {
    if bytes[PRODUCER_ID] < 0x80 && bytes[PRODUCER_ID..BASE_SEQUENCE - 2] != i64::MAX.to_be_bytes() {
        bytes[PRODUCER_ID..PRODUCER_ID + 7].fill(0);
        bytes[PRODUCER_ID + 7] %= 64;
    }
}

fn bomb(random: &mut Random) -> Lie {
    let bomb = random.pick(bombs::all());
    let mut bytes = plain(random);
    bytes[ATTRIBUTES + 1] = bomb.codec_bits;
    put(&mut bytes, LAST_OFFSET_DELTA, &0_i32.to_be_bytes());
    put(&mut bytes, COUNT, &1_i32.to_be_bytes());
    bytes.truncate(Header::SIZE);
    bytes.extend_from_slice(&bomb.payload);
    refit(&mut bytes);
    lie(bytes, &[MESSAGE_TOO_LARGE, CORRUPT_MESSAGE, INVALID_RECORD, UNSUPPORTED_COMPRESSION_TYPE])
}

fn too_large(random: &mut Random) -> Lie {
    let mut bytes = plain(random);
    bytes.resize((1 << 20) + 13 + random.below(1 << 20), 0);
    refit(&mut bytes);
    lie(bytes, &[MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE])
}

#[cfg(test)]
mod tests {
    use ottla::model::Timestamp;
    use ottla::records::{ProduceRules, check_produced};

    use super::*;

    const NOW: Timestamp = Timestamp::new(batches::MADE_AT + 1_000);

    #[test]
    fn every_lie_is_refused_and_no_sound_batch_is() {
        let mut random = Random::new(5);
        for _ in 0..100 {
            let sound = batches::sound(&mut random).bytes().clone();
            check_produced(sound, &ProduceRules::default(), NOW).expect("a sound batch");
        }
        for recipe in ALL {
            for _ in 0..40 {
                let lie = (recipe.make)(&mut random);
                let outcome = check_produced(lie.records.clone(), &ProduceRules::default(), NOW);
                assert!(outcome.is_err() || lie.codes.is_empty() || recipe.name == "transactional", "{}", recipe.name);
            }
        }
    }

    #[test]
    fn every_bomb_is_refused() {
        let mut random = Random::new(5);
        for recipe in COSTLY {
            for _ in 0..20 {
                let lie = (recipe.make)(&mut random);
                let rules = ProduceRules { max_message_bytes: 1 << 16, ..ProduceRules::default() };
                let small = lie.records.len() < 1 << 16;
                let rules = if small { rules } else { ProduceRules::default() };
                check_produced(lie.records, &rules, NOW).expect_err(recipe.name);
            }
        }
    }
}
