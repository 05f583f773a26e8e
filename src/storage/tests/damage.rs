//! What a log does when its files are not what was written, or cannot be read.

use std::path::Path;
use std::sync::Arc;

use super::super::segment::Suffix;
use super::super::*;
use super::{batch_of, now, open, small};
use crate::env::SystemFiles;
use crate::model::{EpochHistory, LeaderEpoch, Offset};
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

/// A log with one segment and an index of some pages, opened again.
fn indexed(files: &SimulatedFiles) -> Log {
    let options = LogOptions { segment_bytes: 1 << 20, derived_interval_bytes: 1 << 20, ..small() };
    let mut log = open_simulated(files, &options);
    append(&mut log, 1300, 1);
    log.rest_now(now(0)).unwrap();
    open_simulated(files, &options)
}

#[test]
fn a_cut_goes_around_an_index_that_cannot_be_read() {
    let files = SimulatedFiles::default();
    let mut log = indexed(&files);
    let index = Path::new("/log/00000000000000000000.index");
    (0..10).for_each(|sector| files.fail_reads_at(index, sector * 512));
    assert_eq!(log.truncate(at(1000)).unwrap(), at(1000));
    files.heal();
    assert_eq!(log.read(at(500), log.end(), 100, FirstBatch::Whole).unwrap().place.offset, at(500));
}

#[test]
fn a_start_goes_around_an_index_that_cannot_be_read() {
    let files = SimulatedFiles::default();
    drop(indexed(&files));
    let index = Path::new("/log/00000000000000000000.index");
    (0..10).for_each(|sector| files.fail_reads_at(index, sector * 512));
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
    let (log, recovery) = Log::open_at(&home, small(), now(0)).unwrap();
    assert_eq!((log.end(), recovery.scanned_bytes), (at(1300), 0));
}

fn by_rolls() -> LogOptions {
    LogOptions { segment_bytes: 20_000, index_interval_bytes: 200, ..small() }
}

/// Fills a log, damages it once it rests, and opens it again.
fn opened_after(damage: impl Fn(&Path)) -> (tempfile::TempDir, Result<(Log, Recovery), OpenError>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), by_rolls());
    append(&mut log, 1000, 1);
    log.rest_now(now(0)).unwrap();
    let active = log.segments.last().unwrap().base;
    drop(log);
    damage(&dir.path().join(format!("{:020}.index", active.get())));
    let opened = try_open(dir.path(), by_rolls());
    (dir, opened)
}

#[test]
fn an_index_that_is_damaged_has_a_start_read_no_batch_and_is_written_anew() {
    for damage in [
        &(|_: &Path| {}) as &dyn Fn(&Path),
        &|index| flip(index, |len| len - 1, 1),
        &|index| flip(index, |len| len - 6, 1),
        &|index| flip(index, |len| len - 4, 64),
        &|index| std::fs::write(index, "short").unwrap(),
        &|index| std::fs::remove_file(index).unwrap(),
    ] {
        let index = std::cell::OnceCell::new();
        let (_dir, opened) = opened_after(|path| {
            index.set((path.to_owned(), std::fs::read(path).unwrap())).unwrap();
            damage(path);
        });
        let (mut log, recovery) = opened.unwrap();
        assert_eq!((recovery.scanned_bytes, log.end()), (0, at(1000)));
        log.rest_now(now(0)).unwrap();
        let (path, sound) = index.get().unwrap();
        assert_eq!(&std::fs::read(path).unwrap(), sound);
    }
}

#[test]
fn a_damaged_index_costs_no_copy_of_which_an_old_batch_is_damaged() {
    let (_dir, opened) = opened_after(|index| {
        flip(index, |len| len - 1, 1);
        flip(&index.with_file_name(LOG), |_| 70, 1);
    });
    assert_eq!(opened.unwrap().0.end(), at(1000));
}

#[test]
fn a_recovered_log_begins_where_its_segment_does() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 1, 1);
    drop(log);
    // The base offset, of which no CRC knows.
    flip(&dir.path().join(LOG), |_| 7, 8);
    let (log, recovery) = open(dir.path(), small());
    assert_eq!((log.end(), recovery.truncated_bytes > 0), (at(0), true));
}

