//! Rounds of compaction over logs on simulated disks: what is read afterwards, and what a start finds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::env::{Files, OpenMode, SystemSeed};
use crate::model::{
    LeaderEpoch, NodeId, Now, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp,
    TopicId, TopicName,
};
use crate::records::{self, Batch, Builder, Compression, Draft, Record};
use crate::storage::tests::now;
use crate::storage::{Appended, Cleanup, DataDir, FirstBatch, Home, Log, LogOptions};
use crate::testing::SimulatedFiles;

/// How long a tombstone stays.
const RETENTION: i64 = 1000;
const KEYS_BYTES: usize = 1 << 20;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 600,
        index_interval_bytes: 100,
        derived_interval_bytes: 500,
        retention_span: None,
        cleanup: Cleanup { delete: true, compact: true },
        compaction: CompactionOptions {
            dirty_ratio_min_millionths: 0,
            delete_retention: Duration::from_millis(RETENTION.unsigned_abs()),
            ..CompactionOptions::default()
        },
        ..LogOptions::default()
    }
}

/// A log and what was written to it.
struct World {
    files: SimulatedFiles,
    log: Log,
    /// All records that were ever written, by offset.
    written: BTreeMap<Offset, Record>,
    /// The last sequence of each producer, and where its batch ends.
    sequences: BTreeMap<i64, (i32, Offset)>,
    epoch: LeaderEpoch,
    millis: i64,
}

fn open(files: &SimulatedFiles, options: LogOptions) -> Log {
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
    Log::open_at(&home, options, now(0)).unwrap().0
}

impl World {
    fn new() -> Self {
        let files = SimulatedFiles::default();
        let log = open(&files, options());
        let (written, sequences) = (BTreeMap::new(), BTreeMap::new());
        Self { files, log, written, sequences, epoch: LeaderEpoch::new(1), millis: 1 }
    }

    fn now(&self) -> Now {
        now(self.millis)
    }

    /// Appends one batch; a value of `None` is a tombstone.
    fn append(&mut self, compression: Compression, records: &[(u8, Option<usize>)]) {
        self.write(Builder::new(compression.codec()), records);
    }

    fn produce(&mut self, producer: i64, records: &[(u8, Option<usize>)]) {
        let (next, _) = self.sequences.get(&producer).copied().unwrap_or((0, Offset::ZERO));
        let writer = records::Producer {
            id: ProducerId::new(producer),
            epoch: ProducerEpoch::new(0),
            base_sequence: Sequence::new(next),
        };
        self.write(Builder::new(Compression::None.codec()).producer(writer), records);
        let count = i32::try_from(records.len()).unwrap();
        self.sequences.insert(producer, (next + count, self.log.end()));
    }

    fn write(&mut self, mut builder: Builder, records: &[(u8, Option<usize>)]) {
        self.millis += 1;
        for (key, size) in records {
            let value = size.map(|size| vec![u8::try_from(self.millis % 251).unwrap(); size]);
            let draft = Draft {
                timestamp: Timestamp::new(self.millis),
                key: Some(std::slice::from_ref(key)),
                value: value.as_deref(),
                headers: &[],
            };
            builder.push(draft).unwrap();
        }
        let batch = builder.build().unwrap();
        let appended = self.log.append(&batch, self.epoch, self.now()).unwrap();
        let Appended::New { base, .. } = appended else { panic!("it is new") };
        for record in batch.stamp(base, self.epoch).to_batch().records(1 << 20).unwrap() {
            let record = record.unwrap();
            self.written.insert(record.offset, record);
        }
    }

    /// Everything that is written is durable, and nothing but the active segment is needed for a start.
    fn settle(&mut self) {
        self.log.rest_now(self.now()).unwrap();
    }

