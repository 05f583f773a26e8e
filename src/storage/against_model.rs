//! Random work on a log and on a plain list of batches: they say the same.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{batch_of, now, produced, small};
use super::*;
use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::records::{self, Batch};
use crate::testing::SimulatedFiles;

#[derive(Clone, Debug)]
enum Work {
    Append { count: i32, bytes: usize, millis: i64 },
    Produce { producer: i64 },
    Fetch { gap: i64, count: i32 },
    NewEpoch,
    Flush,
    Rest,
    Reopen,
    PowerCut { random: u64 },
    Truncate { back: i64 },
    Advance { on: i64 },
    Retain,
    Read { from: i64, end: i64, bytes_max: usize },
    FindTime { millis: i64 },
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        6 => (1..5_i32, 0..400_usize, 0..2000_i64).prop_map(|(count, bytes, millis)| Work::Append { count, bytes, millis }),
        3 => (0..3_i64).prop_map(|producer| Work::Produce { producer }),
        2 => (0..20_i64, 1..4_i32).prop_map(|(gap, count)| Work::Fetch { gap, count }),
        1 => Just(Work::NewEpoch),
        2 => Just(Work::Flush),
        1 => Just(Work::Rest),
        1 => Just(Work::Reopen),
        1 => any::<u64>().prop_map(|random| Work::PowerCut { random }),
        1 => (0..30_i64).prop_map(|back| Work::Truncate { back }),
        1 => (0..20_i64).prop_map(|on| Work::Advance { on }),
        1 => Just(Work::Retain),
        5 => (0..300_i64, 0..300_i64, 0..3000_usize).prop_map(|(from, end, bytes_max)| Work::Read { from, end, bytes_max }),
        2 => (0..2200_i64).prop_map(|millis| Work::FindTime { millis }),
    ]
}

struct Pair {
    files: SimulatedFiles,
    log: Log,
    batches: Vec<Batch>,
    start: Offset,
    end: Offset,
    epoch: LeaderEpoch,
    sequences: [i32; 3],
    /// Whether batches come with gaps between them, as after a compaction.
    compact: bool,
}

fn open(files: &SimulatedFiles, compact: bool) -> Log {
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
    let options = LogOptions { cleanup: Cleanup { delete: true, compact }, ..small() };
    Log::open_at(&home, options, now(0)).unwrap().0
}

impl Pair {
    fn new(compact: bool) -> Self {
        let files = SimulatedFiles::default();
        let log = open(&files, compact);
        let (batches, sequences) = (Vec::new(), [0; 3]);
        let epoch = LeaderEpoch::new(0);
        Self { files, log, batches, start: Offset::ZERO, end: Offset::ZERO, epoch, sequences, compact }
    }

    fn append(&mut self, batch: &Batch) {
        let stamped = batch.stamp(self.end, self.epoch).to_batch();
        let appended = self.log.append(batch, self.epoch, now(0)).unwrap();
        assert_eq!(appended, Appended::New { base: self.end, end: stamped.next_offset() });
        self.end = stamped.next_offset();
        self.batches.push(stamped);
    }

    fn carry_out(&mut self, work: Work) {
        match work {
            Work::Append { count, bytes, millis } => self.append(&batch_of(count, bytes, millis)),
            Work::Produce { producer } => {
                let sequence = &mut self.sequences[usize::try_from(producer).unwrap()];
                let batch = produced(producer, *sequence, 2);
                *sequence += 2;
                self.append(&batch);
                let again = self.log.append(&batch, self.epoch, now(0)).unwrap();
                assert!(matches!(again, Appended::Duplicate { end, .. } if end == self.end));
            }
            Work::Fetch { gap, count } => {
                // Without gaps a log that is empty may get a batch that begins before its end.
                let is_empty = self.log.size_bytes() == 0 && self.start == self.end;
                let back = if is_empty { (gap % i64::from(count)).min(self.end.get()) } else { 0 };
                let base = self.end.plus(if self.compact { gap } else { -back });
                self.batches.retain(|batch| batch.next_offset() <= base);
                let first = batch_of(count, 30, 500).stamp(base, self.epoch).to_batch();
                let second = batch_of(count, 300, 700).stamp(first.next_offset(), self.epoch).to_batch();
                self.log.append_fetched(&[first.clone(), second.clone()], now(0)).unwrap();
                self.end = second.next_offset();
                self.batches.extend([first, second]);
            }
            Work::NewEpoch => {
                self.epoch = self.epoch.next();
                self.log.begin_epoch(self.epoch);
            }
            Work::Flush => assert_eq!(self.log.flush_now(now(0)).unwrap(), self.end),
            Work::Rest => self.log.rest_now(now(0)).unwrap(),
            Work::Reopen => self.reopen(),
            // Where a log may end in a gap, the list cannot tell what is left.
            Work::PowerCut { .. } if self.compact => self.reopen(),
            Work::PowerCut { random } => self.cut_power(random),
            Work::Truncate { back } => self.truncate(self.end.plus(-back).max(self.start)),
            Work::Advance { on } => {
                self.log.advance_start(self.start.plus(on));
                self.start = self.start.plus(on).min(self.end);
            }
            Work::Retain => {
                self.log.retain(now(0), self.end).unwrap();
            }
            Work::Read { from, end, bytes_max } => self.read(Offset::new(from), Offset::new(end), bytes_max),
            Work::FindTime { millis } => self.find_time(Timestamp::new(millis)),
        }
    }

