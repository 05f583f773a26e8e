//! Promises of reads and looks at a log in whose files something stands that was not written.

use std::path::Path;
use std::sync::Arc;

use crate::model::{LeaderEpoch, Offset};
use crate::records::IntactCheck;
use crate::storage::tests::{batch_of, now, open, small};
use crate::storage::{FirstBatch, Home, Log, LogOptions, Place, ReadError};
use crate::testing::SimulatedFiles;

#[test]
fn a_flipped_epoch_is_seen_also_in_the_last_batch_of_a_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    for epoch in [1, 1, 1, 3] {
        log.begin_epoch(LeaderEpoch::new(epoch));
        log.append(&batch_of(1, 100, 0), LeaderEpoch::new(epoch), now(0)).unwrap();
    }
    log.rest_now(now(0)).unwrap();
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let size = bytes.len() / 4;
    // The second batch's 1 becomes 3, which is an epoch of the log, too.
    bytes[size + 15] ^= 2;
    std::fs::write(&path, bytes).unwrap();
    let plan = log.read(Offset::new(1), Offset::new(4), size, FirstBatch::Whole).unwrap();
    let read = plan.read().unwrap();
    assert_eq!(read.len(), size);
    assert!(IntactCheck::new(plan.expected).feed(&read).is_err());
}

/// How many bytes are read to learn that nothing can be read behind a damaged header that the index names, late in a
/// segment of so many batches.
fn read_behind_a_damaged_header(batches: i64) -> u64 {
    let files = SimulatedFiles::default();
    let opened = || {
        let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
        Log::open_at(&home, LogOptions::default(), now(0)).unwrap().0
    };
    let mut log = opened();
    for _ in 0..batches {
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
    }
    log.rest_now(now(0)).unwrap();
    drop(log);
    let log = opened();
    let entry = log.floor(0, |entry| entry.last < Offset::new(batches * 3 / 4)).unwrap().unwrap();
    let magic = usize::try_from(entry.position).unwrap() + 16;
    files.flip_bits(Path::new("/log/00000000000000000000.log"), magic, 1);
    let before = files.bytes_read();
    let found = log.read(entry.last.plus(2), log.end(), 100, FirstBatch::Whole);
    let Err(ReadError::Corrupt(found)) = found else { panic!("{found:?}") };
    assert!(found.place.offset >= entry.last.plus(-1), "the batch or the one before it: {found:?}");
    files.bytes_read() - before
}

#[test]
fn a_look_behind_a_damaged_header_reads_no_more_of_a_larger_segment() {
    let (small, large) = (read_behind_a_damaged_header(2_000), read_behind_a_damaged_header(20_000));
    assert!(large < 2 * small, "{small} bytes, and of a segment ten times as large {large}");
}

#[test]
fn wherever_a_closed_segment_is_cut_a_look_at_what_is_left_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    while log.segment_count() < 2 {
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(1), now(0)).unwrap();
    }
    log.rest_now(now(0)).unwrap();
    let (size, batches) = (log.segments[0].size, log.segments[1].base.get());
    drop(log);
    let batch = size / u64::try_from(batches).unwrap();
    let path = dir.path().join("00000000000000000000.log");
    for cut in (size - 2 * batch..size).rev() {
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let (log, _) = open(dir.path(), small());
        let last = (cut / batch).max(1) - 1;
        let (position, offset) = (last * batch, Offset::new(i64::try_from(last).unwrap()));
        let looked = log.inspect(Place { segment: Offset::ZERO, position, offset });
        assert!(matches!(looked, Err(ReadError::Corrupt(_))), "{cut} of {size} bytes are left: {looked:?}");
    }
}
