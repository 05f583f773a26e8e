//! Three shards, a controller, a network and disks, driven by one seed: kills, power cuts, delays, lost messages,
//! fencings and elections in any order.
//!
//! Judged all the time: two readers never see different records at one offset, and what was acknowledged with acks=all
//! is one of them. Judged at the end, when all is well again: a leader is there, every replica holds the same, and
//! nothing that was acknowledged or read is missing. A failing seed is printed and becomes a named test.

mod cluster;
mod controller;

use cluster::Cluster;

/// Steps of one run.
const STEPS: usize = 1000;

/// How many produces were acknowledged.
fn survive(seed: u64) -> usize {
    let result = std::panic::catch_unwind(|| {
        let mut cluster = Cluster::new(seed);
        for _ in 0..STEPS {
            cluster.step();
        }
        cluster.heal_and_judge();
        cluster.acked()
    });
    match result {
        Ok(acked) => acked,
        Err(cause) => {
            eprintln!("failed with seed {seed}: add `survive({seed})` as a named test");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens_in_between() {
    let count = std::env::var("OTTLA_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let first = std::env::var("OTTLA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let acked: usize = (first..first + count).map(survive).sum();
    eprintln!("{acked} produces were acknowledged in {count} runs");
    assert!(acked > 0, "a simulation in which nothing is acknowledged proves nothing");
}

#[test]
fn a_run_acknowledges_something_and_repeats_exactly() {
    let run = |seed| {
        let mut cluster = Cluster::new(seed);
        for _ in 0..STEPS {
            cluster.step();
        }
        cluster.heal_and_judge();
        (cluster.acked(), cluster.trace().to_vec())
    };
    let (acked, trace) = run(1);
    assert!(acked > 0, "{acked} produces were acknowledged");
    assert_eq!((acked, trace), run(1));
}
