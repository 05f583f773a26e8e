//! What a log does when its files are not what was written, or cannot be read.

use std::path::Path;
use std::sync::Arc;

use super::super::*;
use super::{batch_of, now, open, small};
use crate::env::SystemFiles;
use crate::model::{LeaderEpoch, Offset};
use crate::testing::SimulatedFiles;

const LOG: &str = "00000000000000000000.log";

fn at(offset: i64) -> Offset {
    Offset::new(offset)
}

fn try_open(root: &Path, options: LogOptions) -> Result<(Log, Recovery), OpenError> {
    Log::open_at(&Home::alone(Arc::new(SystemFiles::default()), root).unwrap(), options, now(0))
}

fn open_simulated(files: &SimulatedFiles, options: &LogOptions) -> Log {
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
    Log::open_at(&home, *options, now(0)).unwrap().0
}

fn append(log: &mut Log, count: usize, epoch: i32) {
    for _ in 0..count {
        log.append(&batch_of(1, 100, 0), LeaderEpoch::new(epoch), now(0)).unwrap();
    }
}

/// Changes bits of the byte at a position.
fn flip(path: &Path, position: impl Fn(usize) -> usize, bits: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    let position = position(bytes.len());
    bytes[position] ^= bits;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_cut_behind_a_flipped_header_is_told_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 4, 1);
    log.flush_now(now(0)).unwrap();
    // The last offset delta of the batch before the cut.
    flip(&dir.path().join(LOG), |len| len / 2 + 26, 1);
    let error = log.truncate(at(3)).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert_eq!((log.end(), log.is_poisoned()), (at(4), false));
}

#[test]
fn a_front_that_cannot_be_read_fails_no_append() {
    let files = SimulatedFiles::default();
    let mut log = open_simulated(&files, &small());
    append(&mut log, 8, 1);
    log.rest_now(now(0)).unwrap();
    let mut log = open_simulated(&files, &small());
    files.fail_reads_at(&Path::new("/log").join(LOG), 0);
    append(&mut log, 1, 1);
    assert_eq!(log.end(), at(9));
}
