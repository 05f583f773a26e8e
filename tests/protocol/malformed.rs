//! Bytes that nobody should have sent: no panic, no memory that they do not earn, nothing after the end.

use bytes::Bytes;
use ottla::codec::{DecodeError, ELEMENTS_MAX};
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::{ApiKey, split_request};

use crate::make::Random;
use crate::{Subject, encode, subjects};

/// Mutated bodies over all messages and versions.
const MUTANTS: usize = 240_000;

/// A value in memory may take this many times the bytes that it came from, at worst: an empty compact text is one byte
/// there and 24 here, and an array that grows holds its old and its new room for a moment.
const EXPANSION_MAX: usize = 80;

/// What a decoding may take whatever the size of its input: handles of shared bytes, the first four elements of arrays.
const SLACK: usize = 2048;

/// Valid bodies to start from: of each message and version a few.
fn corpus(subject: &Subject, random: &mut Random) -> Vec<(i16, Vec<u8>)> {
    let versions = subject.versions.min..=subject.versions.max;
    versions.flat_map(|version| [version; 4]).map(|version| (version, subject.make(version, random))).collect()
}

/// Changes a body in one to three places.
fn mutate(body: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(body.len() + 1);
        match random.below(8) {
            0 => body.truncate(at),
            1 => body.extend((0..random.below(9)).map(|_| 0xff)),
            2 => overwrite(body, at, &[0x7f, 0xff, 0xff, 0xff]),
            3 => overwrite(body, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            4 => overwrite(body, at, &[0x80]),
            5 => {
                let width = random.below(8);
                overwrite(body, at, &random.next().to_be_bytes()[..width]);
            }
            6 => body.drain(at..).rev().take(4).for_each(drop),
            _ => {
                let bit = random.below(8);
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
        }
    }
}

fn overwrite(body: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in body.iter_mut().skip(at).zip(with) {
        *byte = *new;
    }
}

/// Decodes once, asserting the bound on memory.
fn decode(subject: &Subject, version: i16, body: &Bytes) -> Result<(), DecodeError> {
    let size = body.len();
    let input = body.clone();
    let mut result = Ok(());
    let memory = allocation_counter::measure(|| result = (subject.decode)(version, input));
    let bound = size * EXPANSION_MAX + SLACK;
    let taken = usize::try_from(memory.bytes_max).expect("it fits in memory");
    assert!(taken <= bound, "{} version {version}: {taken} bytes for {size}: {body:?}", subject.name);
    result
}

#[test]
fn mutated_bodies_neither_panic_nor_take_memory() {
    let mut random = Random(20_261_122);
    let subjects = subjects();
    let rounds = MUTANTS / subjects.len();
    let mut accepted = 0;
    for subject in &subjects {
        let corpus = corpus(subject, &mut random);
        for _ in 0..rounds {
            let (version, body) = &corpus[random.below(corpus.len())];
            let mut body = body.clone();
            mutate(&mut body, &mut random);
            let body = Bytes::from(body);
            if decode(subject, *version, &body).is_ok() {
                accepted += 1;
                (subject.again)(*version, body).expect("what was accepted once is accepted again");
            }
        }
    }
    assert!(accepted > 1000, "some mutants only change a value: {accepted}");
}

#[test]
fn random_bytes_neither_panic_nor_take_memory() {
    let mut random = Random(7);
    for subject in subjects() {
        for version in subject.versions.min..=subject.versions.max {
            for _ in 0..100 {
                let size = random.below(64);
                let body: Bytes = (0..size).map(|_| random.next().to_be_bytes()[0] >> random.below(8)).collect();
                let _ = decode(&subject, version, &body);
            }
        }
    }
}

#[test]
fn a_body_followed_or_cut_by_a_byte_is_refused() {
    let mut random = Random(3);
    for subject in subjects() {
        for (version, body) in corpus(&subject, &mut random) {
            let mut longer = body.clone();
            longer.push(0);
            let error = Err(DecodeError::Trailing { remaining: 1 });
            assert_eq!(decode(&subject, version, &longer.into()), error, "{} version {version}", subject.name);
            for end in 0..body.len() {
                let cut = Bytes::copy_from_slice(&body[..end]);
                assert!(decode(&subject, version, &cut).is_err(), "{} version {version} to {end}", subject.name);
            }
        }
    }
}

#[test]
fn versions_outside_the_table_are_refused() {
    for subject in subjects() {
        for version in [-1, subject.versions.min - 1, subject.versions.max + 1, i16::MAX, i16::MIN] {
            assert_eq!(decode(&subject, version, &Bytes::new()), Err(DecodeError::Version { version }));
        }
    }
}

/// The six bytes that end a process which uses the oracle's decoder.
#[test]
fn a_claim_of_two_billion_topics_costs_nothing() {
    let subjects = subjects();
    let metadata = subjects.iter().find(|s| s.name == "MetadataRequest").expect("it is listed");
    let hostile = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
    let memory = allocation_counter::measure(|| {
        let error = DecodeError::ArrayTooLong { count: 0x7fff_ffff, remaining: 2 };
        assert_eq!((metadata.decode)(1, hostile.clone()), Err(error));
    });
    assert_eq!(memory.bytes_max, 0);
}

/// The most memory for the fewest bytes that a table allows.
#[test]
fn the_cheapest_array_stays_within_the_bound() {
    let subjects = subjects();
    let coordinator = subjects.iter().find(|s| s.name == "FindCoordinatorRequest").expect("it is listed");
    for count in [10, 1000, ELEMENTS_MAX] {
        let request = FindCoordinatorRequest { coordinator_keys: vec![String::new(); count], ..Default::default() };
        assert_eq!(decode(coordinator, 4, &encode(4, &request)), Ok(()));
    }
}

#[test]
fn small_structs_cannot_multiply_beyond_the_budget() {
    let subjects = subjects();
    let metadata = subjects.iter().find(|s| s.name == "MetadataRequest").expect("it is listed");
    let count = 2_000_000_u32;
    let mut body = count.to_be_bytes().to_vec();
    body.resize(4 + 2 * 2_000_000, 0);
    assert_eq!((metadata.decode)(1, body.into()), Err(DecodeError::TooManyElements));
}

#[test]
fn mutated_headers_neither_panic_nor_take_memory() {
    let mut random = Random(11);
    for _ in 0..40_000 {
        let key = ApiKey::ALL[random.below(ApiKey::ALL.len())].number();
        let mut frame = key.to_be_bytes().to_vec();
        frame.extend_from_slice(b"\0\x04\0\0\0\x07\0\x06client\x01\x05\x02abbody");
        mutate(&mut frame, &mut random);
        let frame = Bytes::from(frame);
        let memory = allocation_counter::measure(|| drop(split_request(frame.clone())));
        assert!(memory.bytes_max <= 256, "{frame:?}");
    }
}
