//! What happens to a log in a trace.

use ottla::model::Timestamp;
use ottla::records::{Batch, Builder, Codec, Draft, Producer};
use ottla::testing::FileKind;

/// See the file's comment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Only as the first: the flush log is so large already that the next flush writes it anew.
    Swell,
    /// A batch of so many bytes.
    Append(usize),
    /// The next batch of an idempotent producer.
    Produce(i64),
    /// So many batches of so many bytes each, as a follower: in one write.
    Fetch(usize, usize),
    /// Into an empty log a batch that begins before its start, as a follower.
    Straddle,
    /// A new leader epoch.
    Begin,
    Flush,
    /// A flush, and what it attests is synced too.
    Attest,
    /// What was attested is synced, and nothing else.
    State,
    Rest,
    /// As `Truncate`, while a flush that was ordered before is under way.
    Overtake(usize),
    /// Cuts the log at the start of its n-th batch.
    Truncate(usize),
    /// Moves the start to the n-th batch and purges.
    Advance(usize),
    /// Moves the start to the n-th batch; the files behind are renamed and removed later.
    Retain(usize),
    /// Removes the files that were renamed.
    Sweep,
    Reset(i64),
    /// Deletes the topic; another of the same name is there at once.
    Recreate,
    /// Appends count before they are flushed, from here on.
    Volatile,
    /// And not any more.
    Durable,
    /// The process dies and starts again; the power stays.
    Kill,
    /// An orderly stop, and a start.
    Stop,
    /// An append that the disk refuses half way.
    FailAppend(usize),
    /// A flush in which the sync of a file of this kind fails; the process dies of it and starts again.
    FailFlush(FileKind),
    /// An append whose bytes are lost on their way to the disk, which the flush is told; the process dies of it.
    LoseAppend(usize),
}

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }
}

pub(crate) fn random(seed: u64, length: usize) -> Vec<Step> {
    let mut random = Random::new(seed + 77);
    let step = |_| {
        let n = usize::try_from(random.next()).unwrap();
        match n % 36 {
            0..7 => Step::Append(10 + n % 1500),
            7..11 => Step::Produce(i64::try_from(n % 2).unwrap()),
            11..13 => Step::Fetch(1 + n / 36 % 3, 10 + n % 700),
            13..15 => Step::Begin,
            15..19 => Step::Flush,
            19..22 => Step::Attest,
            22 => Step::Rest,
            23 | 24 => Step::Truncate(n / 36 % 5),
            25 => Step::Overtake(n / 36 % 5),
            26 => Step::State,
            27 => Step::Advance(n / 36 % 4),
            28 => Step::Retain(n / 36 % 4),
            29 => Step::Sweep,
            30 => Step::Kill,
            31 => Step::Stop,
            32 => Step::FailAppend(10 + n % 1500),
            33 => Step::FailFlush([FileKind::Segment, FileKind::Meta, FileKind::ProducerSnapshot][n / 36 % 3]),
            34 => Step::Recreate,
            _ if n / 36 % 2 == 0 => Step::Volatile,
            _ => Step::Durable,
        }
    };
    (0..length).map(step).collect()
}

/// A batch like no other; its timestamps jump about.
pub(crate) fn batch(number: &mut u64, bytes: usize, producer: Option<Producer>) -> Batch {
    *number += 1;
    let count = usize::try_from(*number % 3).unwrap() + 1;
    batch_of(*number, count, bytes, producer)
}

/// As `batch`, of so many records.
pub(crate) fn batch_of(number: u64, count: usize, bytes: usize, producer: Option<Producer>) -> Batch {
    let mut builder = Builder::new(Codec::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    let value = vec![u8::try_from(number % 251).unwrap() + 1; bytes / count];
    let timestamp = Timestamp::new(1000 + i64::try_from(number * 37 % 101).unwrap());
    for _ in 0..count {
        builder.push(Draft { timestamp, key: None, value: Some(&value), headers: &[] }).unwrap();
    }
    builder.build().unwrap()
}
