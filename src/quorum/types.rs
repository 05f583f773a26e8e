//! The types openraft is set up with, and the way between them and ours.
//!
//! Used by every file of this room that touches openraft.
//! Invariant: an openraft type never leaves this room; a member of the quorum is (node id, directory id, address).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::Proposal;
use crate::model::{DirectoryId, LogIndex, NodeId};

openraft::declare_raft_types!(
    /// openraft's type parameters.
    pub(crate) Raft:
        D = Payload,
        R = Applied,
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<Raft>,
        SnapshotData = super::snapshot::SnapshotFile,
);

/// What an entry carries. Shared, because an entry is copied on its way to every follower and to apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Payload(pub(crate) Arc<Proposal>);

/// What apply says of an entry (rule S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Applied {
    /// Its records are in the image.
    Accepted,
    /// Its base was not the last accepted proposal; every node drops it.
    Dropped,
    /// It held no proposal.
    Nothing,
}

/// A member as the membership knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its metadata directory: (node id, directory id) is the raft identity.
    pub(crate) directory: DirectoryId,
    /// host:port of its CONTROLLER listener when it joined.
    pub(crate) address: String,
}

pub(crate) type RaftNode = openraft::Raft<Raft>;
pub(crate) type RaftEntry = openraft::Entry<Raft>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Membership = openraft::StoredMembership<u64, Member>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub(crate) type Metrics = openraft::RaftMetrics<u64, Member>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// A node id as openraft has it.
pub(crate) fn raft_id(node: NodeId) -> u64 {
    u64::try_from(node.get()).expect("options admit no negative node id")
}

/// A node id as the rest of the program has it.
pub(crate) fn node_id(id: u64) -> NodeId {
    NodeId::new(i32::try_from(id).expect("only ids made by raft_id enter the membership"))
}

/// One past `last`, or 0.
pub(crate) fn end_after(last: Option<u64>) -> LogIndex {
    LogIndex::new(last.map_or(0, |index| index + 1))
}
