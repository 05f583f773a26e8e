//! The whole cluster in one thread: shards, controllers and disks as they are in production, under simulated time, over
//! a simulated network, driven by one seed.
//!
//! Called by `tests/simulation` and by `scripts/sim`. The world is one queue of happenings in the order of their
//! moments; what a happening causes stands in the queue again. Invariant: the same plan gives the same history, to the
//! byte; whatever decides is production code, and nothing here repeats it.

mod knobs;
mod message;
mod network;
mod quorum;
mod process;
mod power;
mod data;
mod compact;
mod serve;
mod fetch;
mod broker;
mod ask;
mod metadata;
mod controller;
mod record;
mod client;
mod consume;
mod groups;
mod members;
mod administer;
mod fault;
mod disturb;
mod disks;
mod plan;
mod script;
mod service;
mod observe;
mod finish;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::fault::{Fault, Which};
pub use self::finish::Outcome;
pub use self::knobs::{CompactionKnobs, Knobs};
pub use self::plan::{Plan, Step, When};
pub use self::record::Traces;
pub use self::script::Script;

use self::administer::Administrator;
use self::client::Producer;
use self::compact::Keys;
use self::consume::Consumer;
use self::groups::Committer;
use self::members::Member;
use self::message::{Endpoint, Message, RequestId};
use self::network::{Fate, Network};
use self::observe::Observer;
use self::process::{Machine, Process};
use self::quorum::{ProposalId, Quorum};
use self::record::Recorder;
use self::service::Service;
use crate::model::{BootNumber, ClusterId, Instant, LogIndex, NodeId};
use crate::testing::Chance;

/// So much happens in no run; a third of it in the busiest.
const EVENTS_MAX: u64 = 3_000_000;

/// What happens at a moment.
#[derive(Debug)]
enum Happening {
    Arrive { from: Endpoint, to: Endpoint, message: Message },
    Turn(Life),
    Flushed(Life),
    Attest(Life),
    Compact(Life),
    ReadDue(Life, u64),
    Beat(Life, u64),
    AskAgain(Life, u64),
    TryEnds(Life, u64, RequestId),
    Reconcile(Life),
    ImageDue(Life),
    FetchAgain(Life, NodeId),
    FetchEnds(Life, NodeId, RequestId),
    Control(Life, u64),
    Dialed(Life, NodeId, BootNumber),
    Barrier(Life, Instant),
    Demote(Life, crate::model::Term),
    Activate(Life, crate::model::Term),
    Commit(Life, ProposalId),
    Apply(Life, LogIndex),
    QuorumBeat,
    Look,
    Start(NodeId),
    Impersonate(NodeId, Instant),
    ClientTurn(Endpoint),
    ClientTimeout(Endpoint, RequestId),
    Administer,
    Step(usize),
    StepEnds(usize),
}

/// One life of one node: what was meant for an earlier one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    node: NodeId,
    life: u64,
}

/// See the file's comment.
pub struct World {
    knobs: Knobs,
    plan: Plan,
    chance: Chance,
    keys: Keys,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    queued: u64,
    lives: u64,
    requests: u64,
    tickets: u64,
    network: Network,
    held: Vec<(Endpoint, Endpoint, Message)>,
    /// When the last message of a client arrives at a node.
    arrivals: BTreeMap<(Endpoint, Endpoint), Instant>,
    quorum: Quorum,
    machines: BTreeMap<NodeId, Machine>,
    producers: BTreeMap<Endpoint, Producer>,
    consumers: BTreeMap<Endpoint, Consumer>,
    committers: BTreeMap<Endpoint, Committer>,
    members: BTreeMap<Endpoint, Member>,
    administrator: Administrator,
    record: Recorder,
    observer: Observer,
    service: Service,
    /// Faults are over.
    is_healed: bool,
    /// Copies that an operator has had made anew.
    mended: u64,
    events: u64,
}

