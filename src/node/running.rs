//! Builds a node from its parts, in the order in which each needs the others, and stops it in the opposite order.
//!
//! Start: directory, quorum, controller listener with liveness, controller, broker, client listeners, HTTP.
//! Stop: leaderships move away while clients are still served; then listeners, broker, liveness, quorum, HTTP.
//! Invariant: nothing is sent to another node before the directory is locked and its boot number is on disk (S15).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tracing::info;

use super::config::Config;
use super::min_isr::{MIN_ISR, compare_min_isr};
use super::parts::{
    api_options, broker_options, controller_options, defaults, liveness_options, quorum_options, server_options,
};
use crate::admin;
use crate::api::Dispatch;
use crate::broker::{
    Beats, Broker, BrokerWorld, Brokers, Cluster, ControllerHandle, ControllerWorld, Controllers, MetricHandles,
    RunningBroker, follow_gauges, serve_controller_request,
};
use crate::env::{Clock, Files, Seed, SystemClock, SystemFiles, SystemSeed};
use crate::model::NodeId;
use crate::quorum::{CallError as QuorumCallError, PeerCaller, Quorum, QuorumWorld};
use crate::storage::DataDir;
use crate::telemetry::Metrics;
use crate::threads;
use crate::transport::{
    Budget, CallError, HostPort, Listener, Liveness, PeerRoute, PeerService, Peers, PeersOptions, RequestHandler,
    Server, Service, VoterEvents,
};

/// How long requests in flight may take at a stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A running node.
pub struct Node {
    quorum: Quorum,
    liveness: Arc<Liveness>,
    broker: Option<RunningBroker>,
    servers: Vec<Server>,
    admin: Option<admin::Server>,
}

/// The machine and what counts in it.
pub struct NodeWorld {
    /// Files.
    pub files: Arc<dyn Files>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub seed: Arc<dyn Seed>,
    /// What counts.
    pub metrics: Arc<Metrics>,
}

impl Default for NodeWorld {
    /// This machine.
    fn default() -> Self {
        Self {
            files: Arc::new(SystemFiles::default()),
            clock: Arc::new(SystemClock::new()),
            seed: Arc::new(SystemSeed),
            metrics: Arc::new(Metrics::new()),
        }
    }
}

/// The listeners, bound before anything is started so that a port in use is an error at once.
struct Bound {
    controller: Listener,
    clients: Vec<(String, Listener)>,
    admin: Option<std::net::TcpListener>,
}

impl Node {
    /// Starts the node; returns when it serves. It joins the cluster by itself.
    ///
    /// # Errors
    /// When a directory, a port or a thread cannot be had.
    pub async fn start(config: Config, world: NodeWorld) -> anyhow::Result<Self> {
        let bound = bind(&config)?;
        let files = Arc::clone(&world.files);
        let directory = DataDir::open(files, &config.data_dir, config.node, &*world.seed, world.clock.now().timestamp)
            .with_context(|| format!("cannot use the data directory {}", config.data_dir.display()))?;
        let directory = Arc::new(directory);
        let peers = Arc::new(Peers::new(PeersOptions::new(config.node), world.metrics.transport.clone()));
        let quorum = start_quorum(&config, &directory, &peers, &world).await?;
        let beats = Arc::new(Beats::default());
        let controller = Arc::new(ControllerService::default());
        let brokers = Arc::new(BrokerService::default());
        let services =
            Services { quorum: quorum.clone(), controller: Arc::clone(&controller), broker: Arc::clone(&brokers) };
        let (liveness, events) = start_liveness(&config, bound.controller, services, &beats, &world)?;
        let local = config.roles.controller.then(|| start_controller(&config, &quorum, events, &world));
        controller.set(local.clone());
        let voters: BTreeMap<NodeId, HostPort> = config.voters.iter().cloned().collect();
        let controllers = Controllers::new(config.node, quorum.leadership(), voters, local, Arc::clone(&peers));
        let cluster = Cluster {
            node: config.node,
            quorum: quorum.clone(),
            controllers: Arc::new(controllers),
            brokers: Arc::new(Brokers::new(config.listeners.controller.name.clone(), Arc::clone(&peers))),
            clock: Arc::clone(&world.clock),
            seed: Arc::clone(&world.seed),
            defaults: Arc::new(defaults(&config)),
        };
        tokio::spawn(compare_min_isr(config.topics.defaults[MIN_ISR].clone(), quorum.images()));
        tokio::spawn(follow_gauges(cluster.clone(), world.metrics.broker.clone()));
        let broker = match config.roles.broker {
            true => Some(start_broker(&config, directory, cluster.clone(), beats, &liveness, &world)?),
            false => None,
        };
        let facade = broker.as_ref().map(|running| running.broker.clone());
        brokers.set(facade.clone());
        let servers = start_servers(&config, bound.clients, facade.as_ref(), &world)?;
        let admin = match bound.admin {
            Some(listener) => {
                Some(admin::Server::start(listener, admin::State::new(cluster, facade, Arc::clone(&world.metrics)))?)
            }
            None => None,
        };
        info!(node = %config.node, "serving");
        Ok(Self { quorum, liveness, broker, servers, admin })
    }

