//! A controller in a nutshell: an image, soft state, a clock and a log that accepts every proposal.

mod brokers;
mod configs;
mod creation;
mod failure;
mod isr;
mod properties;

use std::time::Duration;

use crate::machines::metadata::{
    Applied, ConfigResource, Image, Listener, Partition, Proposal, Record, Recovery, snapshot,
};
use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, DirectoryId, GroupConfigs, GroupId, Instant, InvalidConfig, LogIndex, NodeId,
    Now, PartitionId, PartitionIndex, Term, Timestamp, TopicId,
};

use super::*;

/// The world of a test.
struct World {
    image: Image,
    soft: Soft,
    now: Now,
    log: Vec<(LogIndex, Proposal)>,
    effects: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            image: Image::default(),
            soft: Soft::new(Options::default()),
            now: Now { instant: Instant::from_nanos(1), timestamp: Timestamp::new(0) },
            log: Vec::new(),
            effects: Vec::new(),
        };
        world.soft.begin(&world.image, world.now);
        // The quorum itself gives the cluster its identity (rule S9).
        world.accept(Decision::new(vec![Record::ClusterFormed { cluster: cluster() }], Reply::Nothing));
        assert_eq!(world.tick(), ["config set"], "the cluster's minimum isr is fixed before anything else");
        world
    }

    /// Brokers 1 to `count`, serving.
    fn with_brokers(count: i32) -> Self {
        let mut world = Self::new();
        for node in 1..=count {
            world.event(Event::Register(registration(node, 1)));
            world.serve(node);
        }
        world
    }

    /// Brokers 1 to 3 and topic "t" with one partition on them, led by 1.
    fn with_topic() -> Self {
        let mut world = Self::with_brokers(3);
        world.create("t", &[&[1, 2, 3]]);
        world
    }

    fn event(&mut self, event: Event) -> Reply {
        let mut next = event;
        loop {
            let decision = decide(&self.image, &mut self.soft, self.now, next);
            let rest = decision.rest.clone();
            let reply = self.accept(decision);
            match rest {
                Some(rest) => next = *rest,
                None => return reply,
            }
        }
    }

    fn tick(&mut self) -> Vec<String> {
        let bytes_max = self.soft.options().proposal_bytes_max;
        let decision = tick(&self.image, &mut self.soft, self.now, bytes_max);
        let told = decision.records.iter().map(tell).collect();
        self.accept(decision);
        told
    }

    /// Ticks until nothing is due.
    fn settle(&mut self) {
        while !self.tick().is_empty() || self.soft.next_deadline(self.now) <= self.now.instant {}
    }

    fn pass(&mut self, millis: u64) {
        self.now.instant = self.now.instant.plus(Duration::from_millis(millis));
    }

    fn accept(&mut self, decision: Decision) -> Reply {
        self.effects.extend(decision.effects);
        if decision.records.is_empty() {
            return decision.reply;
        }
        // A blank entry now and then: it moves the log and no base (rule S5).
        let index = LogIndex::new(self.image.last_applied().get() + 1 + self.log.len() as u64 % 2);
        let proposal = Proposal { term: Term::new(1), base: self.image.last_accepted(), records: decision.records };
        assert_eq!(self.image.apply(index, &proposal), Applied::Accepted);
        self.log.push((index, proposal));
        decision.reply.at(index)
    }

    fn epoch(&self, node: i32) -> BrokerEpoch {
        self.image.broker(NodeId::new(node)).expect("the test's broker is registered").broker_epoch
    }

    fn heartbeat(&self, node: i32, wish: Wish) -> Heartbeat {
        let broker = self.image.broker(NodeId::new(node)).expect("the test's broker is registered");
        Heartbeat {
            node: broker.node,
            boot: broker.boot,
            broker_epoch: broker.broker_epoch,
            wish,
            progress: Progress { applied: self.image.last_applied(), ..Progress::default() },
            suspects: Vec::new(),
            unserved: Vec::new(),
            unfetchable: Vec::new(),
        }
    }

    fn serve(&mut self, node: i32) -> Reply {
        self.event(Event::Heartbeat(self.heartbeat(node, Wish::Serve)))
    }

    fn all_serve(&mut self, nodes: &[i32]) {
        for node in nodes {
            self.serve(*node);
        }
    }

    /// Lets `millis` pass in which these brokers alone speak and the controller ticks as it should.
    fn live(&mut self, millis: u64, speak: &[i32]) {
        for _ in 0..millis / 250 {
            assert!(self.tick().is_empty());
            self.pass(250);
            self.all_serve(speak);
        }
        self.pass(millis % 250);
    }

    fn connect(&mut self, node: i32) {
        let boot = self.image.broker(NodeId::new(node)).expect("the test's broker is registered").boot;
        self.soft.connected(self.now, NodeId::new(node), boot);
    }

    fn close(&mut self, node: i32) {
        let boot = self.image.broker(NodeId::new(node)).expect("the test's broker is registered").boot;
        self.soft.closed(self.now, NodeId::new(node), boot);
    }

    fn dialed(&mut self, node: i32, outcome: DialOutcome) {
        let boot = self.image.broker(NodeId::new(node)).expect("the test's broker is registered").boot;
        self.soft.dialed(NodeId::new(node), boot, outcome);
    }

    fn create(&mut self, name: &str, assignments: &[&[i32]]) -> Reply {
        let assignments = (0..).zip(assignments).map(|(index, on)| ManualAssignment { index, replicas: nodes(on) });
        let topic = NewTopic { assignments: assignments.collect(), partitions: None, ..new_topic(name) };
        self.event(Event::CreateTopics(request(vec![topic])))
    }

    fn partition(&self, name: &str, index: i32) -> (PartitionId, Partition) {
        let topic = self.image.topic_named(name).expect("the test's topic exists").id;
        let id = PartitionId { topic, index: PartitionIndex::new(index) };
        (id, self.image.partition(id).expect("the test's partition exists").clone())
    }

    fn rebuilt(&self) -> Image {
        let (header, records) = snapshot(&self.image);
        Image::from_snapshot(header, records)
    }
}

