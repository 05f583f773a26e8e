//! Runs a trace on recorded files and judges every crash point of it.

use ottla::model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use ottla::records::{Batch, Builder, Codec, Draft, Producer};
use ottla::storage::{Appended, Log};
use ottla::testing::SimulatedFiles;

use crate::model::{Allowed, Content, Phase};
use crate::states::{check, now, open};

/// What happens to a log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A batch of so many bytes.
    Append(usize),
    /// The next batch of an idempotent producer.
    Produce(i64),
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
    Reset(i64),
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
}

pub(crate) fn random(seed: u64, length: usize) -> Vec<Step> {
    let mut random = Random::new(seed + 77);
    let step = |_| {
        let n = usize::try_from(random.next()).unwrap();
        match n % 18 {
            0..4 => Step::Append(10 + n % 1500),
            4..7 => Step::Produce(i64::try_from(n % 2).unwrap()),
            7 => Step::Begin,
            8..11 => Step::Flush,
            11..13 => Step::Attest,
            13 => Step::Rest,
            14 => Step::Truncate(n / 16 % 5),
            15 => Step::Overtake(n / 16 % 5),
            16 => Step::State,
            _ => Step::Advance(n / 16 % 4),
        }
    };
    (0..length).map(step).collect()
}

/// A batch like no other; its timestamps jump about.
pub(crate) fn batch(number: &mut u64, bytes: usize, producer: Option<Producer>) -> Batch {
    *number += 1;
    let mut builder = Builder::new(Codec::None);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    let count = usize::try_from(*number % 3).unwrap() + 1;
    let value = vec![u8::try_from(*number % 251).unwrap() + 1; bytes / count];
    let timestamp = Timestamp::new(1000 + i64::try_from(*number * 37 % 101).unwrap());
    for _ in 0..count {
        builder.push(Draft { timestamp, key: None, value: Some(&value), headers: &[] }).unwrap();
    }
    builder.build().unwrap()
}

struct Run {
    files: SimulatedFiles,
    log: Log,
    content: Content,
    acked: Offset,
    start: Offset,
    /// The start that is certain to be durable.
    start_durable: Offset,
    epoch: LeaderEpoch,
    number: u64,
    sequences: [i32; 3],
    phases: Vec<Phase>,
}

pub(crate) fn run(name: &str, steps: &[Step]) {
    let files = SimulatedFiles::default();
    let (data, log) = open(&files);
    files.record();
    // Shown when the test fails.
    println!("{name}: {steps:?}");
    let mut run = Run {
        files: files.clone(),
        log,
        content: Content::default(),
        acked: Offset::ZERO,
        start: Offset::ZERO,
        start_durable: Offset::ZERO,
        epoch: LeaderEpoch::new(0),
        number: 0,
        sequences: [0; 3],
        phases: Vec::new(),
    };
    run.phase(vec![run.now()]);
    for step in steps {
        run.step(*step);
    }
    let points = files.take_recorded();
    let phases = run.phases;
    drop((run.log, data));
    let mut states = 0;
    for (i, point) in points.iter().enumerate() {
        let phase = phases.iter().rfind(|phase| phase.since <= i).expect("the first holds from the start");
        states += check(name, i, point, phase);
    }
    println!("{name}: {} crash points, {states} states checked", points.len());
}

impl Run {
    fn now(&self) -> Allowed {
        let (start_min, start_max) = (self.start_durable, self.start);
        Allowed { content: self.content.clone(), acked: self.acked, start_min, start_max }
    }

