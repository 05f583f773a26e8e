//! Promises of a log on the machine's files: offsets, reads, rolls, look-ups, recovery, retention.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::env::{Files, SystemFiles};
use crate::model::{
    Instant, LeaderEpoch, Now, Offset, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, Sequence, Timestamp,
    TopicId,
};
use crate::records::{self, Batch, Builder, Codec, Draft};

mod damage;
mod killed;

pub(super) fn now(millis: i64) -> Now {
    let nanos = u64::try_from(millis).unwrap() * 1_000_000;
    Now { instant: Instant::from_nanos(nanos), timestamp: Timestamp::new(millis) }
}

/// A batch of `count` records of `bytes` each, at a time.
pub(super) fn batch_of(count: i32, bytes: usize, millis: i64) -> Batch {
    build(Builder::new(Codec::None), count, bytes, millis)
}

pub(super) fn produced(producer: i64, first: i32, count: i32) -> Batch {
    let (id, epoch) = (ProducerId::new(producer), ProducerEpoch::new(0));
    let producer = records::Producer { id, epoch, base_sequence: Sequence::new(first) };
    build(Builder::new(Codec::None).producer(producer), count, 10, 1000)
}

fn build(mut builder: Builder, count: i32, bytes: usize, millis: i64) -> Batch {
    let value = vec![7; bytes];
    for i in 0..count {
        let timestamp = Timestamp::new(millis + i64::from(i));
        builder.push(Draft { timestamp, key: None, value: Some(&value), headers: &[] }).unwrap();
    }
    builder.build().unwrap()
}

pub(super) fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 2000,
        index_interval_bytes: 200,
        derived_interval_bytes: 1000,
        retention_span: None,
        ..LogOptions::default()
    }
}

pub(super) fn open(root: &Path, options: LogOptions) -> (Log, Recovery) {
    let files: Arc<dyn Files> = Arc::new(SystemFiles::default());
    Log::open_at(&Home::alone(files, root).unwrap(), options, now(0)).unwrap()
}

fn append(log: &mut Log, batch: &Batch) -> (i64, i64) {
    match log.append(batch, LeaderEpoch::new(1), now(5000)).unwrap() {
        Appended::New { base, end } => (base.get(), end.get()),
        Appended::Duplicate { .. } => panic!("it is new"),
    }
}

/// The base offsets of the batches from `from` on, read piece by piece.
fn bases(log: &Log, from: i64, bytes_max: usize) -> Vec<i64> {
    let mut all = Vec::new();
    let mut from = Offset::new(from);
    loop {
        let plan = log.read(from, log.end(), bytes_max, FirstBatch::Whole).unwrap();
        if plan.is_empty() {
            return all;
        }
        let mut batches = records::split(plan.read().unwrap());
        for batch in &mut batches {
            let batch = batch.unwrap();
            assert!(batch.crc_is_valid());
            all.push(batch.base_offset().get());
            from = batch.next_offset();
        }
        assert!(!batches.is_partial());
        assert_eq!(plan.next, from);
    }
}

#[test]
fn appended_batches_are_read_back_in_pieces_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    let expected: Vec<i64> = (0..200).map(|i| append(&mut log, &batch_of(3, 20, i * 10)).0).collect();
    assert_eq!(expected, (0..200).map(|i| i * 3).collect::<Vec<_>>());
    assert!(log.segment_count() > 5);
    for bytes_max in [0, 1, 150, 151, 400, 1000, 100_000] {
        assert_eq!(bases(&log, 0, bytes_max), expected);
        assert_eq!(bases(&log, 301, bytes_max), expected[100..]);
    }
    log.rest_now(now(0)).unwrap();
    assert_eq!(log.home.handles.count(), 0);
    assert_eq!(bases(&log, 0, 333), expected);
    let (log, recovery) = open(dir.path(), small());
    assert_eq!((recovery.end, recovery.attested_end), (Offset::new(600), Offset::new(600)));
    assert_eq!((recovery.scanned_bytes, log.home.handles.count()), (0, 0));
    assert_eq!(bases(&log, 4, 333), expected[1..]);
}

