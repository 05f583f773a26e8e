//! A small cluster that is right: it replicates, fails over, loses power and lies to nobody, and notes what its clients
//! and nodes see. Its histories are what the judge must let pass.
//!
//! Each step does one thing that chance picks: a request arrives, a follower fetches, a node learns of the metadata, a
//! client gives up. So all orders of these come up. Invariant: same seed and options, same history.

mod controller;
mod consumers;
mod ending;
mod nodes;
mod producers;
mod replicas;

use std::collections::BTreeMap;
use std::time::Duration;

use super::random::{Random, mixed};
use crate::model::{
    BrokerEpoch, Instant, LeaderEpoch, LogIndex, NodeId, Offset, PartitionEpoch, PartitionId, PartitionIndex, Term,
    TopicId,
};
use crate::verify::history::{
    Administration, AdministrationKind, Class, FaultSpan, MetadataEntry, MetadataFact, NodeEvent, NodeEventKind,
    PartitionState,
};
use crate::verify::{Activity, Bounds, Expectations, History, ReadProfile, Retention, UncleanElection};

use consumers::Consumer;
use producers::{Attempt, Batch, Producer};
use replicas::Replica;

const MILLISECOND: u64 = 1_000_000;

/// What may happen in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) steps: usize,
    pub(super) partitions: usize,
    pub(super) unclean: bool,
    pub(super) strict: bool,
    pub(super) retention: bool,
    pub(super) deletes_topic: bool,
    /// The longest step.
    pub(super) step_max: u64,
}

impl Options {
    /// Anything that a run may be, but unclean and strict ones.
    pub(super) fn any(random: &mut Random) -> Self {
        Self {
            steps: random.between(50, 500),
            partitions: random.between(1, 3),
            unclean: false,
            strict: false,
            retention: random.chance(20),
            deletes_topic: random.chance(20),
            step_max: [2, 50, 2000][random.below(3)] * MILLISECOND / 2,
        }
    }
}

/// A run that is going on.
pub(super) struct World {
    random: Random,
    options: Options,
    now: u64,
    history: History,
    nodes: BTreeMap<NodeId, Node>,
    partitions: Vec<Partition>,
    producers: Vec<Producer>,
    batches: Vec<Batch>,
    attempts: Vec<Attempt>,
    consumers: Vec<Consumer>,
    term: u64,
    values: u64,
}

struct Node {
    is_up: bool,
    is_fenced: bool,
    /// Counts its processes.
    life: u32,
}

struct Partition {
    id: PartitionId,
    state: PartitionState,
    replicas: BTreeMap<NodeId, Replica>,
    is_deleted: bool,
}

/// A legal history, and what it was promised.
pub(super) fn run(seed: u64) -> (History, Expectations) {
    let mut random = Random::new(seed);
    let options = Options::any(&mut random);
    run_with(seed, options)
}

/// The same, of a certain kind.
pub(super) fn run_with(seed: u64, options: Options) -> (History, Expectations) {
    let mut world = World::new(seed, options);
    for _ in 0..options.steps {
        world.step();
    }
    world.finish();
    let expectations = Expectations {
        reads: if options.strict { ReadProfile::Strict } else { ReadProfile::Kafka },
        unclean_election: if options.unclean { UncleanElection::Allowed } else { UncleanElection::Forbidden },
        retention: if options.retention { Retention::Limited } else { Retention::Unlimited },
        activity: Activity::NONE,
        // Some of its steps are long.
        bounds: Bounds { operation: Duration::from_secs(3600), ..Bounds::default() },
        ..Expectations::default()
    };
    (world.history, expectations)
}

