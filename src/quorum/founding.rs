//! How a cluster begins, once and only once (rule S9).
//!
//! Run by every node whose log is empty; the answer is given by every node.
//! Invariants: only the configured voter with the lowest id initialises, and only after all configured voters have
//! answered that they are empty and configured with the same list; the cluster's id is the first record; an empty node
//! that an existing quorum knows as a voter never votes: its requests and what is addressed to its old directory are
//! refused (`rpc.rs`), until the quorum has replaced its old identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::core::Core;
use super::links::Peer;
use super::message::{Answer, Ask, FoundingAnswer, Identity, Refusal};
use super::options::Voter;
use super::rpc::{replaced_voter, stopped};
use super::types::{Member, Metrics, Payload, node_id, raft_id};
use crate::env::Seed;
use crate::machines::metadata::{Proposal, Record};
use crate::model::{ClusterId, DirectoryId, LogIndex, NodeId};
use crate::probe::{Mutant, planted};

/// How long the first record may take to show before it is proposed anew.
const FORM_PAUSE: Duration = Duration::from_millis(250);

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(1);

/// The configured voters in the order in which lists are compared.
fn sorted(voters: &[Voter]) -> Vec<Voter> {
    let mut voters = voters.to_vec();
    voters.sort_unstable();
    voters
}

/// What this node says of itself to one that may found.
pub(crate) async fn answer(core: &Core, from: Identity) -> Result<FoundingAnswer, Refusal> {
    let is_initialized = core.raft.is_initialized().await.map_err(|e| stopped(&e))?;
    Ok(FoundingAnswer {
        me: core.links.me,
        is_empty: !is_initialized,
        voters: sorted(&core.links.options.voters),
        cluster: core.links.cluster(),
        knows_you_as: replaced_voter(core, from),
    })
}

/// What a round of questions says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// This node founds.
    Found,
    /// Somebody has not answered, or another founds.
    Wait,
    /// A cluster is there and knows this node as a voter on another disk.
    Replaced,
    /// A cluster is there and does not know this node; it is taken in as an observer.
    Exists,
    /// The voters are not configured alike.
    Disagree,
}