#[test]
fn a_read_ends_below_the_asked_end_and_outside_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    (0..10).for_each(|_| {
        append(&mut log, &batch_of(5, 20, 0));
    });
    let read = |from, end| log.read(Offset::new(from), Offset::new(end), 10_000, FirstBatch::Whole);
    assert_eq!(read(7, 20).unwrap().place.offset, Offset::new(5));
    assert_eq!(read(7, 20).unwrap().next, Offset::new(20));
    assert_eq!(read(7, 23).unwrap().next, Offset::new(20));
    assert!(read(7, 8).unwrap().is_empty());
    assert!(read(50, 50).unwrap().is_empty());
    assert!(matches!(read(51, 60), Err(ReadError::OutOfRange { .. })));
    let none = log.read(Offset::ZERO, log.end(), 10, FirstBatch::WithinBound).unwrap();
    assert!(none.is_empty());
}

#[test]
fn a_retry_is_told_where_the_original_stands_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    for i in 0..5 {
        append(&mut log, &produced(9, i * 2, 2));
    }
    log.rest_now(now(0)).unwrap();
    drop(log);
    let (mut log, _) = open(dir.path(), small());
    for i in 0..5 {
        let again = log.append(&produced(9, i * 2, 2), LeaderEpoch::new(1), now(0)).unwrap();
        let (base, end) = (Offset::new(i64::from(i) * 2), Offset::new(i64::from(i) * 2 + 2));
        assert_eq!(again, Appended::Duplicate { base, end, timestamp: Timestamp::new(1001) });
    }
    let gap = log.append(&produced(9, 11, 1), LeaderEpoch::new(1), now(0));
    assert!(matches!(gap, Err(AppendError::Producer(ProducerRefusal::OutOfOrder { .. }))));
    assert_eq!(append(&mut log, &produced(9, 10, 1)), (10, 11));
}

#[test]
fn a_batch_is_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    for i in 0..200 {
        append(&mut log, &batch_of(3, 20, if i == 77 { 100_000 } else { i * 10 }));
    }
    let find = |log: &mut Log, millis: i64| {
        log.offset_for_timestamp(Timestamp::new(millis), log.end()).unwrap().map(|found| found.place.offset.get())
    };
    for _ in 0..2 {
        for i in 0..77 {
            assert_eq!(find(&mut log, i * 10), Some(i * 3), "{i}");
            assert_eq!(find(&mut log, i * 10 + 2), Some(i * 3), "{i}");
        }
        assert_eq!(find(&mut log, 1000), Some(231));
        assert_eq!(find(&mut log, 100_003), None);
        let largest = log.batch_of_max_timestamp().unwrap().unwrap();
        assert_eq!((largest.place.offset.get(), largest.slice.read().unwrap().len()), (231, largest.slice.len));
        log.rest_now(now(0)).unwrap();
    }
}

#[test]
fn a_follower_holds_the_leaders_bytes_and_epochs() {
    let (leader_dir, follower_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, _) = open(leader_dir.path(), small());
    let (mut follower, _) = open(follower_dir.path(), small());
    for i in 0..100 {
        leader.begin_epoch(LeaderEpoch::new(i / 30 + 1));
        leader.append(&produced(1, i, 1), LeaderEpoch::new(i / 30 + 1), now(0)).unwrap();
    }
    while follower.end() < leader.end() {
        let plan = leader.read(follower.end(), leader.end(), 700, FirstBatch::Whole).unwrap();
        let batches: Vec<Batch> = records::split(plan.read().unwrap()).map(Result::unwrap).collect();
        follower.append_fetched(&batches, now(0)).unwrap();
    }
    assert_eq!(follower.epochs(), leader.epochs());
    assert_eq!(follower.producers(), leader.producers());
    let all = |log: &Log| {
        let mut bytes = Vec::new();
        let mut from = Offset::ZERO;
        while from < log.end() {
            let plan = log.read(from, log.end(), 1 << 20, FirstBatch::Whole).unwrap();
            bytes.extend_from_slice(&plan.read().unwrap());
            from = plan.next;
        }
        bytes
    };
    assert_eq!(all(&follower), all(&leader));
    let plan = leader.read(Offset::new(3), leader.end(), 1, FirstBatch::Whole).unwrap();
    let old: Vec<Batch> = records::split(plan.read().unwrap()).map(Result::unwrap).collect();
    assert!(matches!(follower.append_fetched(&old, now(0)), Err(AppendError::NotContiguous { .. })));
}

