//! What the tasks of one running quorum share.
//!
//! Invariant: everything here is a handle; each piece of state has one owner elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use openraft::ServerState;
use tokio::sync::{Notify, Semaphore, watch};

use super::Leadership;
use super::links::{Links, Peer};
use super::snapshot::SnapshotDir;
use super::types::{Member, Metrics, RaftNode, node_id};
use crate::model::{Instant, NodeId};
use crate::transport::OncePerMinute;

/// Shared by façade, server, guard, elections, founding and membership.
pub(crate) struct Core {
    pub(crate) raft: RaftNode,
    pub(crate) links: Arc<Links>,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) leadership: watch::Sender<Leadership>,
    /// Membership changes go one at a time (trap 10).
    pub(crate) changes: Semaphore,
    /// Leadership is being handed over: nothing more is proposed here.
    pub(crate) leaving: AtomicBool,
    /// A worse candidate has yielded to this node.
    pub(crate) nudged: AtomicBool,
    /// Wakes the guard to look at once.
    pub(crate) look: Notify,
    /// Says that a voter came back with another disk, which it does four times a second.
    pub(crate) replaced: OncePerMinute,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("me", &self.links.me).finish_non_exhaustive()
    }
}

impl Core {
    /// openraft's figures, as of its core's last turn.
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow().clone()
    }

    /// The present.
    pub(crate) fn now(&self) -> Instant {
        self.links.clock.now().instant
    }

    /// The leader this node knows of.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.metrics().current_leader.map(node_id)
    }

    /// Asks the guard to look at once.
    pub(crate) fn look_now(&self) {
        self.look.notify_one();
    }
}

/// The voter sets of a membership: one, or two while it changes.
pub(crate) fn configs(metrics: &Metrics) -> Vec<BTreeSet<u64>> {
    metrics.membership_config.membership().get_joint_config().clone()
}

/// Whether `members` are a majority of every config.
pub(crate) fn is_quorum(configs: &[BTreeSet<u64>], members: &BTreeSet<u64>) -> bool {
    !configs.is_empty() && configs.iter().all(|voters| voters.intersection(members).count() > voters.len() / 2)
}

/// A member of the membership.
pub(crate) fn member(metrics: &Metrics, id: u64) -> Option<&Member> {
    metrics.membership_config.membership().get_node(&id)
}

/// Whether a node is a voter.
pub(crate) fn is_voter(metrics: &Metrics, id: u64) -> bool {
    configs(metrics).iter().any(|voters| voters.contains(&id))
}

/// Whether this node leads, be it confirmed by a majority or not.
pub(crate) fn leads(metrics: &Metrics) -> bool {
    metrics.state == ServerState::Leader
}

/// The other voters, as nodes to ask.
pub(crate) fn other_voters(metrics: &Metrics, links: &Links) -> Vec<(u64, Peer)> {
    let membership = metrics.membership_config.membership();
    let me = links.id();
    let others = membership.voter_ids().filter(|&id| id != me);
    others.filter_map(|id| Some((id, links.peer(node_id(id), membership.get_node(&id)?)))).collect()
}