#[test]
fn a_start_does_not_believe_a_flipped_epoch_of_the_last_attested_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 3, 1);
    log.flush_now(now(0)).unwrap();
    log.flush_log().attest().unwrap();
    drop(log);
    flip(&dir.path().join(LOG), |len| len / 3 * 2 + 14, 1);
    let opened = try_open(dir.path(), small());
    assert!(matches!(opened, Err(OpenError::Corrupt(_))), "each produce would be refused, for ever");
}

/// Whether each batch of a rested log with epochs 1 and 2 is sound once its history was damaged and it was opened again.
fn is_sound_after(damage: impl Fn(&Path)) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 20, 1);
    append(&mut log, 20, 2);
    let epochs = log.epochs().clone();
    log.rest_now(now(0)).unwrap();
    drop(log);
    damage(&dir.path().join("leader-epoch-checkpoint"));
    let (mut log, _) = open(dir.path(), small());
    assert_eq!(log.epochs(), &epochs);
    log.begin_epoch(LeaderEpoch::new(9));
    (0..40).all(|offset| {
        let plan = log.read(at(offset), log.end(), 1, FirstBatch::Whole).unwrap();
        let is_sent = crate::records::IntactCheck::new(plan.expected.clone()).feed(&plan.read().unwrap()).is_ok();
        is_sent && log.inspect(plan.place).is_ok()
    })
}

#[test]
fn a_flipped_newest_epoch_of_the_history_makes_no_batch_damaged() {
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let replace = |from: &'static str, to: &'static str| {
        move |path: &Path| {
            assert!(text(path).contains(from));
            std::fs::write(path, text(path).replace(from, to)).unwrap();
        }
    };
    assert!(is_sound_after(|_| {}));
    assert!(is_sound_after(replace("2 20\n", "3 20\n")));
    assert!(is_sound_after(replace("2 20\n", "6 20\n")));
    assert!(is_sound_after(replace("2 20\n", "2 90\n")));
    assert!(is_sound_after(replace("2 20\n", "2 x0\n")));
}

/// A rested log of three segments with five epochs, closed.
fn with_five_epochs(path: &Path) -> EpochHistory {
    let (mut log, _) = open(path, small());
    for (count, epoch) in [(1, 0), (12, 1), (1, 4), (20, 6), (9, 7)] {
        append(&mut log, count, epoch);
    }
    log.rest_now(now(0)).unwrap();
    log.epochs().clone()
}

#[test]
fn whatever_bit_of_the_history_of_epochs_flips_it_is_that_of_the_batches() {
    let dir = tempfile::tempdir().unwrap();
    let epochs = with_five_epochs(dir.path());
    let path = dir.path().join("leader-epoch-checkpoint");
    let sound = std::fs::read(&path).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        let (mut log, recovery) = open(dir.path(), small());
        assert_eq!((log.epochs(), recovery.scanned_bytes), (&epochs, 0), "bit {bit}");
        log.rest_now(now(0)).unwrap();
        drop(log);
        assert_eq!(std::fs::read(&path).unwrap(), sound, "bit {bit}: it is mended");
    }
}

#[test]
fn a_batch_whose_epoch_flipped_does_not_overrule_the_history() {
    // The first of an epoch, the last of one, the only one of one, and the very last.
    for offset in [1, 12, 13, 42] {
        let dir = tempfile::tempdir().unwrap();
        let epochs = with_five_epochs(dir.path());
        let (log, _) = open(dir.path(), small());
        let place = log.read(at(offset), log.end(), 1, FirstBatch::Whole).unwrap().place;
        drop(log);
        let position = usize::try_from(place.position).unwrap();
        flip(&dir.path().join(Suffix::Log.file_name(place.segment)), |_| position + 15, 1 << 3);
        let (log, _) = open(dir.path(), small());
        assert_eq!(log.epochs(), &epochs, "{offset}");
        assert!(log.inspect(place).is_err(), "{offset}: it is told when it is read");
    }
}

