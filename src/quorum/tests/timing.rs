//! How long a cluster is without an active leader. `QUORUM_ROUNDS=50 cargo test --lib quorum::tests::timing -- --nocapture`
//! prints the distributions; by default a few rounds hold the promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::world::{World, eventually, n};
use crate::env::{Clock, SystemClock};
use crate::model::NodeId;
use crate::quorum::QuorumOptions;

/// Wide, because a test machine runs everything at once; alone it is a twentieth of it.
const SECONDS_MS: u128 = 8_000;

fn rounds() -> u64 {
    std::env::var("QUORUM_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Reads a duration in milliseconds from the environment, for experiments.
fn tune(options: &mut QuorumOptions) {
    let from = |name: &str, value: &mut Duration| {
        if let Some(millis) = std::env::var(name).ok().and_then(|text| text.parse().ok()) {
            *value = Duration::from_millis(millis);
        }
    };
    from("QUORUM_HEARTBEAT", &mut options.heartbeat);
    from("QUORUM_ELECTION_MIN", &mut options.election_timeout_min);
    from("QUORUM_ELECTION_MAX", &mut options.election_timeout_max);
}

/// Threads that do nothing but burn.
struct Burners(Arc<AtomicBool>);

impl Burners {
    fn light(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..count {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
        Self(stop)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn tell(what: &str, mut millis: Vec<u128>) {
    millis.sort_unstable();
    let at = |percent: usize| millis[(millis.len() * percent / 100).min(millis.len() - 1)];
    println!("{what}: n={} p50={} p90={} p99={} max={} ms", millis.len(), at(50), at(90), at(99), at(100));
}

/// Times from the loss of a leader to the next active one that has accepted a proposal.
async fn measure(what: &str, lose: impl Fn(&mut World, NodeId)) -> Vec<u128> {
    let clock = SystemClock::new();
    let mut world = World::running(&[1, 2, 3], tune).await;
    let mut millis = Vec::new();
    for round in 0..rounds() {
        let old = world.leader().await;
        world.write(&format!("before-{round}")).await;
        world.all_have(&format!("before-{round}")).await;
        let from = clock.now().instant;
        lose(&mut world, old);
        loop {
            let new = world.leader_but(Some(old)).await;
            if world.propose(new, &format!("after-{round}")).await.is_ok() {
                break;
            }
        }
        millis.push(clock.now().instant.since(from).as_millis());
        world.net.heal();
        if !world.running_nodes().contains(&old) {
            world.start(old).await;
        }
        world.all_have(&format!("after-{round}")).await;
    }
    tell(what, millis.clone());
    millis
}

#[tokio::test]
async fn a_killed_leader_is_succeeded_within_seconds() {
    let millis = measure("killed", |world, node| world.kill(node)).await;
    assert!(millis.iter().all(|&ms| ms < SECONDS_MS), "{millis:?}");
}

#[tokio::test]
async fn a_silent_leader_is_succeeded_within_seconds() {
    let all = [n(1), n(2), n(3)];
    let others = move |node: NodeId| all.into_iter().filter(|&other| other != node).collect::<Vec<_>>();
    let millis = measure("silent", |world, node| world.net.isolate(node, &others(node))).await;
    assert!(millis.iter().all(|&ms| ms < SECONDS_MS), "{millis:?}");
}

#[tokio::test]
async fn saturated_cores_do_not_keep_changing_the_leader() {
    let seconds = rounds();
    let world = World::running(&[1, 2, 3], tune).await;
    let leader = world.leader().await;
    let before = *world.quorum(leader).leadership().borrow();
    let _burners = Burners::light(8);
    let clock = SystemClock::new();
    let from = clock.now().instant;
    let mut writes = Vec::new();
    while clock.now().instant.since(from) < Duration::from_secs(seconds) {
        let at = clock.now().instant;
        world.write("x").await;
        writes.push(clock.now().instant.since(at).as_millis());
    }
    tell("write under saturation", writes);
    let after = *world.quorum(world.leader().await).leadership().borrow();
    println!("terms changed: {}", after.term.get() - before.term.get());
    // One, for a machine that runs all the other tests at the same time.
    assert!(after.term.get() <= before.term.get() + 1, "{after:?} after {before:?}");
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_is_not_active_and_is_succeeded() {
    let world = World::running(&[1, 2, 3], tune).await;
    let old = world.leader().await;
    world.disks[&old].stall.set(true);
    let quorum = world.quorum(old);
    let stuck =
        tokio::spawn(async move { quorum.propose(super::world::proposal(crate::model::LogIndex::new(0), "x")).await });
    eventually(|| !world.is_active(old)).await;
    let new = world.leader_but(Some(old)).await;
    assert!(world.propose(new, "kept").await.is_ok());
    world.disks[&old].stall.set(false);
    assert!(stuck.await.unwrap().is_err());
    world.all_have("kept").await;
}