impl World {
    /// The world at the begin of a plan.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let knobs = plan.knobs.clone();
        let now = Instant::from_nanos(1_000_000);
        let count = i32::try_from(knobs.nodes).expect("a few nodes");
        let machines = (1..=count).map(|id| (NodeId::new(id), Machine::new(now))).collect();
        let mut world = Self {
            network: Network::new(knobs.delay),
            quorum: Quorum::new(ClusterId::new(chance.uuid()), knobs.proposal_bytes_max, now),
            record: Recorder::new(plan.traces),
            observer: Observer::default(),
            service: Service::default(),
            administrator: Administrator::new(&knobs),
            keys: Keys::new(plan.seed),
            producers: Producer::all(&knobs, &mut chance),
            consumers: Consumer::all(&knobs, &mut chance),
            committers: Committer::all(&knobs, plan.seed),
            members: Member::all(&knobs, plan.seed),
            knobs,
            plan,
            chance,
            now,
            queue: BTreeMap::new(),
            queued: 0,
            lives: 0,
            requests: 0,
            tickets: 0,
            held: Vec::new(),
            arrivals: BTreeMap::new(),
            machines,
            is_healed: false,
            mended: 0,
            events: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in self.nodes() {
            let span = self.chance.span(Duration::ZERO, self.knobs.start_spread);
            self.after(span, Happening::Start(node));
        }
        self.after(Duration::from_millis(5), Happening::QuorumBeat);
        self.after(Duration::from_millis(900), Happening::Look);
        let clients: Vec<Endpoint> = self.producers.keys().chain(self.consumers.keys()).copied().collect();
        for client in clients {
            let span = self.chance.millis(100, 1000);
            self.after(span, Happening::ClientTurn(client));
        }
        let committers: Vec<Endpoint> = self.committers.keys().chain(self.members.keys()).copied().collect();
        for (client, number) in committers.into_iter().zip(1..) {
            self.after(Duration::from_millis(100 * number), Happening::ClientTurn(client));
        }
        self.after(Duration::from_millis(60), Happening::Administer);
        for (number, step) in self.plan.steps.clone().iter().enumerate() {
            if let When::At(at) = step.when {
                self.after(at, Happening::Step(number));
            }
        }
    }

    /// Lets everything happen that is due up to a moment, or until the judge has seen enough.
    fn run_until(&mut self, end: Instant) {
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            if at > end || self.observer.has_failed() {
                break;
            }
            assert!(self.events < EVENTS_MAX, "the cluster never comes to rest: {EVENTS_MAX} events");
            let ((at, _), happening) = self.queue.pop_first().expect("just seen");
            self.now = self.now.max(at);
            self.events += 1;
            self.happen(happening);
        }
        // What has failed stops where it failed: nothing is missing in the time after.
        if !self.observer.has_failed() {
            self.now = self.now.max(end);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let Some(happening) = self.unless_paused(happening) else { return };
        self.record.trace(self.now, &happening);
        match happening {
            Happening::Arrive { from, to, message } => self.arrive(from, to, message),
            Happening::Turn(life) => self.turn_due(life),
            Happening::Flushed(life) => self.flush_done(life),
            Happening::Attest(life) => self.attest(life),
            Happening::Compact(life) => self.compact_on(life),
            Happening::ReadDue(life, key) => self.read_due(life, key),
            Happening::Beat(life, number) => self.beat(life, number),
            Happening::AskAgain(life, ask) => self.try_ask(life, ask),
            Happening::TryEnds(life, ask, request) => self.try_ends(life, ask, request),
            Happening::Reconcile(life) => self.reconcile(life),
            Happening::ImageDue(life) => self.image_due(life),
            Happening::FetchAgain(life, leader) => self.pump(life, leader),
            Happening::FetchEnds(life, leader, request) => self.fetch_failed(life, leader, request),
            Happening::Control(life, tick) => self.control(life, tick),
            Happening::Dialed(life, node, boot) => self.dialed(life, node, boot),
            Happening::Barrier(life, asked) => self.barrier(life, asked),
            Happening::Demote(life, term) => self.demote(life, term),
            Happening::Activate(life, term) => self.activate(life, term),
            Happening::Commit(life, proposal) => self.commit(life, proposal),
            Happening::Apply(life, index) => self.apply(life, index),
            Happening::QuorumBeat => self.quorum_beat(),
            Happening::Look => self.look_at_service(),
            Happening::Start(node) => self.start(node),
            Happening::Impersonate(node, until) => self.impersonate(node, until),
            Happening::ClientTurn(client) => self.client_turn(client),
            Happening::ClientTimeout(client, request) => self.client_answer(client, request, None),
            Happening::Administer => self.administer(),
            Happening::Step(number) => self.step_begins(number),
            Happening::StepEnds(number) => self.step_ends(number),
        }
    }