    /// Its member of the quorum, for whoever writes down what that says.
    #[cfg(feature = "sim")]
    #[must_use]
    pub const fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    /// Stops in good order.
    pub async fn stop(self) {
        let Self { quorum, liveness, broker, servers, admin } = self;
        if let Some(broker) = &broker {
            broker.leave().await;
        }
        for server in servers {
            server.stop(DRAIN_TIMEOUT).await;
        }
        if let Some(broker) = broker {
            broker.stop().await;
        }
        quorum.stop().await;
        // The farewell on the liveness connections: nobody has to find out that this node is gone.
        liveness.farewell();
        if let Some(admin) = admin {
            admin.stop().await;
        }
    }
}

fn bind(config: &Config) -> anyhow::Result<Bound> {
    let backlog = config.network.backlog;
    let controller = Listener::bind(&config.listeners.controller.bind, backlog)?;
    let mut clients = Vec::new();
    for listener in &config.listeners.client {
        clients.push((listener.name.clone(), Listener::bind(&listener.bind, backlog)?));
    }
    let admin = match &config.admin {
        Some(address) => {
            let listener = std::net::TcpListener::bind((address.host.as_str(), address.port));
            Some(listener.with_context(|| format!("cannot listen on {address} for HTTP"))?)
        }
        None => None,
    };
    Ok(Bound { controller, clients, admin })
}

async fn start_quorum(
    config: &Config,
    directory: &DataDir,
    peers: &Arc<Peers>,
    world: &NodeWorld,
) -> anyhow::Result<Quorum> {
    let quorum_world = QuorumWorld {
        files: Arc::clone(&world.files),
        clock: Arc::clone(&world.clock),
        seed: Arc::clone(&world.seed),
        peers: Arc::new(QuorumPeers { peers: Arc::clone(peers) }),
    };
    let fatal = |why: String| threads::end_process(&format!("the metadata quorum has failed (rule S11): {why}"));
    Ok(Quorum::start(quorum_options(config, directory), quorum_world, Box::new(fatal)).await?)
}

fn start_liveness(
    config: &Config,
    listener: Listener,
    services: Services,
    beats: &Arc<Beats>,
    world: &NodeWorld,
) -> anyhow::Result<(Arc<Liveness>, VoterEvents)> {
    let Services { quorum, controller, broker } = services;
    let runtime = tokio::runtime::Handle::current;
    let routes = vec![
        PeerRoute { service: Service::QUORUM, runtime: quorum.runtime(), handler: Arc::new(QuorumService { quorum }) },
        PeerRoute { service: Service::CONTROLLER, runtime: runtime(), handler: controller },
        PeerRoute { service: Service::BROKER, runtime: runtime(), handler: broker },
    ];
    let source = Arc::clone(beats) as Arc<dyn crate::transport::BeatSource>;
    let clock = Arc::clone(&world.clock);
    let metrics = world.metrics.transport.clone();
    let (liveness, events) = Liveness::start(liveness_options(config), listener, routes, source, clock, metrics)?;
    if config.roles.broker {
        liveness.set_voters(config.voters.clone());
    }
    Ok((Arc::new(liveness), events))
}

fn start_controller(config: &Config, quorum: &Quorum, events: VoterEvents, world: &NodeWorld) -> ControllerHandle {
    let controller_world = ControllerWorld {
        quorum: quorum.clone(),
        clock: Arc::clone(&world.clock),
        liveness: events,
        dial_listener: config.listeners.controller.name.clone(),
        metrics: world.metrics.broker.clone(),
    };
    ControllerHandle::start(controller_world, controller_options(config))
}