#[test]
fn a_torn_tail_is_cut_and_corruption_below_the_attested_end_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    (0..4).for_each(|_| {
        append(&mut log, &batch_of(1, 100, 0));
    });
    log.flush_now(now(0)).unwrap();
    log.home.flush_log.attest().unwrap();
    append(&mut log, &batch_of(1, 100, 0));
    append(&mut log, &batch_of(1, 100, 0));
    drop(log);
    let path = dir.path().join("00000000000000000000.log");
    let whole = std::fs::read(&path).unwrap();
    let size = whole.len() / 6;
    std::fs::write(&path, &whole[..whole.len() - 10]).unwrap();
    let (mut log, recovery) = open(dir.path(), small());
    assert_eq!((recovery.attested_end.get(), recovery.end.get()), (4, 5));
    assert_eq!(usize::try_from(recovery.truncated_bytes).unwrap(), size - 10);
    assert_eq!(log.flushed_end(), Offset::new(4));
    assert_eq!(log.flush_now(now(0)).unwrap(), Offset::new(5));
    drop(log);
    let mut flipped = whole.clone();
    flipped[3 * size + 80] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let files: Arc<dyn Files> = Arc::new(SystemFiles::default());
    let home = Home::alone(files, dir.path()).unwrap();
    let opened = Log::open_at(&home, small(), now(0));
    let Err(OpenError::Corrupt(corruption)) = opened else { panic!("it is corrupt") };
    assert_eq!((corruption.place.position, corruption.place.offset.get()), (u64::try_from(3 * size).unwrap(), 3));
    assert_eq!(std::fs::read(&path).unwrap(), flipped);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Log::open_at(&home, small(), now(0)), Err(OpenError::Corrupt(_))));
}

#[test]
fn a_truncated_log_goes_on_at_its_new_end_and_stays_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    for i in 0..100 {
        log.append(&produced(4, i * 3, 3), LeaderEpoch::new(i / 20), now(0)).unwrap();
    }
    let order = log.pending_flush().unwrap();
    let flushed = log.home.flush_log.flush(vec![order], now(0)).unwrap();
    assert_eq!(log.truncate(Offset::new(151)).unwrap(), Offset::new(150));
    log.flush_done(&flushed[0]);
    assert_eq!((log.end().get(), log.flushed_end().get()), (150, 150));
    assert_eq!(log.epochs().latest().map(|e| e.epoch.get()), Some(2));
    assert_eq!(
        log.append(&produced(4, 150, 3), LeaderEpoch::new(9), now(0)).unwrap(),
        Appended::New { base: Offset::new(150), end: Offset::new(153) }
    );
    assert_eq!(bases(&log, 0, 500), (0..51).map(|i| i * 3).collect::<Vec<_>>());
    drop(log);
    let (mut log, recovery) = open(dir.path(), small());
    assert_eq!((recovery.attested_end.get(), recovery.end.get()), (150, 153));
    assert_eq!(log.truncate(Offset::ZERO).unwrap(), Offset::ZERO);
    assert_eq!((log.segment_count(), log.size_bytes()), (0, 0));
    assert_eq!(append(&mut log, &batch_of(1, 10, 0)), (0, 1));
}

