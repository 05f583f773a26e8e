//! What quorums say to each other. Travels in envelopes of kinds `Request` and `Response`.
//!
//! Called by `links.rs` (asking) and `rpc.rs` (answering).
//! Invariant: every request says from whom it is, for whom it is meant, and of which cluster; an identity is (node id,
//! directory id), never an address.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use super::describe::QuorumDescription;
use super::options::Voter;
use super::types::{LogId, Raft, SnapshotMeta, Vote};
use crate::model::{ClusterId, DirectoryId, NodeId};

/// Who somebody is to the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) directory: DirectoryId,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// `None` before the cluster is formed or the node has learnt of it.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) from: Identity,
    /// The directory the sender believes to talk to; `None` when it does not know it yet.
    pub(crate) to: Option<DirectoryId>,
    pub(crate) body: Ask,
}

/// Kinds are only ever added at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Append(AppendEntriesRequest<Raft>),
    Vote(VoteRequest<u64>),
    SnapshotChunk(Chunk),
    /// Would you vote for me? Asked before any term is raised (rule S17).
    PreVote(PreVote),
    /// Are you empty, and which voters are you configured with? (rule S9)
    Founding {
        voters: Vec<Voter>,
    },
    /// Take me in.
    Join {
        address: String,
    },
    /// Up to which entry must I have applied to know all that is committed now?
    ReadIndex,
    /// I am leaving: campaign.
    Campaign {
        term: u64,
    },
    /// Are you there?
    Probe,
    /// Answer when you do not lead any more.
    Watch {
        term: u64,
    },
    /// How far is every member, as the leader sees it?
    Describe,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Names this sending of the snapshot.
    pub(crate) transfer: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_last: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PreVote {
    pub(crate) last_log: Option<LogId>,
    /// The host of the leader has answered the asking node that nothing listens there.
    pub(crate) refused: bool,
}

/// Kinds are only ever added at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    ChunkTaken,
    Snapshot(SnapshotResponse<u64>),
    PreVote(PreVoteAnswer),
    Founding(FoundingAnswer),
    Joined,
    ReadIndex { index: Option<u64> },
    Done,
    Refused(Refusal),
    Described(Box<QuorumDescription>),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PreVoteAnswer {
    /// No leader has been heard for an election timeout, or its process is known to be gone.
    pub(crate) leaderless: bool,
    pub(crate) last_log: Option<LogId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoundingAnswer {
    pub(crate) me: Identity,
    /// Neither a log nor a vote is here.
    pub(crate) is_empty: bool,
    /// The configured voters, sorted.
    pub(crate) voters: Vec<Voter>,
    pub(crate) cluster: Option<ClusterId>,
    /// The directory under which the asking node is a voter of an existing quorum.
    pub(crate) knows_you_as: Option<DirectoryId>,
}

/// Why a request was not even looked at, or could not be carried out here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it belongs to cluster {cluster}")]
    OtherCluster { cluster: ClusterId },
    #[error("it is node {} with directory {}", me.node, me.directory)]
    NotMe { me: Identity },
    #[error("it knows that node as a voter with directory {known}: the node's disk was replaced")]
    ReplacedVoter { known: DirectoryId },
    #[error("it does not lead; the leader is {leader:?}")]
    NotLeader { leader: Option<NodeId> },
    #[error("its raft core is stopped: {reason}")]
    Stopped { reason: String },
    #[error("it could not read the request: {reason}")]
    Unreadable { reason: String },
    #[error("it failed: {reason}")]
    Failed { reason: String },
}
