//! Promises of a quorum of several nodes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::world::{World, eventually, n, proposal};
use crate::model::LogIndex;
use crate::quorum::{MembershipError, ProposeError, QuorumOptions, StartError};

fn plain(_: &mut QuorumOptions) {}

#[tokio::test]
async fn three_empty_voters_found_one_cluster() {
    let world = World::running(&[1, 2, 3], plain).await;
    world.write("a").await;
    world.all_have("a").await;
    let cluster = world.image(n(1)).cluster();
    assert!(cluster.is_some());
    assert!([2, 3].iter().all(|&node| world.image(n(node)).cluster() == cluster));
    let leader = world.leader().await;
    eventually(|| [1, 2, 3].iter().all(|&id| world.quorum(n(id)).describe().leader == Some(leader))).await;
    let described = world.quorum(leader).describe();
    assert_eq!(described.voters.len(), 3);
    eventually(|| world.quorum(leader).describe().voters.iter().all(|v| v.log_end == Some(described.log_end))).await;
}

#[tokio::test]
async fn a_follower_describes_the_quorum_as_the_leader_does() {
    let world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let follower = [1, 2, 3].map(n).into_iter().find(|node| *node != leader).expect("two of three follow");
    eventually(|| world.quorum(leader).describe().voters.iter().all(|v| v.log_end.is_some())).await;
    let unknown = world.quorum(follower).describe().voters.iter().filter(|v| v.log_end.is_none()).count();
    assert!(unknown > 0, "a follower knows too little by itself");
    let described = world.quorum(follower).describe_by_leader().await.expect("the leader answers");
    assert!(described.voters.iter().all(|v| v.log_end.is_some()));
    assert_eq!(described.leader, Some(leader));
}

#[tokio::test]
async fn no_cluster_is_founded_while_a_voter_is_silent() {
    let mut world = World::new(&[1, 2, 3], plain);
    world.start(n(1)).await;
    world.start(n(2)).await;
    tokio::time::timeout(Duration::from_millis(600), world.leader()).await.unwrap_err();
    world.start(n(3)).await;
    world.leader().await;
}

#[tokio::test]
async fn a_single_voter_founds_and_restarts_alone() {
    let mut world = World::running(&[7], plain).await;
    world.write("a").await;
    world.kill(n(7));
    world.start(n(7)).await;
    world.leader().await;
    assert_eq!(world.image(n(7)).feature("a"), 1);
    world.write("b").await;
}

#[tokio::test]
async fn a_killed_leader_is_succeeded_and_nothing_accepted_is_lost() {
    let mut world = World::running(&[1, 2, 3], plain).await;
    for round in 0..3 {
        let old = world.leader().await;
        world.write(&format!("before-{round}")).await;
        world.kill(old);
        world.leader_but(Some(old)).await;
        world.write(&format!("after-{round}")).await;
        world.start(old).await;
        world.all_have(&format!("before-{round}")).await;
        world.all_have(&format!("after-{round}")).await;
    }
}

#[tokio::test]
async fn a_proposal_on_a_stale_base_is_dropped_on_every_node() {
    let world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let stale = world.image(leader).last_accepted();
    world.write("a").await;
    let outcome = world.quorum(leader).propose(proposal(stale, "b")).await;
    assert!(matches!(outcome, Err(ProposeError::Dropped { .. })), "{outcome:?}");
    world.write("c").await;
    world.all_have("c").await;
    assert!([1, 2, 3].iter().all(|&node| world.image(n(node)).feature("b") == 0));
}

#[tokio::test]
async fn a_proposal_above_128_kib_is_refused() {
    let world = World::running(&[1], plain).await;
    let name = "x".repeat(128 * 1024);
    let outcome = world.propose(n(1), &name).await;
    assert!(matches!(outcome, Err(ProposeError::TooLarge { .. })), "{outcome:?}");
    world.write("a").await;
}

