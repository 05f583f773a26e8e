//! Who is in the quorum: joining as an observer, removal, voters.
//!
//! Called by the façade, by the server for nodes that ask to be taken in, and by a task of its own.
//! Invariants: one change at a time (trap 10); a node under a new directory id, or one that lost what it acknowledged,
//! is removed and taken in anew before it gets any entry (rule S13); a voter's identity is replaced only by order of
//! an operator, or after it has contradicted itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::mpsc;

use super::MembershipError;
use super::core::{Core, is_voter, leads, member};
use super::links::{LinkError, Peer};
use super::message::{Answer, Ask, Identity, Refusal};
use super::types::{Member, Metrics, node_id, raft_id};
use crate::model::{DirectoryId, NodeId};
use crate::probe::{Mutant, planted};

/// Between two attempts to be taken in.
const JOIN_PAUSE: Duration = Duration::from_millis(250);
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A change of membership that takes longer has an unknown outcome.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A node that is taken in may use this long to catch up before the next change begins.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Takes `identity` in as an observer. Idempotent.
pub(crate) async fn add_observer(core: &Core, identity: Identity, address: String) -> Result<(), MembershipError> {
    let _turn = core.changes.acquire().await.map_err(|_| MembershipError::Stopped)?;
    let metrics = leading(core)?;
    let id = raft_id(identity.node);
    let wanted = Member { directory: identity.directory, address };
    match member(&metrics, id) {
        Some(known) if *known == wanted => return Ok(()),
        Some(known) if known.directory == wanted.directory => {
            return change(core, ChangeMembers::SetNodes(BTreeMap::from([(id, wanted)])), true).await;
        }
        Some(known) if is_voter(&metrics, id) => {
            return Err(MembershipError::ReplacedVoter { node: identity.node, known: known.directory });
        }
        Some(_) if planted(Mutant::WipedKeepsPlace) => {}
        // Rule S13: what the old identity acknowledged must not be expected of the new one.
        Some(_) => drop_member(core, &metrics, id).await?,
        None => {}
    }
    add(core, id, wanted).await
}

/// Replaces the identity of a voter whose disk is lost: out with the old one, in as an observer, voter once it has
/// caught up. Safe in every state of the others, because the removal is committed by a majority without it.
pub(crate) async fn replace_voter(core: &Core, identity: Identity, address: String) -> Result<(), MembershipError> {
    let _turn = core.changes.acquire().await.map_err(|_| MembershipError::Stopped)?;
    let metrics = leading(core)?;
    let id = raft_id(identity.node);
    let wanted = Member { directory: identity.directory, address };
    let was_voter = is_voter(&metrics, id);
    if let Some(known) = member(&metrics, id) {
        if known.directory != wanted.directory {
            drop_member(core, &metrics, id).await?;
        } else if was_voter {
            return Ok(());
        }
    }
    add(core, id, wanted).await?;
    change(core, ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
}

/// Takes a member out.
pub(crate) async fn remove(core: &Core, node: NodeId) -> Result<(), MembershipError> {
    let _turn = core.changes.acquire().await.map_err(|_| MembershipError::Stopped)?;
    let metrics = leading(core)?;
    let id = raft_id(node);
    if member(&metrics, id).is_none() {
        return Ok(());
    }
    drop_member(core, &metrics, id).await
}

/// Makes exactly `nodes` voters.
pub(crate) async fn set_voters(core: &Core, nodes: &[NodeId]) -> Result<(), MembershipError> {
    let _turn = core.changes.acquire().await.map_err(|_| MembershipError::Stopped)?;
    let metrics = leading(core)?;
    let ids: BTreeSet<u64> = nodes.iter().map(|&node| raft_id(node)).collect();
    if ids.is_empty() {
        return Err(MembershipError::NoVoters);
    }
    if let Some(&unknown) = ids.iter().find(|&&id| member(&metrics, id).is_none()) {
        return Err(MembershipError::NotAMember { node: node_id(unknown) });
    }
    change(core, ChangeMembers::ReplaceAllVoters(ids), true).await
}

fn leading(core: &Core) -> Result<Metrics, MembershipError> {
    let metrics = core.metrics();
    if leads(&metrics) { Ok(metrics) } else { Err(MembershipError::NotLeader { leader: core.leader() }) }
}

async fn drop_member(core: &Core, metrics: &Metrics, id: u64) -> Result<(), MembershipError> {
    let ids = BTreeSet::from([id]);
    let dropped = if is_voter(metrics, id) {
        change(core, ChangeMembers::RemoveVoters(ids), false).await
    } else {
        change(core, ChangeMembers::RemoveNodes(ids), false).await
    };
    core.links.contacts.forget(id);
    dropped
}

async fn add(core: &Core, id: u64, wanted: Member) -> Result<(), MembershipError> {
    change(core, ChangeMembers::AddNodes(BTreeMap::from([(id, wanted)])), true).await?;
    // The next change waits for this one's replication to settle (trap 10), but not for a node that does not answer.
    let settled = |m: &Metrics| {
        let matching = m.replication.as_ref().and_then(|r| r.get(&id).copied().flatten());
        !leads(m) || matching.is_some_and(|id| Some(id.index) >= m.last_applied.map(|applied| applied.index))
    };
    let _ = core.raft.wait(Some(CATCH_UP)).metrics(settled, "a new member catches up").await;
    Ok(())
}

async fn change(core: &Core, changes: ChangeMembers<u64, Member>, retain: bool) -> Result<(), MembershipError> {
    let changed = tokio::time::timeout(CHANGE_TIMEOUT, core.raft.change_membership(changes, retain)).await;
    match changed {
        Ok(Ok(_)) => Ok(()),
        Err(_) => Err(MembershipError::Unknown),
        Ok(Err(RaftError::Fatal(_))) => Err(MembershipError::Stopped),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
            Err(MembershipError::NotLeader { leader: forward.leader_id.map(node_id) })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(MembershipError::Refused { reason: error.to_string() })
        }
    }
}

