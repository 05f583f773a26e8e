//! Opens what is on the disk, in the order that recovery needs, and starts openraft on it.
//!
//! Called by `Quorum::start`, on the quorum's own runtime.
//! Invariants: what was recovered is synced before openraft sees it (rule S1); a leader that restarts does not resume
//! its term: it may have forgotten how far it was committed, and its successor may be at work.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use openraft::{Config, SnapshotPolicy};
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::contact::Contacts;
use super::core::Core;
use super::error::StartError;
use super::links::Links;
use super::log_store::{LogStore, LogStoreError};
use super::message::Identity;
use super::metadata_store::{LogBounds, MetadataStore, State};
use super::network::Network;
use super::options::QuorumOptions;
use super::snapshot::SnapshotDir;
use super::state_machine::{Outlets, StateMachine};
use super::types::{LogId, RaftNode, raft_id};
use super::vote::SmallFiles;
use super::{Leadership, OpenLog, QuorumWorld};
use crate::threads;
use crate::transport::OncePerMinute;

/// Members found regressed that wait to be healed.
const REGRESSED_MAX: usize = 16;

/// A quorum that runs, but for its tasks.
pub(crate) struct Started {
    pub(crate) core: Arc<Core>,
    pub(crate) log: LogStore,
    pub(crate) regressed: mpsc::Receiver<u64>,
}

/// What was recovered from the disk.
struct Recovered {
    log: LogStore,
    store: MetadataStore,
    state: State,
    snapshots: SnapshotDir,
}

/// Opens everything and starts openraft.
pub(crate) async fn start(
    options: QuorumOptions,
    world: QuorumWorld,
    open_log: OpenLog,
) -> Result<Started, StartError> {
    let recovered = threads::blocking(move || {
        let recovered = recover(&options, &world, open_log)?;
        Ok::<_, StartError>((recovered, options, world))
    });
    let (recovered, options, world) = recovered.await.map_err(|e| StartError::Raft { reason: e.to_string() })??;
    let Recovered { log, store, state, snapshots } = recovered;
    let (states, published) = watch::channel(State::default());
    let (images_in, images) = watch::channel(Arc::clone(&state.image));
    let (regressed_in, regressed) = mpsc::channel(REGRESSED_MAX);
    let store = store.start(published);
    let outlets = Outlets { states, images: images_in, store: store.clone() };
    let machine = StateMachine::new(state, outlets, snapshots.clone());
    let config = Arc::new(config(&options)?);
    let links = Arc::new(Links {
        me: Identity { node: options.node, directory: options.directory },
        contacts: Contacts::new(world.clock.now()),
        clock: world.clock,
        images,
        regressed: regressed_in,
        peers: world.peers,
        options,
    });
    let network = Network { links: Arc::clone(&links), snapshots: snapshots.clone() };
    let raft = RaftNode::new(links.id(), config, network, log.clone().with_store(store), machine).await;
    let raft = raft.map_err(|e| StartError::Raft { reason: e.to_string() })?;
    let core = Arc::new(Core {
        raft,
        links,
        snapshots,
        leadership: watch::channel(Leadership::default()).0,
        changes: Semaphore::new(1),
        leaving: AtomicBool::new(false),
        nudged: AtomicBool::new(false),
        look: Notify::new(),
        replaced: OncePerMinute::default(),
    });
    Ok(Started { core, log, regressed })
}

fn recover(options: &QuorumOptions, world: &QuorumWorld, open_log: OpenLog) -> Result<Recovered, StartError> {
    let (files, dir, node) = (&world.files, options.dir.as_path(), raft_id(options.node));
    files.create_dir_all(dir).map_err(StartError::Dir)?;
    let small = SmallFiles::open(files, dir)?;
    if let Some(mut vote) = small.read_vote()?
        && vote.committed
        && vote.leader_id.node_id == node
    {
        vote.committed = false;
        small.save_vote(&vote)?;
    }
    files.sync_dir(dir).map_err(StartError::Dir)?;
    let committed = small.read_committed();
    let log = open_log(options, world).map_err(LogStoreError::from)?;
    let (log, bounds) = LogStore::start(log, small)?;
    let snapshots = SnapshotDir::open(Arc::clone(files), dir.join("snapshots"))?;
    let newest = snapshots.load_newest()?;
    let trusted = newest.as_ref().and_then(|loaded| loaded.meta.last_log_id).map(|id| id.index);
    let store =
        MetadataStore::open(files, dir, bounds, trusted).map_err(|e| StartError::Store { reason: e.to_string() })?;
    let mut state = store.state().clone();
    if let Some(loaded) = newest
        && state.last_applied < loaded.meta.last_log_id
    {
        state = State {
            image: Arc::new(loaded.image),
            last_applied: loaded.meta.last_log_id,
            membership: loaded.meta.last_membership,
        };
    }
    check_gap(bounds, &state)?;
    check_loss(bounds, trusted, committed)?;
    Ok(Recovered { log, store, state, snapshots })
}

fn check_gap(log: LogBounds, state: &State) -> Result<(), StartError> {
    let covered = state.last_applied.map(|id| id.index);
    if log.start > covered.map_or(0, |index| index + 1) {
        return Err(StartError::Gap { log_start: log.start, covered });
    }
    Ok(())
}

/// What is committed here was appended and flushed here first: a log that ends before has lost what it acknowledged,
/// and whoever acknowledged may not vote.
fn check_loss(log: LogBounds, snapshot: Option<u64>, committed: Option<LogId>) -> Result<(), StartError> {
    let held = log.end.max(snapshot.map_or(0, |index| index + 1));
    match committed {
        Some(committed) if committed.index >= held => {
            Err(StartError::Lost { committed: committed.index, log_end: log.end })
        }
        Some(_) | None => Ok(()),
    }
}

/// openraft's settings. Elections and heartbeats are the guard's, so openraft's own are off, and of its times two
/// matter: the append timeout (`heartbeat_interval`, trap 2) and the lease (`election_timeout_max`), which must have
/// run out wherever our own clock says that no leader was heard for an election timeout.
fn config(options: &QuorumOptions) -> Result<Config, StartError> {
    let lease = millis(options.election_timeout_min).saturating_mul(9) / 10;
    // As long as openraft admits: on a starved machine a round trip takes hundreds of milliseconds, and an append that
    // times out is sent again and again.
    let append_timeout = lease - 2;
    let config = Config {
        cluster_name: "ottla".to_owned(),
        heartbeat_interval: append_timeout,
        election_timeout_min: lease - 1,
        election_timeout_max: lease,
        enable_heartbeat: false,
        enable_elect: false,
        max_payload_entries: 64,
        install_snapshot_timeout: 60_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_entries),
        max_in_snapshot_log_to_keep: options.kept_entries,
        purge_batch_size: (options.kept_entries / 4).max(1),
        ..Config::default()
    };
    config.validate().map_err(|e| StartError::Raft { reason: e.to_string() })
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
