//! Opens what a crash left and looks at it.

use std::path::Path;
use std::sync::Arc;

use ottla::env::{Files, OpenMode, Seed};
use ottla::model::{
    Instant, LeaderEpoch, NodeId, Now, Offset, PartitionId, PartitionIndex, Timestamp, TopicId, TopicName,
};
use ottla::records::{self, Batch};
use ottla::storage::{DataDir, FirstBatch, Log, LogOptions};
use ottla::testing::{CrashPoint, SimulatedFiles};

use crate::model::{Phase, Seen};

/// Up to how many ways the waiting operations can end all of them are tried, else a sample. That is all of most traces;
/// a few points of the longest have up to half a million, which `CRASH_ALL=1` tries, too.
const EXHAUSTIVE_MAX: usize = 1 << 16;
const SAMPLE: usize = 1 << 12;
/// One state in so many is also crashed during its recovery, and worked with: of a point's first, and of all further.
const DEEP_EVERY: usize = 41;
const DEEP_EVERY_LATER: usize = 997;
const FIRST: usize = 1024;

#[derive(Debug)]
struct FixedSeed;

impl Seed for FixedSeed {
    fn uuid(&self) -> [u8; 16] {
        [3; 16]
    }
    fn number(&self) -> u64 {
        3
    }
}

pub(crate) fn now() -> Now {
    Now { instant: Instant::from_nanos(1_000_000_000_000), timestamp: Timestamp::new(1_000_000) }
}

pub(crate) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 2200,
        index_interval_bytes: 256,
        derived_interval_bytes: 1200,
        retention_span: None,
        ..LogOptions::default()
    }
}

pub(crate) fn open(files: &SimulatedFiles) -> (DataDir, Log) {
    let files: Arc<dyn Files> = Arc::new(files.clone());
    let data = DataDir::open(files, Path::new("/data"), NodeId::new(1), &FixedSeed)
        .unwrap_or_else(|e| panic!("the directory opens: {e}"));
    let id = PartitionId { topic: TopicId::new([9; 16]), index: PartitionIndex::new(0) };
    let (log, _) = Log::open(&data, &TopicName::new("topic").unwrap(), id, options(), now())
        .unwrap_or_else(|e| panic!("the log opens: {e}"));
    (data, log)
}

/// Tries what the disk may have kept at one crash point. Returns how many states that were.
pub(crate) fn check(name: &str, number: usize, point: &CrashPoint, phase: &Phase) -> usize {
    let ways = point.ways();
    let mut count = 0;
    let exhaustive_max = if std::env::var_os("CRASH_ALL").is_some() { usize::MAX } else { EXHAUSTIVE_MAX };
    for (i, ends) in choices(&ways, exhaustive_max, SAMPLE, number).enumerate() {
        let is_deep = i % if i < FIRST { DEEP_EVERY } else { DEEP_EVERY_LATER } == 0;
        let context = || format!("{name}, crash point {number}, operations end {ends:?} of {ways:?}");
        let files = point.after(&ends);
        let seen = std::panic::catch_unwind(|| check_one(&files, phase, is_deep));
        match seen {
            Ok(Ok(states)) => count += states,
            Ok(Err(objection)) => panic!("{}: {objection}", context()),
            Err(_) => panic!("{}: recovery panicked", context()),
        }
    }
    count
}

fn check_one(files: &SimulatedFiles, phase: &Phase, deep: bool) -> Result<usize, String> {
    if deep {
        files.record();
    }
    let (data, log) = open(files);
    let seen = look(&log);
    judge(&seen, phase)?;
    if !deep {
        return Ok(1);
    }
    let mut states = 1;
    for (i, point) in files.take_recorded().iter().enumerate() {
        for ends in choices(&point.ways(), 4, 4, i) {
            let (_, again) = open(&point.after(&ends));
            let second = look(&again);
            if second != seen {
                return Err(format!("a crash in recovery, at its point {i}, ends {ends:?}: {second:?}, not {seen:?}"));
            }
            states += 1;
        }
    }
    work(files, data, log, seen)?;
    Ok(states)
}

fn judge(seen: &Seen, phase: &Phase) -> Result<(), String> {
    let objections: Vec<String> = phase.allowed.iter().filter_map(|allowed| allowed.objection(seen)).collect();
    if objections.len() < phase.allowed.len() {
        return Ok(());
    }
    Err(format!("{objections:?}"))
}