/// Does `history`, then decides `event`: its records must be `expect`, as [`tell`] tells them.
fn check(history: impl FnOnce(&mut World), event: impl FnOnce(&World) -> Event, expect: &[&str]) {
    let mut world = World::with_topic();
    history(&mut world);
    let event = event(&world);
    let decision = decide(&world.image, &mut world.soft, world.now, event);
    let told: Vec<String> = decision.records.iter().map(tell).collect();
    assert_eq!(told, expect);
}

/// A record in short.
fn tell(record: &Record) -> String {
    match record {
        Record::BrokerRegistered(broker) => format!("registered {}", broker.node),
        Record::BrokerFenced { node, .. } => format!("fenced {node}"),
        Record::BrokerUnfenced { node, .. } => format!("unfenced {node}"),
        Record::BrokerShuttingDown { node, .. } => format!("shutting down {node}"),
        Record::PartitionChanged { partition, state } => format!("{} {}", partition.index, show(state)),
        other @ (Record::ClusterFormed { .. }
        | Record::FeatureLevelSet { .. }
        | Record::BrokerUnregistered { .. }
        | Record::TopicCreated { .. }
        | Record::TopicDeleted { .. }
        | Record::ConfigSet { .. }
        | Record::PartitionsCreated { .. }
        | Record::PartitionCreated { .. }
        | Record::ProducerIdsAllocated { .. }) => other.kind().to_owned(),
    }
}

fn show(state: &Partition) -> String {
    let list = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
    let leader = state.leader.map_or("none".to_owned(), |leader| leader.to_string());
    let (isr, elr) = (list(&state.isr), list(&state.elr));
    format!("leader {leader} isr [{isr}] elr [{elr}] epoch {}", state.leader_epoch)
}

fn cluster() -> ClusterId {
    ClusterId::new([7; 16])
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

fn directory(number: u8) -> DirectoryId {
    DirectoryId::new([number; 16])
}

/// A start of a node, on its own directory, after a stop that left nothing behind.
fn registration(node: i32, boot: u64) -> Registration {
    let id = directory(u8::try_from(node).expect("the tests' nodes are few"));
    Registration {
        node: NodeId::new(node),
        boot: BootNumber::new(boot),
        cluster: None,
        directories: vec![DirectoryClaim { id, previous_epoch: None }],
        clean: false,
        listeners: vec![Listener { name: "CLIENT".to_owned(), host: "host".to_owned(), port: 9092 }],
        rack: None,
        suspects: Vec::new(),
    }
}

/// The same node again, with what its last life stored.
fn restart(world: &World, node: i32, boot: u64) -> Registration {
    let mut again = registration(node, boot);
    again.directories[0].previous_epoch = Some(world.epoch(node));
    again
}

fn new_topic(name: &str) -> NewTopic {
    let mut id = [0; 16];
    for (at, byte) in name.bytes().enumerate() {
        id[at % 16] ^= byte;
    }
    NewTopic {
        id: TopicId::new(id),
        name: name.to_owned(),
        partitions: Some(1),
        replication_factor: ReplicationFactor::Default,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn request(topics: Vec<NewTopic>) -> CreateTopics {
    CreateTopics { topics, validate_only: false, seed: 1, settled: Vec::new() }
}
