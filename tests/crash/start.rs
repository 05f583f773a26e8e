//! Starts on what a crash left, looks at it, and works with it.

use std::path::Path;
use std::sync::Arc;

use ottla::env::{Files, OpenMode, Seed};
use ottla::model::{
    BootNumber, Instant, LeaderEpoch, NodeId, Now, Offset, PartitionId, PartitionIndex, Timestamp, TopicId, TopicName,
};
use ottla::records::{self, Batch};
use ottla::storage::{DataDir, FirstBatch, Log, LogOptions};
use ottla::testing::SimulatedFiles;

use crate::model::{Seen, SeenLog};
use crate::step;

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

/// A data directory and its log, and what the start found before it opened that.
pub(crate) struct Started {
    pub(crate) log: Log,
    pub(crate) data: DataDir,
    is_clean: bool,
    is_volatile: bool,
    is_missing: bool,
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

pub(crate) fn id_of(topic: TopicId) -> PartitionId {
    PartitionId { topic, index: PartitionIndex::new(0) }
}

pub(crate) fn open_log(data: &DataDir, topic: TopicId) -> Result<Log, String> {
    let opened = Log::open(data, &TopicName::new("topic").unwrap(), id_of(topic), options(), now());
    opened.map(|(log, _)| log).map_err(|e| format!("the log does not open: {e}"))
}

pub(crate) fn open_directory(files: &SimulatedFiles) -> Result<DataDir, String> {
    let files: Arc<dyn Files> = Arc::new(files.clone());
    DataDir::open(files, Path::new("/data"), NodeId::new(1), &FixedSeed, ottla::model::Timestamp::new(0))
        .map_err(|e| format!("the directory does not open: {e}"))
}

pub(crate) fn start(files: &SimulatedFiles, topic: TopicId) -> Result<Started, String> {
    let data = open_directory(files)?;
    let (is_clean, is_volatile) = (data.was_clean(), data.volatile().contains(&id_of(topic)));
    let is_missing = data.missing().contains(&id_of(topic));
    Ok(Started { log: open_log(&data, topic)?, data, is_clean, is_volatile, is_missing })
}

impl Started {
    /// A process that runs and has opened a log just now.
    pub(crate) fn running(log: Log, data: DataDir) -> Self {
        Self { log, data, is_clean: false, is_volatile: false, is_missing: false }
    }

    /// Whether the directory says that it cannot vouch for this log.
    pub(crate) fn is_named(&self) -> bool {
        self.is_missing || self.is_volatile
    }

    /// Whether the directory says which life of the broker it belongs to.
    pub(crate) fn vouches(&self) -> bool {
        self.data.previous_broker_epoch().is_some()
    }

    pub(crate) fn boot(&self) -> u64 {
        BootNumber::get(self.data.boot())
    }

    pub(crate) fn look(&self) -> Result<Seen, String> {
        let (boot, is_clean, is_volatile) = (self.boot(), self.is_clean, self.is_volatile);
        Ok(Seen { boot, is_clean, is_volatile, vouches: self.vouches(), log: look(&self.log)? })
    }

    /// The recovered log takes another batch, comes to rest, and is the same at the next start; its indexes are right.
    pub(crate) fn work(mut self, files: &SimulatedFiles, mut seen: SeenLog) -> Result<(), String> {
        let topic = self.log.partition().topic;
        let epoch = self.log.epochs().latest().map_or(LeaderEpoch::new(0), |e| e.epoch);
        let batch = step::batch(&mut 9_999, 100, None);
        self.log.append(&batch, epoch, now()).map_err(|e| e.to_string())?;
        seen.batches.push(batch.stamp(seen.end, epoch).to_batch());
        seen.end = self.log.end();
        self.log.rest_now(now()).map_err(|e| e.to_string())?;
        check_indexes(files, self.log.directory())?;
        let boot = self.boot();
        drop(self);
        // Nothing of it waits any more, so that the power may go.
        let second = start(&files.durable(), topic)?.look()?;
        let expected = (seen.start, seen.end, seen.end, &seen.batches);
        if (second.log.start, second.log.end, second.log.flushed, &second.log.batches) != expected {
            return Err(format!("after work and rest: {second:?}, not {seen:?}"));
        }
        if second.is_clean || second.boot <= boot {
            return Err(format!("start {boot} did not stop in order, the next is {}", second.boot));
        }
        Ok(())
    }
}

/// Reads all of a log, as one who serves it: a batch must be what was written, and stand where it belongs.
fn look(log: &Log) -> Result<SeenLog, String> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut from = log.start();
    while from < log.end() {
        let plan = log.read(from, log.end(), 700, FirstBatch::Whole).map_err(|e| format!("it cannot be read: {e}"))?;
        let bytes = plan.read().map_err(|e| format!("it cannot be read at {from}: {e}"))?;
        for batch in records::split(bytes) {
            let batch = batch.map_err(|e| format!("a read at {from} finds {e}"))?;
            let (base, epoch) = (batch.base_offset(), batch.header().leader_epoch);
            let is_next = base == from || from == log.start() && base < from && batch.next_offset() > from;
            if !batch.crc_is_valid() || !is_next || log.epochs().epoch_at(from) != Some(epoch) {
                return Err(format!("a read at {from} finds what was not written there"));
            }
            from = batch.next_offset();
            batches.push(batch);
        }
        if from != plan.next || plan.is_empty() {
            return Err(format!("a read ends at {from}, not at {}", plan.next));
        }
    }
    let epochs = batches.iter().map(|b| log.epochs().epoch_at(b.base_offset().max(log.start()))).collect();
    Ok(SeenLog {
        start: log.start(),
        end: log.end(),
        flushed: log.flushed_end().min(Offset::new(i64::MAX)),
        batches,
        producers: log.producers().clone(),
        epochs,
    })
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
