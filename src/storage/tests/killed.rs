//! What a log is after its process was killed at a bad moment.

use std::path::Path;
use std::sync::Arc;

use super::super::*;
use super::{batch_of, now, open, produced, small};
use crate::model::{LeaderEpoch, Offset};
use crate::records::Batch;
use crate::testing::SimulatedFiles;

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