#[test]
fn a_flipped_epoch_of_a_batch_at_the_end_is_not_believed_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 4, 1);
    log.rest_now(now(0)).unwrap();
    drop(log);
    flip(&dir.path().join(LOG), |len| len / 4 * 3 + 15, 2);
    let (log, recovery) = open(dir.path(), small());
    assert_eq!((log.epochs().latest().map(|e| e.epoch.get()), recovery.scanned_bytes), (Some(1), 0));
    let plan = log.read(at(3), at(4), 1, FirstBatch::Whole).unwrap();
    assert!(log.inspect(plan.place).is_err());
}

#[test]
fn a_log_whose_start_is_its_end_is_read_at_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 10, 5);
    log.rest_now(now(0)).unwrap();
    log.advance_start(at(10));
    for _ in 0..3 {
        log.rest_now(now(0)).unwrap();
        drop(log);
        let (again, recovery) = open(dir.path(), small());
        assert_eq!((again.start(), again.end(), recovery.scanned_bytes), (at(10), at(10), 0));
        log = again;
    }
}

#[test]
fn a_damaged_history_of_epochs_costs_no_log_whose_batches_are_all_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 10, 5);
    log.flush_now(now(0)).unwrap();
    log.advance_start(at(10));
    log.begin_epoch(LeaderEpoch::new(3));
    log.rest_now(now(0)).unwrap();
    drop(log);
    let path = dir.path().join(LOG).with_file_name("leader-epoch-checkpoint");
    let sound = std::fs::read(&path).unwrap();
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        let (log, _) = open(dir.path(), small());
        assert_eq!((log.start(), log.end()), (at(10), at(10)), "bit {bit}");
    }
}

#[test]
fn a_closed_segment_that_lost_its_last_batches_is_told_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    append(&mut log, 40, 1);
    log.rest_now(now(0)).unwrap();
    let size = log.segments[0].size;
    let batches = log.segment_end(0).since(at(0));
    drop(log);
    let file = std::fs::File::options().write(true).open(dir.path().join(LOG)).unwrap();
    file.set_len(size / u64::try_from(batches).unwrap() * u64::try_from(batches - 2).unwrap()).unwrap();
    let (log, _) = open(dir.path(), small());
    let Err(ReadError::Corrupt(found)) = log.read(at(batches - 1), log.end(), 1000, FirstBatch::Whole) else {
        panic!("it is not there")
    };
    let Err(ReadError::Corrupt(exact)) = log.inspect(found.place) else { panic!("nor when it is looked for") };
    assert_eq!(exact.place.offset, at(batches - 2));
}

/// A directory that knows its broker's life and has a log from 50 on, and its flush log's size before the last frame.
fn vouching(files: &SimulatedFiles) -> usize {
    let data = data_dir(files);
    data.set_broker_epoch(crate::model::BrokerEpoch::new(77)).unwrap();
    let mut log = log_of(&data);
    log.reset(at(50)).unwrap();
    append(&mut log, 3, 1);
    log.flush_now(now(0)).unwrap();
    log.flush_log().attest().unwrap();
    let size = files.size_of(Path::new("/data/flush-log"));
    append(&mut log, 1, 1);
    log.rest_now(now(0)).unwrap();
    size
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
    let (topic, index) = (crate::model::TopicId::new([9; 16]), crate::model::PartitionIndex::new(0));
    let name = crate::model::TopicName::new("orders").unwrap();
    Log::open(data, &name, crate::model::PartitionId { topic, index }, small(), now(0)).unwrap().0
}

#[test]
fn a_directory_whose_flush_log_is_damaged_keeps_its_logs_and_vouches_for_no_life() {
    let size = vouching(&SimulatedFiles::default());
    for position in [0, 5, 13, size / 2, size - 1] {
        let files = SimulatedFiles::default();
        assert_eq!(vouching(&files), size);
        assert!(data_dir(&files.snapshot()).previous_broker_epoch().is_some());
        files.flip_bits(Path::new("/data/flush-log"), position, 1);
        let data = data_dir(&files);
        assert_eq!(data.previous_broker_epoch(), None, "byte {position}");
        assert_eq!(log_of(&data).end(), at(54), "byte {position}");
    }
}
