//! The simulation as a test: what every run of the tests is to see of it. Many seeds, and the mutants, are `scripts/sim`'s.

mod scenarios;

use std::time::Duration;

use ottla::probe::{self, Mutant};
use ottla::testing::world::{Outcome, Plan, Traces, World};
use ottla::verify::Validity;

fn run(seed: u64, seconds: u64, traces: Traces) -> Outcome {
    World::run(Plan { traces, ..Plan::of(seed, Duration::from_secs(seconds)) })
}

#[test]
fn a_seed_repeats_to_the_last_line() {
    for seed in 1..=3 {
        let (first, second) = (run(seed, 10, Traces::Lines), run(seed, 10, Traces::Lines));
        let differs = first.lines.iter().zip(&second.lines).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first.digest, first.events), (second.digest, second.events), "seed {seed}");
    }
}

#[test]
fn a_few_seeds_are_clean_and_prove_something() {
    let outcomes: Vec<Outcome> = (1..=8).map(|seed| run(seed, 30, Traces::Digest)).collect();
    for (outcome, seed) in outcomes.iter().zip(1..) {
        assert!(outcome.report.violations.is_empty(), "seed {seed}: {}", outcome.report);
    }
    let valid = outcomes.iter().filter(|outcome| outcome.report.validity == Validity::Valid).count();
    assert!(valid >= 6, "{valid} of 8 runs proved something");
}

#[test]
fn a_guard_that_is_out_is_found() {
    for mutant in [Mutant::WatermarkIgnoresFollowers, Mutant::EpochStaysOnElection] {
        probe::plant(Some(mutant));
        let fallen = (1..=20).find_map(|seed| {
            let report = run(seed, 30, Traces::Digest).report;
            let mut fallen = report.counts.keys().map(|invariant| invariant.name());
            fallen.find(|name| mutant.falls().contains(name))
        });
        probe::plant(None);
        assert!(fallen.is_some(), "of {:?} nothing fell with {mutant:?}", mutant.falls());
    }
}
