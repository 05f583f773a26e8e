//! What the quorum can tell about itself, for DescribeQuorum and the admin API.
//!
//! Invariant: figures of other members are known only to the leader; elsewhere they are absent, never guessed.

use std::time::Duration;

use super::core::{Core, is_voter, leads, member};
use super::guard::leadership;
use super::message::{Answer, Ask};
use super::types::{Member, Metrics, end_after, node_id};
use crate::model::{DirectoryId, LogIndex, NodeId, Term, Timestamp};

/// How long the leader may take to describe the quorum, and how long others may be asking before.
pub(crate) const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

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

/// The quorum as the node of `core` sees it.
pub(crate) fn describe(core: &Core) -> QuorumDescription {
    let metrics = core.metrics();
    let data = core.raft.data_metrics().borrow().clone();
    let seen = leadership(core, &metrics);
    let membership = metrics.membership_config.membership();
    let state = |(&id, member): (&u64, &Member)| member_state(core, &metrics, id, member);
    let (voters, observers) = membership.nodes().partition::<Vec<_>, _>(|&(&id, _)| is_voter(&metrics, id));
    QuorumDescription {
        leader: seen.leader,
        term: seen.term,
        high_watermark: end_after(data.last_applied.map(|id| id.index)),
        log_end: end_after(data.last_log.map(|id| id.index)),
        log_start: end_after(data.purged.map(|id| id.index)),
        voters: voters.into_iter().map(state).collect(),
        observers: observers.into_iter().map(state).collect(),
    }
}

/// The quorum as its leader sees it, if that is this node.
pub(crate) fn describe_as_leader(core: &Core) -> Option<QuorumDescription> {
    leads(&core.metrics()).then(|| describe(core))
}

/// Asks the leader; `None` when none answers in time.
pub(crate) async fn describe_by_leader(core: &Core) -> Option<QuorumDescription> {
    let metrics = core.metrics();
    let leader = metrics.current_leader?;
    let peer = core.links.peer(node_id(leader), member(&metrics, leader)?);
    match core.links.ask(&peer, Ask::Describe, DESCRIBE_TIMEOUT).await {
        Ok(Answer::Described(description)) => Some(*description),
        Ok(_) | Err(_) => None,
    }
}

fn member_state(core: &Core, metrics: &Metrics, id: u64, member: &Member) -> MemberState {
    let now = core.links.clock.now().timestamp;
    let leads_here = leads(metrics) && id == core.links.id();
    let ack = core.links.contacts.ack(id, &metrics.vote).filter(|_| leads(metrics));
    MemberState {
        node: node_id(id),
        directory: member.directory,
        address: core.links.peer(node_id(id), member).address,
        log_end: if leads_here {
            Some(end_after(metrics.last_log_index))
        } else {
            ack.map(|ack| LogIndex::new(ack.end))
        },
        last_fetch: if leads_here { Some(now) } else { ack.map(|ack| ack.answered) },
        last_caught_up: if leads_here { Some(now) } else { ack.and_then(|ack| ack.caught_up) },
    }
}
