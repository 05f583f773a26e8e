//! When to campaign: our own pre-vote (rule S17), in place of openraft's election timer, which is never enabled.
//!
//! Called by the guard (campaign) and the server (answer).
//! Why not openraft's: it raises the term first and asks then, so that a voter that was cut off deposes a healthy
//! leader when it returns; and it waits for a lease plus a random time, though after the lease a majority can simply
//! be asked. Here a term is raised only when a majority says that it hears no leader, and then at once.
//! Invariant: nothing here is needed for safety; votes and terms are openraft's alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::core::{Core, configs, is_quorum, is_voter, leads, member, other_voters};
use super::links::LinkError;
use super::message::{Answer, Ask, PreVote, PreVoteAnswer};
use super::peer::CallError;
use super::rpc::WATCH_HELD;
use super::types::{LogId, Metrics, node_id};

/// What came of asking the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    /// A majority hears no leader and is no better: campaign.
    Campaign,
    /// A majority hears no leader, but another voter is better: it has been told by being asked.
    Yield,
    /// No majority.
    Stay,
}

/// Whether this voter hears no leader.
pub(crate) fn is_leaderless(core: &Core) -> bool {
    let heard = core.links.contacts.heard();
    heard.refused || core.now().since(heard.at) >= core.links.options.election_timeout_min
}

/// Answers another voter's question whether it may campaign.
pub(crate) async fn answer(core: &Core, from: u64, ask: PreVote) -> PreVoteAnswer {
    if ask.refused && !is_leaderless(core) {
        // Somebody was told that the leader's process is gone: see for ourselves.
        probe_leader(core).await;
    }
    let metrics = core.metrics();
    let leaderless = is_leaderless(core) && !leads(&metrics);
    let last_log = last_log(core);
    if leaderless && (last_log, core.links.id()) > (ask.last_log, from) {
        // The asking node yields to this one.
        core.nudged.store(true, Ordering::Relaxed);
        core.look_now();
    } else if leaderless && core.links.contacts.heard().refused {
        release_lease(core, &metrics).await;
    }
    PreVoteAnswer { leaderless, last_log }
}

/// openraft grants no vote while the lease of the last leader runs, be it dead or not. A voter that campaigns itself
/// has no leader and no lease, so this one does, for a term in which the better candidate overtakes it.
async fn release_lease(core: &Core, metrics: &Metrics) {
    if metrics.vote.committed && is_voter(metrics, core.links.id()) {
        let _ = core.raft.trigger().elect().await;
    }
}

/// Waits on the leader, for as long as this node is a voter with a leader: a connection that ends tells of its death
/// before any silence does.
pub(crate) async fn watch_leader(core: Arc<Core>) {
    loop {
        let heard = core.links.contacts.heard();
        let metrics = core.metrics();
        let leader = heard.leader.filter(|leader| leader.node_id != core.links.id() && !heard.refused);
        let found = leader.and_then(|leader| Some((leader, member(&metrics, leader.node_id)?)));
        let Some((leader, member)) = found.filter(|_| is_voter(&metrics, core.links.id())) else {
            tokio::time::sleep(core.links.options.heartbeat).await;
            continue;
        };
        let peer = core.links.peer(node_id(leader.node_id), member);
        let watch = Ask::Watch { term: leader.term };
        let answer = core.links.ask(&peer, watch, WATCH_HELD + core.links.options.election_timeout_max).await;
        if let Err(LinkError::Call(_)) = answer {
            probe_leader(&core).await;
            core.look_now();
        }
        // Whatever the answer, one watch per heartbeat is enough.
        tokio::time::sleep(core.links.options.heartbeat).await;
    }
}

/// Dials the leader, and notes when nothing listens there.
pub(crate) async fn probe_leader(core: &Core) {
    let heard = core.links.contacts.heard();
    let Some(leader) = heard.leader.map(|leader| leader.node_id).filter(|&id| id != core.links.id()) else { return };
    let metrics = core.metrics();
    let Some(member) = member(&metrics, leader) else { return };
    let peer = core.links.peer(node_id(leader), member);
    let answer = core.links.ask(&peer, Ask::Probe, core.links.options.heartbeat).await;
    if matches!(answer, Err(LinkError::Call(CallError::Refused | CallError::Unresolved))) {
        tracing::info!(leader = %peer.node, "nothing listens where the quorum's leader did");
        core.links.contacts.refuse(heard.at);
    }
}