/// Another node asks to be taken in.
pub(crate) async fn take_in(core: &Core, from: Identity, address: String) -> Result<(), Refusal> {
    let metrics = core.metrics();
    let known = member(&metrics, raft_id(from.node));
    if let Some(known) = known.filter(|known| known.directory != from.directory)
        && is_voter(&metrics, raft_id(from.node))
    {
        if let Some(suppressed) = core.replaced.permit(tokio::time::Instant::now()) {
            tracing::error!(
                node = %from.node, old = %known.directory, new = %from.directory, suppressed,
                "a voter came back with another disk; it is not taken in (docs/DATA.md)"
            );
        }
        return Err(Refusal::ReplacedVoter { known: known.directory });
    }
    add_observer(core, from, address).await.map_err(|error| match error {
        MembershipError::NotLeader { leader } => Refusal::NotLeader { leader },
        MembershipError::ReplacedVoter { known, .. } => Refusal::ReplacedVoter { known },
        MembershipError::Unknown
        | MembershipError::Stopped
        | MembershipError::NoVoters
        | MembershipError::NotAMember { .. }
        | MembershipError::Refused { .. } => Refusal::Failed { reason: error.to_string() },
    })
}

/// Asks to be taken in for as long as no leader is heard and this node is no voter under its present identity.
pub(crate) async fn join(core: Arc<Core>) {
    let mut told: Option<DirectoryId> = None;
    loop {
        tokio::time::sleep(JOIN_PAUSE).await;
        let heard = core.links.contacts.heard();
        let silent = heard.leader.is_none() || core.now().since(heard.at) > core.links.options.election_timeout_max * 2;
        if silent && !is_own_voter(&core) {
            told = ask_to_join(&core, told).await;
        }
    }
}

/// Whether this node is a voter under its present identity, or could still be a founder.
fn is_own_voter(core: &Core) -> bool {
    let metrics = core.metrics();
    let id = core.links.id();
    member(&metrics, id).is_some_and(|known| known.directory == core.links.me.directory) && is_voter(&metrics, id)
}

/// One round of all configured voters. Returns the directory that the quorum knows this node by, when that was told.
async fn ask_to_join(core: &Core, told: Option<DirectoryId>) -> Option<DirectoryId> {
    for voter in &core.links.options.voters {
        if voter.node == core.links.me.node {
            continue;
        }
        let peer = Peer { node: voter.node, directory: None, address: voter.address.clone() };
        let ask = Ask::Join { address: core.links.options.address.clone() };
        match core.links.ask(&peer, ask, JOIN_TIMEOUT).await {
            Ok(Answer::Joined) => return None,
            Err(LinkError::Refused(Refusal::ReplacedVoter { known })) => {
                if told != Some(known) {
                    tracing::error!(
                        %known,
                        "the quorum knows this node as a voter with another disk: it is not taken in (docs/DATA.md)"
                    );
                }
                return Some(known);
            }
            answer => tracing::debug!(node = %voter.node, ?answer, "not taken in there"),
        }
    }
    told
}

/// Removes and takes in anew what was found to have lost acknowledged entries (rule S13).
pub(crate) async fn heal(core: Arc<Core>, mut regressed: mpsc::Receiver<u64>) {
    while let Some(id) = regressed.recv().await {
        let metrics = core.metrics();
        let Some(known) = member(&metrics, id).cloned() else { continue };
        let was_voter = is_voter(&metrics, id);
        tracing::error!(node = id, was_voter, "removing a member that lost what it acknowledged; taking it in anew");
        let identity = Identity { node: node_id(id), directory: known.directory };
        let healed = match remove(&core, identity.node).await {
            Ok(()) if was_voter => replace_voter(&core, identity, known.address).await,
            Ok(()) => add_observer(&core, identity, known.address).await,
            Err(error) => Err(error),
        };
        if let Err(error) = healed {
            tracing::warn!(node = id, %error, "not healed; it will be found again");
        }
    }
}
