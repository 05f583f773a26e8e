//! Runs seeds of the simulation: many at once for a verdict, one again to see what happened.
//!
//! Called by `scripts/sim`. Exits with 0 only when every run was valid and clean.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use ottla::probe::{self, Mark, Mutant};
use ottla::testing::world::{Outcome, Plan, Traces, World};
use ottla::verify::Validity;

/// The simulation of a whole cluster, by seeds.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the faults of a run go on, in simulated seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Prints everything that happens.
    #[arg(long)]
    lines: bool,
    /// Takes a guard out.
    #[arg(long)]
    mutant: Option<String>,
    /// Stops at the first failure.
    #[arg(long)]
    first: bool,
    /// Runs only these faults of the plan, by their numbers.
    #[arg(long, value_delimiter = ',')]
    only: Option<Vec<usize>>,
}

/// What all runs add up to.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    events: u64,
    simulated: Duration,
    acknowledged: u64,
    invalid: Vec<u64>,
    failed: BTreeMap<u64, String>,
    marks: BTreeMap<Mark, u64>,
}

fn main() {
    let arguments = Arguments::parse();
    let mutant = arguments.mutant.as_ref().map(|name| {
        Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name).unwrap_or_else(|| {
            eprintln!("no mutant is named '{name}'");
            std::process::exit(2);
        })
    });
    let (next, sum) = (AtomicU64::new(arguments.seed), Mutex::new(Sum::default()));
    let end = arguments.seed + arguments.seeds;
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.min(usize::try_from(arguments.seeds).unwrap_or(1)).max(1) {
            scope.spawn(|| {
                probe::plant(mutant);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || (arguments.first && !sum.lock().expect("no panic").failed.is_empty()) {
                        return;
                    }
                    let outcome = run(seed, &arguments);
                    add(&mut sum.lock().expect("no panic"), seed, outcome);
                }
            });
        }
    });
    report(&sum.into_inner().expect("no panic"), &arguments);
}

fn plan(seed: u64, arguments: &Arguments) -> Plan {
    let mut plan = Plan::random(seed, Duration::from_secs(arguments.seconds));
    if arguments.lines {
        plan.traces = Traces::Lines;
    }
    if let Some(only) = &arguments.only {
        let mut at = 0;
        plan.steps.retain(|_| {
            at += 1;
            only.contains(&(at - 1))
        });
    }
    plan
}

fn run(seed: u64, arguments: &Arguments) -> Result<Outcome, String> {
    let plan = plan(seed, arguments);
    catch_unwind(AssertUnwindSafe(|| World::run(plan))).map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

fn add(sum: &mut Sum, seed: u64, outcome: Result<Outcome, String>) {
    sum.runs += 1;
    for (mark, count) in probe::take_marks() {
        *sum.marks.entry(mark).or_default() += count;
    }
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(message) => {
            sum.failed.insert(seed, format!("F4: a panic: {message}"));
            return;
        }
    };
    for line in &outcome.lines {
        println!("{line}");
    }
    sum.events += outcome.events;
    sum.simulated += outcome.simulated;
    sum.acknowledged += outcome.report.statistics.acknowledged;
    if !outcome.report.violations.is_empty() {
        sum.failed.insert(seed, outcome.report.to_string());
    } else if outcome.report.validity != Validity::Valid {
        sum.invalid.push(seed);
    }
}

fn report(sum: &Sum, arguments: &Arguments) {
    for (seed, what) in &sum.failed {
        println!("seed {seed} failed:\n{what}\n  replay: scripts/sim --seed {seed} --lines");
    }
    let hours = sum.simulated.as_secs_f64() / 3600.0;
    println!(
        "{} runs, {} failed, {} invalid; {hours:.2} simulated hours, {} events, {} acknowledged",
        sum.runs,
        sum.failed.len(),
        sum.invalid.len(),
        sum.events,
        sum.acknowledged
    );
    for mark in Mark::ALL {
        println!("  {:>9}  {}", sum.marks.get(mark).copied().unwrap_or(0), mark.name());
    }
    if !sum.invalid.is_empty() {
        println!("invalid: {:?}", sum.invalid);
    }
    if !sum.failed.is_empty() || (arguments.mutant.is_none() && sum.invalid.len() > sum.runs as usize / 20) {
        std::process::exit(1);
    }
}