    /// What a paused process is to do waits until it runs again; what comes for it stays in its sockets.
    fn unless_paused(&mut self, happening: Happening) -> Option<Happening> {
        let Some(node) = happening.node() else { return Some(happening) };
        let until = self.machines[&node].process.as_ref().map(|process| process.paused_until);
        match until.filter(|until| *until > self.now) {
            Some(until) => {
                self.at(until, happening);
                None
            }
            None => Some(happening),
        }
    }

    fn at(&mut self, at: Instant, happening: Happening) {
        self.queued += 1;
        self.queue.insert((at, self.queued), happening);
    }

    fn after(&mut self, span: Duration, happening: Happening) {
        self.at(self.now.plus(span), happening);
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    fn machine(&mut self, node: NodeId) -> &mut Machine {
        self.machines.get_mut(&node).expect("a machine for each node")
    }

    fn running(&mut self, node: NodeId) -> Option<&mut Process> {
        self.machine(node).process.as_mut()
    }

    /// The process of that life, unless it has ended.
    fn process(&mut self, life: Life) -> Option<&mut Process> {
        self.running(life.node).filter(|process| process.life == life.life)
    }

    fn life(&mut self, node: NodeId) -> Option<Life> {
        self.running(node).map(|process| Life { node, life: process.life })
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Sends a message; what becomes of it is the network's matter.
    fn send(&mut self, from: Endpoint, to: Endpoint, message: Message) {
        if message.is_replication() && self.network.holds_data(from, to) {
            self.held.push((from, to, message));
            return;
        }
        let may_double = self.may_double(&message);
        let fate = self.network.fate(from, to, may_double, &mut self.chance);
        match fate {
            Fate::Arrives(spans) => {
                for span in spans {
                    let at = self.in_order(from, to, self.now.plus(span));
                    self.at(at, Happening::Arrive { from, to, message: message.clone() });
                }
            }
            Fate::Lost => {}
            Fate::Refused(span) => {
                if let Message::Request { id, .. } = message {
                    self.after(span, Happening::Arrive { from: to, to: from, message: Message::Broken { id } });
                }
            }
            Fate::Held => self.held.push((from, to, message)),
        }
    }

    /// Whether a request may come again on another connection, as if its sender had tried again: of several that a
    /// producer has under way, none comes without those before it; one without a session never tries again.
    fn may_double(&self, message: &Message) -> bool {
        match message {
            Message::Request { body: message::Request::Produce { batch, .. }, .. } => {
                self.knobs.in_flight_max == 1 && batch.header().has_producer()
            }
            // Who sent it again would not know what the second did.
            Message::Request { body: message::Request::Group { .. }, .. } => false,
            Message::Request { .. } => true,
            Message::Answer { .. }
            | Message::Broken { .. }
            | Message::Opened { .. }
            | Message::Closed { .. }
            | Message::AskFollower { .. }
            | Message::Vouched { .. } => false,
        }
    }

    /// What a client sends to a node travels on one connection, and keeps its order.
    fn in_order(&mut self, from: Endpoint, to: Endpoint, at: Instant) -> Instant {
        if !matches!((from, to), (Endpoint::Client(_), Endpoint::Node(_))) {
            return at;
        }
        let last = self.arrivals.entry((from, to)).or_insert(at);
        *last = at.max(last.plus(Duration::from_nanos(1)));
        *last
    }

    fn ask_endpoint(&mut self, from: Endpoint, to: Endpoint, body: message::Request) -> RequestId {
        let id = self.request();
        self.send(from, to, Message::Request { id, body });
        id
    }

    fn answer(&mut self, from: NodeId, to: Endpoint, id: RequestId, body: message::Answer) {
        self.send(Endpoint::Node(from), to, Message::Answer { id, body });
    }

    fn arrive(&mut self, from: Endpoint, to: Endpoint, message: Message) {
        let Endpoint::Node(node) = to else {
            match message {
                Message::Answer { id, body } => self.client_answer(to, id, Some((from, body))),
                Message::Broken { id } => self.client_answer(to, id, None),
                Message::Request { .. }
                | Message::Opened { .. }
                | Message::Closed { .. }
                | Message::AskFollower { .. }
                | Message::Vouched { .. } => {}
            }
            return;
        };
        if self.running(node).is_none() {
            // Nobody listens; the system there says so.
            if let Message::Request { id, .. } = message {
                self.send(to, from, Message::Broken { id });
            }
            return;
        }
        if self.machines[&node].blind_since.is_some() && from != to && message.is_for_the_controller() {
            // Whoever has no descriptors takes no connection.
            if let Message::Request { id, .. } = message {
                self.send(to, from, Message::Broken { id });
            }
            return;
        }
        match message {
            Message::Request { id, body } => self.serve(node, from, id, body),
            Message::Answer { id, body } => self.take_answer(node, id, Some(body)),
            Message::Broken { id } => self.take_answer(node, id, None),
            Message::Opened { node: whose, boot } => self.note_opened(node, whose, boot),
            Message::Closed { node: whose, boot } => self.note_closed(node, whose, boot),
            Message::AskFollower { leader, partition, leader_epoch, round } => {
                self.serve_vouch(node, process::FollowerAsked { leader, partition, leader_epoch, round });
            }
            Message::Vouched { node: follower, partition, leader_epoch, round } => {
                self.tell(node, crate::partition::Event::Vouched { partition, leader_epoch, round, node: follower });
            }
        }
    }

    /// An answer to something that a node asked: of a leader, or of the controller.
    fn take_answer(&mut self, node: NodeId, id: RequestId, body: Option<message::Answer>) {
        let Some(process) = self.running(node) else { return };
        let fetched = process.fetchers.iter().find(|(_, f)| f.request.as_ref().is_some_and(|(own, _)| *own == id));
        if let Some(leader) = fetched.map(|(leader, _)| *leader) {
            self.fetch_answer(node, leader, id, body);
            return;
        }
        let bounds = process.fetchers.iter().find(|(_, fetcher)| fetcher.bounds.contains_key(&id));
        if let Some(leader) = bounds.map(|(leader, _)| *leader) {
            self.bounds_answer(node, leader, id, body);
            return;
        }
        let asked = process.asks.iter().find(|(_, ask)| ask.request == Some(id)).map(|(number, _)| *number);
        match asked {
            Some(number) => self.ask_answer(node, number, body),
            None => self.late_answer(node, body),
        }
    }
}

impl Happening {
    /// Whose process it concerns.
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::Arrive { to: Endpoint::Node(node), .. } => Some(*node),
            Self::Turn(life)
            | Self::Flushed(life)
            | Self::Attest(life)
            | Self::Compact(life)
            | Self::ReadDue(life, _)
            | Self::Beat(life, _)
            | Self::AskAgain(life, _)
            | Self::TryEnds(life, _, _)
            | Self::Reconcile(life)
            | Self::ImageDue(life)
            | Self::FetchAgain(life, _)
            | Self::FetchEnds(life, _, _)
            | Self::Control(life, _)
            | Self::Dialed(life, _, _)
            | Self::Barrier(life, _)
            | Self::Demote(life, _)
            | Self::Activate(life, _)
            | Self::Apply(life, _) => Some(life.node),
            Self::Arrive { to: Endpoint::Client(_), .. }
            | Self::Commit(..)
            | Self::QuorumBeat
            | Self::Look
            | Self::Start(_)
            | Self::Impersonate(..)
            | Self::ClientTurn(_)
            | Self::ClientTimeout(..)
            | Self::Administer
            | Self::Step(_)
            | Self::StepEnds(_) => None,
        }
    }
}
