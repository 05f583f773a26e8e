//! Every state that a crash may leave while a log is compacted: each key has its last value, and no deleted one is back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::model::{Instant, LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use ottla::records::{self, Batch, Builder, Codec, Draft, Producer, Record};
use ottla::storage::{
    Appended, Cleanup, Compaction, CompactionOptions, CompactionStep, FirstBatch, Home, Log, LogOptions, TakenOver,
};
use ottla::testing::{CrashPoint, SimulatedFiles};

use crate::states::{catch, choices};

/// Up to how many ways in which the waiting operations end are tried at each point, and else how many of them.
const WAYS: (usize, usize) = (1 << 9, 1 << 7);
/// One state in so many is crashed at each point of its start, too, and worked with.
const DEEP_EVERY: usize = 23;
const DEEP_WAYS: usize = 6;
/// How long a tombstone stays.
const RETENTION: Duration = Duration::from_millis(500);

/// What happens to a log.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many batches with a record of each of these keys.
    Put(usize, &'static [u8]),
    /// Deletes a key.
    Delete(u8),
    /// A batch of an idempotent producer, with this key.
    Produce(u8),
    Rest,
    /// A whole round.
    Compact,
    /// As long as tombstones stay.
    Wait,
    /// The process dies and starts again; the power stays.
    Kill,
}

use Step::{Compact, Delete, Kill, Produce, Put, Rest, Wait};

const TRACES: &[&[Step]] = &[
    &[Put(4, &[1, 2]), Rest, Put(1, &[1]), Rest, Compact, Put(2, &[2]), Rest],
    &[Put(3, &[1, 2]), Delete(1), Put(3, &[2]), Rest, Compact, Wait, Put(3, &[2]), Rest, Compact, Put(1, &[2])],
    &[Produce(1), Put(3, &[1]), Rest, Compact, Kill, Put(3, &[1, 3]), Produce(3), Rest, Compact, Rest, Kill],
];

/// A log and what it holds.
struct World {
    files: SimulatedFiles,
    log: Log,
    written: Written,
    sequence: i32,
    millis: i64,
}

#[derive(Clone, Debug, Default)]
struct Written {
    records: BTreeMap<Offset, Record>,
    flushed: Offset,
}

/// From a crash point on, this is what was written and promised.
struct Phase {
    since: usize,
    written: Written,
}

fn options(compact: bool) -> LogOptions {
    LogOptions {
        segment_bytes: 300,
        index_interval_bytes: 100,
        derived_interval_bytes: 500,
        retention_span: None,
        cleanup: Cleanup { delete: true, compact },
        compaction: CompactionOptions {
            dirty_ratio_min_millionths: 0,
            delete_retention: RETENTION,
            ..CompactionOptions::default()
        },
        ..LogOptions::default()
    }
}

/// A start knows no topic's configuration yet.
fn open(files: &SimulatedFiles) -> Result<Log, String> {
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).map_err(|e| e.to_string())?;
    let (mut log, _) = Log::open_at(&home, options(false), at(0)).map_err(|e| e.to_string())?;
    log.set_options(options(true));
    Ok(log)
}

fn at(millis: i64) -> Now {
    let instant = Instant::from_nanos(millis.unsigned_abs() * 1_000_000);
    Now { instant, timestamp: Timestamp::new(millis) }
}

