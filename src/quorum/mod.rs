//! The metadata log on openraft; the only room that names openraft or sled.
//!
//! Called by `broker` (controller host, reconcile), `node` (wiring), and by `transport` for incoming frames.
//! Invariants: a proposal is told as accepted only by apply's answer (rule S5); nothing of openraft's own types
//! leaves this room; the quorum runs on its own threads, so that client load cannot starve it.

mod describe;
mod entry_log;
mod envelope;
mod log_store;
mod metadata_store;
mod options;
mod peer;
mod snapshot;
mod state_machine;
mod store_key;
mod types;
mod vote;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

pub use describe::{MemberState, QuorumDescription};
pub use options::{OptionsError, PROPOSAL_BYTES_MAX, QuorumOptions, Voter};
pub use peer::{CallError, PeerCaller};

use crate::env::{Clock, Files, Seed};
use crate::machines::metadata::{Image, Proposal};
use crate::model::{DirectoryId, LogIndex, NodeId, Term};

/// Who leads, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The highest term seen.
    pub term: Term,
    /// Its leader, if it is known.
    pub leader: Option<NodeId>,
    /// This node leads, an entry of its own term is applied, and a majority has answered within the election timeout
    /// (decision 3a). Only then may it act as controller.
    pub active: bool,
}

/// An accepted proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its place in the metadata log.
    pub index: LogIndex,
}

/// Why a proposal is not known to be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead; nothing was written.
    #[error("not the leader of the metadata quorum")]
    NotLeader {
        /// Who does, if it is known.
        leader: Option<NodeId>,
    },
    /// It was committed, and dropped by every node: decided on a base that is not the last accepted proposal (rule S5).
    #[error("dropped: decided on a stale base")]
    Dropped {
        /// Its place in the metadata log.
        index: LogIndex,
    },
    /// Whether it will be accepted is unknown.
    #[error("no outcome in time: accepted or not is unknown")]
    Unknown,
    /// It exceeds 128 KiB (rule S14).
    #[error("{bytes} bytes exceed the limit of {PROPOSAL_BYTES_MAX}")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
    },
    /// The quorum is stopping or stopped; nothing was written.
    #[error("the metadata quorum is stopped")]
    Stopped,
}

/// A running member of the metadata quorum. Cheap to clone; callable from any runtime.
#[derive(Clone, Debug)]
pub struct Quorum {
    inner: Arc<()>,
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

/// Why a quorum did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// Why a change of members was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// This node does not lead.
    #[error("not the leader of the metadata quorum")]
    NotLeader {
        /// Who does, if it is known.
        leader: Option<NodeId>,
    },
    /// No outcome in time.
    #[error("no outcome in time: the change may or may not happen")]
    Unknown,
    /// The quorum is stopping or stopped.
    #[error("the metadata quorum is stopped")]
    Stopped,
}

/// Why a barrier was not passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// No leader is known, or it did not answer.
    #[error("no leader confirmed itself")]
    NoLeader,
    /// The quorum is stopping or stopped.
    #[error("the metadata quorum is stopped")]
    Stopped,
}

impl Quorum {
    /// Opens log, vote and metadata store, and takes part. `fatal` is called once when the raft core dies: the process
    /// must abort (rule S11).
    pub fn start(_: QuorumOptions, _: QuorumWorld, _: Box<dyn FnOnce(String) + Send>) -> Result<Quorum, StartError> {
        Ok(Quorum { inner: Arc::new(()) })
    }
    /// Proposes records; returns once apply has said whether they are accepted.
    pub async fn propose(&self, _: Proposal) -> Result<Accepted, ProposeError> {
        Err(ProposeError::Stopped)
    }
    /// The image, as of the last applied entry.
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        watch::channel(Arc::default()).1
    }
    /// Who leads.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        watch::channel(Leadership::default()).1
    }
    /// Returns once this node has applied all that was committed when it was called.
    pub async fn read_barrier(&self) -> Result<LogIndex, BarrierError> {
        Err(BarrierError::Stopped)
    }
    /// Takes a node into the quorum as an observer; only on the leader. Idempotent; a node known under another
    /// directory id is removed first (rule S13).
    pub async fn add_observer(&self, _: NodeId, _: DirectoryId, _: String) -> Result<(), MembershipError> {
        Err(MembershipError::Stopped)
    }
    /// Takes a node, voter or observer, out of the quorum; only on the leader.
    pub async fn remove(&self, _: NodeId) -> Result<(), MembershipError> {
        Err(MembershipError::Stopped)
    }
    /// Makes exactly these nodes voters; each must be a member; only on the leader.
    pub async fn set_voters(&self, _: Vec<NodeId>) -> Result<(), MembershipError> {
        Err(MembershipError::Stopped)
    }
    /// The quorum as this node sees it.
    pub fn describe(&self) -> Option<QuorumDescription> {
        None
    }
    /// Answers one request frame of another node's quorum.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        request
    }
    /// Hands leadership over if it is here, then stops.
    pub async fn stop(&self) {}
}