#[test]
fn a_flush_ordered_before_a_cut_vouches_for_nothing_written_since() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    (0..4).for_each(|_| {
        append(&mut log, &batch_of(1, 100, 0));
    });
    let order = log.pending_flush().unwrap();
    let former = log.home.flush_log.flush(vec![order], now(0)).unwrap();
    assert_eq!(log.truncate(Offset::new(2)).unwrap(), Offset::new(2));
    (0..4).for_each(|_| {
        append(&mut log, &batch_of(1, 100, 0));
    });
    log.flush_done(&former[0]);
    assert_eq!((log.flushed_end().get(), log.end().get()), (2, 6));
}

#[test]
fn a_log_that_was_cut_takes_on_what_was_written_before_the_epochs_that_it_lost() {
    let (leader_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((mut leader, _), (mut log, _)) = (open(leader_dir.path(), small()), open(dir.path(), small()));
    // Both hold the first record; the leader went on in that epoch, this copy in two others.
    for (theirs, ours) in [(1, 1), (1, 2), (1, 3)] {
        leader.append(&batch_of(1, 10, 0), LeaderEpoch::new(theirs), now(0)).unwrap();
        log.append(&batch_of(1, 10, 0), LeaderEpoch::new(ours), now(0)).unwrap();
    }
    assert_eq!(log.truncate(Offset::new(1)).unwrap(), Offset::new(1));
    let plan = leader.read(Offset::new(1), leader.end(), 10_000, FirstBatch::Whole).unwrap();
    let rest: Vec<Batch> = records::split(plan.read().unwrap()).map(Result::unwrap).collect();
    log.append_fetched(&rest, now(0)).unwrap();
    assert_eq!((log.end(), log.epochs()), (leader.end(), leader.epochs()));
}

#[test]
fn a_log_that_was_reset_starts_where_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    (0..50).for_each(|_| {
        append(&mut log, &batch_of(3, 50, 0));
    });
    log.reset(Offset::new(1000)).unwrap();
    drop(log);
    let (mut log, recovery) = open(dir.path(), small());
    assert_eq!((log.start().get(), recovery.end.get()), (1000, 1000));
    // The leader's log starts in the middle of a batch.
    let stamped = batch_of(10, 50, 0).stamp(Offset::new(995), LeaderEpoch::new(3)).to_batch();
    log.append_fetched(&[stamped], now(0)).unwrap();
    assert_eq!((log.start().get(), log.end().get()), (1000, 1005));
    log.flush_now(now(0)).unwrap();
    log.rest_now(now(0)).unwrap();
    let (log, _) = open(dir.path(), small());
    assert_eq!((log.start().get(), log.end().get()), (1000, 1005));
    assert_eq!(log.read(Offset::new(1001), log.end(), 10, FirstBatch::Whole).unwrap().place.offset.get(), 995);
}

#[test]
fn retention_deletes_old_segments_and_their_files_later() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { retention_bytes: Some(4000), ..small() };
    let (mut log, _) = open(dir.path(), options);
    (0..100).for_each(|_| {
        append(&mut log, &batch_of(1, 100, 0));
    });
    let end = log.end();
    assert_eq!(log.retain(now(0), Offset::ZERO).unwrap().segments, 0);
    log.rest_now(now(0)).unwrap();
    let retained = log.retain(now(0), end).unwrap();
    assert!(retained.segments > 3 && log.size_bytes() >= 4000 && log.size_bytes() < 6000);
    let start = log.start();
    let deleted = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().into_string().unwrap().ends_with(".deleted"))
            .count()
    };
    assert!(deleted() > 0);
    log.retain(now(60_000), end).unwrap();
    assert_eq!(deleted(), 0);
    log.rest_now(now(0)).unwrap();
    drop(log);
    let (mut log, _) = open(dir.path(), options);
    assert_eq!((log.start(), log.end()), (start, end));
    assert_eq!(bases(&log, start.get(), 100), (start.get()..end.get()).collect::<Vec<_>>());
    log.set_options(LogOptions { retention_bytes: Some(0), ..options });
    // The last segment goes once the empty one that replaces it is on the disk.
    log.retain(now(0), end).unwrap();
    assert!(log.size_bytes() > 0);
    log.rest_now(now(0)).unwrap();
    assert!(log.retain(now(0), end).unwrap().segments > 0);
    assert_eq!((log.size_bytes(), log.start(), log.end()), (0, end, end));
    assert_eq!(append(&mut log, &batch_of(1, 10, 0)), (end.get(), end.get() + 1));
}

