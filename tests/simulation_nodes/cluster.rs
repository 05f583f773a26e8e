//! Three nodes on a simulated network, and what can be done to them.
//!
//! Invariant: everything that happens to a host happens between two steps of the simulation, in an order that the seed
//! repeats.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ottla::env::{Files, OpenMode};
use ottla::model::NodeId;
use ottla::node::{Config, Node, NodeWorld, Sources};
use ottla::records::split;
use ottla::telemetry::Metrics;
use ottla::testing::{SimulatedFiles, evidence};
use ottla::threads::{self, Pace};
use ottla::transport::SimulatedNetwork;
use ottla::verify::history::{NodeEventKind, ReplicaDump, Seen};
use tokio::sync::Notify;
use turmoil::Sim;

use crate::board::Shared;
use crate::follow::follow;
use crate::world::{Random, SimulatedClock, SimulatedSeed, elapsed};

/// How many nodes there are, each controller and broker.
pub(crate) const NODES: i32 = 3;
/// Where clients connect.
pub(crate) const CLIENT_PORT: u16 = 9092;
const CONTROLLER_PORT: u16 = 9093;
/// One step of the simulation.
const TICK: Duration = Duration::from_millis(1);
/// The longest that a segment is under way.
const LATENCY_MAX: Duration = Duration::from_millis(8);
/// The longest that a turn of a thread takes, its write or sync included: drawn anew for each host.
const TURN_MS_MAX: usize = 60;

/// How long a node waits to be released before it goes anyway; then nobody promised that it would not be missed.
const RELEASE_MAX: Duration = Duration::from_secs(10);
/// `min.insync.replicas`.
pub(crate) const ISR_MIN: usize = 2;

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Stopping,
    Down,
}

/// One host.
struct Host {
    name: String,
    node: i32,
    files: RefCell<SimulatedFiles>,
    seed: Arc<SimulatedSeed>,
    clock: Arc<SimulatedClock>,
    /// Asks the process to stop cleanly.
    stop: Notify,
    state: Cell<State>,
    /// Set by the process when it has stopped cleanly.
    has_stopped: Cell<bool>,
    has_no_power: Cell<bool>,
    board: Shared,
}

/// A node or a client has failed, and the run with it.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

/// The cluster and its network.
pub(crate) struct Cluster {
    pub(crate) sim: Sim<'static>,
    hosts: Vec<Rc<Host>>,
    clients: Vec<String>,
    random: Random,
    /// What was done, for the trace.
    pub(crate) log: Vec<(Duration, String)>,
    board: Shared,
}

pub(crate) fn host_name(node: i32) -> String {
    format!("node-{node}")
}