    /// From the present crash point on these are allowed.
    fn phase(&mut self, allowed: Vec<Allowed>) {
        // The point kept last is the present one.
        self.phases.push(Phase { since: self.files.recorded() - 1, allowed });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(bytes) => self.append(bytes, None),
            Step::Produce(id) => {
                let base_sequence = Sequence::new(self.sequences[usize::try_from(id).unwrap()]);
                self.append(
                    80,
                    Some(Producer { id: ProducerId::new(id), epoch: ProducerEpoch::new(0), base_sequence }),
                );
            }
            Step::Begin => {
                self.epoch = self.epoch.next();
                self.log.begin_epoch(self.epoch);
            }
            Step::Flush => self.flush(),
            Step::Attest => {
                self.log.flush_now(now()).unwrap();
                self.flushed();
                self.log.flush_log().attest().unwrap();
            }
            Step::Rest => {
                self.log.rest_now(now()).unwrap();
                self.flushed();
            }
            Step::State => self.log.flush_log().attest().unwrap(),
            Step::Overtake(n) => {
                let order = self.log.pending_flush();
                self.truncate(n);
                let flushed = self.log.flush_log().flush(order.into_iter().collect(), now()).unwrap();
                flushed.iter().for_each(|one| self.log.flush_done(one));
                assert_eq!(self.log.flushed_end(), self.acked);
            }
            Step::Truncate(n) => self.truncate(n),
            Step::Advance(n) => self.advance(n),
            Step::Reset(start) => self.reset(Offset::new(start)),
        }
    }

    fn append(&mut self, bytes: usize, producer: Option<Producer>) {
        let batch = batch(&mut self.number, bytes, producer);
        let before = self.now();
        let stamped = batch.stamp(self.content.end(), self.epoch).to_batch();
        self.content.batches.push(stamped.clone());
        self.phase(vec![before, self.now()]);
        match self.log.append(&batch, self.epoch, now()) {
            Ok(Appended::New { base, .. }) => assert_eq!(base, stamped.base_offset()),
            other => panic!("{other:?}"),
        }
        if let Some(producer) = producer {
            self.sequences[usize::try_from(producer.id.get()).unwrap()] += stamped.header().last_offset_delta + 1;
        }
        self.phase(vec![self.now()]);
    }

    /// A flush in two halves, as the flush thread does it.
    fn flush(&mut self) {
        let Some(order) = self.log.pending_flush() else { return };
        let flushed = self.log.flush_log().flush(vec![order], now()).unwrap();
        flushed.iter().for_each(|one| self.log.flush_done(one));
        self.flushed();
    }

    fn flushed(&mut self) {
        self.acked = self.log.flushed_end();
        assert_eq!(self.acked, self.content.end());
        self.phase(vec![self.now()]);
    }

    fn truncate(&mut self, n: usize) {
        let Some(to) = self.content.batches.get(n).map(Batch::base_offset) else { return };
        if to <= self.start {
            return;
        }
        let before = self.now();
        self.content.batches.truncate(n);
        self.acked = self.acked.min(to);
        // Until the flush log says so the old end stands; from then on any prefix does.
        self.phase(vec![Allowed { acked: self.acked, ..before }, self.now()]);
        // One offset into the batch, to see that all of it goes.
        assert_eq!(self.log.truncate(to).unwrap(), to);
        self.acked = to;
        self.recount_sequences();
        self.phase(vec![self.now()]);
    }

    fn recount_sequences(&mut self) {
        for id in 0..3 {
            let producers = self.content.producers(self.content.end());
            let known = producers.get(ProducerId::new(i64::try_from(id).unwrap()));
            let last = known.and_then(|p| p.batches.back()).map(|b| b.last.get());
            self.sequences[id] = last.map_or(0, |last| last + 1);
        }
    }

    fn advance(&mut self, n: usize) {
        let Some(to) = self.content.batches.get(n).map(Batch::base_offset).filter(|to| *to > self.start) else {
            return;
        };
        if to > self.log.flushed_end() {
            return;
        }
        self.start = to;
        self.phase(vec![self.now()]);
        self.log.advance_start(to);
        self.log.purge(now()).unwrap();
    }

    fn reset(&mut self, start: Offset) {
        let before = self.now();
        self.content = Content { origin: start, batches: Vec::new() };
        (self.start, self.start_durable, self.acked) = (start, start, start);
        self.phase(vec![before, self.now()]);
        self.log.reset(start).unwrap();
        self.sequences = [0; 3];
        self.phase(vec![self.now()]);
    }
}
