//! One run: a cluster, its clients, a plan; then healing, and the judgement.

use std::rc::Rc;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt as _;

use crate::client::TOPIC;
use crate::cluster::{Cluster, State};
use crate::plan::{Plan, heal};
use crate::trace::Trace;
use crate::workload::{self, Board, PARTITIONS, PRODUCERS, RECOVERY_MAX, Shared};
use crate::world::Random;

/// The longest that a young cluster may take to create a topic.
const START_MAX: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What must not be, and was.
    pub(crate) violations: Vec<String>,
    /// The trace's number, and of how many events.
    pub(crate) digest: (u64, u64),
    /// The trace, if it was to be kept.
    pub(crate) lines: Vec<String>,
    /// How many values were acknowledged.
    pub(crate) acked: usize,
    /// How many produces failed.
    pub(crate) refused: u64,
    /// How long after the healing every partition took appends again.
    pub(crate) recovery: Option<Duration>,
    /// The virtual time of the run.
    pub(crate) lasted: Duration,
    /// What was done to the cluster.
    pub(crate) log: Vec<(Duration, String)>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, keeps_lines: bool) -> Outcome {
    let trace = Trace::new(keeps_lines);
    let subscriber = tracing_subscriber::registry().with(trace.clone());
    tracing::subscriber::with_default(subscriber, || simulate(seed, &trace))
}

fn simulate(seed: u64, trace: &Trace) -> Outcome {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::new(random.next());
    let board = Shared::default();
    for number in 0..PRODUCERS {
        let (board, seed) = (Rc::clone(&board), random.next());
        cluster.client(&format!("producer-{number}"), workload::produce(board, number, seed));
    }
    cluster.client("consumer", workload::consume(Rc::clone(&board), random.next()));
    let mut plan = Plan::random(random.next());
    if let Err(failure) = proceed(&mut cluster, &board, &mut plan) {
        board.borrow_mut().violations.push(failure);
    }
    let mut board = board.borrow_mut();
    if board.violations.is_empty() {
        board.judge();
        judge_replicas(&cluster, &mut board);
    }
    Outcome {
        violations: std::mem::take(&mut board.violations),
        digest: trace.digest(),
        lines: trace.lines(),
        acked: board.acked.len(),
        refused: board.refused,
        recovery: board.recovered_at.zip(board.healed_at).map(|(recovered, healed)| recovered - healed),
        lasted: cluster.sim.elapsed(),
        log: std::mem::take(&mut cluster.log),
    }
}

fn judge_replicas(cluster: &Cluster, board: &mut Board) {
    for node in Cluster::nodes() {
        for partition in 0..PARTITIONS {
            match cluster.records(node, TOPIC, partition) {
                Ok(records) => board.judge_replica(node, partition, &records),
                Err(cause) => board.violations.push(format!("node {node}: {cause}")),
            }
        }
    }
}

fn proceed(cluster: &mut Cluster, board: &Shared, plan: &mut Plan) -> Result<(), String> {
    while !board.borrow().is_created {
        cluster.step()?;
        if cluster.sim.elapsed() > START_MAX {
            return Err("the topic is not created".to_owned());
        }
    }
    let begin = cluster.sim.elapsed();
    while !plan.is_over() {
        plan.proceed(cluster.sim.elapsed() - begin, cluster);
        cluster.step()?;
    }
    heal(cluster);
    board.borrow_mut().healed_at = Some(cluster.sim.elapsed());
    let deadline = cluster.sim.elapsed() + RECOVERY_MAX * 3;
    while !cluster.step()? {
        // Who was asked to stop goes down only now.
        Cluster::nodes()
            .filter(|node| cluster.state(*node) == State::Down)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|node| cluster.start(node));
        if cluster.sim.elapsed() > deadline {
            return Err("the clients do not come to an end".to_owned());
        }
    }
    Ok(())
}