#[tokio::test]
async fn a_follower_proposes_nothing() {
    let world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let follower = if leader == n(1) { n(2) } else { n(1) };
    let outcome = world.propose(follower, "a").await;
    assert!(matches!(outcome, Err(ProposeError::NotLeader { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_leader_that_is_cut_off_is_not_active_and_its_proposal_is_unknown() {
    let world = World::running(&[1, 2, 3], |options| options.proposal_timeout = Duration::from_millis(300)).await;
    let old = world.leader().await;
    let others: Vec<_> = [n(1), n(2), n(3)].into_iter().filter(|&node| node != old).collect();
    world.net.isolate(old, &others);
    eventually(|| !world.is_active(old)).await;
    assert_eq!(world.propose(old, "lost").await, Err(ProposeError::Unknown));
    let new = world.leader_but(Some(old)).await;
    world.propose(new, "kept").await.unwrap();
    world.net.heal();
    world.all_have("kept").await;
    assert_eq!(world.image(old).feature("lost"), 0);
}

#[tokio::test]
async fn a_voter_that_was_cut_off_disturbs_nobody_when_it_returns() {
    let world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let (one, two) = (n(leader.get() % 3 + 1), n((leader.get() + 1) % 3 + 1));
    let term = world.quorum(leader).leadership().borrow().term;
    world.net.isolate(one, &[leader, two]);
    eventually(|| world.quorum(one).leadership().borrow().leader.is_none()).await;
    // Time enough to disturb: it has stood for election again and again, and asked both others each time.
    let before = world.net.lost(one);
    eventually(|| world.net.lost(one) >= before + 6).await;
    world.net.heal();
    world.write("a").await;
    world.all_have("a").await;
    let seen = *world.quorum(leader).leadership().borrow();
    assert!(seen.active && seen.term == term, "{seen:?} but led in {term}");
}

#[tokio::test]
async fn all_nodes_restart_from_disk_with_what_they_had() {
    let mut world = World::running(&[1, 2, 3], |options| options.snapshot_entries = 20).await;
    for round in 0..60 {
        world.write(&format!("r{round}")).await;
    }
    let cluster = world.image(n(1)).cluster();
    for node in world.running_nodes() {
        world.kill(node);
    }
    for id in [1, 2, 3] {
        world.start(n(id)).await;
    }
    world.leader().await;
    world.all_have("r59").await;
    assert_eq!(world.image(n(2)).cluster(), cluster);
    eventually(|| world.image(n(1)) == world.image(n(2)) && world.image(n(1)) == world.image(n(3))).await;
}

#[tokio::test]
async fn a_node_that_lost_committed_entries_does_not_start() {
    let mut world = World::running(&[1], plain).await;
    world.write("a").await;
    world.kill(n(1));
    let log = world.disks[&n(1)].path().join("log");
    eventually(|| world.is_closed(n(1))).await;
    std::fs::remove_dir_all(&log).unwrap();
    let refused = world.try_start(n(1)).await;
    assert!(matches!(refused, Err(StartError::Lost { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_lost_metadata_store_is_rebuilt() {
    let mut world = World::running(&[1], |options| options.snapshot_entries = 20).await;
    for round in 0..60 {
        world.write(&format!("r{round}")).await;
    }
    world.kill(n(1));
    let store = world.disks[&n(1)].path().join("store");
    eventually(|| std::fs::remove_dir_all(&store).is_ok() || !store.exists()).await;
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("db"), b"not a database").unwrap();
    world.start(n(1)).await;
    world.leader().await;
    assert!((0..60).all(|round| world.image(n(1)).feature(&format!("r{round}")) == 1));
}

#[tokio::test]
async fn an_observer_joins_by_snapshot_and_follows() {
    let mut world = World::running(&[1, 2, 3], |options| {
        options.snapshot_entries = 20;
        options.kept_entries = 5;
    })
    .await;
    for round in 0..60 {
        world.write(&format!("r{round}")).await;
    }
    let leader = world.leader().await;
    eventually(|| world.quorum(leader).describe().log_start > LogIndex::new(0)).await;
    world.start(n(9)).await;
    world.all_have("r0").await;
    world.write("late").await;
    world.all_have("late").await;
    let leader = world.leader().await;
    let described = world.quorum(leader).describe();
    assert_eq!(described.observers.iter().map(|m| m.node).collect::<Vec<_>>(), vec![n(9)]);
    let barrier = world.quorum(n(9)).read_barrier().await.unwrap();
    assert!(world.image(n(9)).last_applied() >= barrier);
}

#[tokio::test]
async fn a_wiped_observer_is_taken_in_anew() {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.start(n(9)).await;
    world.write("a").await;
    world.all_have("a").await;
    world.kill(n(9));
    world.wipe(n(9));
    world.start(n(9)).await;
    world.all_have("a").await;
    world.write("b").await;
    world.all_have("b").await;
}

#[tokio::test]
async fn a_wiped_voter_never_votes_until_it_is_replaced() {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.write("a").await;
    world.all_have("a").await;
    let leader = world.leader().await;
    let wiped = n(leader.get() % 3 + 1);
    let third = n((leader.get() + 1) % 3 + 1);
    world.kill(wiped);
    world.wipe(wiped);
    world.start(wiped).await;
    world.net.isolate(third, &[leader, wiped]);
    // One of two that answer is not a majority: the wiped one must not count.
    eventually(|| !world.is_active(leader)).await;
    tokio::time::timeout(Duration::from_secs(1), world.leader()).await.unwrap_err();
    world.net.heal();
    let leader = world.leader().await;
    assert_eq!(world.image(wiped).feature("a"), 0);
    let (directory, address) = (world.disks[&wiped].directory, format!("node-{wiped}:9093"));
    let refused = world.quorum(leader).add_observer(wiped, directory, address.clone()).await;
    assert!(matches!(refused, Err(MembershipError::ReplacedVoter { .. })), "{refused:?}");
    world.quorum(leader).replace_voter(wiped, directory, address).await.unwrap();
    world.all_have("a").await;
    let described = world.quorum(leader).describe();
    assert_eq!(described.voters.len(), 3);
    assert!(described.voters.iter().any(|voter| voter.directory == directory));
}

#[tokio::test]
async fn voters_change_while_the_cluster_runs() {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.start(n(4)).await;
    world.write("a").await;
    world.all_have("a").await;
    let leader = world.leader().await;
    world.quorum(leader).set_voters(vec![n(1), n(2), n(3), n(4)]).await.unwrap();
    assert_eq!(world.quorum(leader).describe().voters.len(), 4);
    let gone = n(leader.get() % 3 + 1);
    world.quorum(leader).remove(gone).await.unwrap();
    assert_eq!(world.quorum(leader).describe().voters.len(), 3);
    world.write("b").await;
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_at_once() {
    let world = World::running(&[1, 2, 3], plain).await;
    world.write("a").await;
    let old = world.leader().await;
    let term = world.quorum(old).leadership().borrow().term;
    world.quorum(old).stop().await;
    let new = world.leader_but(Some(old)).await;
    let seen = *world.quorum(new).leadership().borrow();
    assert!(seen.term.get() <= term.get() + 2, "one campaign is enough, two if the leader was elected just now");
    assert_eq!(world.propose(old, "b").await, Err(ProposeError::NotLeader { leader: None }));
}

#[tokio::test]
async fn a_slow_network_changes_no_leader() {
    let world = World::running(&[1, 2, 3], plain).await;
    let leader = world.leader().await;
    let term = world.quorum(leader).leadership().borrow().term;
    world.net.delay(Duration::from_millis(25));
    for round in 0..5 {
        world.write(&format!("r{round}")).await;
    }
    assert_eq!(world.quorum(leader).leadership().borrow().term, term);
}

#[tokio::test]
async fn a_failed_flush_is_fatal_and_the_others_go_on() {
    let mut world = World::running(&[1, 2, 3], plain).await;
    world.write("a").await;
    let leader = world.leader().await;
    world.disks[&leader].broken.store(true, Ordering::Relaxed);
    let outcome = world.propose(leader, "lost").await;
    assert!(outcome.is_err(), "{outcome:?}");
    let (node, reason) = world.fatal.recv().await.unwrap();
    assert_eq!(node, leader, "{reason}");
    world.kill(leader);
    world.leader_but(Some(leader)).await;
    world.write("b").await;
}
