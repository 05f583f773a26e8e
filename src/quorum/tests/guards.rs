//! For each guard of the quorum a scenario that needs it: clean with the guard, and with the guard out (`src/probe`) a
//! named invariant falls.
//!
//! Invariant: a scenario waits for what happens, never for time to pass, so that it ends alike on a busy machine.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use super::recorder::is_founded;
use super::world::{Way, World, eventually, n, proposal};
use crate::model::NodeId;
use crate::probe::{Mutant, plant};
use crate::quorum::{ProposeError, QuorumOptions};
use crate::verify::{self, Expectations, Invariant, Violation};

/// A scenario may miss its moment on a busy machine, and then finds nothing: it is tried so often.
const ATTEMPTS: u32 = 3;
/// After healing, everything works again within this.
const RECOVERY_MAX: Duration = Duration::from_secs(10);

/// A guard is out on this thread, and those it makes, for as long as this lives.
struct Planted;

impl Planted {
    fn new(mutant: Mutant) -> Self {
        plant(Some(mutant));
        Self
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}

/// Nothing falls with the guard, and that invariant without it.
async fn guarded<F>(mutant: Mutant, invariant: Invariant, scenario: impl Fn() -> F)
where
    F: Future<Output = Vec<Violation>>,
{
    assert!(mutant.falls().contains(&invariant.name()), "{mutant:?} says that {:?} fall", mutant.falls());
    assert_eq!(scenario().await, [], "with the guard");
    let _planted = Planted::new(mutant);
    let mut found = Vec::new();
    for _ in 0..ATTEMPTS {
        found = scenario().await;
        if let Some(violation) = found.iter().find(|violation| violation.invariant == invariant) {
            println!("{}: {violation}", mutant.name());
            return;
        }
    }
    panic!("{} ({}): {invariant} does not fall, but {found:?}", mutant.name(), mutant.what());
}

fn plain(_: &mut QuorumOptions) {}

/// What the judge of runs says of what the nodes said.
fn judge(world: &mut World) -> Vec<Violation> {
    while let Ok((node, reason)) = world.fatal.try_recv() {
        world.recorder.ended(node, reason);
    }
    verify::check(&world.recorder.history(), &Expectations::default()).violations
}

fn violation(invariant: Invariant, message: impl Into<String>) -> Violation {
    Violation { invariant, message: message.into() }
}

/// What was told as accepted and is not known to a node that knows the cluster.
fn lost(world: &World, name: &str) -> Option<Violation> {
    let lacks = |node: &NodeId| world.image(*node).cluster().is_some() && world.image(*node).feature(name) == 0;
    let node = world.running_nodes().into_iter().find(lacks)?;
    Some(violation(Invariant::A2, format!("{name} was told as accepted, and node {node} does not hold it")))
}

/// One of three that does not lead, and the other.
fn followers(world: &World, leader: NodeId) -> (NodeId, NodeId) {
    let others = world.others(leader);
    (others[0], others[1])
}

async fn an_empty_voter_hears_nobody() -> Vec<Violation> {
    // The lowest last: it hears all others when it begins to ask.
    let mut world = World::running(&[3, 2, 1], plain).await;
    world.write("a").await;
    world.all_have("a").await;
    for id in [1, 2, 3] {
        world.kill(n(id));
    }
    world.wipe(n(1));
    world.start(n(1)).await;
    let before = world.net.asked(n(1), n(2));
    eventually(|| world.net.asked(n(1), n(2)) > before + 5 || world.is_active(n(1))).await;
    world.start(n(2)).await;
    world.start(n(3)).await;
    world.leader_but(Some(n(1))).await;
    judge(&mut world)
}

#[tokio::test]
async fn a_cluster_is_founded_only_when_all_voters_have_answered() {
    guarded(Mutant::FoundsUnanswered, Invariant::E4, an_empty_voter_hears_nobody).await;
}

/// Node 3 is replaced between its answers to node 1 and to node 2, which both ask everybody at the same time.
async fn a_voter_is_replaced_during_the_founding() -> Vec<Violation> {
    let (one, two, three) = (n(1), n(2), n(3));
    let mut world = World::new(&[1, 2, 3], plain);
    let net = world.net.clone();
    net.hold(three, one, Way::Request);
    net.hold(three, two, Way::Request);
    net.hold(one, two, Way::Answer);
    net.hold(two, three, Way::Request);
    for node in [three, one, two] {
        world.start(node).await;
    }
    eventually(|| net.answered(one, two) > 0 && net.answered(two, one) > 0 && net.asked(two, three) > 0).await;
    world.kill(three);
    world.wipe(three);
    world.start(three).await;
    // Nothing of what node 2 does next reaches node 1.
    net.let_through(two, one, 0);
    let before = net.answered(two, three);
    net.release(two, three);
    eventually(|| net.answered(two, three) > before).await;
    let founded = |node: NodeId| is_founded(&world.quorum(node).describe());
    let _ = tokio::time::timeout(Duration::from_millis(200), eventually(|| founded(two))).await;
    net.release(one, two);
    eventually(|| founded(one)).await;
    net.heal();
    world.leader().await;
    judge(&mut world)
}

#[tokio::test]
async fn a_cluster_is_founded_by_the_lowest_voter_and_nobody_else() {
    guarded(Mutant::AnyoneFounds, Invariant::E4, a_voter_is_replaced_during_the_founding).await;
}

/// Node 1 is configured with the voters 1 and 2, the others with 2 and 3.
async fn the_lists_of_voters_differ() -> Vec<Violation> {
    let (one, two, three) = (n(1), n(2), n(3));
    let mut world = World::new(&[1, 2, 3], |options| {
        let me = options.node.get();
        options.voters.retain(|voter| voter.node.get() == 2 || (voter.node.get() == 1) == (me == 1));
    });
    world.start(two).await;
    // Node 2 says what it is configured with, and hears no more of node 1.
    world.net.let_through(one, two, 1);
    world.start(one).await;
    eventually(|| world.net.lost(one) > 2).await;
    world.start(three).await;
    world.leader_but(Some(one)).await;
    world.net.heal();
    judge(&mut world)
}

#[tokio::test]
async fn no_cluster_is_founded_against_another_list_of_voters() {
    guarded(Mutant::FoundsAgainstOthers, Invariant::E4, the_lists_of_voters_differ).await;
}

/// What the leader and one follower hold is with the leader alone when that follower has lost its disk.
async fn a_voter_comes_back_empty() -> Vec<Violation> {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.write("a").await;
    world.all_have("a").await;
    let leader = world.leader().await;
    let (wiped, behind) = followers(&world, leader);
    world.net.isolate(behind, &[leader, wiped]);
    world.write("b").await;
    world.kill(leader);
    world.kill(wiped);
    world.wipe(wiped);
    world.net.heal();
    world.start(wiped).await;
    let before = world.net.asked(behind, wiped);
    eventually(|| world.net.asked(behind, wiped) > before + 20 || world.is_active(behind)).await;
    world.start(leader).await;
    eventually(|| world.is_active(behind) || world.image(behind).feature("b") == 1).await;
    let lost = lost(&world, "b");
    judge(&mut world).into_iter().chain(lost).collect()
}

#[tokio::test]
async fn a_voter_that_came_back_empty_does_not_vote() {
    guarded(Mutant::ReplacedVoterVotes, Invariant::E4, a_voter_comes_back_empty).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A follower's disk is an earlier state of itself, as after a restored backup.
async fn a_follower_is_rolled_back() -> Vec<Violation> {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.write("a").await;
    world.all_have("a").await;
    let leader = world.leader().await;
    let (follower, _) = followers(&world, leader);
    let saved = tempfile::tempdir().unwrap();
    world.kill(follower);
    world.closed(follower).await;
    copy(&world.disks[&follower].path(), saved.path());
    world.start(follower).await;
    world.write("b").await;
    world.all_have("b").await;
    world.kill(follower);
    world.closed(follower).await;
    let disk = world.disks[&follower].path();
    eventually(|| std::fs::remove_dir_all(&disk).is_ok() || !disk.exists()).await;
    copy(saved.path(), &disk);
    world.start(follower).await;
    eventually(|| world.image(follower).feature("b") == 1 || !world.fatal.is_empty()).await;
    judge(&mut world)
}

#[tokio::test]
async fn a_follower_that_lost_what_it_acknowledged_is_taken_in_anew() {
    guarded(Mutant::RegressionBelieved, Invariant::F4, a_follower_is_rolled_back).await;
}

async fn an_observer_comes_back_empty() -> Vec<Violation> {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.start(n(9)).await;
    world.write("a").await;
    world.all_have("a").await;
    world.kill(n(9));
    world.wipe(n(9));
    world.start(n(9)).await;
    let leader = world.leader().await;
    let before = world.net.asked(n(9), leader);
    eventually(|| world.image(n(9)).feature("a") == 1 || world.net.asked(n(9), leader) > before + 3).await;
    let lacks = world.image(n(9)).feature("a") == 0;
    let found = lacks.then(|| violation(Invariant::E5, "node 9 asks in vain to be taken in, and knows nothing"));
    judge(&mut world).into_iter().chain(found).collect()
}

#[tokio::test]
async fn an_observer_on_a_new_disk_does_not_take_the_old_ones_place() {
    guarded(Mutant::WipedKeepsPlace, Invariant::E5, an_observer_comes_back_empty).await;
}

/// Over a slow link a follower is to catch up with what is more than passes in the time of one append.
async fn much_waits_behind_a_slow_link() -> Vec<Violation> {
    let mut world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let (follower, other) = followers(&world, leader);
    world.net.isolate(follower, &[leader, other]);
    for round in 0..20 {
        world.write(&format!("{round}{}", "x".repeat(100 * 1024))).await;
    }
    world.net.bytes_per_second(2 << 20);
    world.kill(other);
    world.net.heal();
    let working = async {
        world.write("b").await;
        world.all_have("b").await;
    };
    let found = tokio::time::timeout(RECOVERY_MAX, working).await.err();
    let found = found.map(|_| violation(Invariant::F2, "two of three voters reach each other and accept nothing"));
    judge(&mut world).into_iter().chain(found).collect()
}

#[tokio::test]
async fn appends_pass_a_slow_link_in_bounded_pieces() {
    guarded(Mutant::AppendsUnbounded, Invariant::F2, much_waits_behind_a_slow_link).await;
}

/// Patient enough not to lose a leader to a busy machine.
fn patient(options: &mut QuorumOptions) {
    options.heartbeat = Duration::from_millis(100);
    options.election_timeout_min = Duration::from_millis(1_000);
    options.election_timeout_max = Duration::from_millis(1_200);
}

/// A voter hears no leader for a while, which all others do.
async fn a_voter_is_cut_off_for_a_while() -> Vec<Violation> {
    let mut world = World::running(&[1, 2, 3], patient).await;
    let leader = world.leader().await;
    let (cut_off, other) = followers(&world, leader);
    let term = |node: NodeId| world.quorum(node).leadership().borrow().term;
    let led = term(leader);
    world.net.isolate(cut_off, &[leader, other]);
    let before = world.net.lost(cut_off);
    eventually(|| world.net.lost(cut_off) >= before + 24 || term(cut_off) > led).await;
    world.net.heal();
    // Until the leader has found the voter again, whose term is what would move the leadership.
    let found_again = async {
        while world.image(cut_off).feature("a") == 0 {
            let _ = world.propose(leader, "a").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(RECOVERY_MAX * 2, found_again).await.expect("a voter that is back follows");
    let after = term(leader);
    let found = (after != led).then(|| {
        let told =
            format!("a majority heard node {leader} all the time; but its term {led} ended, and now it is {after}");
        violation(Invariant::F1, told)
    });
    judge(&mut world).into_iter().chain(found).collect()
}

#[tokio::test]
async fn a_voter_that_alone_hears_no_leader_moves_no_leadership() {
    guarded(Mutant::CampaignsUnasked, Invariant::F1, a_voter_is_cut_off_for_a_while).await;
}

/// Two proposals are decided on the same image.
async fn a_proposal_is_overtaken() -> Vec<Violation> {
    let mut world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let stale = world.image(leader).last_accepted();
    world.write("a").await;
    let outcome = world.quorum(leader).propose(proposal(stale, "b")).await;
    assert!(matches!(outcome, Ok(_) | Err(ProposeError::Dropped { .. })), "{outcome:?}");
    world.write("c").await;
    world.all_have("c").await;
    let lost = outcome.ok().and_then(|_| lost(&world, "b"));
    judge(&mut world).into_iter().chain(lost).collect()
}

#[tokio::test]
async fn a_dropped_proposal_is_not_told_as_accepted() {
    guarded(Mutant::DroppedIsAccepted, Invariant::A2, a_proposal_is_overtaken).await;
}