/// Founds the cluster or waits until it is there.
pub(crate) async fn run(core: Arc<Core>) {
    let options = &core.links.options;
    let me = core.links.me.node;
    if !options.voters.iter().any(|voter| voter.node == me) {
        return;
    }
    let mut told = Verdict::Wait;
    while matches!(core.raft.is_initialized().await, Ok(false)) {
        let (answers, silent) = ask_all(&core).await;
        let verdict = judge(me, &sorted(&options.voters), &answers);
        if verdict == Verdict::Found {
            found(&core, &answers).await;
        }
        if verdict != told {
            tell(&verdict, &answers, &silent);
            told = verdict;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The answers of the other configured voters, and who has not answered.
async fn ask_all(core: &Core) -> (Vec<FoundingAnswer>, Vec<NodeId>) {
    let voters = sorted(&core.links.options.voters);
    let others: Vec<&Voter> = voters.iter().filter(|voter| voter.node != core.links.me.node).collect();
    let asked = others.iter().map(|voter| {
        let peer = Peer { node: voter.node, directory: None, address: voter.address.clone() };
        let ask = Ask::Founding { voters: voters.clone() };
        async move { core.links.ask(&peer, ask, TIMEOUT).await }
    });
    let mut answers = Vec::new();
    let mut silent = Vec::new();
    for (voter, answer) in others.iter().zip(join_all(asked).await) {
        match answer {
            Ok(Answer::Founding(answer)) if answer.me.node == voter.node => answers.push(answer),
            Ok(_) | Err(_) => silent.push(voter.node),
        }
    }
    (answers, silent)
}

/// Pure: what the answers of the others mean for the empty node `me`.
fn judge(me: NodeId, voters: &[Voter], answers: &[FoundingAnswer]) -> Verdict {
    if answers.iter().any(|answer| answer.knows_you_as.is_some()) {
        return Verdict::Replaced;
    }
    if answers.iter().any(|answer| !answer.is_empty) {
        return Verdict::Exists;
    }
    if answers.iter().any(|answer| answer.voters != voters) && !planted(Mutant::FoundsAgainstOthers) {
        return Verdict::Disagree;
    }
    let is_lowest = voters.iter().all(|voter| me <= voter.node) || planted(Mutant::AnyoneFounds);
    let all_answered = answers.len() + 1 == voters.len() || planted(Mutant::FoundsUnanswered);
    if is_lowest && all_answered { Verdict::Found } else { Verdict::Wait }
}

fn tell(verdict: &Verdict, answers: &[FoundingAnswer], silent: &[NodeId]) {
    match verdict {
        Verdict::Found => tracing::info!("all configured voters are empty and agree: founding the cluster"),
        Verdict::Wait => tracing::info!(?silent, "waiting for the other configured voters"),
        Verdict::Exists => tracing::info!("the cluster exists already; waiting to be taken in"),
        Verdict::Replaced => tracing::error!(
            known_as = ?answers.iter().find_map(|answer| answer.knows_you_as),
            "this node's disk is empty, but the quorum knows it as a voter with another one. It must not vote: what it \
             had acknowledged is gone, and no command replaces a voter yet. Start it on its old disk; if that is lost, \
             leave it stopped: the other voters go on while they are a majority (docs/DATA.md)"
        ),
        Verdict::Disagree => tracing::error!(
            lists = ?answers.iter().map(|answer| (answer.me.node, &answer.voters)).collect::<Vec<_>>(),
            "the voters are not configured with the same list of voters: no cluster is founded until they are"
        ),
    }
}

/// Initialises the quorum with the identities that answered.
async fn found(core: &Core, answers: &[FoundingAnswer]) {
    let identities = answers.iter().map(|answer| answer.me).chain([core.links.me]);
    let directories: BTreeMap<NodeId, DirectoryId> = identities.map(|me| (me.node, me.directory)).collect();
    let member = |voter: &Voter| {
        let directory = *directories.get(&voter.node)?;
        Some((raft_id(voter.node), Member { directory, address: voter.address.clone() }))
    };
    let members: BTreeMap<u64, Member> = core.links.options.voters.iter().filter_map(member).collect();
    let is_whole = members.len() == core.links.options.voters.len();
    assert!(is_whole || planted(Mutant::FoundsUnanswered), "who founds has an answer of every voter");
    if let Err(error) = core.raft.initialize(members).await {
        tracing::warn!(%error, "founding failed");
    }
}

/// Gives the cluster its id: the first record there is (rule S9). Whoever leads first proposes one; the base rule (S5)
/// lets one through. The controller decides nothing before.
pub(crate) async fn form(core: Arc<Core>, seed: Arc<dyn Seed>) {
    let mut leadership = core.leadership.subscribe();
    let mut images = core.links.images.clone();
    while images.borrow_and_update().cluster().is_none() {
        let seen = *leadership.borrow_and_update();
        if seen.active {
            let cluster = ClusterId::new(seed.uuid());
            let records = vec![Record::ClusterFormed { cluster }];
            let proposal = Proposal { term: seen.term, base: LogIndex::new(0), records };
            let written = core.raft.client_write(Payload(Arc::new(proposal)));
            // A stranded write (trap 9) must not keep the cluster without an id: whatever comes of it, the image tells.
            let _ = tokio::time::timeout(core.links.options.proposal_timeout, written).await;
        }
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() { return },
            changed = images.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(FORM_PAUSE) => {}
        }
    }
}

/// Tells, once, that the configured voters are not those of the quorum that was founded: a node that waits for a
/// majority of voters that nobody starts would not say why. Addresses are not compared: each node tells its own anew.
pub(crate) async fn compare(core: Arc<Core>) {
    let mut metrics = core.raft.metrics();
    // An error is the end of the raft core, which is told elsewhere.
    let Ok(quorum) = metrics.wait_for(|metrics| !voters(metrics).is_empty()).await.map(|metrics| voters(&metrics))
    else {
        return;
    };
    let configured: BTreeSet<NodeId> = core.links.options.voters.iter().map(|voter| voter.node).collect();
    if configured != quorum {
        tracing::error!(
            ?configured,
            ?quorum,
            "controller.quorum.voters does not name the voters of the quorum, which are those of its founding: they \
             count, and a majority of them must run. Start them all with the list of the founding (`ottla dev`: with \
             as many nodes as at first), or found another cluster on empty directories; voters cannot be changed yet"
        );
    }
}

/// The voters of the quorum; none before this node knows of one.
fn voters(metrics: &Metrics) -> BTreeSet<NodeId> {
    metrics.membership_config.membership().voter_ids().map(node_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(nodes: &[i32]) -> Vec<Voter> {
        nodes.iter().map(|&node| Voter { node: NodeId::new(node), address: format!("n{node}:1") }).collect()
    }

    fn empty(node: i32, list: &[i32]) -> FoundingAnswer {
        let me = Identity { node: NodeId::new(node), directory: DirectoryId::ZERO };
        FoundingAnswer { me, is_empty: true, voters: voters(list), cluster: None, knows_you_as: None }
    }

    fn check(me: i32, answers: &[FoundingAnswer], expected: Verdict) {
        assert_eq!(judge(NodeId::new(me), &voters(&[1, 2, 3]), answers), expected);
    }

    #[test]
    fn only_the_lowest_founds_and_only_when_all_are_empty_and_agree() {
        let all = [1, 2, 3];
        check(1, &[empty(2, &all), empty(3, &all)], Verdict::Found);
        check(2, &[empty(1, &all), empty(3, &all)], Verdict::Wait);
        check(1, &[empty(2, &all)], Verdict::Wait);
        check(1, &[], Verdict::Wait);
        check(1, &[empty(2, &all), empty(3, &[1, 3])], Verdict::Disagree);
    }

    #[test]
    fn an_empty_node_beside_an_existing_cluster_never_founds() {
        let all = [1, 2, 3];
        let full = FoundingAnswer { is_empty: false, ..empty(3, &all) };
        check(1, &[empty(2, &all), full.clone()], Verdict::Exists);
        let knows = FoundingAnswer { knows_you_as: Some(DirectoryId::new([1; 16])), ..full };
        check(1, &[empty(2, &all), knows], Verdict::Replaced);
    }
}
