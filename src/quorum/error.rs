//! Errors of the façade, one per operation.

use crate::model::{DirectoryId, LogIndex, NodeId};

use super::log_store::LogStoreError;
use super::options::{OptionsError, PROPOSAL_BYTES_MAX};
use super::snapshot::SnapshotError;
use super::vote::SmallFileError;

/// Why a proposal is not known to be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead; nothing was accepted and nothing will be.
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
    /// The quorum is stopping or stopped; whether it was accepted is unknown.
    #[error("the metadata quorum is stopped")]
    Stopped,
}

/// Why a quorum did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The directory cannot be used.
    #[error("the quorum's directory: {0}")]
    Dir(#[source] std::io::Error),
    /// The vote, the purge point or the commit hint.
    #[error(transparent)]
    SmallFile(#[from] SmallFileError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogStoreError),
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The metadata store, twice: even an empty one does not open.
    #[error("the metadata store: {reason}")]
    Store {
        /// What is wrong.
        reason: String,
    },
    /// The log begins after what any snapshot holds: files are missing from the directory.
    #[error(
        "the metadata log begins at {log_start}, but image and snapshots end at {covered:?}: files are missing. Move \
         the quorum's directory aside and start with an empty one; the quorum takes the node in anew"
    )]
    Gap {
        /// The first entry there is.
        log_start: u64,
        /// The last that is known otherwise.
        covered: Option<u64>,
    },
    /// The log ends before what this node knows to be committed: it has lost what it acknowledged.
    #[error(
        "the metadata log ends at {log_end}, but entry {committed} was committed on this node: the disk has lost what \
         it acknowledged. Move the quorum's directory aside and start with an empty one under a new directory id; the \
         quorum takes the node in anew if it is no voter (docs/DATA.md)"
    )]
    Lost {
        /// The entry known to be committed.
        committed: u64,
        /// One past the last there is.
        log_end: u64,
    },
    /// openraft did not start.
    #[error("the raft core: {reason}")]
    Raft {
        /// What it said.
        reason: String,
    },
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
    /// The node is a voter with another disk: only `replace_voter` changes that.
    #[error("node {node} is a voter with directory {known}: another disk is not taken in under its id")]
    ReplacedVoter {
        /// The node.
        node: NodeId,
        /// The directory it is known by.
        known: DirectoryId,
    },
    /// A quorum without voters decides nothing.
    #[error("a quorum needs at least one voter")]
    NoVoters,
    /// Only members become voters.
    #[error("node {node} is not a member of the quorum")]
    NotAMember {
        /// The node.
        node: NodeId,
    },
    /// openraft refused, for instance because a change is under way.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
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
    /// No leader is known, or it did not confirm itself.
    #[error("no leader confirmed itself")]
    NoLeader,
    /// This node did not apply in time what the leader has committed.
    #[error("not caught up in time")]
    Behind,
    /// The quorum is stopping or stopped.
    #[error("the metadata quorum is stopped")]
    Stopped,
}
