//! What a log is after its process was killed at a bad moment.

use std::path::Path;
use std::sync::Arc;

use super::super::*;
use super::{batch_of, now, open, produced, small};
use crate::model::{LeaderEpoch, Offset, ProducerId};
use crate::records::Batch;
use crate::testing::{Fault, FileKind, SimulatedFiles, Target, Times};

fn at(offset: i64) -> Offset {
    Offset::new(offset)
}

fn fetched(batch: &Batch, base: i64, epoch: i32) -> Batch {
    batch.stamp(at(base), LeaderEpoch::new(epoch)).to_batch()
}

fn in_one_piece() -> LogOptions {
    LogOptions { derived_interval_bytes: 1 << 20, segment_bytes: 1 << 20, ..small() }
}

fn open_simulated(files: &SimulatedFiles) -> Log {
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
    Log::open_at(&home, in_one_piece(), now(0)).unwrap().0
}

/// Kills the process after each step of a cut to `to`. Where the log is `empty` then, others' records come and are cut
/// off in part, and producer 9 tries again what the cut removed. After which steps that is taken for a duplicate.
fn steps_that_leave_producers(files: &SimulatedFiles, mut log: Log, to: Offset, empty: Offset) -> Vec<usize> {
    files.record();
    log.truncate(to).unwrap();
    assert_eq!((log.start(), log.end()), (empty, empty));
    let mut wrong = Vec::new();
    for (step, point) in files.take_recorded().iter().enumerate() {
        // The power stays: all that was written is there.
        let files = point.after(&vec![1; point.ways().len()]);
        let mut log = open_simulated(&files);
        if (log.start(), log.end()) != (empty, empty) {
            continue;
        }
        let base = empty.get();
        let others = [fetched(&batch_of(10, 10, 0), base, 2), fetched(&batch_of(5, 10, 0), base + 10, 2)];
        log.append_fetched(&others, now(0)).unwrap();
        log.truncate(at(base + 10)).unwrap();
        let again = log.append(&produced(9, 0, 10), LeaderEpoch::new(3), now(0)).unwrap();
        if matches!(again, Appended::Duplicate { .. }) {
            wrong.push(step);
        }
    }
    wrong
}

#[test]
fn killed_at_any_step_of_a_cut_to_the_start_no_producer_of_before_comes_back() {
    let files = SimulatedFiles::default();
    let mut log = open_simulated(&files);
    log.append(&produced(9, 0, 10), LeaderEpoch::new(1), now(0)).unwrap();
    log.rest_now(now(0)).unwrap();
    assert_eq!(steps_that_leave_producers(&files, log, at(0), at(0)), [0; 0]);
}

#[test]
fn killed_at_any_step_of_a_cut_that_begins_anew_no_producer_of_before_comes_back() {
    let files = SimulatedFiles::default();
    let mut log = open_simulated(&files);
    log.append(&produced(7, 0, 10), LeaderEpoch::new(1), now(0)).unwrap();
    log.rest_now(now(0)).unwrap();
    log.append(&produced(9, 0, 10), LeaderEpoch::new(1), now(0)).unwrap();
    log.rest_now(now(0)).unwrap();
    log.advance_start(at(15));
    log.flush_now(now(0)).unwrap();
    log.flush_log().attest().unwrap();
    assert_eq!(steps_that_leave_producers(&files, log, at(17), at(15)), [0; 0]);
}

#[test]
fn a_snapshot_that_a_reset_left_behind_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), in_one_piece());
    log.append(&produced(9, 0, 10), LeaderEpoch::new(1), now(0)).unwrap();
    log.rest_now(now(0)).unwrap();
    let name = dir.path().join("00000000000000000010.snapshot");
    let stale = std::fs::read(&name).unwrap();
    log.reset(at(5)).unwrap();
    drop(log);
    std::fs::write(&name, &stale).unwrap();
    let (log, _) = open(dir.path(), in_one_piece());
    assert_eq!((log.start(), log.end(), log.producers().len(), name.exists()), (at(5), at(5), 0, false));
}

/// A log that starts within a batch gets that batch and the next, and is killed before the statement of their flush is
/// written. What was told to be flushed, and what is found.
fn flushed_and_found(begin: impl Fn(&mut Log)) -> (i64, i64) {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    begin(&mut log);
    assert_eq!((log.start(), log.end()), (at(15), at(15)));
    log.append_fetched(&[fetched(&batch_of(10, 10, 0), 10, 2)], now(0)).unwrap();
    log.append_fetched(&[fetched(&batch_of(10, 10, 0), 20, 2)], now(0)).unwrap();
    assert_eq!(log.start(), at(15));
    let flushed = log.flush_now(now(0)).unwrap();
    drop(log);
    let (log, _) = open(dir.path(), small());
    (flushed.get(), log.end().get())
}

#[test]
fn what_is_flushed_behind_a_reset_into_a_batch_is_found_again() {
    assert_eq!(flushed_and_found(|log| log.reset(at(15)).unwrap()), (30, 30));
}