fn start_broker(
    config: &Config,
    directory: Arc<DataDir>,
    cluster: Cluster,
    beats: Arc<Beats>,
    liveness: &Arc<Liveness>,
    world: &NodeWorld,
) -> anyhow::Result<RunningBroker> {
    let metrics = MetricHandles {
        broker: world.metrics.broker.clone(),
        partition: world.metrics.partition.clone(),
        transport: world.metrics.transport.clone(),
        cleaner: world.metrics.cleaner.clone(),
        groups: world.metrics.groups.clone(),
    };
    let broker_world = BrokerWorld { directory, cluster, beats, liveness: Arc::clone(liveness), metrics };
    Ok(Broker::start(config.node, broker_options(config), broker_world)?)
}

fn start_servers(
    config: &Config,
    listeners: Vec<(String, Listener)>,
    broker: Option<&Broker>,
    world: &NodeWorld,
) -> anyhow::Result<Vec<Server>> {
    let Some(broker) = broker else { return Ok(Vec::new()) };
    let metrics = &world.metrics.transport;
    let budget = Budget::new(config.network.requests_inflight_bytes_max, metrics.budget_used_bytes.clone());
    let handler: Arc<dyn RequestHandler> = Arc::new(Dispatch::new(broker.clone(), api_options(config)));
    let mut servers = Vec::new();
    for (name, listener) in listeners {
        let options = server_options(config, &name);
        servers.push(Server::start(listener, options, Arc::clone(&handler), budget.clone(), metrics.clone())?);
    }
    Ok(servers)
}

/// The quorum's way to other nodes.
#[derive(Debug)]
struct QuorumPeers {
    peers: Arc<Peers>,
}

impl PeerCaller for QuorumPeers {
    fn call<'a>(
        &'a self,
        node: NodeId,
        address: &'a str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Bytes, QuorumCallError>> {
        Box::pin(async move {
            let address: HostPort = address.parse().map_err(|_| QuorumCallError::Unreachable)?;
            self.peers.call(node, &address, Service::QUORUM, request, timeout).await.map_err(quorum_error)
        })
    }
}

fn quorum_error(error: CallError) -> QuorumCallError {
    match error {
        CallError::Refused => QuorumCallError::Refused,
        // A container that is gone has no name any more: as good a proof of its death as a refused connection.
        CallError::Unresolved => QuorumCallError::Unresolved,
        CallError::Unreachable | CallError::WrongNode { .. } | CallError::Overloaded => QuorumCallError::Unreachable,
        CallError::TimedOut => QuorumCallError::TimedOut,
        CallError::Closed | CallError::Rejected => QuorumCallError::Lost,
        CallError::TooLarge { .. } => QuorumCallError::Malformed,
    }
}

/// Answers the quorums of other nodes.
struct QuorumService {
    quorum: Quorum,
}

impl PeerService for QuorumService {
    fn call(&self, _: Service, _: std::net::SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let quorum = self.quorum.clone();
        Box::pin(async move { Some(quorum.handle(payload).await) })
    }
}

/// What this node answers to others.
struct Services {
    quorum: Quorum,
    controller: Arc<ControllerService>,
    broker: Arc<BrokerService>,
}

/// Answers questions to this node's broker.
#[derive(Default)]
struct BrokerService {
    /// Set once, when the broker is there; a call before that is refused and tried again.
    local: OnceLock<Option<Broker>>,
}

impl BrokerService {
    fn set(&self, local: Option<Broker>) {
        assert!(self.local.set(local).is_ok(), "the broker is set once");
    }
}

impl PeerService for BrokerService {
    fn call(&self, _: Service, _: std::net::SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let local = self.local.get().cloned().flatten();
        Box::pin(async move { local?.answer_broker(&payload).await })
    }
}

/// Answers questions to this node's controller.
#[derive(Default)]
struct ControllerService {
    /// Set once, right after the listener is served; a call before that is refused and tried again.
    local: OnceLock<Option<ControllerHandle>>,
}

impl ControllerService {
    fn set(&self, local: Option<ControllerHandle>) {
        assert!(self.local.set(local).is_ok(), "the controller is set once");
    }
}

impl PeerService for ControllerService {
    fn call(&self, _: Service, _: std::net::SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let local = self.local.get().cloned().flatten();
        Box::pin(async move { serve_controller_request(local.as_ref(), &payload).await })
    }
}
