//! The metadata log on openraft; the only room that names openraft or sled.
//!
//! Called by `broker` (controller host, reconcile), `node` (wiring), and by `transport` for incoming frames.
//! Invariants: a proposal is told as accepted only by apply's answer (rule S5); nothing of openraft's own types
//! leaves this room; the quorum runs on its own threads, so that client load cannot starve it.

mod options;
mod peer;
mod error;
mod describe;
mod start;
mod core;
mod guard;
mod election;
mod founding;
mod members;
mod rpc;
mod links;
mod message;
mod contact;
mod network;
mod state_machine;
mod metadata_store;
mod store_key;
mod snapshot;
mod log_store;
mod disk_log;
mod entry_log;
mod vote;
#[cfg(feature = "sim")]
mod inspect;
pub mod envelope;
mod types;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{ClientWriteError, RaftError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

pub use describe::{MemberState, QuorumDescription};
pub use error::{BarrierError, MembershipError, ProposeError, StartError};
#[cfg(feature = "sim")]
pub use inspect::{WrittenEntry, written_entries};
#[cfg(feature = "sim")]
pub use log_store::LogStoreError;
pub use options::{
    DEFAULT_ELECTION_TIMEOUT_MAX, DEFAULT_ELECTION_TIMEOUT_MIN, DEFAULT_HEARTBEAT, OptionsError, PROPOSAL_BYTES_MAX,
    QuorumOptions, Voter,
};
pub use peer::{CallError, PeerCaller};

use self::core::{Core, leads, member, other_voters};
use self::disk_log::DiskLog;
use self::entry_log::{EntryLog, EntryLogError};
use self::message::{Answer, Ask, Identity};
use self::types::{Applied, Payload, node_id};
use crate::env::{Clock, Files, Seed};
use crate::machines::metadata::{Image, Proposal};
use crate::model::{DirectoryId, LogIndex, NodeId, Term};
use crate::probe::{Mutant, planted};
use crate::threads::{self, OwnRuntime};

/// Threads of the quorum's runtime for work with files.
const FILE_THREADS_MAX: usize = 4;
/// How long a barrier waits for the leader, and again for this node to catch up.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(2);

/// Who leads, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The highest term seen.
    pub term: Term,
    /// The leader, if one is heard.
    pub leader: Option<NodeId>,
    /// This node leads, an entry of its own term is applied, and a majority has answered within the election timeout.
    /// Only then may it act as controller.
    pub active: bool,
}

/// An accepted proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its place in the metadata log.
    pub index: LogIndex,
}

/// What a quorum needs of the world.
#[derive(Clone, Debug)]
pub struct QuorumWorld {
    /// Files.
    pub files: Arc<dyn Files>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub seed: Arc<dyn Seed>,
    /// The way to other nodes.
    pub peers: Arc<dyn PeerCaller>,
}

/// Called at most once, with the reason, when the raft core has died: the process must abort (rule S11).
pub type FatalCallback = Box<dyn FnOnce(String) + Send>;

/// A running member of the metadata quorum. Cheap to clone; callable from any runtime.
#[derive(Clone, Debug)]
pub struct Quorum {
    core: Arc<Core>,
    threads: Arc<OwnRuntime>,
    /// One permit: who has it asks the leader.
    describing: Arc<Semaphore>,
}