/// Asks the other voters; ends as soon as the outcome is certain. Of those without a leader the one with the longest
/// log and then the highest id is the best, so that two that lost their leader together do not depose each other.
pub(crate) async fn poll(core: &Core, metrics: &Metrics, patience: Duration) -> Poll {
    let configs = configs(metrics);
    let mine = last_log(core);
    let mut leaderless = BTreeSet::from([core.links.id()]);
    let mut no_better = leaderless.clone();
    let heard = core.links.contacts.heard();
    let ask = PreVote { last_log: mine, refused: heard.refused };
    // The silent leader is asked as well, for it may only have stepped down, but hardly waited for.
    let silent = heard.leader.map(|leader| leader.node_id);
    let timeout = |id: u64| if Some(id) == silent { core.links.options.heartbeat } else { patience };
    let peers = other_voters(metrics, &core.links);
    let mut answers: FuturesUnordered<_> = peers
        .iter()
        .map(|(id, peer)| async move { (*id, core.links.ask(peer, Ask::PreVote(ask), timeout(*id)).await) })
        .collect();
    while !is_quorum(&configs, &no_better) {
        match answers.next().await {
            Some((id, Ok(Answer::PreVote(answer)))) if answer.leaderless => {
                leaderless.insert(id);
                if (answer.last_log, id) < (mine, core.links.id()) {
                    no_better.insert(id);
                }
            }
            Some((id, answer)) => tracing::debug!(node = id, ?answer, "no pre-vote"),
            None if is_quorum(&configs, &leaderless) => return Poll::Yield,
            None => return Poll::Stay,
        }
    }
    Poll::Campaign
}

/// Campaigns; once more if another's released lease was ahead by the order of node ids. Returns when a leader is
/// known, another has this node's vote, or time is up.
pub(crate) async fn campaign(core: &Core, patience: Duration) {
    const ATTEMPTS: u32 = 3;
    let me = core.links.id();
    for _ in 0..ATTEMPTS {
        let before = core.metrics().current_term;
        if core.raft.trigger().elect().await.is_err() {
            return;
        }
        let overtaken = |m: &Metrics| m.vote.leader_id.node_id != me && m.vote.leader_id.term == m.current_term;
        let decided = |m: &Metrics| m.current_term > before && (m.current_leader.is_some() || overtaken(m));
        let waited = core.raft.wait(Some(patience)).metrics(decided, "an election is decided").await;
        let Ok(metrics) = waited else { return };
        // Overtaken by a vote that is asked of this node: its candidate may win. By one that was only heard of: it is a
        // released lease, whose candidate has failed.
        if metrics.current_leader.is_some() || core.links.contacts.heard().asked == Some(metrics.vote) {
            return;
        }
    }
}

/// Campaigns because the leader of `term` asked for it. The leader itself grants the vote, unless its own lease still
/// runs because it was elected just now: then the first attempt makes it step down, and the second wins.
pub(crate) async fn succeed(core: &Core, term: u64) {
    const ATTEMPTS: u32 = 4;
    for _ in 0..ATTEMPTS {
        if core.raft.trigger().elect().await.is_err() {
            return;
        }
        let decided = |m: &Metrics| m.current_term > term && m.current_leader.is_some();
        let timeout = core.links.options.heartbeat * 2;
        if core.raft.wait(Some(timeout)).metrics(decided, "succeeding the leader").await.is_ok() {
            return;
        }
    }
}

/// The last entry of this node's log, as of the core's last turn: a core that waits for its disk must not delay an
/// answer, and a figure too low costs a vain campaign at worst.
fn last_log(core: &Core) -> Option<LogId> {
    core.raft.data_metrics().borrow().last_log
}

/// How long to wait beyond the lease before asking: spreads voters that lost their leader together.
pub(crate) fn patience(core: &Core, random: u64) -> Duration {
    let options = &core.links.options;
    let spread = options.election_timeout_max - options.election_timeout_min;
    let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX).max(1);
    options.election_timeout_min + Duration::from_nanos(random % nanos)
}