pub(super) fn offset(number: usize) -> Offset {
    Offset::new(i64::try_from(number).expect("an offset of a test is small"))
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(mixed(seed));
        let nodes: Vec<NodeId> = (1..=3).map(NodeId::new).collect();
        let partitions = (0..options.partitions).map(|at| Partition::new(at, &nodes, &mut random)).collect();
        let mut world = Self {
            random,
            options,
            now: MILLISECOND,
            history: History::default(),
            nodes: nodes.iter().map(|node| (*node, Node { is_up: true, is_fenced: false, life: 0 })).collect(),
            partitions,
            producers: Vec::new(),
            batches: Vec::new(),
            attempts: Vec::new(),
            consumers: Vec::new(),
            term: 1,
            values: 0,
        };
        world.found(&nodes);
        world.hire();
        world
    }

    /// The first entries of the metadata log.
    fn found(&mut self, nodes: &[NodeId]) {
        self.note(nodes[0], NodeEventKind::Controls { term: Term::new(1) });
        let mut facts = Vec::new();
        for node in nodes {
            self.note(*node, NodeEventKind::Started);
            let epoch = BrokerEpoch::new(i64::from(node.get()));
            facts.push(MetadataFact::Registered { node: *node, epoch });
            facts.push(MetadataFact::Unfenced { node: *node });
        }
        self.commit(facts);
        for at in 0..self.partitions.len() {
            let (id, state) = (self.partitions[at].id, self.partitions[at].state.clone());
            let name = format!("topic-{at}");
            let what = AdministrationKind::CreateTopic { replicas: None, name: name.clone(), topic: Some(id.topic) };
            let (invoked, returned) = (self.instant(), Some(Instant::from_nanos(self.now + 1)));
            self.history.administrations.push(Administration { what, invoked, returned, class: Class::Ok });
            self.commit(vec![MetadataFact::TopicCreated { topic: id.topic, name }, MetadataFact::Partition(state)]);
        }
        for node in nodes {
            self.learn(*node);
        }
        self.now += MILLISECOND;
        let (begin, end) = (self.instant(), self.instant());
        self.history.faults.push(FaultSpan { name: "all of them".to_owned(), begin, end });
    }

    fn step(&mut self) {
        self.now += u64::try_from(self.random.below(4)).expect("it is below 4") * self.options.step_max / 3;
        match self.random.below(100) {
            0..15 => self.begin_batch(),
            15..34 => self.deliver(),
            34..52 => self.replicate(),
            52..60 => self.answer(),
            60..64 => self.retry_or_give_up(),
            64..78 => self.poll(),
            78..83 => self.look_up(),
            83..89 => self.learn_somewhere(),
            89..94 => self.control(),
            94..96 => self.crash_or_restart(),
            96..97 => self.tell(),
            _ => self.remove(),
        }
    }

    const fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn note(&mut self, node: NodeId, what: NodeEventKind) {
        let at = self.instant();
        self.history.node_events.push(NodeEvent { node, at, what });
    }

    fn commit(&mut self, facts: Vec<MetadataFact>) {
        // Some proposals are dropped: their index is used, and nothing changes.
        if self.random.chance(5) {
            self.enter(false, Vec::new());
        }
        self.enter(true, facts);
    }

    fn enter(&mut self, accepted: bool, facts: Vec<MetadataFact>) {
        let (index, term, committed_at) = (self.index().get() + 1, Term::new(self.term), self.instant());
        let index = LogIndex::new(index);
        self.history.metadata.push(MetadataEntry { index, term, committed_at, accepted, facts });
    }

    fn index(&self) -> LogIndex {
        self.history.metadata.last().map_or(LogIndex::new(0), |entry| entry.index)
    }

    /// The partitions that are there.
    fn living(&self) -> Vec<usize> {
        (0..self.partitions.len()).filter(|at| !self.partitions[*at].is_deleted).collect()
    }

    fn some_partition(&mut self) -> Option<usize> {
        let living = self.living();
        self.random.pick(&living).copied()
    }

    fn some_node(&mut self) -> NodeId {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        *self.random.pick(&nodes).expect("there are nodes")
    }
}

impl Partition {
    fn new(at: usize, nodes: &[NodeId], random: &mut Random) -> Self {
        let topic = TopicId::new([u8::try_from(at + 1).expect("there are few topics"); 16]);
        let id = PartitionId { topic, index: PartitionIndex::new(0) };
        let mut replicas = nodes.to_vec();
        replicas.rotate_left(random.below(nodes.len()));
        let state = PartitionState {
            partition: id,
            isr: replicas.clone(),
            elr: Vec::new(),
            leader: replicas.first().copied(),
            leader_epoch: LeaderEpoch::new(0),
            partition_epoch: PartitionEpoch::new(0),
            isr_min: 2,
            replicas,
        };
        let replicas = state.replicas.iter().map(|node| (*node, Replica::default())).collect();
        Self { id, state, replicas, is_deleted: false }
    }
}
