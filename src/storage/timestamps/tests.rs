//! Look-ups by time and retention whatever becomes of a time index.

use std::time::Duration;

use super::*;
use crate::model::LeaderEpoch;
use crate::storage::tests::{batch_of, now, open, simulated, small};

const EMFILE: i32 = 24;
const BATCHES: i64 = 60;

fn append(log: &mut Log, batch: i64) {
    // Every third is older than those before it.
    let millis = 1000 + if batch % 3 == 2 { batch - 30 } else { batch * 10 };
    log.append(&batch_of(2, 20, millis), LeaderEpoch::new(1), now(5000)).unwrap();
}

fn fill(log: &mut Log) {
    (0..BATCHES).for_each(|batch| append(log, batch));
    log.rest_now(now(0)).unwrap();
    forget(log);
}

/// As after a start: what the closed segments' largest timestamps are is not known yet.
fn forget(log: &mut Log) {
    log.segments.iter_mut().for_each(|segment| segment.largest = None);
}

/// What look-ups by time answer.
fn answers(log: &mut Log) -> (Vec<Timestamp>, Vec<Option<Offset>>) {
    forget(log);
    let largest = (0..log.segments.len()).map(|index| log.largest_timestamp(index).unwrap()).collect();
    let mut find =
        |wanted| log.offset_for_timestamp(Timestamp::new(wanted), log.end()).unwrap().map(|f| f.place.offset);
    (largest, (0..14).map(|step| find(950 + step * 50)).collect())
}

/// Flips each bit of a segment's file in turn.
fn flip_each_bit(log: &Log, index: usize, suffix: Suffix, mut check: impl FnMut()) {
    let path = log.path_of(log.segments[index].base, suffix);
    let sound = std::fs::read(&path).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        check();
    }
    std::fs::write(&path, sound).unwrap();
}

#[test]
fn a_damaged_time_index_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    fill(&mut log);
    let expected = answers(&mut log);
    assert!(expected.0.len() > 3);
    let (other, _) = open(dir.path(), small());
    for index in [0, 1] {
        flip_each_bit(&other, index, Suffix::TimeIndex, || assert_eq!(answers(&mut log), expected));
    }
}

#[test]
fn a_damaged_time_index_of_the_last_segment_is_made_anew_at_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    fill(&mut log);
    let expected = answers(&mut log);
    let last = log.segments.len() - 1;
    flip_each_bit(&log, last, Suffix::TimeIndex, || {
        assert_eq!(answers(&mut open(dir.path(), small()).0), expected);
    });
}

#[test]
fn a_damaged_batch_is_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    fill(&mut log);
    let end = log.end();
    let find = |log: &mut Log, wanted| log.offset_for_timestamp(Timestamp::new(wanted), end);
    let wanted = [1000, 1005, 1010, 1035, 1055];
    let expected = wanted.map(|wanted| find(&mut log, wanted).unwrap());
    let expected = expected.map(|found| found.map(|found| found.place));
    let other = open(dir.path(), small()).0;
    flip_each_bit(&other, 0, Suffix::Log, || {
        for (wanted, expected) in wanted.into_iter().zip(expected) {
            match find(&mut log, wanted) {
                // What is found is read, and checked then.
                Ok(found) if found.as_ref().map(|found| found.place) != expected => {
                    let place = found.expect("an earlier one").place;
                    assert!(matches!(log.inspect(place), Err(ReadError::Corrupt(_))), "{wanted}: {place:?}");
                }
                Ok(_) | Err(ReadError::Corrupt(_)) => {}
                Err(error) => panic!("{wanted}: {error}"),
            }
        }
    });
}

#[test]
fn where_the_batch_is_what_was_damaged_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    fill(&mut log);
    let last = log.last_time(0).unwrap().unwrap();
    let at = log.locate(0, last.last).unwrap().unwrap();
    let path = log.path_of(Offset::ZERO, Suffix::Log);
    let mut bytes = std::fs::read(&path).unwrap();
    // A bit of the largest timestamp.
    bytes[usize::try_from(at.position).unwrap() + 35 + 6] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(log.largest_timestamp(0), Err(ReadError::Corrupt(found)) if found.place.offset == at.base));
}

#[test]
fn what_cannot_be_read_now_deletes_nothing_early_and_fails_no_retention() {
    let (files, mut log) = simulated();
    let options = crate::storage::LogOptions { retention_span: Some(Duration::from_millis(100)), ..small() };
    log.set_options(options);
    fill(&mut log);
    let end = log.end();
    log.home.handles.forget_log(log.number);
    files.fail_reads(EMFILE);
    let retained = log.retain(now(1500), end).unwrap();
    assert!(matches!(retained.unread, Some(ReadError::Log(_))) && retained.segments == 0, "{retained:?}");
    files.heal();
    let retained = log.retain(now(1500), end).unwrap();
    assert!(retained.unread.is_none() && retained.segments > 0, "{retained:?}");
}