impl Cluster {
    /// Makes the hosts; they start with the first step.
    pub(crate) fn new(seed: u64, board: &Shared) -> Self {
        SimulatedNetwork::reset();
        let _ = threads::deaths();
        let mut random = Random::new(seed);
        let mut sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(100_000))
            .epoch(SystemTime::UNIX_EPOCH)
            .min_message_latency(Duration::from_micros(200))
            .max_message_latency(LATENCY_MAX)
            .tcp_capacity(4096)
            .enable_random_order()
            .rng_seed(random.next())
            .build();
        let mut hosts = Vec::new();
        for node in 1..=NODES {
            let host = Rc::new(Host {
                name: host_name(node),
                node,
                files: RefCell::default(),
                seed: Arc::new(SimulatedSeed::new(random.next())),
                clock: Arc::new(SimulatedClock { wall_error_ms: i64::try_from(random.below(2000)).expect("small") }),
                stop: Notify::new(),
                state: Cell::new(State::Up),
                has_stopped: Cell::new(false),
                has_no_power: Cell::new(false),
                board: Shared::clone(board),
            });
            let longest = Duration::from_millis(u64::try_from(random.below(TURN_MS_MAX)).expect("small"));
            threads::set_pace(&host.name, Pace { longest, seed: random.next(), hangs: false });
            hosts.push(Rc::clone(&host));
            sim.host(host_name(node), move || live(Rc::clone(&host)));
        }
        Self { sim, hosts, clients: Vec::new(), random, log: Vec::new(), board: Shared::clone(board) }
    }

    fn host(&self, node: i32) -> Rc<Host> {
        let host = self.hosts.iter().find(|host| host.node == node);
        Rc::clone(host.expect("the cluster has this node"))
    }

    fn address(&self, name: &str) -> IpAddr {
        self.sim.lookup(name)
    }

    pub(crate) fn state(&self, node: i32) -> State {
        self.host(node).state.get()
    }

    pub(crate) fn nodes() -> impl Iterator<Item = i32> {
        1..=NODES
    }

    fn note(&mut self, what: String) {
        tracing::info!(target: "simulation", what);
        self.log.push((self.sim.elapsed(), what));
    }

    /// What happened to a node, for the judge.
    fn tell(&self, node: i32, what: NodeEventKind) {
        self.board.borrow_mut().note(self.sim.elapsed(), node, what);
    }

    /// One step. Who has ended itself meanwhile is taken down.
    ///
    /// # Errors
    /// When a process ended by itself, which the judge is told, or a client failed.
    pub(crate) fn step(&mut self) -> Result<bool, Failed> {
        let done = self.sim.step().map_err(|error| Failed(error.to_string()))?;
        if let Some(death) = threads::deaths().first() {
            let node = self.hosts.iter().find(|host| host.name == death.host).map_or(0, |host| host.node);
            let (message, reason) = (death.why.clone(), death.why.clone());
            let what = match death.is_panic {
                true => NodeEventKind::Panicked { message },
                false => NodeEventKind::Exited { reason, expected: false },
            };
            self.tell(node, what);
            return Err(Failed(format!("{}: {}", death.host, death.why)));
        }
        for host in self.hosts.clone() {
            if host.has_stopped.take() {
                self.take_down(&host);
                self.note(format!("{} has stopped", host.name));
            }
        }
        Ok(done)
    }

    fn take_down(&mut self, host: &Host) {
        self.sim.crash(host.name.as_str());
        SimulatedNetwork::end(self.address(&host.name));
        host.has_stopped.set(false);
        host.state.set(State::Down);
    }

    /// The process ends at once; what it wrote is in the page cache.
    pub(crate) fn kill(&mut self, node: i32) {
        let host = self.host(node);
        if host.state.get() == State::Down {
            return;
        }
        self.note(format!("kill {}", host.name));
        self.tell(node, NodeEventKind::Killed);
        self.take_down(&host);
    }

    /// The power goes: nobody hears of it, and what was not synced is lost, all of it, some, or in part.
    pub(crate) fn cut_power(&mut self, node: i32) {
        let host = self.host(node);
        if host.state.get() == State::Down {
            return;
        }
        self.note(format!("cut the power of {}", host.name));
        self.tell(node, NodeEventKind::PowerLost);
        // No farewell leaves the host.
        for other in self.others(&host) {
            self.cut_link(&host.name, &other);
            self.cut_link(&other, &host.name);
        }
        self.take_down(&host);
        host.has_no_power.set(true);
        let point = host.files.borrow().crash_point();
        let ends: Vec<usize> = point.ways().into_iter().map(|ways| self.random.below(ways)).collect();
        host.files.replace(point.after(&ends));
    }

    /// Asks the process to stop cleanly.
    pub(crate) fn stop(&mut self, node: i32) {
        let host = self.host(node);
        if host.state.get() != State::Up {
            return;
        }
        self.note(format!("stop {}", host.name));
        host.state.set(State::Stopping);
        host.stop.notify_one();
    }

    /// Starts the process again.
    pub(crate) fn start(&mut self, node: i32) {
        let host = self.host(node);
        if host.state.get() != State::Down {
            return;
        }
        self.note(format!("start {}", host.name));
        host.state.set(State::Up);
        SimulatedNetwork::begin(self.address(&host.name));
        if host.has_no_power.take() {
            for other in self.others(&host) {
                self.mend_link(&host.name, &other);
            }
        }
        self.sim.bounce(host.name.as_str());
    }

    /// Nothing reaches one node from the other any more.
    pub(crate) fn cut_one_way(&mut self, from: i32, to: i32) {
        self.note(format!("cut {from} -> {to}"));
        self.cut_link(&host_name(from), &host_name(to));
    }

    /// Nothing passes between two nodes.
    pub(crate) fn cut(&mut self, one: i32, other: i32) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// What passes between two nodes waits.
    pub(crate) fn hold(&mut self, one: i32, other: i32) {
        self.note(format!("hold {one} - {other}"));
        let (one, other) = (self.address(&host_name(one)), self.address(&host_name(other)));
        SimulatedNetwork::hold(one, other, self.sim.elapsed());
        self.sim.hold(one, other);
    }

    /// Whatever a node's threads do hangs, or goes on.
    pub(crate) fn hang(&mut self, node: i32, hangs: bool) {
        self.note(format!("the disk of node-{node} {}", if hangs { "hangs" } else { "goes on" }));
        threads::hang(&host_name(node), hangs);
    }

    /// Those threads of a node whose names begin so hang, or go on.
    pub(crate) fn hang_threads(&mut self, node: i32, name: &str, hangs: bool) {
        self.note(format!("the threads {name}* of node-{node} {}", if hangs { "hang" } else { "go on" }));
        threads::hang_threads(&host_name(node), name, hangs);
    }

    /// A client and a node do not hear each other any more.
    pub(crate) fn cut_client(&mut self, client: usize, node: i32) {
        let client = self.clients[client].clone();
        self.note(format!("cut {client} - node-{node}"));
        self.cut_link(&client, &host_name(node));
        self.cut_link(&host_name(node), &client);
    }

    /// They do again.
    pub(crate) fn mend_client(&mut self, client: usize, node: i32) {
        let client = self.clients[client].clone();
        self.note(format!("mend {client} - node-{node}"));
        self.mend_link(&client, &host_name(node));
    }

    /// The records that a node holds of a partition, as they lie in its files.
    pub(crate) fn records(&self, node: i32, topic: &str, partition: i32) -> Result<Vec<Seen>, String> {
        let files = self.host(node).files.borrow().clone();
        let directory = data_dir(node).join(format!("{topic}-{partition}"));
        let entries = files.list(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let mut bytes = Vec::new();
        for segment in entries.iter().filter(|entry| entry.name.ends_with(".log")) {
            let file = files.open(&directory.join(&segment.name), OpenMode::Read).map_err(|error| error.to_string())?;
            let size = usize::try_from(file.len().map_err(|error| error.to_string())?).expect("small");
            let begin = bytes.len();
            bytes.resize(begin + size, 0);
            file.read_at(0, &mut bytes[begin..]).map_err(|error| error.to_string())?;
        }
        Ok(split(bytes.into()).map_while(Result::ok).flat_map(|batch| evidence::seen(&batch)).collect())
    }

    /// A node's disk, with nobody at work on it any more.
    pub(crate) fn disk(&self, node: i32) -> Arc<dyn Files> {
        Arc::new(self.host(node).files.borrow().clone())
    }

    /// What the nodes hold at the end. They are taken down for that, and the judge is not told.
    ///
    /// # Errors
    /// When a data directory cannot be opened.
    pub(crate) fn read_disks(&mut self) -> Result<Vec<ReplicaDump>, Failed> {
        let mut dumps = Vec::new();
        for node in Self::nodes() {
            let host = self.host(node);
            if host.state.get() != State::Down {
                self.take_down(&host);
            }
            let told: Vec<_> = self.board.borrow().watermarks_of(node);
            let held = evidence::dumps(self.disk(node), &data_dir(node), NodeId::new(node), &told);
            dumps.extend(held.map_err(|error| Failed(format!("the disk of node-{node}: {error}")))?);
        }
        Ok(dumps)
    }

    /// The link of two nodes works, and what waited is delivered.
    pub(crate) fn mend(&mut self, one: i32, other: i32) {
        self.note(format!("mend {one} - {other}"));
        self.mend_link(&host_name(one), &host_name(other));
    }

    fn mend_link(&mut self, one: &str, other: &str) {
        let (from, to) = (self.address(one), self.address(other));
        SimulatedNetwork::mend(from, to);
        self.sim.release(from, to);
    }

    fn cut_link(&mut self, from: &str, to: &str) {
        let (from, to) = (self.address(from), self.address(to));
        SimulatedNetwork::cut(from, to);
        self.sim.partition_oneway(from, to);
    }

    /// All other hosts, clients included.
    fn others(&self, host: &Host) -> Vec<String> {
        let nodes = self.hosts.iter().map(|other| &other.name);
        nodes.chain(&self.clients).filter(|name| **name != host.name).cloned().collect()
    }

    /// A client on a host of its own.
    pub(crate) fn client(&mut self, name: &str, client: impl Future<Output = turmoil::Result> + 'static) {
        self.clients.push(name.to_owned());
        self.sim.client(name, client);
    }
}

