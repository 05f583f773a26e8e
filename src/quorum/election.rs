//! When to campaign: our own pre-vote (rule S17), in place of openraft's election timer, which is never enabled.
//!
//! Called by the guard (campaign) and the server (answer).
//! Why not openraft's: it raises the term first and asks then, so that a voter that was cut off deposes a healthy
//! leader when it returns; and it waits for a lease plus a random time, though after the lease a majority can simply
//! be asked. Here a term is raised only when a majority says that it hears no leader, and then at once.
//! Invariant: nothing here is needed for safety; votes and terms are openraft's alone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::core::{Core, configs, is_quorum, is_voter, leads, member, other_voters};
use super::links::LinkError;
use super::message::{Answer, Ask, PreVote, PreVoteAnswer};
use super::peer::CallError;
use super::types::{LogId, Metrics, node_id};

/// What came of asking the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    /// A majority hears no leader and has no more than this node: campaign.
    Campaign,
    /// A majority hears no leader, but another voter has more than this node: it goes first.
    YieldToLonger,
    /// No majority.
    Stay,
}

/// Whether this voter hears no leader.
pub(crate) fn is_leaderless(core: &Core) -> bool {
    let heard = core.links.contacts.heard();
    heard.refused || core.now().since(heard.at) >= core.links.options.election_timeout_min
}

/// Answers another voter's question whether it may campaign.
pub(crate) async fn answer(core: &Core, ask: PreVote) -> PreVoteAnswer {
    if ask.refused && !is_leaderless(core) {
        // Somebody was told that the leader's process is gone: see for ourselves.
        probe_leader(core).await;
    }
    let metrics = core.metrics();
    let leaderless = is_leaderless(core) && !leads(&metrics);
    let last_log = last_log(core);
    if leaderless && core.links.contacts.heard().refused && ask.last_log >= last_log {
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

/// Dials the leader, and notes when nothing listens there.
pub(crate) async fn probe_leader(core: &Core) {
    let heard = core.links.contacts.heard();
    let Some(leader) = heard.leader.map(|leader| leader.node_id).filter(|&id| id != core.links.id()) else { return };
    let metrics = core.metrics();
    let Some(member) = member(&metrics, leader) else { return };
    let peer = core.links.peer(node_id(leader), member);
    let answer = core.links.ask(&peer, Ask::Probe, core.links.options.heartbeat).await;
    if matches!(answer, Err(LinkError::Call(CallError::Refused))) {
        tracing::info!(leader = %peer.node, "nothing listens where the quorum's leader did");
        core.links.contacts.refuse(heard.at);
    }
}

/// Asks the other voters; ends as soon as the outcome is certain.
pub(crate) async fn poll(core: &Core, metrics: &Metrics) -> Poll {
    let configs = configs(metrics);
    let mine = last_log(core);
    let mut leaderless = BTreeSet::from([core.links.id()]);
    let mut no_longer = leaderless.clone();
    let ask = PreVote { last_log: mine, refused: core.links.contacts.heard().refused };
    let timeout = core.links.options.election_timeout_min / 2;
    let peers = other_voters(metrics, &core.links);
    let mut answers: FuturesUnordered<_> = peers
        .iter()
        .map(|(id, peer)| async move { (*id, core.links.ask(peer, Ask::PreVote(ask), timeout).await) })
        .collect();
    while !is_quorum(&configs, &no_longer) {
        match answers.next().await {
            Some((id, Ok(Answer::PreVote(answer)))) if answer.leaderless => {
                leaderless.insert(id);
                if answer.last_log <= mine {
                    no_longer.insert(id);
                }
            }
            Some((id, answer)) => tracing::debug!(node = id, ?answer, "no pre-vote"),
            None if is_quorum(&configs, &leaderless) => return Poll::YieldToLonger,
            None => return Poll::Stay,
        }
    }
    Poll::Campaign
}

/// Campaigns; once more if another's released lease was ahead by the order of node ids. Returns when a leader is
/// known, another has this node's vote, or time is up.
pub(crate) async fn campaign(core: &Core) {
    const ATTEMPTS: u32 = 3;
    let me = core.links.id();
    let begun = core.now();
    let timeout = core.links.options.election_timeout_min / 2;
    for _ in 0..ATTEMPTS {
        let before = core.metrics().current_term;
        if core.raft.trigger().elect().await.is_err() {
            return;
        }
        let overtaken = |m: &Metrics| m.vote.leader_id.node_id != me && m.vote.leader_id.term == m.current_term;
        let decided = |m: &Metrics| m.current_term > before && (m.current_leader.is_some() || overtaken(m));
        let waited = core.raft.wait(Some(timeout)).metrics(decided, "an election is decided").await;
        let granted = core.links.contacts.heard().granted.is_some_and(|at| at >= begun);
        match waited {
            Ok(metrics) if metrics.current_leader.is_none() && !granted => {}
            Ok(_) | Err(_) => return,
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