#[test]
fn a_moved_start_is_durable_with_the_next_flush_and_purges_whole_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    (0..100).for_each(|_| {
        append(&mut log, &batch_of(1, 100, 0));
    });
    log.rest_now(now(0)).unwrap();
    assert!(log.advance_start(Offset::new(50)));
    assert!(!log.advance_start(Offset::new(50)));
    assert_eq!(log.purge(now(0)).unwrap(), 4);
    log.flush_now(now(0)).unwrap();
    drop(log);
    let (log, recovery) = open(dir.path(), small());
    assert_eq!((log.start().get(), recovery.end.get()), (50, 100));
    assert!(matches!(log.read(Offset::new(49), log.end(), 9, FirstBatch::Whole), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn segments_roll_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), LogOptions { segment_span: Duration::from_millis(100), ..small() });
    append(&mut log, &batch_of(1, 10, 1000));
    append(&mut log, &batch_of(1, 10, 1100));
    assert_eq!(log.segment_count(), 1);
    append(&mut log, &batch_of(1, 10, 1101));
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn an_idle_log_takes_little_memory() {
    assert!(std::mem::size_of::<Log>() < 1024, "{}", std::mem::size_of::<Log>());
}

#[test]
fn a_data_directory_knows_its_partitions_and_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(SystemFiles::default());
    let seed = crate::env::SystemSeed;
    let open = || {
        DataDir::open(files.clone(), dir.path(), crate::model::NodeId::new(1), &seed, crate::model::Timestamp::new(0))
    };
    let data = open().unwrap();
    assert!(matches!(open(), Err(DataDirError::Locked { .. })));
    let first = data.directory_id();
    let cluster = crate::model::ClusterId::new([5; 16]);
    data.set_cluster_id(cluster).unwrap();
    data.set_broker_epoch(crate::model::BrokerEpoch::new(77)).unwrap();
    let name = crate::model::TopicName::new("a-topic").unwrap();
    let id = PartitionId { topic: TopicId::new([9; 16]), index: PartitionIndex::new(3) };
    let (mut log, _) = Log::open(&data, &name, id, small(), now(0)).unwrap();
    assert!(!log.directory().exists());
    append(&mut log, &batch_of(1, 10, 0));
    log.rest_now(now(0)).unwrap();
    data.mark_clean().unwrap();
    std::fs::create_dir(dir.path().join("broken-0")).unwrap();
    std::fs::create_dir(dir.path().join("full-0")).unwrap();
    std::fs::write(dir.path().join("full-0/00000000000000000000.log"), b"x").unwrap();
    drop((log, data));
    let data = open().unwrap();
    assert_eq!((data.directory_id(), data.cluster_id(), data.boot().get()), (first, Some(cluster), 2));
    assert!(data.was_clean());
    assert_eq!(data.previous_broker_epoch(), Some(crate::model::BrokerEpoch::new(77)));
    assert_eq!(data.partitions().iter().map(|p| (p.name.clone(), p.id)).collect::<Vec<_>>(), [(name.clone(), id)]);
    assert_eq!(data.set_aside(), ["full-0"]);
    assert_eq!(data.attested(id).unwrap().end.offset, Offset::new(1));
    let (log, _) = Log::open(&data, &name, id, small(), now(0)).unwrap();
    log.delete().unwrap();
    remove_deleted(&data, 1);
    data.flush_log().attest().unwrap();
    drop(data);
    let data = open().unwrap();
    assert!(!data.was_clean() && data.partitions().is_empty() && data.attested(id).is_none());
    drop(data);
    let other =
        DataDir::open(files.clone(), dir.path(), crate::model::NodeId::new(2), &seed, crate::model::Timestamp::new(0));
    assert!(matches!(other, Err(DataDirError::OtherNode { .. })));
}

