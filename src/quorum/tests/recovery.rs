//! What survives on the disk, and what is done about the rest.

use std::path::Path;
use std::sync::Arc;

use openraft::{CommittedLeaderId, EntryPayload};
use tempfile::TempDir;
use tokio::sync::watch;

use super::world::eventually;
use crate::env::{Files, SystemClock, SystemFiles};
use crate::machines::metadata::{BrokerRegistered, ConfigResource, Image, Proposal, Record};
use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, DirectoryId, GroupId, LogIndex, NodeId, ProducerId, Term, TopicId, TopicName,
};
use crate::probe::{self, Mutant};
use crate::quorum::disk_log::DiskLog;
use crate::quorum::entry_log::{Encoded, EntryLog as _};
use crate::quorum::envelope::{self, Kind};
use crate::quorum::log_store::LogStore;
use crate::quorum::metadata_store::{LogBounds, MetadataStore, State};
use crate::quorum::snapshot::SnapshotDir;
use crate::quorum::types::{LogId, Membership, RaftEntry, SnapshotMeta, Vote};
use crate::quorum::vote::{SmallFileError, SmallFiles};
use crate::testing::{Fault, FileKind, SimulatedFiles, Target, Times};

fn files() -> Arc<dyn Files> {
    Arc::new(SystemFiles::default())
}

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn config(name: &str, value: Option<&str>) -> Record {
    let value = value.map(str::to_owned);
    Record::ConfigSet { resource: ConfigResource::Cluster, name: name.to_owned(), value }
}

fn of_group(group: &str, name: &str, value: Option<&str>) -> Record {
    let (resource, value) = (ConfigResource::Group(GroupId::new(group)), value.map(str::to_owned));
    Record::ConfigSet { resource, name: name.to_owned(), value }
}

/// A history that makes, changes and takes away something of every kind.
fn history() -> Vec<Vec<Record>> {
    let topic = |byte: u8| TopicId::new([byte; 16]);
    let created =
        |byte: u8, name: &str| Record::TopicCreated { topic: topic(byte), name: TopicName::new(name).unwrap() };
    let node = NodeId::new(4);
    let partitions = |byte: u8| Record::PartitionsCreated {
        topic: topic(byte),
        first: crate::model::PartitionIndex::new(0),
        replica_count: 1,
        replicas: vec![node; 5],
        absent: Vec::new(),
    };
    let registered = Record::BrokerRegistered(BrokerRegistered {
        node,
        boot: BootNumber::new(1),
        broker_epoch: None,
        directories: vec![DirectoryId::new([3; 16])],
        listeners: Vec::new(),
        rack: None,
    });
    let broker_epoch = BrokerEpoch::new(2);
    vec![
        vec![Record::ClusterFormed { cluster: ClusterId::new([7; 16]) }],
        vec![registered],
        vec![Record::BrokerUnfenced { node, broker_epoch }, created(1, "one"), partitions(1), config("a", Some("1"))],
        vec![
            created(2, "two"),
            partitions(2),
            config("b", Some("2")),
            config("a", Some("3")),
            of_group("g", "ab", Some("1")),
        ],
        vec![Record::TopicDeleted { topic: topic(1) }, config("b", None), of_group("g", "ab", None)],
        vec![Record::BrokerFenced { node, broker_epoch }, Record::ProducerIdsAllocated { next: ProducerId::new(1000) }],
        vec![Record::FeatureLevelSet { feature: "f".to_owned(), level: 2 }, of_group("ga", "b", Some("2"))],
        vec![Record::BrokerUnregistered { node, broker_epoch }],
    ]
}

/// The state after each step of the history; step n is entry n + 1.
fn states() -> Vec<State> {
    let mut image = Image::default();
    let mut states = Vec::new();
    for (step, records) in history().into_iter().enumerate() {
        let index = step as u64 + 1;
        let proposal = Proposal { term: Term::new(1), base: image.last_accepted(), records };
        image.apply(LogIndex::new(index), &proposal);
        let membership = Membership::default();
        states.push(State { image: Arc::new(image.clone()), last_applied: Some(log_id(index)), membership });
    }
    states
}

fn open(dir: &TempDir, start: u64, end: u64, trusted: Option<u64>) -> MetadataStore {
    MetadataStore::open(&files(), dir.path(), LogBounds { start, end }, trusted).unwrap()
}

/// Stores states one by one, or only the last, and lets go of the store.
async fn store(dir: &TempDir, states: &[State]) {
    let (outlet, published) = watch::channel(State::default());
    let handle = open(dir, 0, 100, None).start(published);
    for state in states {
        outlet.send_replace(state.clone());
        handle.make_durable().await;
    }
    drop(handle);
    let db = dir.path().join("store/db");
    eventually(|| files().lock(&db).is_ok()).await;
}

#[tokio::test]
async fn the_metadata_store_gives_back_every_image_it_was_given() {
    let states = states();
    let dir = tempfile::tempdir().unwrap();
    for (step, state) in states.iter().enumerate() {
        store(&dir, &states[step..=step]).await;
        let stored = open(&dir, 0, 100, None).state().clone();
        assert_eq!(stored.image, state.image, "after step {step}");
        assert_eq!(stored.last_applied, state.last_applied);
    }
    let at_once = tempfile::tempdir().unwrap();
    store(&at_once, &states[5..=5]).await;
    assert_eq!(open(&at_once, 0, 100, None).state().image, states[5].image);
}