impl Quorum {
    /// Opens log, vote and metadata store, and takes part: founds, joins or resumes, as it is. `fatal` is told when the
    /// raft core dies.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: QuorumOptions, world: QuorumWorld, fatal: FatalCallback) -> Result<Self, StartError> {
        Self::start_on(options, world, Box::new(open_log), fatal).await
    }

    async fn start_on(
        options: QuorumOptions,
        world: QuorumWorld,
        open_log: OpenLog,
        fatal: FatalCallback,
    ) -> Result<Self, StartError> {
        options.check()?;
        let threads = Arc::new(OwnRuntime::new("quorum", options.worker_threads, FILE_THREADS_MAX));
        let seed = Arc::clone(&world.seed);
        let started = threads.handle().spawn(start::start(options, world, open_log)).await;
        let started = started.map_err(|e| StartError::Raft { reason: e.to_string() })??;
        let core = started.core;
        let spawn = threads.handle();
        spawn.spawn(guard::run(Arc::clone(&core), Arc::clone(&seed)));
        spawn.spawn(election::watch_leader(Arc::clone(&core)));
        spawn.spawn(founding::run(Arc::clone(&core)));
        spawn.spawn(founding::compare(Arc::clone(&core)));
        spawn.spawn(founding::form(Arc::clone(&core), seed));
        spawn.spawn(members::join(Arc::clone(&core)));
        spawn.spawn(members::heal(Arc::clone(&core), started.regressed));
        spawn.spawn(started.log.rest_regularly());
        spawn.spawn(threads::guarded(watch_core(Arc::clone(&core), fatal)));
        Ok(Self { core, threads, describing: Arc::new(Semaphore::new(1)) })
    }

    /// Runs `work` on the quorum's own threads, so that callers may be on any runtime or none.
    async fn here<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.threads.handle().spawn(work).await.ok()
    }

    /// Proposes records; returns once apply has said what became of them (rule S5). One at a time is the caller's
    /// business. Answers `Unknown` after `proposal_timeout` (trap 9).
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, proposal: Proposal) -> Result<Accepted, ProposeError> {
        let core = Arc::clone(&self.core);
        self.here(async move { propose(&core, proposal).await }).await.unwrap_or(Err(ProposeError::Stopped))
    }

    /// The image, as of the last applied entry.
    #[must_use]
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.core.links.images.clone()
    }

    /// Who leads.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.core.leadership.subscribe()
    }

    /// Returns once this node has applied all that was committed when it was called; on the leader after a majority
    /// has confirmed that it still leads. Returns the index that was waited for.
    ///
    /// # Errors
    /// See [`BarrierError`].
    pub async fn read_barrier(&self) -> Result<LogIndex, BarrierError> {
        let core = Arc::clone(&self.core);
        self.here(async move { read_barrier(&core).await }).await.unwrap_or(Err(BarrierError::Stopped))
    }

    /// Takes a node into the quorum as an observer; only on the leader. Idempotent. An observer known under another
    /// directory id is removed first (rule S13). Nodes ask for this by themselves; nobody has to call it.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn add_observer(
        &self,
        node: NodeId,
        directory: DirectoryId,
        address: String,
    ) -> Result<(), MembershipError> {
        self.change(async move |core| members::add_observer(&core, Identity { node, directory }, address).await).await
    }

    /// Replaces a voter whose disk is lost by the same node with a new directory; only on the leader.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn replace_voter(
        &self,
        node: NodeId,
        directory: DirectoryId,
        address: String,
    ) -> Result<(), MembershipError> {
        self.change(async move |core| members::replace_voter(&core, Identity { node, directory }, address).await).await
    }

    /// Takes a node, voter or observer, out of the quorum; only on the leader. A node that still runs asks to be taken
    /// in again, as an observer: stop it first, or follow with nothing when only its vote was to go.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn remove(&self, node: NodeId) -> Result<(), MembershipError> {
        self.change(async move |core| members::remove(&core, node).await).await
    }

    /// Makes exactly these members voters; the others become observers; only on the leader.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn set_voters(&self, nodes: Vec<NodeId>) -> Result<(), MembershipError> {
        self.change(async move |core| members::set_voters(&core, &nodes).await).await
    }

    async fn change<F, W>(&self, work: W) -> Result<(), MembershipError>
    where
        W: FnOnce(Arc<Core>) -> F,
        F: Future<Output = Result<(), MembershipError>> + Send + 'static,
    {
        self.here(work(Arc::clone(&self.core))).await.unwrap_or(Err(MembershipError::Stopped))
    }

    /// The quorum as this node sees it.
    #[must_use]
    pub fn describe(&self) -> QuorumDescription {
        describe::describe(&self.core)
    }

    /// The quorum as its leader sees it; `None` when no leader answers in time.
    pub async fn describe_by_leader(&self) -> Option<QuorumDescription> {
        if let Some(described) = describe::describe_as_leader(&self.core) {
            return Some(described);
        }
        // Clients ask as often as they like; of all their questions one at a time goes to the leader.
        let asking = tokio::time::timeout(describe::DESCRIBE_TIMEOUT, self.describing.acquire()).await;
        let _one = asking.ok()?.expect("nobody closes it");
        let core = Arc::clone(&self.core);
        self.here(async move { describe::describe_by_leader(&core).await }).await.flatten()
    }

    /// Answers one request frame of another node's quorum. May be dropped at any point.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        let core = Arc::clone(&self.core);
        self.here(async move { rpc::handle(&core, &request).await }).await.unwrap_or_default()
    }

    /// Asks the best follower to lead instead, if leadership is here (rule S16).
    pub async fn hand_over(&self) {
        let core = Arc::clone(&self.core);
        self.here(async move { hand_over(&core).await }).await;
    }

    /// The quorum's own threads, for the connections that serve it.
    #[must_use]
    pub fn runtime(&self) -> Handle {
        self.threads.handle().clone()
    }

    /// Hands leadership over if it is here, then stops. Proposals that are under way get an answer first or `Stopped`.
    pub async fn stop(&self) {
        let core = Arc::clone(&self.core);
        self.here(async move { stop(&core).await }).await;
    }
}

/// Opens the log of a quorum's directory.
type OpenLog = Box<dyn FnOnce(&QuorumOptions, &QuorumWorld) -> Result<Box<dyn EntryLog>, EntryLogError> + Send>;