#[test]
fn a_directory_that_has_lost_its_flush_log_vouches_for_no_life() {
    let dir = tempfile::tempdir().unwrap();
    let files: Arc<dyn Files> = Arc::new(SystemFiles::default());
    let open = || {
        DataDir::open(
            files.clone(),
            dir.path(),
            crate::model::NodeId::new(1),
            &crate::env::SystemSeed,
            crate::model::Timestamp::new(0),
        )
        .unwrap()
    };
    open().set_broker_epoch(crate::model::BrokerEpoch::new(77)).unwrap();
    std::fs::remove_file(dir.path().join("flush-log")).unwrap();
    assert_eq!(open().previous_broker_epoch(), None);
}

fn remove_deleted(data: &DataDir, count: usize) {
    let names = data.deleted().unwrap();
    data.remove_deleted(&names).unwrap();
    assert_eq!((names.len(), data.deleted().unwrap().len()), (count, 0));
}

#[test]
fn a_later_topic_of_the_same_name_does_not_adopt_the_directory_nor_lose_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (files, node): (Arc<dyn Files>, _) = (Arc::new(SystemFiles::default()), crate::model::NodeId::new(1));
    let data =
        DataDir::open(files, dir.path(), node, &crate::env::SystemSeed, crate::model::Timestamp::new(0)).unwrap();
    let name = crate::model::TopicName::new("a-topic").unwrap();
    let open = |topic| {
        let id = PartitionId { topic: TopicId::new([topic; 16]), index: PartitionIndex::new(0) };
        Log::open(&data, &name, id, small(), now(0)).unwrap().0
    };
    let mut first = open(1);
    append(&mut first, &batch_of(3, 10, 0));
    // The shard of the later topic comes first.
    let mut second = open(2);
    assert_eq!((second.start(), second.end()), (Offset::ZERO, Offset::ZERO));
    append(&mut second, &batch_of(1, 10, 0));
    let orders: Vec<_> = [&mut first, &mut second].into_iter().filter_map(Log::pending_flush).collect();
    first.delete().unwrap();
    // What the deleted one still had to flush does not fail the directory.
    data.flush_log().flush(orders, now(0)).unwrap();
    drop(second);
    assert_eq!(open(2).end(), Offset::new(1));
    remove_deleted(&data, 1);
}

pub(super) fn simulated() -> (crate::testing::SimulatedFiles, Log) {
    let files = crate::testing::SimulatedFiles::default();
    let home = Home::alone(Arc::new(files.clone()), Path::new("/log")).unwrap();
    let log = Log::open_at(&home, small(), now(0)).unwrap().0;
    (files, log)
}

#[test]
fn a_failed_append_leaves_the_log_as_it_was() {
    let (files, mut log) = simulated();
    append(&mut log, &batch_of(2, 100, 0));
    files.fail_writes_after(0);
    let failed = log.append(&batch_of(2, 100, 0), LeaderEpoch::new(1), now(0));
    assert!(matches!(failed, Err(AppendError::Log(LogError::Io { .. }))));
    files.heal();
    assert!(!log.is_poisoned());
    assert_eq!(append(&mut log, &batch_of(1, 10, 0)), (2, 3));
    assert_eq!(bases(&log, 0, 1000), [0, 2]);
}

#[test]
fn a_failed_append_that_cannot_be_taken_back_poisons_the_log() {
    let (files, mut log) = simulated();
    append(&mut log, &batch_of(2, 100, 0));
    files.fail_writes_after(0);
    files.fail_syncs_after(0);
    assert!(log.append(&batch_of(2, 100, 0), LeaderEpoch::new(1), now(0)).is_err());
    files.heal();
    let refused = log.append(&batch_of(2, 100, 0), LeaderEpoch::new(1), now(0));
    assert!(matches!(refused, Err(AppendError::Log(LogError::Poisoned))));
    assert!(log.pending_flush().is_none());
}