/// Where a node keeps its files.
pub(crate) fn data_dir(node: i32) -> PathBuf {
    Path::new("/").join(host_name(node))
}

/// One life of a node's process.
async fn live(host: Rc<Host>) -> turmoil::Result {
    threads::name_host(&host.name);
    host.board.borrow_mut().note(elapsed(), host.node, NodeEventKind::Started);
    let files: Arc<dyn Files> = Arc::new(host.files.borrow().clone());
    let world = NodeWorld {
        files,
        clock: Arc::clone(&host.clock) as _,
        seed: Arc::clone(&host.seed) as _,
        metrics: Arc::new(Metrics::new()),
    };
    let node = Node::start(config(host.node), world).await.map_err(|error| format!("{}: {error:#}", host.name))?;
    let (images, leadership) = (node.quorum().images(), node.quorum().leadership());
    let stopping = async {
        host.stop.notified().await;
        let asked = elapsed();
        node.stop().await;
        elapsed() - asked
    };
    let took = tokio::select! {
        biased;
        () = follow(&host.board, host.node, images, leadership) => unreachable!("it is followed for as long as it lives"),
        took = stopping => took,
    };
    let overdue = || NodeEventKind::Exited { reason: "nobody released it".to_owned(), expected: true };
    let what = if took < RELEASE_MAX { NodeEventKind::Stopped } else { overdue() };
    host.board.borrow_mut().note(elapsed(), host.node, what);
    host.has_stopped.set(true);
    std::future::pending().await
}

fn config(node: i32) -> Config {
    let voters: Vec<String> = Cluster::nodes().map(|n| format!("{n}@{}:{CONTROLLER_PORT}", host_name(n))).collect();
    let name = host_name(node);
    let set = [
        ("node.id", node.to_string()),
        ("process.roles", "broker,controller".to_owned()),
        ("listeners", format!("PLAINTEXT://0.0.0.0:{CLIENT_PORT},CONTROLLER://0.0.0.0:{CONTROLLER_PORT}")),
        ("advertised.listeners", format!("PLAINTEXT://{name}:{CLIENT_PORT}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("controller.quorum.voters", voters.join(",")),
        ("log.dirs", data_dir(node).display().to_string()),
        ("default.replication.factor", NODES.to_string()),
        ("min.insync.replicas", ISR_MIN.to_string()),
        ("num.shards", "2".to_owned()),
        // Its server takes sockets of the machine.
        ("admin.listener", String::new()),
    ];
    let command_line = set.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let sources = Sources { file: None, environment: Vec::new(), command_line };
    Config::read(&sources).expect("the simulated configuration is right")
}