fn open_log(options: &QuorumOptions, world: &QuorumWorld) -> Result<Box<dyn EntryLog>, EntryLogError> {
    let (files, clock) = (Arc::clone(&world.files), Arc::clone(&world.clock));
    Ok(Box::new(DiskLog::open(files, &options.dir.join("log"), clock)?))
}

async fn propose(core: &Core, proposal: Proposal) -> Result<Accepted, ProposeError> {
    if core.leaving.load(Ordering::Relaxed) {
        return Err(ProposeError::NotLeader { leader: None });
    }
    let payload = Payload(Arc::new(proposal));
    // Rule S14: what is larger could time out at every retry on a slow link.
    let bytes = envelope::size(&payload);
    if bytes > PROPOSAL_BYTES_MAX && !planted(Mutant::ProposalUnbounded) {
        return Err(ProposeError::TooLarge { bytes });
    }
    let written = tokio::time::timeout(core.links.options.proposal_timeout, core.raft.client_write(payload)).await;
    let written = written.map_err(|_| ProposeError::Unknown)?;
    match written {
        Ok(response) => {
            let index = LogIndex::new(response.log_id.index);
            match response.data {
                Applied::Accepted => Ok(Accepted { index }),
                Applied::Dropped if planted(Mutant::DroppedIsAccepted) => Ok(Accepted { index }),
                Applied::Dropped => Err(ProposeError::Dropped { index }),
                Applied::Nothing => unreachable!("apply answers a proposal with accepted or dropped"),
            }
        }
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Err(ProposeError::NotLeader { leader: forward.leader_id.map(node_id) })
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) | RaftError::Fatal(_)) => {
            Err(ProposeError::Stopped)
        }
    }
}

async fn read_barrier(core: &Core) -> Result<LogIndex, BarrierError> {
    let metrics = core.metrics();
    let index = if leads(&metrics) {
        let confirmed = tokio::time::timeout(BARRIER_TIMEOUT, core.raft.get_read_log_id()).await;
        let (index, _) = confirmed.map_err(|_| BarrierError::NoLeader)?.map_err(|_| BarrierError::NoLeader)?;
        index.map(|id| id.index)
    } else {
        let leader = metrics.current_leader.ok_or(BarrierError::NoLeader)?;
        let member = member(&metrics, leader).ok_or(BarrierError::NoLeader)?;
        let peer = core.links.peer(node_id(leader), member);
        match core.links.ask(&peer, Ask::ReadIndex, BARRIER_TIMEOUT).await {
            Ok(Answer::ReadIndex { index }) => index,
            Ok(_) | Err(_) => return Err(BarrierError::NoLeader),
        }
    };
    let Some(index) = index else { return Ok(LogIndex::new(0)) };
    let wanted = LogIndex::new(index);
    let mut images = core.links.images.clone();
    let applied = images.wait_for(|image| image.last_applied() >= wanted);
    let applied = tokio::time::timeout(BARRIER_TIMEOUT, applied).await.map_err(|_| BarrierError::Behind)?;
    applied.map(|_| wanted).map_err(|_| BarrierError::Stopped)
}

/// Asks the best follower to campaign, and waits for it to lead.
async fn hand_over(core: &Core) {
    let metrics = core.metrics();
    if !leads(&metrics) {
        return;
    }
    let held = |id: u64| core.links.contacts.ack(id, &metrics.vote).map_or(0, |ack| ack.end);
    let best = other_voters(&metrics, &core.links).into_iter().max_by_key(|&(id, _)| held(id));
    let Some((_, peer)) = best else { return };
    let timeout = core.links.options.election_timeout_max;
    let ask = Ask::Campaign { term: metrics.current_term };
    match core.links.ask(&peer, ask, timeout).await {
        Ok(_) => {
            let lost = |m: &types::Metrics| m.current_term > metrics.current_term && m.current_leader.is_some();
            let _ = core.raft.wait(Some(timeout)).metrics(lost, "another leads").await;
        }
        Err(error) => tracing::info!(node = %peer.node, %error, "leadership is not handed over"),
    }
}

async fn stop(core: &Core) {
    core.leaving.store(true, Ordering::Relaxed);
    core.look_now();
    hand_over(core).await;
    if let Err(error) = core.raft.shutdown().await {
        tracing::warn!(%error, "the raft core ended badly");
    }
}

/// Tells when the raft core dies, but for a stop that was asked for.
async fn watch_core(core: Arc<Core>, fatal: FatalCallback) {
    let mut metrics = core.raft.metrics();
    let reason = loop {
        if let Err(error) = &metrics.borrow_and_update().running_state {
            break error.to_string();
        }
        if metrics.changed().await.is_err() {
            break "its task is gone".to_owned();
        }
    };
    if !core.leaving.load(Ordering::Relaxed) {
        tracing::error!(reason, "the raft core is dead");
        fatal(reason);
    }
}