#[test]
fn a_failed_sync_fences_the_directory_and_is_not_tried_again() {
    let (files, mut log) = simulated();
    append(&mut log, &batch_of(2, 100, 0));
    let order = log.pending_flush().unwrap();
    files.fail_syncs_after(0);
    assert!(matches!(log.flush_log().flush(vec![order], now(0)), Err(FlushError::Io { .. })));
    files.heal();
    assert!(matches!(log.flush_log().flush(Vec::new(), now(0)), Err(FlushError::Fenced { .. })));
    assert!(matches!(log.flush_log().attest(), Err(FlushError::Fenced { .. })));
    assert_eq!(log.flushed_end(), Offset::ZERO);
}

#[test]
fn a_file_with_unflushed_writes_keeps_the_descriptor_that_wrote_it() {
    let (_, mut log) = simulated();
    append(&mut log, &batch_of(1, 10, 0));
    let writer = log.writer.clone().unwrap();
    log.home.handles.forget_log(log.number);
    append(&mut log, &batch_of(1, 10, 0));
    let order = log.pending_flush().unwrap();
    let is_writer =
        |item: &crate::env::SyncItem| matches!(item, crate::env::SyncItem::File(f) if Arc::ptr_eq(f, &writer));
    assert_eq!(order.items.iter().filter(|item| is_writer(item)).count(), 1);
    let flushed = log.flush_log().flush(vec![order], now(0)).unwrap();
    assert!(log.writer.is_some());
    log.flush_done(&flushed[0]);
    assert!(log.writer.is_none());
}

#[test]
fn statements_ride_on_a_later_group_or_are_synced_when_due() {
    let (files, mut log) = simulated();
    append(&mut log, &batch_of(1, 10, 0));
    log.flush_now(now(0)).unwrap();
    let due = log.flush_log().attest_due().unwrap();
    assert_eq!(due, now(50).instant);
    let attested = |files: &crate::testing::SimulatedFiles| {
        let point = files.crash_point();
        let after = point.after(&vec![0; point.ways().len()]);
        let home = Home::alone(Arc::new(after), Path::new("/log")).unwrap();
        home.flush_log().all_attested().first().map(|(_, attested)| attested.end.offset.get())
    };
    assert_eq!(attested(&files), None);
    append(&mut log, &batch_of(1, 10, 0));
    log.flush_now(now(50)).unwrap();
    assert_eq!(attested(&files), Some(1));
    log.flush_log().attest().unwrap();
    assert_eq!((attested(&files), log.flush_log().attest_due()), (Some(2), None));
}

#[test]
fn a_damaged_index_leads_to_the_right_batch_or_to_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    for i in 0..60 {
        append(&mut log, &batch_of(3, 20, i * 10));
    }
    assert!(log.segment_count() > 2);
    log.rest_now(now(0)).unwrap();
    let path = dir.path().join("00000000000000000000.index");
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        for bit in [1_u8, 8, 64] {
            let mut bytes = sound.clone();
            bytes[at] ^= bit;
            std::fs::write(&path, &bytes).unwrap();
            for offset in 0..30 {
                let base = Offset::new(offset / 3 * 3);
                let plan = log.read(Offset::new(offset), log.end(), 100, FirstBatch::Whole).unwrap();
                let found = log.batch_before(Offset::new(offset + 1)).unwrap().unwrap();
                assert_eq!((plan.place.offset, found.place.offset), (base, base), "byte {at}, bit {bit}");
                let split: Vec<Batch> = crate::records::split(plan.read().unwrap()).map(Result::unwrap).collect();
                assert_eq!(split.last().unwrap().next_offset(), plan.next);
            }
        }
    }
}