#[tokio::test]
async fn a_metadata_store_beside_the_log_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    store(&dir, &states()).await;
    assert_eq!(open(&dir, 0, 9, None).state().last_applied, Some(log_id(8)), "the log holds its entry");
    assert_eq!(open(&dir, 5, 5, Some(8)).state().last_applied, Some(log_id(8)), "a snapshot holds its entry");
    assert_eq!(open(&dir, 0, 8, None).state().last_applied, None, "nobody knows its entry");
    assert!(dir.path().join("store.aside").exists());
    store(&dir, &states()).await;
    assert_eq!(open(&dir, 10, 20, None).state().last_applied, None, "the log behind it is purged");
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(index)),
        last_membership: Membership::default(),
        snapshot_id: String::new(),
    }
}

#[test]
fn a_damaged_snapshot_is_set_aside_wherever_it_is_damaged() {
    let state = states().pop().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDir::open(files(), dir.path().join("s")).unwrap();
    let written = snapshots.write(&meta(8), &state.image).unwrap();
    assert_eq!(snapshots.load_newest().unwrap().unwrap().image, *state.image);
    let whole = std::fs::read(&written.path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&written.path, &bytes).unwrap();
        assert!(snapshots.load_newest().unwrap().is_none(), "byte {at}");
        std::fs::write(&written.path, &whole[..at]).unwrap();
        assert!(snapshots.load_newest().unwrap().is_none(), "cut at {at}");
    }
}

#[test]
fn only_the_newest_snapshot_is_kept_and_a_half_received_one_goes_at_start() {
    let state = states().pop().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let snapshots = SnapshotDir::open(files(), path.clone()).unwrap();
    snapshots.write(&meta(3), &state.image).unwrap();
    let newest = snapshots.write(&meta(12), &state.image).unwrap();
    snapshots.take_chunk(5, 0, b"half").unwrap();
    let snapshots = SnapshotDir::open(files(), path.clone()).unwrap();
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    let (found, file) = snapshots.newest().unwrap().unwrap();
    assert_eq!((found.last_log_id, file), (Some(log_id(12)), newest));
}

#[test]
fn a_vote_that_cannot_be_read_is_never_taken_for_none() {
    let dir = tempfile::tempdir().unwrap();
    let small = SmallFiles::open(&files(), dir.path()).unwrap();
    assert_eq!(small.read_vote().unwrap(), None);
    let vote = Vote::new(4, 2);
    small.save_vote(&vote).unwrap();
    assert_eq!(SmallFiles::open(&files(), dir.path()).unwrap().read_vote().unwrap(), Some(vote));
    let bytes = std::fs::read(dir.path().join("vote")).unwrap();
    for cut in 0..bytes.len() {
        std::fs::write(dir.path().join("vote"), &bytes[..cut]).unwrap();
        assert!(matches!(small.read_vote(), Err(SmallFileError::Unreadable { .. })), "cut at {cut}");
    }
}

#[test]
fn a_torn_commit_hint_is_no_hint() {
    let dir = tempfile::tempdir().unwrap();
    let small = SmallFiles::open(&files(), dir.path()).unwrap();
    assert_eq!(small.read_committed(), None);
    small.save_committed(Some(log_id(3))).unwrap();
    assert_eq!(small.read_committed(), Some(log_id(3)));
    small.save_committed(None).unwrap();
    small.save_committed(Some(log_id(9))).unwrap();
    assert_eq!(small.read_committed(), Some(log_id(9)));
    let path = dir.path().join("committed");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(small.read_committed(), None);
}

/// A vote and an entry that the process has read at its start, and what a power cut leaves of them then.
fn recovered_and_left() -> ((Option<Vote>, u64), (Option<Vote>, u64)) {
    let files = SimulatedFiles::default();
    let open = |files: &SimulatedFiles| {
        let files: Arc<dyn Files> = Arc::new(files.clone());
        let small = SmallFiles::open(&files, Path::new("/quorum")).unwrap();
        (DiskLog::open(files, Path::new("/quorum/log"), Arc::new(SystemClock::new())).unwrap(), small)
    };
    files.create_dir_all(Path::new("/quorum")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    let (mut log, small) = open(&files);
    // The process dies when the vote has its name, and that is not synced; and before it flushes the entry.
    files.inject(Fault::SyncLies, Target::kind(FileKind::Directory), Times::Once);
    small.save_vote(&Vote::new(4, 2)).unwrap();
    log.append(&[Encoded { index: 0, term: 4, bytes: &entry() }]).unwrap();
    drop((log, small));
    let (log, small) = open(&files);
    let vote = small.read_vote().unwrap();
    let (_, bounds) = LogStore::start(Box::new(log), small).unwrap();
    let (log, small) = open(&files.durable());
    ((vote, bounds.end), (small.read_vote().unwrap(), log.end()))
}

fn entry() -> Vec<u8> {
    let entry = RaftEntry { log_id: log_id(0), payload: EntryPayload::Blank };
    envelope::encode(Kind::Entry, &entry).unwrap()
}

#[test]
fn a_recovered_vote_and_entry_are_durable_before_they_count() {
    let (recovered, left) = recovered_and_left();
    assert_eq!((recovered, left), ((Some(Vote::new(4, 2)), 1), recovered));
    probe::plant(Some(Mutant::RecoveredQuorumCounts));
    let (recovered, left) = recovered_and_left();
    probe::plant(None);
    assert_ne!(recovered, left, "with the guard out a power cut takes what has counted");
}
