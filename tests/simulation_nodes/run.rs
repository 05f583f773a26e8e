//! One run: a cluster, its clients, a plan; then healing, and the judgement.

use std::rc::Rc;
use std::time::Duration;

use ottla::verify::history::FaultSpan;
use ottla::verify::{Invariant, Report, Violation};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::board::{Shared, moment};
use crate::cluster::{Cluster, State};
use crate::desk::{self, SharedDesk};
use crate::judge::judge;
use crate::plan::{Plan, heal};
use crate::scenario::Scenario;
use crate::stage::{Stage, Stop};
use crate::trace::Trace;
use crate::workload::{self, LOOK_MAX, PRODUCERS, RECOVERY_MAX};
use crate::world::Random;

/// The longest that a young cluster may take to create a topic.
const START_MAX: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What the judge says.
    pub(crate) report: Report,
    /// The trace's number, and of how many events.
    pub(crate) digest: (u64, u64),
    /// The trace, if it was to be kept.
    pub(crate) lines: Vec<String>,
    /// How many values were acknowledged.
    pub(crate) acked: usize,
    /// How many values were not.
    pub(crate) refused: usize,
    /// How long after the healing every partition took appends again.
    pub(crate) recovery: Option<Duration>,
    /// The virtual time of the run.
    pub(crate) lasted: Duration,
    /// What was done to the cluster.
    pub(crate) log: Vec<(Duration, String)>,
}

/// Runs one seed: with a plan at random, or that of a scenario.
pub(crate) fn run(seed: u64, scenario: Option<&Scenario>, keeps_lines: bool) -> Outcome {
    let trace = Trace::new(keeps_lines);
    let subscriber = tracing_subscriber::registry().with(trace.clone());
    tracing::subscriber::with_default(subscriber, || simulate(seed, scenario, &trace))
}

fn simulate(seed: u64, scenario: Option<&Scenario>, trace: &Trace) -> Outcome {
    let mut random = Random::new(seed);
    let board = Shared::default();
    let mut cluster = Cluster::new(random.next(), &board);
    for number in 0..PRODUCERS {
        let (board, seed) = (Rc::clone(&board), random.next());
        cluster.client(&format!("producer-{number}"), workload::produce(board, number, seed));
    }
    cluster.client("consumer", workload::consume(Rc::clone(&board), random.next()));
    let mut plan = Plan::random(random.next());
    let desk = SharedDesk::default();
    if scenario.is_some() {
        cluster.client("desk", desk::serve(Rc::clone(&desk), Rc::clone(&board), random.next()));
    }
    let mut stage = Stage { cluster, board: Rc::clone(&board), desk };
    let played = begin(&mut stage).and_then(|()| match scenario {
        Some(scenario) => play_scenario(&mut stage, scenario),
        None => play(&mut stage, &mut plan),
    });
    let ended = played.and_then(|()| end(&mut stage));
    let mut cluster = stage.cluster;
    let lasted = cluster.sim.elapsed();
    // What is read of the disks is no part of what happened.
    let digest = trace.digest();
    let report = judge(&mut cluster, &board, scenario, ended.err());
    let board = board.borrow();
    Outcome {
        report,
        digest,
        lines: trace.lines(),
        acked: board.acked(),
        refused: board.history.sends.len() - board.acked(),
        recovery: board.recovered_at.zip(board.healed_at).map(|(recovered, healed)| recovered - healed),
        lasted,
        log: std::mem::take(&mut cluster.log),
    }
}

fn late(invariant: Invariant, what: &str) -> Stop {
    Violation { invariant, message: what.to_owned() }.into()
}

fn begin(stage: &mut Stage) -> Result<(), Stop> {
    while !stage.board.borrow().is_created {
        stage.cluster.step()?;
        if stage.cluster.sim.elapsed() > START_MAX {
            return Err(late(Invariant::F1, "the topic is not created"));
        }
    }
    Ok(())
}

fn play(stage: &mut Stage, plan: &mut Plan) -> Result<(), Stop> {
    let begin = stage.cluster.sim.elapsed();
    stage.board.borrow_mut().history.faults = plan.faults(begin);
    while !plan.is_over() {
        plan.proceed(stage.cluster.sim.elapsed() - begin, &mut stage.cluster);
        stage.cluster.step()?;
    }
    Ok(())
}

/// What a scenario does is one fault, unless it does nothing.
fn play_scenario(stage: &mut Stage, scenario: &Scenario) -> Result<(), Stop> {
    let begin = moment(stage.cluster.sim.elapsed());
    scenario.play(stage)?;
    let end = moment(stage.cluster.sim.elapsed());
    if scenario.unavailable_max.is_none() {
        let fault = FaultSpan { name: scenario.name.to_owned(), begin, end };
        stage.board.borrow_mut().history.faults.push(fault);
    }
    Ok(())
}

/// Heals, and waits until all clients have seen what they want.
fn end(stage: &mut Stage) -> Result<(), Stop> {
    let Stage { cluster, board, .. } = stage;
    heal(cluster);
    board.borrow_mut().healed_at = Some(cluster.sim.elapsed());
    let deadline = cluster.sim.elapsed() + (RECOVERY_MAX + LOOK_MAX) * 2;
    while !cluster.step()? {
        // Who was asked to stop goes down only now.
        Cluster::nodes()
            .filter(|node| cluster.state(*node) == State::Down)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|node| cluster.start(node));
        if cluster.sim.elapsed() > deadline {
            return Err(late(Invariant::F3, "the clients do not come to an end"));
        }
    }
    Ok(())
}