    /// A stop without any flush; nothing is lost, as the power stays.
    fn reopen(&mut self) {
        let producers = self.log.producers().clone();
        self.log = open(&self.files, self.compact);
        assert!(self.log.flushed_end() <= self.log.end());
        assert_eq!(self.log.producers(), &producers);
        // An end in a gap, where a truncation left it, is known only from a statement that was not yet written.
        assert!(self.log.end() == self.end || self.batches.last().is_none_or(|b| b.next_offset() <= self.log.end()));
        self.end = self.log.end();
        // So is a start.
        assert!(self.log.start() <= self.start);
        self.start = self.log.start();
    }

    /// What was flushed is there; of what was not, anything may be.
    fn cut_power(&mut self, mut random: u64) {
        let flushed = self.log.flushed_end();
        let point = self.files.crash_point();
        let mut end = |ways: &usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % ways
        };
        let ends: Vec<usize> = point.ways().iter().map(&mut end).collect();
        self.files = point.after(&ends);
        self.log = open(&self.files, self.compact);
        assert!(flushed <= self.log.end() && self.log.end() <= self.end, "{} of {flushed} flushed", self.log.end());
        assert!(self.log.start() <= self.start);
        (self.start, self.end) = (self.log.start(), self.log.end());
        self.batches.retain(|batch| batch.next_offset() <= self.log.end());
        self.take_sequences();
        self.check();
    }

    fn truncate(&mut self, to: Offset) {
        let before = self.batches.iter().rfind(|b| b.next_offset() <= to);
        let expected = match before {
            _ if to <= self.start || to == self.end => to,
            Some(batch) => batch.next_offset().max(self.start),
            None => self.start,
        };
        assert_eq!(self.log.truncate(to).unwrap(), expected);
        if to == self.end {
            return;
        }
        self.batches.retain(|b| b.next_offset() <= expected && to > self.start);
        self.end = expected;
        self.start = self.start.min(expected);
        self.take_sequences();
    }

    fn take_sequences(&mut self) {
        self.sequences = [0, 1, 2].map(|id| {
            let known = self.log.producers().get(crate::model::ProducerId::new(id));
            known.and_then(|p| p.batches.back()).map_or(0, |b| b.last.get() + 1)
        });
    }

    fn read(&self, from: Offset, end: Offset, bytes_max: usize) {
        let plan = self.log.read(from, end, bytes_max, FirstBatch::Whole);
        if from < self.start || from > self.end {
            assert!(matches!(plan, Err(ReadError::OutOfRange { .. })));
            return;
        }
        let plan = plan.unwrap();
        let mut expected = self.batches.iter().filter(|b| b.next_offset() > from && b.next_offset() <= end);
        let found: Vec<Batch> = records::split(plan.read().unwrap()).map(Result::unwrap).collect();
        assert_eq!(found.is_empty(), expected.clone().next().is_none(), "{from}..{end}");
        assert!(found.iter().all(|b| Some(b) == expected.next()));
        assert!(plan.len() <= bytes_max || found.len() == 1);
        if let Some(last) = found.last() {
            assert!(plan.next >= last.next_offset() && expected.next().is_none_or(|b| plan.next <= b.base_offset()));
        }
    }

    fn find_time(&mut self, wanted: Timestamp) {
        let found = self.log.offset_for_timestamp(wanted, self.end).unwrap().map(|found| found.place.offset);
        let mut visible = self.batches.iter().filter(|b| b.next_offset() > self.start);
        assert_eq!(found, visible.find(|b| b.header().max_timestamp >= wanted).map(Batch::base_offset));
    }

    fn check(&self) {
        assert_eq!((self.log.start(), self.log.end()), (self.start, self.end));
        let mut from = self.start;
        let mut expected = self.batches.iter().filter(|b| b.next_offset() > self.start);
        while from < self.end {
            let plan = self.log.read(from, self.end, 500, FirstBatch::Whole).unwrap();
            if plan.is_empty() {
                break;
            }
            for batch in records::split(plan.read().unwrap()) {
                assert_eq!(Some(&batch.unwrap()), expected.next());
            }
            from = plan.next;
        }
        assert_eq!(expected.next(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_says_what_a_list_of_batches_says(all in proptest::collection::vec(work(), 1..60), compact: bool) {
        let mut pair = Pair::new(compact);
        for work in all {
            pair.carry_out(work);
            assert_eq!((pair.log.start(), pair.log.end()), (pair.start, pair.end));
        }
        pair.check();
    }
}

#[test]
fn a_cut_below_the_start_leaves_no_gap() {
    let mut pair = Pair::new(true);
    for work in [
        Work::Append { count: 3, bytes: 228, millis: 0 },
        Work::Fetch { gap: 17, count: 1 },
        Work::Advance { on: 4 },
        Work::Append { count: 1, bytes: 0, millis: 0 },
        Work::Truncate { back: 3 },
        Work::Append { count: 3, bytes: 381, millis: 0 },
        Work::Reopen,
    ] {
        pair.carry_out(work);
    }
}