#[test]
fn what_is_flushed_behind_a_cut_into_the_batch_of_the_start_is_found_again() {
    let cut_within = |log: &mut Log| {
        log.append(&batch_of(10, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
        log.append(&batch_of(10, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
        log.flush_now(now(0)).unwrap();
        log.advance_start(at(15));
        log.truncate(at(17)).unwrap();
    };
    assert_eq!(flushed_and_found(cut_within), (30, 30));
}

#[test]
fn what_is_flushed_behind_a_reset_into_a_batch_outlasts_the_power() {
    let files = SimulatedFiles::default();
    let mut log = open_simulated(&files);
    log.reset(at(15)).unwrap();
    log.append_fetched(&[fetched(&batch_of(10, 10, 0), 10, 2)], now(0)).unwrap();
    assert_eq!(log.flush_now(now(0)).unwrap(), at(20));
    let point = files.crash_point();
    let log = open_simulated(&point.after(&vec![0; point.ways().len()]));
    assert_eq!(log.end(), at(20));
}

#[test]
fn a_refused_batch_that_covers_the_start_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    log.reset(at(15)).unwrap();
    log.begin_epoch(LeaderEpoch::new(3));
    let mut bytes = fetched(&batch_of(10, 10, 0), 10, 2).bytes().to_vec();
    // It says to be of control, and is not.
    bytes[22] |= 1 << 5;
    let refused = log.append_fetched(&[Batch::parse(bytes.into()).unwrap()], now(0));
    assert!(matches!(refused, Err(AppendError::Control { .. })), "{refused:?}");
    assert_eq!((log.start(), log.end()), (at(15), at(15)));
}

#[test]
fn a_log_that_parted_below_its_start_takes_the_batch_around_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    log.append(&produced(7, 0, 15), LeaderEpoch::new(5), now(0)).unwrap();
    log.flush_now(now(0)).unwrap();
    // The leader has deleted as much, and with it what would tell that its batches were others.
    log.advance_start(at(15));
    log.append_fetched(&[fetched(&batch_of(10, 10, 0), 10, 2)], now(0)).unwrap();
    let all = |log: &Log| (log.start(), log.end(), log.producers().get(ProducerId::new(7)).is_some());
    assert_eq!(all(&log), (at(15), at(20), false));
    log.append_fetched(&[fetched(&batch_of(10, 10, 0), 20, 2)], now(0)).unwrap();
    log.flush_now(now(0)).unwrap();
    log.rest_now(now(0)).unwrap();
    drop(log);
    let (log, _) = open(dir.path(), small());
    assert_eq!(all(&log), (at(15), at(30), false));
}

#[test]
fn a_cut_that_leaves_only_what_is_deleted_keeps_its_producers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    log.append(&produced(7, 0, 10), LeaderEpoch::new(1), now(0)).unwrap();
    log.append(&produced(9, 0, 10), LeaderEpoch::new(1), now(0)).unwrap();
    log.flush_now(now(0)).unwrap();
    log.advance_start(at(15));
    log.truncate(at(17)).unwrap();
    let known = |log: &Log| [7, 9].map(|id| log.producers().get(ProducerId::new(id)).is_some());
    assert_eq!((log.start(), log.end(), known(&log)), (at(15), at(15), [true, false]));
    drop(log);
    let (mut log, _) = open(dir.path(), small());
    assert_eq!((log.start(), log.end(), known(&log)), (at(15), at(15), [true, false]));
    // The leader's batch covers the start.
    log.append_fetched(&[fetched(&batch_of(10, 10, 0), 10, 2)], now(0)).unwrap();
    log.flush_now(now(0)).unwrap();
    drop(log);
    let (mut log, _) = open(dir.path(), small());
    let again = log.append(&produced(7, 0, 10), LeaderEpoch::new(3), now(0)).unwrap();
    assert!(matches!(again, Appended::Duplicate { .. }), "{again:?}");
}

/// The process is told that a sync failed and dies of it; the next one finds what was written, and flushes.
fn killed_by_a_failed_sync_of(kind: FileKind, sizes: &[usize]) {
    let files = SimulatedFiles::default();
    let mut data = data_dir(&files);
    let mut log = log_of(&data);
    for size in sizes {
        log.append(&batch_of(1, *size, 0), LeaderEpoch::new(1), now(0)).unwrap();
    }
    files.inject(Fault::SyncFails, Target::kind(kind), Times::Once);
    assert!(log.flush_now(now(0)).is_err());
    drop((log, data));
    data = data_dir(&files);
    log = log_of(&data);
    let end = log.end();
    assert_eq!(end, at(i64::try_from(sizes.len()).unwrap()), "the power stayed");
    assert_eq!(log.flush_now(now(0)).unwrap(), end);
    assert_eq!(log_of(&data_dir(&files.durable())).end(), end);
}

fn data_dir(files: &SimulatedFiles) -> DataDir {
    let seed = crate::env::SystemSeed;
    DataDir::open(
        Arc::new(files.clone()),
        Path::new("/data"),
        crate::model::NodeId::new(1),
        &seed,
        crate::model::Timestamp::new(0),
    )
    .unwrap()
}

fn log_of(data: &DataDir) -> Log {
    let id = crate::model::PartitionId {
        topic: crate::model::TopicId::new([9; 16]),
        index: crate::model::PartitionIndex::new(0),
    };
    Log::open(data, &crate::model::TopicName::new("orders").unwrap(), id, small(), now(0)).unwrap().0
}

#[test]
fn what_a_failed_sync_forgot_is_on_the_disk_before_a_later_one_counts() {
    killed_by_a_failed_sync_of(FileKind::Segment, &[100]);
    killed_by_a_failed_sync_of(FileKind::Segment, &[700, 700, 700, 700]);
}

#[test]
fn an_identity_that_a_failed_sync_forgot_is_on_the_disk_before_a_later_one_counts() {
    killed_by_a_failed_sync_of(FileKind::Meta, &[100]);
}