impl World {
    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Put(times, keys) => (0..times).try_for_each(|_| self.append(keys, true, None)),
            Step::Delete(key) => self.append(&[key], false, None),
            Step::Produce(key) => {
                let (id, epoch) = (ProducerId::new(7), ProducerEpoch::new(0));
                let producer = Producer { id, epoch, base_sequence: Sequence::new(self.sequence) };
                self.sequence += 1;
                self.append(&[key], true, Some(producer))
            }
            Step::Rest => {
                self.log.rest_now(at(self.millis)).map_err(|e| e.to_string())?;
                self.written.flushed = self.log.flushed_end();
                Ok(())
            }
            Step::Compact => self.compact(),
            Step::Wait => {
                self.millis += 600;
                Ok(())
            }
            Step::Kill => {
                self.log = open(&self.files)?;
                Ok(())
            }
        }
    }

    fn append(&mut self, keys: &[u8], has_value: bool, producer: Option<Producer>) -> Result<(), String> {
        self.millis += 1;
        let mut builder = Builder::new(Codec::None);
        if let Some(producer) = producer {
            builder = builder.producer(producer);
        }
        let value = [u8::try_from(self.millis % 251).unwrap(); 30];
        for key in keys {
            let (key, value) = (Some(std::slice::from_ref(key)), has_value.then_some(&value[..]));
            builder.push(Draft { timestamp: Timestamp::new(self.millis), key, value, headers: &[] }).unwrap();
        }
        let batch = builder.build().unwrap();
        // Whoever looks in between may find it or not.
        let stamped = batch.stamp(self.log.end(), LeaderEpoch::new(1)).to_batch();
        self.written.records.extend(records_of(&stamped)?.into_iter().map(|record| (record.offset, record)));
        match self.log.append(&batch, LeaderEpoch::new(1), at(self.millis)) {
            Ok(Appended::New { base, .. }) if base == stamped.base_offset() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    fn compact(&mut self) -> Result<(), String> {
        let order = self.log.order_compaction(at(self.millis), self.log.flushed_end()).map_err(|e| e.to_string())?;
        let Some(order) = order else { return Ok(()) };
        let mut round = Compaction::new(order, 1 << 20);
        loop {
            match round.step(200).map_err(|e| e.to_string())? {
                CompactionStep::Worked(_) => {}
                CompactionStep::Made(made) => match self.log.take_over(&made).map_err(|e| e.to_string())? {
                    TakenOver::Yes(structure) => round.resume(structure),
                    TakenOver::No => return Err("nothing has changed meanwhile".into()),
                },
                CompactionStep::Done(done) => return self.log.compacted(&done).map_err(|e| e.to_string()),
            }
        }
    }
}

fn records_of(batch: &Batch) -> Result<Vec<Record>, String> {
    let records = batch.records(1 << 20).map_err(|e| e.to_string())?;
    records.map(|record| record.map_err(|e| e.to_string())).collect()
}

/// All records, as a reader gets them.
fn read(log: &Log) -> Result<Vec<Record>, String> {
    let (mut all, mut from) = (Vec::new(), log.start());
    while from < log.end() {
        let plan = log.read(from, log.end(), 1 << 16, FirstBatch::Whole).map_err(|e| e.to_string())?;
        if plan.is_empty() {
            return Err(format!("a reader at {from} gets nothing, and the log ends at {}", log.end()));
        }
        for batch in records::split(plan.read().map_err(|e| e.to_string())?) {
            let batch = batch.map_err(|e| e.to_string())?;
            if !batch.crc_is_valid() {
                return Err(format!("the batch at {} has a wrong CRC", batch.base_offset()));
            }
            all.extend(records_of(&batch)?);
            from = batch.next_offset();
        }
    }
    Ok(all)
}

impl Written {
    /// Why a log may not hold this.
    fn objection(&self, log: &Log, records: &[Record]) -> Option<String> {
        if log.end() < self.flushed {
            return Some(format!("it ends at {}, {} was flushed", log.end(), self.flushed));
        }
        if records.windows(2).any(|pair| pair[0].offset >= pair[1].offset) {
            return Some("records stand twice, or in another order".into());
        }
        if let Some(strange) = records.iter().find(|record| self.records.get(&record.offset) != Some(record)) {
            return Some(format!("{strange:?} was not written"));
        }
        let found = last_values(records.iter());
        let expected = last_values(self.records.range(..log.end()).map(|(_, record)| record));
        (found != expected).then(|| format!("the last values are at {found:?}, not at {expected:?}"))
    }
}

/// Where the last value of each key stands, but for deleted ones.
fn last_values<'a>(records: impl Iterator<Item = &'a Record>) -> BTreeMap<Vec<u8>, Offset> {
    let mut last = BTreeMap::new();
    for record in records {
        let key = record.key.as_ref().map_or(Vec::new(), |key| key.to_vec());
        if record.value.is_some() {
            last.insert(key, record.offset)
        } else {
            last.remove(&key)
        };
    }
    last
}