/// The recovered log takes another batch, comes to rest, and is the same at the next start; its indexes are right.
fn work(files: &SimulatedFiles, data: DataDir, mut log: Log, mut seen: Seen) -> Result<(), String> {
    let epoch = log.epochs().latest().map_or(LeaderEpoch::new(0), |e| e.epoch);
    let batch = crate::trace::batch(&mut 9_999, 100, None);
    log.append(&batch, epoch, now()).map_err(|e| e.to_string())?;
    seen.batches.push(batch.stamp(seen.end, epoch).to_batch());
    seen.end = log.end();
    log.rest_now(now()).map_err(|e| e.to_string())?;
    check_indexes(files, log.directory())?;
    drop((log, data));
    // Nothing waits any more, so that the power may go.
    let point = files.crash_point();
    let (_, again) = open(&point.after(&vec![0; point.ways().len()]));
    let second = look(&again);
    if (second.start, second.end, second.flushed) != (seen.start, seen.end, seen.end) || second.batches != seen.batches
    {
        return Err(format!("after work and rest: {second:?}, not {seen:?}"));
    }
    Ok(())
}

/// As Kafka's DumpLogSegments does: each entry names the last offset of the batch at its position, and the first batch
/// with the largest timestamp so far.
fn check_indexes(files: &SimulatedFiles, directory: &Path) -> Result<(), String> {
    for entry in files.list(directory).unwrap() {
        let Some(stem) = entry.name.strip_suffix(".log") else { continue };
        let base: i64 = stem.parse().unwrap();
        let log = bytes_of(files, &directory.join(&entry.name));
        let mut position = 0;
        let mut batches = Vec::new();
        for batch in records::split(log.into()) {
            let batch = batch.map_err(|e| e.to_string())?;
            batches.push((position, batch.last_offset().get(), batch.header().max_timestamp.get()));
            position += batch.size();
        }
        let index = bytes_of(files, &directory.join(format!("{stem}.index")));
        for entry in index.chunks(8) {
            let last = base + i64::from(i32::from_be_bytes(entry[..4].try_into().unwrap()));
            let position = usize::try_from(i32::from_be_bytes(entry[4..].try_into().unwrap())).unwrap();
            if !batches.iter().any(|b| b.0 == position && b.1 == last) {
                return Err(format!("index entry {last} at {position} of {stem} names no batch"));
            }
        }
        let times = bytes_of(files, &directory.join(format!("{stem}.timeindex")));
        let mut before = -1;
        for entry in times.chunks(12) {
            let time = i64::from_be_bytes(entry[..8].try_into().unwrap());
            let last = base + i64::from(i32::from_be_bytes(entry[8..].try_into().unwrap()));
            if time <= before || !batches.iter().any(|b| b.1 == last && b.2 == time) {
                return Err(format!("time index entry {time} of {stem} names no batch"));
            }
            before = time;
        }
        if before != batches.iter().map(|b| b.2).max().unwrap_or(-1) {
            return Err(format!("the time index of {stem} ends at {before}"));
        }
    }
    Ok(())
}

fn bytes_of(files: &SimulatedFiles, path: &Path) -> Vec<u8> {
    let Ok(file) = files.open(path, OpenMode::Read) else { return Vec::new() };
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

pub(crate) fn look(log: &Log) -> Seen {
    let mut batches: Vec<Batch> = Vec::new();
    let mut from = log.start();
    while from < log.end() {
        let plan = log.read(from, log.end(), 700, FirstBatch::Whole).expect("a recovered log is read");
        assert!(!plan.is_empty(), "a read below the end finds something");
        batches.extend(records::split(plan.read().unwrap()).map(|b| b.expect("whole batches")));
        assert!(batches.iter().all(Batch::crc_is_valid));
        from = plan.next;
    }
    let epochs = batches.iter().map(|b| log.epochs().epoch_at(b.base_offset().max(log.start()))).collect();
    let producers = log.producers().clone();
    Seen {
        start: log.start(),
        end: log.end(),
        flushed: log.flushed_end().min(Offset::new(i64::MAX)),
        batches,
        producers,
        epochs,
    }
}

/// All combinations of ways, or a sample that holds the extremes.
fn choices(
    ways: &[usize],
    exhaustive_max: usize,
    sample: usize,
    seed: usize,
) -> Box<dyn Iterator<Item = Vec<usize>> + '_> {
    let product = ways.iter().try_fold(1_usize, |product, n| product.checked_mul(*n).filter(|p| *p <= exhaustive_max));
    if let Some(product) = product {
        return Box::new((0..product).map(|i| digits(ways, u64::try_from(i).unwrap())));
    }
    let mut random = crate::trace::Random::new(u64::try_from(seed).unwrap());
    let extremes = [vec![0; ways.len()], vec![1; ways.len()]];
    let drawn = move |_| ways.iter().map(|n| usize::try_from(random.next()).unwrap() % n).collect();
    Box::new(extremes.into_iter().chain((2..sample).map(drawn)))
}

fn digits(ways: &[usize], mut number: u64) -> Vec<usize> {
    let digit = |n: &usize| {
        let n = u64::try_from(*n).unwrap();
        let digit = number % n;
        number /= n;
        usize::try_from(digit).unwrap()
    };
    ways.iter().map(digit).collect()
}
