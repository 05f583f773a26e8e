//! Runs seeds of the simulation: many at once for a verdict, one again to see what happened, or mutants to see that the
//! judge finds them.
//!
//! Called by `scripts/sim`. Exits with 0 only when every run was clean, nearly all were valid, and every mutant fell.

mod mutants;
mod report;
mod shrink;

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use ottla::probe::{self, Mutant};
use ottla::testing::world::{Outcome, Plan, Script, Traces, World};
use ottla::verify::{Invariant, Violation};
use report::Sum;

/// The simulation of a whole cluster, by seeds.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// How many seeds; with --mutants, how many at most for each.
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the faults of a run go on, in simulated seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Prints everything that happens in one run.
    #[arg(long)]
    lines: bool,
    /// Runs this script with every seed, instead of the plan that is the seed's.
    #[arg(long)]
    script: Option<String>,
    /// Runs the seeds of tests/simulation/known.txt first, those that once found something.
    #[arg(long)]
    known: bool,
    /// Has the topics of every run compacted.
    #[arg(long)]
    compact: bool,
    /// Takes a guard out.
    #[arg(long)]
    mutant: Option<String>,
    /// Takes each guard out in turn, until a seed finds it.
    #[arg(long)]
    mutants: bool,
    /// With --mutants: leaves out those that are hard to find; all others must fall.
    #[arg(long, requires = "mutants")]
    quick: bool,
    /// Runs only these faults of the plan, by their numbers.
    #[arg(long, value_delimiter = ',')]
    only: Option<Vec<usize>>,
    /// Runs each seed twice and compares.
    #[arg(long)]
    twice: bool,
}

/// A number that no fault has.
const NO_FAULT: &str = "999999";

/// What is said of a run that the simulation itself could not go on with. It fails, and finds no mutant.
const HARNESS: &str = "harness";

thread_local! {
    /// The file in which this thread has last panicked.
    static PANICKED_IN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How one seed went.
enum Verdict {
    Ended(Box<Outcome>),
    Panicked {
        /// Of the product, or of what simulates and judges it.
        whose: &'static str,
        message: String,
    },
}

impl Verdict {
    /// What was found, in a line per violation; empty when the run was clean.
    fn findings(&self) -> Vec<String> {
        match self {
            Self::Ended(outcome) => outcome.report.violations.iter().map(Violation::to_string).collect(),
            Self::Panicked { whose, message } => vec![format!("{whose}: a panic: {message}")],
        }
    }

    /// The names of the invariants that fell.
    fn fallen(&self) -> Vec<&'static str> {
        match self {
            Self::Ended(outcome) => outcome.report.counts.keys().map(|invariant| invariant.name()).collect(),
            Self::Panicked { whose, .. } => vec![whose],
        }
    }

    fn digest(&self) -> u64 {
        match self {
            Self::Ended(outcome) => outcome.digest,
            Self::Panicked { message, .. } => {
                let mut hasher = DefaultHasher::new();
                message.hash(&mut hasher);
                hasher.finish()
            }
        }
    }
}

fn main() {
    let mut arguments = Arguments::parse();
    if let Some(only) = &mut arguments.only {
        only.sort_unstable();
        only.dedup();
    }
    // A panic of a simulated process is a finding, told with its seed.
    std::panic::set_hook(Box::new(|panic| {
        let file = panic.location().map(|location| location.file().to_owned()).unwrap_or_default();
        PANICKED_IN.set(file);
    }));
    let is_well = if arguments.mutants { mutants::run(&arguments) } else { run_all(&arguments) };
    if !is_well {
        std::process::exit(1);
    }
}

fn run_all(arguments: &Arguments) -> bool {
    let mutant = named_mutant(arguments);
    let known = if arguments.known { known() } else { Vec::new() };
    let fresh = arguments.seed..arguments.seed.saturating_add(arguments.seeds);
    let seeds: Vec<u64> = known.into_iter().chain(fresh).collect();
    let (next, sum) = (AtomicUsize::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                probe::plant(mutant);
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let verdict = run(plan(seed, arguments));
                    let marks = probe::take_marks();
                    let repeats = !arguments.twice || run(plan(seed, arguments)).digest() == verdict.digest();
                    drop(probe::take_marks());
                    sum.lock().expect("no panic").add(seed, &verdict, marks, repeats);
                }
            });
        }
    });
    let sum = sum.into_inner().expect("no panic");
    sum.print(&options(arguments));
    if let Some(seed) = sum.first_failed().filter(|_| !arguments.lines) {
        probe::plant(mutant);
        shrink::print(seed, arguments);
    }
    sum.is_well()
}

/// The guard that is to be out, if one is named.
fn named_mutant(arguments: &Arguments) -> Option<Mutant> {
    arguments.mutant.as_ref().map(|name| {
        Mutant::named(name).unwrap_or_else(|| {
            eprintln!("no mutant is named '{name}'; src/probe/mutant.rs lists them");
            std::process::exit(2);
        })
    })
}

/// The seeds that once found something.
fn known() -> Vec<u64> {
    let lines = include_str!("known.txt").lines().filter(|line| !line.starts_with('#'));
    let first = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
    lines.map(|line| first(line).unwrap_or_else(|| panic!("'{line}' begins with no seed"))).collect()
}

/// What must be said beside a seed to have its plan again.
fn options(arguments: &Arguments) -> String {
    let script = arguments.script.as_ref().map(|script| format!(" --script {script}")).unwrap_or_default();
    let compact = if arguments.compact { " --compact" } else { "" };
    let mutant = arguments.mutant.as_ref().map(|mutant| format!(" --mutant {mutant}")).unwrap_or_default();
    let only = arguments.only.as_ref().map(|only| only_option(only)).unwrap_or_default();
    format!(" --seconds {}{script}{compact}{mutant}{only}", arguments.seconds)
}

/// Says which faults a run has; a number that no fault has stands for none.
fn only_option(kept: &[usize]) -> String {
    let numbers: Vec<String> = kept.iter().map(usize::to_string).collect();
    format!(" --only {}", if kept.is_empty() { NO_FAULT.to_owned() } else { numbers.join(",") })
}

/// The plan of a seed, as the arguments have it.
fn plan(seed: u64, arguments: &Arguments) -> Plan {
    let span = Duration::from_secs(arguments.seconds);
    let mut plan = match &arguments.script {
        Some(script) => named_script(script).plan(seed, span),
        None => Plan::of(seed, span),
    };
    if arguments.compact {
        plan = plan.with_compaction();
    }
    if arguments.lines {
        plan.traces = Traces::Lines;
    }
    if let Some(only) = &arguments.only {
        plan.keep(only);
    }
    plan
}

fn named_script(name: &str) -> Script {
    let found = Script::ALL.iter().chain(Script::WITH_GROUPS).find(|script| format!("{script:?}") == name);
    *found.unwrap_or_else(|| {
        eprintln!("no script is named '{name}'; there are {:?} {:?}", Script::ALL, Script::WITH_GROUPS);
        std::process::exit(2);
    })
}

fn run(plan: Plan) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| World::run(plan))) {
        Ok(outcome) => Verdict::Ended(Box::new(outcome)),
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let file = PANICKED_IN.take();
            let is_harness = ["src/testing/", "src/verify/", "tests/"].iter().any(|place| file.starts_with(place));
            let whose = if is_harness { HARNESS } else { Invariant::F4.name() };
            Verdict::Panicked { whose, message: format!("{file}: {}", text.unwrap_or_default()) }
        }
    }
}