fn record(steps: &[Step]) -> Result<(Vec<CrashPoint>, Vec<Phase>), String> {
    let files = SimulatedFiles::default();
    let log = open(&files)?;
    files.record();
    let mut world = World { files, log, written: Written::default(), sequence: 0, millis: 1 };
    let mut phases = Vec::new();
    for step in steps {
        // While a step is under way, what it writes may be there, and what was promised before must be.
        let before = world.written.flushed;
        let since = world.files.recorded() - 1;
        world.step(*step).map_err(|e| format!("{step:?}: {e}"))?;
        let during = Written { flushed: before, ..world.written.clone() };
        phases.push(Phase { since, written: during });
        phases.push(Phase { since: world.files.recorded() - 1, written: world.written.clone() });
    }
    Ok((world.files.take_recorded(), phases))
}

fn judge(steps: &[Step]) -> Result<usize, String> {
    let (points, phases) = catch(|| record(steps))?;
    let mut judged = BTreeSet::new();
    for (number, point) in points.iter().enumerate() {
        let at = phases.partition_point(|phase| phase.since <= number).saturating_sub(1);
        let mut outcomes = point.outcomes();
        for ends in choices(&point.ways(), WAYS.0, WAYS.1, number) {
            if !judged.insert((at, outcomes.digest(&ends))) {
                continue;
            }
            let files = outcomes.after(&ends);
            let is_deep = judged.len() % DEEP_EVERY == 1;
            catch(|| state(&files, &phases[at].written, is_deep))
                .map_err(|e| format!("{steps:?}, crash point {number}, ends {ends:?}: {e}"))?;
        }
    }
    Ok(judged.len())
}

fn state(files: &SimulatedFiles, written: &Written, is_deep: bool) -> Result<(), String> {
    if is_deep {
        files.record();
    }
    let log = open(files)?;
    let records = read(&log)?;
    written.objection(&log, &records).map_or(Ok(()), Err)?;
    if !is_deep {
        return Ok(());
    }
    for (number, point) in files.take_recorded().iter().enumerate() {
        let mut outcomes = point.outcomes();
        for ends in choices(&point.ways(), DEEP_WAYS, DEEP_WAYS, number) {
            let second = open(&outcomes.after(&ends))?;
            if read(&second)? != records {
                return Err(format!(
                    "a crash in a start, at its point {number}, ends {ends:?}: it finds something else"
                ));
            }
        }
    }
    work_on(files, log, written)
}

/// The log goes on: it is written, compacted and opened again.
fn work_on(files: &SimulatedFiles, log: Log, written: &Written) -> Result<(), String> {
    let mut written = written.clone();
    written.records.retain(|offset, _| *offset < log.end());
    let last = log.producers().get(ProducerId::new(7)).and_then(|known| known.batches.back());
    let sequence = last.map_or(0, |last| last.last.get() + 1);
    let mut world = World { files: files.clone(), log, written, sequence, millis: 5_000 };
    for step in [Put(3, &[1, 2, 3]), Produce(2), Rest, Compact, Kill, Put(2, &[1]), Rest, Compact, Kill] {
        world.step(step).map_err(|e| format!("{step:?} after it: {e}"))?;
        let records = read(&world.log)?;
        world.written.objection(&world.log, &records).map_or(Ok(()), |e| Err(format!("{step:?} after it: {e}")))?;
    }
    Ok(())
}

/// What is found first, if anything.
pub(crate) fn first_finding() -> Option<String> {
    TRACES.iter().find_map(|steps| judge(steps).err())
}

#[test]
fn a_log_that_is_compacted_keeps_its_last_values_wherever_the_power_is_cut() {
    let mut states = 0;
    for steps in TRACES {
        states += judge(steps).unwrap_or_else(|finding| panic!("{finding}"));
    }
    println!("{states} states judged");
    assert!(states >= STATES_MIN, "{states} states, less than {STATES_MIN}");
}

const STATES_MIN: usize = 4_000;
