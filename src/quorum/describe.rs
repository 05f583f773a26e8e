//! What the quorum can tell about itself, for DescribeQuorum and the admin API.
//!
//! Invariant: figures of other members are known only to the leader; elsewhere they are absent, never guessed.

use crate::model::{DirectoryId, LogIndex, NodeId, Term, Timestamp};

/// One member of the quorum as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberState {
    /// Its node id.
    pub node: NodeId,
    /// The identity of its metadata directory, as the membership has it.
    pub directory: DirectoryId,
    /// host:port of its CONTROLLER listener.
    pub address: String,
    /// One past the last entry it is known to hold; `None` on a node that does not lead, or before its first answer.
    pub log_end: Option<LogIndex>,
    /// When it last answered an append.
    pub last_fetch: Option<Timestamp>,
    /// When it last held all the leader had.
    pub last_caught_up: Option<Timestamp>,
}

/// The quorum as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QuorumDescription {
    /// The leader, if it is known.
    pub leader: Option<NodeId>,
    /// The highest term seen.
    pub term: Term,
    /// One past the last entry applied here, which is committed.
    pub high_watermark: LogIndex,
    /// One past the last entry of this node's log.
    pub log_end: LogIndex,
    /// The first entry still in this node's log.
    pub log_start: LogIndex,
    /// Voters, by node id.
    pub voters: Vec<MemberState>,
    /// Observers, by node id.
    pub observers: Vec<MemberState>,
}