    /// One whole round; how many segments were taken over.
    fn compact(&mut self, keys_bytes_max: usize) -> usize {
        let Some(order) = self.log.order_compaction(self.now(), self.log.end()).unwrap() else { return 0 };
        let mut round = Compaction::new(order, keys_bytes_max);
        let mut taken = 0;
        loop {
            match round.step(300).unwrap() {
                CompactionStep::Worked(_) => {}
                CompactionStep::Made(made) => match self.log.take_over(&made).unwrap() {
                    TakenOver::Yes(structure) => {
                        round.resume(structure);
                        taken += 1;
                    }
                    TakenOver::No => panic!("nothing has changed"),
                },
                CompactionStep::Done(done) => {
                    self.log.compacted(&done).unwrap();
                    return taken;
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.log = open(&self.files, options());
    }

    /// All records that the log gives, read piece by piece.
    fn read(&self) -> Vec<Record> {
        let mut all = Vec::new();
        let mut from = self.log.start();
        while from < self.log.end() {
            let plan = self.log.read(from, self.log.end(), 400, FirstBatch::Whole).unwrap();
            assert!(!plan.is_empty(), "a reader at {from} gets on");
            let mut check = records::IntactCheck::new(plan.expected.clone());
            let bytes = plan.read().unwrap();
            check.feed(&bytes).and_then(|()| check.finish()).unwrap();
            for batch in records::split(bytes) {
                let batch: Batch = batch.unwrap();
                all.extend(batch.records(1 << 20).unwrap().map(Result::unwrap));
                from = batch.next_offset().max(from);
            }
        }
        all
    }

    /// What is read was written, in order; and it says of each key what was written last. Whether a deleted key is still
    /// told as such is not said.
    fn check(&self) {
        let read = self.read();
        assert!(read.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        let last = |records: &mut dyn Iterator<Item = &Record>| -> BTreeMap<Vec<u8>, Record> {
            let all: BTreeMap<_, _> = records.map(|r| (r.key.clone().unwrap().to_vec(), r.clone())).collect();
            all.into_iter().filter(|(_, record)| record.value.is_some()).collect()
        };
        for record in &read {
            assert_eq!(self.written.get(&record.offset), Some(record));
        }
        let start = self.log.start();
        let mut of_end = self.written.values().filter(|r| r.offset >= start && r.offset < self.log.end());
        assert_eq!(last(&mut read.iter()), last(&mut of_end));
    }

    /// The next batch of each producer is taken, and its last one is known.
    fn check_producers(&self) {
        for (producer, (next, end)) in &self.sequences {
            let known = self.log.producers().get(ProducerId::new(*producer)).unwrap();
            let last = known.batches.back().unwrap();
            assert_eq!((last.last.plus(1), last.end), (Sequence::new(*next), *end));
        }
    }

    fn bases(&self) -> Vec<i64> {
        self.log.segments.iter().map(|segment| segment.base.get()).collect()
    }
}

#[test]
fn a_compacted_log_keeps_the_last_value_of_each_key_at_its_offset() {
    let mut world = World::new();
    for compression in Compression::ALL.into_iter().cycle().take(60) {
        world.append(compression, &[(1, Some(20)), (2, Some(30)), (1, Some(10))]);
    }
    world.settle();
    let (end, size, segments) = (world.log.end(), world.log.size_bytes(), world.log.segment_count());
    assert!(segments > 5);
    assert!(world.compact(KEYS_BYTES) > 0);
    assert!(world.log.size_bytes() < size / 3 && world.log.segment_count() <= 3, "{:?}", world.bases());
    assert_eq!(world.log.end(), end);
    world.check();
    assert_eq!(world.compact(KEYS_BYTES), 0, "nothing is dirty any more");
    for _ in 0..2 {
        world.reopen();
        assert_eq!((world.log.end(), world.log.flushed_end()), (end, end));
        assert_eq!(world.log.order_compaction(world.now(), end).unwrap().map(|_| ()), None);
        world.check();
    }
}

#[test]
fn a_deleted_key_is_told_until_the_horizon_and_never_comes_back() {
    let mut world = World::new();
    let fill = |world: &mut World| (0..20).for_each(|_| world.append(Compression::None, &[(9, Some(60))]));
    world.append(Compression::None, &[(1, Some(20))]);
    fill(&mut world);
    world.append(Compression::None, &[(1, None)]);
    fill(&mut world);
    world.settle();
    let told = |world: &World| world.read().iter().filter(|r| r.key.as_deref() == Some(&[1])).count();
    world.compact(KEYS_BYTES);
    assert_eq!(told(&world), 1, "the tombstone, and not what it deletes");
    world.check();
    for (wait, expected) in [(RETENTION - 200, 1), (400, 0)] {
        world.millis += wait;
        fill(&mut world);
        world.settle();
        world.compact(KEYS_BYTES);
        assert_eq!(told(&world), expected);
        world.check();
        world.reopen();
        world.check();
    }
}

#[test]
fn only_closed_segments_below_the_watermark_and_the_flushed_end_are_chosen() {
    let mut world = World::new();
    for _ in 0..40 {
        world.append(Compression::None, &[(1, Some(60))]);
    }
    let until = |world: &mut World, watermark: Offset| {
        let order = world.log.order_compaction(now(5), watermark).unwrap();
        order.and_then(|order| order.sources.last().map(|last| last.end.get()))
    };
    let end = world.log.end();
    assert_eq!(until(&mut world, end), None, "nothing is flushed");
    world.settle();
    let bases = world.bases();
    let active = *bases.last().unwrap();
    assert_eq!(until(&mut world, end), Some(active));
    assert_eq!(until(&mut world, Offset::new(active)), Some(active));
    assert_eq!(until(&mut world, Offset::new(active - 1)), Some(bases[bases.len() - 2]));
    assert_eq!(until(&mut world, Offset::new(bases[1] - 1)), None);
    let lags = CompactionOptions { lag_min: Duration::from_millis(1), ..options().compaction };
    world.log.set_options(LogOptions { compaction: lags, ..options() });
    // The second segment's last record was written 20 ms after the first of all.
    let second = world.log.largest_timestamp(1).unwrap().get();
    let fresh = world.log.order_compaction(now(second + 1), end).unwrap().unwrap();
    assert_eq!(fresh.sources.last().unwrap().end.get(), bases[1]);
    world.log.set_options(LogOptions { cleanup: Cleanup { delete: true, compact: false }, ..options() });
    assert_eq!(world.log.compaction_due(now(5), end).unwrap(), None);
}

#[test]
fn what_waits_too_long_is_owed_and_closes_the_active_segment() {
    let mut world = World::new();
    let compaction = CompactionOptions {
        dirty_ratio_min_millionths: 1_000_000,
        lag_max: Some(Duration::from_millis(50)),
        ..options().compaction
    };
    world.log.set_options(LogOptions { compaction, ..options() });
    world.append(Compression::None, &[(1, Some(60))]);
    world.append(Compression::None, &[(1, Some(60))]);
    world.settle();
    let end = world.log.end();
    assert_eq!(world.log.compaction_due(now(52), end).unwrap(), None);
    assert_eq!(world.log.compaction_due(now(53), Offset::new(1)).unwrap(), None);
    assert_eq!(world.log.segment_count(), 1);
    assert_eq!(world.log.compaction_due(now(53), end).unwrap(), None, "it is closed now, and not yet flushed");
    assert_eq!(world.log.segment_count(), 2);
    world.settle();
    let due = world.log.compaction_due(now(53), end).unwrap().unwrap();
    assert_eq!((due.from, due.until), (Offset::ZERO, end));
    world.compact(KEYS_BYTES);
    world.check();
    assert_eq!(world.read().len(), 1);
}

#[test]
fn a_round_with_more_keys_than_it_may_remember_goes_as_far_as_they_reach() {
    let mut world = World::new();
    for round in 0..3_u8 {
        for key in 0..200 {
            world.append(Compression::None, &[(key, Some(usize::from(round) + 1))]);
        }
    }
    world.settle();
    let mut rounds = 0;
    let mut reached = Offset::ZERO;
    while world.log.clean_end().get() < *world.bases().last().unwrap() {
        world.compact(0);
        assert!(world.log.clean_end() > reached, "each round gets on");
        reached = world.log.clean_end();
        world.check();
        rounds += 1;
    }
    assert!(rounds > 5, "{rounds} rounds");
    assert!(world.read().len() < 600);
}

#[test]
fn what_has_changed_meanwhile_cancels_a_round() {
    let changes: [fn(&mut World); 4] = [
        |world| {
            world.log.truncate(Offset::new(3)).unwrap();
        },
        |world| world.log.reset(Offset::new(1000)).unwrap(),
        |world| {
            world.log.advance_start(world.log.segments[2].base);
            world.log.flush_now(now(0)).unwrap();
            world.log.retain(now(0), world.log.end()).unwrap();
        },
        |world| {
            world.log.truncate(world.log.start()).unwrap();
            (0..40).for_each(|_| world.append(Compression::None, &[(2, Some(60))]));
            world.settle();
        },
    ];
    for change in changes {
        let mut world = World::new();
        (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
        world.settle();
        let order = world.log.order_compaction(now(0), world.log.end()).unwrap().unwrap();
        let mut round = Compaction::new(order, KEYS_BYTES);
        let made = loop {
            match round.step(1 << 20).unwrap() {
                CompactionStep::Made(made) => break made,
                CompactionStep::Worked(_) => {}
                CompactionStep::Done(_) => panic!("there is something to do"),
            }
        };
        change(&mut world);
        let (bases, end) = (world.bases(), world.log.end());
        assert_eq!(world.log.take_over(&made).unwrap(), TakenOver::No);
        assert_eq!((world.bases(), world.log.end()), (bases, end));
        let left = world.files.files_under(Path::new("/log"));
        assert!(left.iter().all(|(path, _)| !path.to_string_lossy().ends_with("cleaned")), "{left:?}");
        let read = world.read().len();
        world.reopen();
        assert_eq!((world.log.end(), world.read().len()), (end, read));
    }
}

#[test]
fn nothing_that_was_cut_counts_as_clean() {
    let mut world = World::new();
    (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    world.compact(KEYS_BYTES);
    assert!(world.log.clean_end() > Offset::ZERO);
    world.log.reset(Offset::ZERO).unwrap();
    world.written.clear();
    (0..80).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    assert_eq!(world.log.clean_end(), Offset::ZERO);
    world.reopen();
    assert_eq!(world.log.clean_end(), Offset::ZERO);
    world.check();
}

#[test]
fn a_log_that_has_lost_its_front_is_begun_anew_whatever_was_clean_in_it() {
    let files = SimulatedFiles::default();
    let (name, topic) = (TopicName::new("orders").unwrap(), TopicId::new([9; 16]));
    let id = PartitionId { topic, index: PartitionIndex::new(0) };
    let start = || {
        let files = Arc::new(files.clone());
        DataDir::open(files, Path::new("/data"), NodeId::new(1), &SystemSeed, Timestamp::new(0)).unwrap()
    };
    let data = start();
    let log = Log::open(&data, &name, id, options(), now(0)).unwrap().0;
    let mut world = World { log, files: files.clone(), ..World::new() };
    (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    world.compact(KEYS_BYTES);
    world.settle();
    assert!(world.log.clean_end() > Offset::new(5));
    data.forget(id);
    data.flush_log().attest().unwrap();
    drop((world, data));
    files.delete_at_rest(Path::new("/data/orders-0/00000000000000000000.log"));
    let data = start();
    let mut log = Log::open(&data, &name, id, options(), now(0)).unwrap().0;
    assert_eq!((log.start(), log.end()), (Offset::ZERO, Offset::ZERO));
    log.reset(Offset::new(5)).unwrap();
    assert_eq!((log.start(), log.clean_end(), log.thinned_end()), (Offset::new(5), Offset::new(5), Offset::ZERO));
}

#[test]
fn a_producer_goes_on_where_it_was_after_its_records_are_gone() {
    let mut world = World::new();
    world.produce(7, &[(1, Some(20)), (2, Some(20))]);
    world.produce(8, &[(1, Some(20))]);
    (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60)), (2, Some(10))]));
    world.settle();
    world.compact(KEYS_BYTES);
    world.check();
    world.check_producers();
    // A copy of it, made from nothing but its batches, knows them too.
    let (files, mut from) = (SimulatedFiles::default(), Offset::ZERO);
    let mut copy = open(&files, options());
    while from < world.log.end() {
        let plan = world.log.read(from, world.log.end(), 1 << 20, FirstBatch::Whole).unwrap();
        let batches: Vec<Batch> = records::split(plan.read().unwrap()).map(Result::unwrap).collect();
        copy.append_fetched(&batches, now(0)).unwrap();
        from = copy.end();
    }
    world.files = files;
    world.log = copy;
    world.check();
    world.check_producers();
    world.reopen();
    world.check();
    world.check_producers();
}

#[test]
fn a_log_with_gaps_is_opened_and_read_under_any_configuration() {
    let mut world = World::new();
    (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    world.compact(KEYS_BYTES);
    let dense = LogOptions { cleanup: Cleanup { delete: true, compact: false }, ..options() };
    let end = world.log.end();
    world.log = open(&world.files, dense);
    assert!(world.log.thinned_end() > Offset::ZERO);
    assert_eq!(world.log.end(), end);
    world.check();
    // A start that has to read everything takes the gaps as well.
    world.files.delete_at_rest(Path::new("/log/leader-epoch-checkpoint"));
    world.log = open(&world.files, dense);
    world.check();
    let other = open(&SimulatedFiles::default(), dense);
    assert_eq!(other.gaps_taken_to(), Offset::ZERO, "a log that was never compacted is as strict as ever");
}

#[test]
fn an_epoch_that_begins_within_a_batch_is_not_believed_in_a_log_with_gaps() {
    let mut world = World::new();
    (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    world.compact(KEYS_BYTES);
    world.append(Compression::None, &[(1, Some(5)), (2, Some(5)), (3, Some(5))]);
    world.append(Compression::None, &[(4, Some(5))]);
    let begin = world.log.end();
    world.epoch = LeaderEpoch::new(2);
    (0..3).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    world.reopen();
    let epochs = world.log.epochs().clone();
    assert_eq!(epochs.epoch_at(begin.plus(-1)), Some(LeaderEpoch::new(1)));
    let path = Path::new("/log/leader-epoch-checkpoint");
    let file = world.files.open(path, OpenMode::Write).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    let sound = String::from_utf8(bytes).unwrap();
    for back in 1..5 {
        let moved = sound.replace(&format!("2 {begin}"), &format!("2 {}", begin.plus(-back)));
        assert!(moved != sound && moved.len() == sound.len());
        file.write_at(0, &[moved.as_bytes()]).unwrap();
        world.reopen();
        assert_eq!(*world.log.epochs(), epochs, "{back} before its first batch");
    }
}

#[test]
fn a_round_takes_no_loss_for_a_gap() {
    let mut world = World::new();
    (0..40).for_each(|_| world.append(Compression::None, &[(1, Some(60))]));
    world.settle();
    let order = world.log.order_compaction(now(0), world.log.end()).unwrap().unwrap();
    let (base, position) = (world.log.segments[1].base, world.log.segments[1].size);
    let last = world.log.batch_before(world.log.segments[2].base).unwrap().unwrap().place;
    // The second segment ends where its last batch began.
    world.files.truncate_at_rest(&world.log.path_of(base, crate::storage::segment::Suffix::Log), last.position);
    assert!(last.position < position);
    let mut round = Compaction::new(order, KEYS_BYTES);
    let error = loop {
        match round.step(300) {
            Ok(CompactionStep::Worked(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    let CompactionError::Damaged(place) = error else { panic!("{error}") };
    assert_eq!((place.segment, place.position, place.offset), (base, last.position, last.offset));
}

#[derive(Clone, Debug)]
enum Work {
    Append { codec: usize, records: Vec<(u8, Option<usize>)> },
    Produce { producer: i64, key: u8 },
    Settle,
    Flush,
    Compact { keys_bytes_max: usize },
    Reopen,
    PowerCut { random: u64 },
    Wait { millis: i64 },
}

fn work() -> impl Strategy<Value = Work> {
    let record = (0..12_u8, prop_oneof![1 => Just(None), 4 => (0..90_usize).prop_map(Some)]);
    prop_oneof![
        12 => (0..5_usize, proptest::collection::vec(record, 1..5)).prop_map(|(codec, records)| Work::Append { codec, records }),
        3 => (0..3_i64, 0..12_u8).prop_map(|(producer, key)| Work::Produce { producer, key }),
        3 => Just(Work::Settle),
        1 => Just(Work::Flush),
        4 => prop_oneof![Just(0), Just(KEYS_BYTES)].prop_map(|keys_bytes_max| Work::Compact { keys_bytes_max }),
        1 => Just(Work::Reopen),
        1 => any::<u64>().prop_map(|random| Work::PowerCut { random }),
        2 => (1..800_i64).prop_map(|millis| Work::Wait { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_compacted_and_cut_short_each_key_has_its_last_value(all in proptest::collection::vec(work(), 1..120)) {
        let mut world = World::new();
        for work in all {
            match work {
                Work::Append { codec, records } => world.append(Compression::ALL[codec], &records),
                Work::Produce { producer, key } => world.produce(producer, &[(key, Some(10)), (key + 1, None)]),
                Work::Settle => world.settle(),
                Work::Flush => _ = world.log.flush_now(world.now()).unwrap(),
                Work::Compact { keys_bytes_max } => {
                    world.compact(keys_bytes_max);
                    world.check();
                }
                Work::Reopen => {
                    world.reopen();
                    world.check();
                }
                Work::PowerCut { random } => world.cut_power(random),
                Work::Wait { millis } => world.millis += millis,
            }
        }
        world.check();
        world.check_producers();
    }
}

impl World {
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
        self.log = open(&self.files, options());
        assert!(self.log.end() >= flushed);
        self.written.retain(|offset, _| *offset < self.log.end());
        self.sequences.retain(|producer, (next, end)| {
            let known = self.log.producers().get(ProducerId::new(*producer));
            let last = known.and_then(|known| known.batches.back());
            last.inspect(|last| (*next, *end) = (last.last.get() + 1, last.end)).is_some()
        });
        self.check();
    }
}
