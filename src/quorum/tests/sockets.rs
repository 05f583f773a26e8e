//! The quorum over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::world::{eventually, n, proposal};
use crate::env::{Clock, SystemClock, SystemFiles, SystemSeed};
use crate::model::{DirectoryId, NodeId};
use crate::quorum::{CallError, PeerCaller, Quorum, QuorumOptions, QuorumWorld, Voter};
use crate::telemetry::TransportMetrics;
use crate::transport::{
    self, BeatSource, HostPort, Listener, Liveness, LivenessOptions, PeerRoute, PeerService, Peers, PeersOptions,
    Service,
};

struct NoBeats;

impl BeatSource for NoBeats {
    fn beat(&self) -> Bytes {
        Bytes::new()
    }
}

/// The way to other nodes, as `node` has it.
#[derive(Debug)]
struct Caller(Peers);

impl PeerCaller for Caller {
    fn call<'a>(
        &'a self,
        node: NodeId,
        address: &'a str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Bytes, CallError>> {
        Box::pin(async move {
            let address: HostPort = address.parse().unwrap();
            let answer = self.0.call(node, &address, Service::QUORUM, request, timeout).await;
            answer.map_err(|error| match error {
                transport::CallError::Refused => CallError::Refused,
                transport::CallError::Closed => CallError::Lost,
                transport::CallError::TimedOut => CallError::TimedOut,
                transport::CallError::Unreachable
                | transport::CallError::Unresolved
                | transport::CallError::WrongNode { .. }
                | transport::CallError::Rejected
                | transport::CallError::Overloaded
                | transport::CallError::TooLarge { .. } => CallError::Unreachable,
            })
        })
    }
}

struct Answerer(Quorum);

impl PeerService for Answerer {
    fn call(&self, _: Service, _: SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        let quorum = self.0.clone();
        Box::pin(async move { Some(quorum.handle(payload).await) })
    }
}

struct Node {
    quorum: Quorum,
    liveness: Liveness,
    _dir: TempDir,
}

async fn start(node: NodeId, listener: Listener, voters: Vec<Voter>) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let address = voters.iter().find(|voter| voter.node == node).unwrap().address.clone();
    let mut bytes = [3; 16];
    bytes[0] = u8::try_from(node.get()).unwrap();
    let options = QuorumOptions::new(node, DirectoryId::new(bytes), address, voters, dir.path().join("q"));
    let clock = Arc::new(SystemClock::new());
    let world = QuorumWorld {
        files: Arc::new(SystemFiles::default()),
        clock: Arc::<SystemClock>::clone(&clock),
        seed: Arc::new(SystemSeed),
        peers: Arc::new(Caller(Peers::new(PeersOptions::new(node), TransportMetrics::unregistered()))),
    };
    let quorum = Quorum::start(options, world, Box::new(|_| {})).await.unwrap();
    let route =
        PeerRoute { service: Service::QUORUM, runtime: quorum.runtime(), handler: Arc::new(Answerer(quorum.clone())) };
    let metrics = TransportMetrics::unregistered();
    let started = Liveness::start(LivenessOptions::new(node), listener, vec![route], Arc::new(NoBeats), clock, metrics);
    Node { quorum, liveness: started.unwrap().0, _dir: dir }
}

fn active(nodes: &BTreeMap<NodeId, Node>) -> Option<NodeId> {
    let formed = |node: &Node| node.quorum.images().borrow().cluster().is_some();
    nodes.iter().find(|(_, node)| node.quorum.leadership().borrow().active && formed(node)).map(|(&id, _)| id)
}

#[tokio::test]
async fn a_leader_whose_sockets_close_is_succeeded() {
    let mut listeners = BTreeMap::new();
    let mut voters = Vec::new();
    for id in 1..=3 {
        let listener = Listener::bind(&HostPort::new("127.0.0.1", 0), 128).unwrap();
        voters.push(Voter { node: n(id), address: format!("127.0.0.1:{}", listener.address().port()) });
        listeners.insert(n(id), listener);
    }
    let mut nodes = BTreeMap::new();
    for (id, listener) in listeners {
        nodes.insert(id, start(id, listener, voters.clone()).await);
    }
    let clock = SystemClock::new();
    while nodes.len() > 1 {
        eventually(|| active(&nodes).is_some()).await;
        let leader = active(&nodes).unwrap();
        let base = nodes[&leader].quorum.images().borrow().last_accepted();
        nodes[&leader].quorum.propose(proposal(base, &format!("f{leader}"))).await.unwrap();
        let followed = |node: &Node| node.quorum.images().borrow().last_accepted() > base;
        eventually(|| nodes.values().all(followed)).await;
        if nodes.len() == 2 {
            break;
        }
        let from = clock.now().instant;
        let dead = nodes.remove(&leader).unwrap();
        dead.liveness.stop();
        drop(dead.quorum);
        eventually(|| active(&nodes).is_some()).await;
        println!("over sockets: {} ms", clock.now().instant.since(from).as_millis());
    }
}
