//! What happens to the cluster in a run, by seed.

use std::time::Duration;

use ottla::verify::history::FaultSpan;

use crate::board::moment;
use crate::cluster::{Cluster, State};
use crate::workload::CLIENTS;
use crate::world::Random;

/// Faults begin within this.
const FAULTS_LAST: Duration = Duration::from_secs(12);
/// How many there are at most.
const FAULTS_MAX: usize = 10;

/// One thing that is done to the cluster.
#[derive(Clone, Copy, Debug)]
enum Act {
    Kill(i32),
    CutPower(i32),
    Stop(i32),
    Start(i32),
    Cut(i32, i32),
    CutOneWay(i32, i32),
    Hold(i32, i32),
    Mend(i32, i32),
    Hang(i32),
    GoOn(i32),
    CutClient(usize, i32),
    MendClient(usize, i32),
}

/// What is still to be done, by time since the plan began.
#[derive(Debug)]
pub(crate) struct Plan {
    acts: Vec<(Duration, Act)>,
    /// What it does by name, from when to when.
    faults: Vec<(String, Duration, Duration)>,
}

impl Plan {
    /// A plan at random.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut plan = Self { acts: Vec::new(), faults: Vec::new() };
        for _ in 0..=random.below(FAULTS_MAX) {
            let begin = random.span(0, u64::try_from(FAULTS_LAST.as_millis()).expect("short"));
            let before = plan.acts.len();
            plan.add(&mut random, begin);
            plan.note_fault(before);
        }
        plan.acts.sort_by_key(|(at, _)| *at);
        plan
    }

    /// The acts from this one on are one fault.
    fn note_fault(&mut self, first: usize) {
        let acts = &self.acts[first..];
        let moments = || acts.iter().map(|(at, _)| *at);
        if let (Some((_, act)), Some(begin), Some(end)) = (acts.first(), moments().min(), moments().max()) {
            self.faults.push((format!("{act:?}"), begin, end));
        }
    }

    /// What it does, as the judge has it, when it begins at a moment.
    pub(crate) fn faults(&self, begun: Duration) -> Vec<FaultSpan> {
        let span = |(name, begin, end): &(String, Duration, Duration)| FaultSpan {
            name: name.clone(),
            begin: moment(begun + *begin),
            end: moment(begun + *end),
        };
        let mut faults: Vec<FaultSpan> = self.faults.iter().map(span).collect();
        faults.sort_by_key(|fault| fault.begin);
        faults
    }

    fn add(&mut self, random: &mut Random, begin: Duration) {
        let nodes: Vec<i32> = Cluster::nodes().collect();
        let at = random.below(nodes.len());
        let node = nodes[at];
        let other = nodes[(at + 1 + random.below(nodes.len() - 1)) % nodes.len()];
        match random.below(11) {
            0 | 1 => self.down(begin, random.span(20, 4_000), Act::Kill(node), node),
            2 => self.down(begin, random.span(20, 4_000), Act::CutPower(node), node),
            3 => self.down(begin, random.span(20, 4_000), Act::Stop(node), node),
            4 => {
                // All at once, or nearly.
                let act = [Act::Kill, Act::CutPower][random.below(2)];
                for node in nodes {
                    self.down(begin + random.span(0, 30), random.span(20, 2_000), act(node), node);
                }
            }
            5 => {
                let end = begin + random.span(100, 6_000);
                for other in nodes.into_iter().filter(|other| *other != node) {
                    self.acts.extend([(begin, Act::Cut(node, other)), (end, Act::Mend(node, other))]);
                }
            }
            6 => self.until_mended(begin, random.span(100, 6_000), Act::Cut(node, other), (node, other)),
            7 => self.until_mended(begin, random.span(100, 6_000), Act::CutOneWay(node, other), (node, other)),
            8 => {
                let end = begin + random.span(50, 4_000);
                self.acts.extend([(begin, Act::Hang(node)), (end, Act::GoOn(node))]);
            }
            9 => {
                let client = random.below(CLIENTS);
                let end = begin + random.span(50, 4_000);
                self.acts.extend([(begin, Act::CutClient(client, node)), (end, Act::MendClient(client, node))]);
            }
            _ => self.until_mended(begin, random.span(50, 2_500), Act::Hold(node, other), (node, other)),
        }
    }

    fn down(&mut self, begin: Duration, lasts: Duration, act: Act, node: i32) {
        self.acts.extend([(begin, act), (begin + lasts, Act::Start(node))]);
    }

    fn until_mended(&mut self, begin: Duration, lasts: Duration, act: Act, (one, other): (i32, i32)) {
        self.acts.extend([(begin, act), (begin + lasts, Act::Mend(one, other))]);
    }

    /// Whether everything was done.
    pub(crate) fn is_over(&self) -> bool {
        self.acts.is_empty()
    }

    /// Does what is due.
    pub(crate) fn proceed(&mut self, since: Duration, cluster: &mut Cluster) {
        while let Some((_, act)) = self.acts.first().filter(|(at, _)| *at <= since).copied() {
            self.acts.remove(0);
            match act {
                Act::Kill(node) => cluster.kill(node),
                Act::CutPower(node) => cluster.cut_power(node),
                Act::Stop(node) => cluster.stop(node),
                Act::Start(node) => cluster.start(node),
                Act::Cut(one, other) => cluster.cut(one, other),
                Act::CutOneWay(from, to) => cluster.cut_one_way(from, to),
                Act::Hold(one, other) => cluster.hold(one, other),
                Act::Mend(one, other) => cluster.mend(one, other),
                Act::Hang(node) => cluster.hang(node, true),
                Act::GoOn(node) => cluster.hang(node, false),
                Act::CutClient(client, node) => cluster.cut_client(client, node),
                Act::MendClient(client, node) => cluster.mend_client(client, node),
            }
        }
    }
}

/// Starts who is down and mends the network.
pub(crate) fn heal(cluster: &mut Cluster) {
    for one in Cluster::nodes() {
        for other in Cluster::nodes().filter(|other| one < *other) {
            cluster.mend(one, other);
        }
        cluster.hang(one, false);
        (0..CLIENTS).for_each(|client| cluster.mend_client(client, one));
        if cluster.state(one) == State::Down {
            cluster.start(one);
        }
    }
}
