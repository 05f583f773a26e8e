//! What calls between nodes promise, over loopback sockets.

use std::net::SocketAddr;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::*;
use crate::env::SystemClock;
use crate::transport::{BeatSource, Listener, Liveness, LivenessOptions, PeerRoute, PeerService, VoterEvents};

const WITHIN: Duration = Duration::from_secs(20);
const HERE: NodeId = NodeId::new(1);
const THERE: NodeId = NodeId::new(2);

/// Answers by what the payload asks for.
struct Echo;

impl PeerService for Echo {
    fn call(&self, _: Service, _: SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>> {
        async move {
            match payload.first() {
                Some(b'r') => None,
                Some(b'h') => std::future::pending().await,
                Some(b'x') => panic!("as asked"),
                Some(_) | None => Some(payload),
            }
        }
        .boxed()
    }
}

struct NoBeats;

impl BeatSource for NoBeats {
    fn beat(&self) -> Bytes {
        Bytes::new()
    }
}

/// A node that answers calls of the quorum service at `port`.
fn node(node: NodeId, port: u16) -> (Liveness, VoterEvents, HostPort) {
    let listener = Listener::bind(&HostPort::new("127.0.0.1", port), 128).expect("a free port");
    let address = HostPort::new("127.0.0.1", listener.address().port());
    let route = PeerRoute { service: Service::QUORUM, runtime: Handle::current(), handler: Arc::new(Echo) };
    let clock = Arc::new(SystemClock::new());
    let metrics = TransportMetrics::unregistered();
    let started = Liveness::start(LivenessOptions::new(node), listener, vec![route], Arc::new(NoBeats), clock, metrics);
    let (liveness, events) = started.expect("a thread");
    (liveness, events, address)
}

fn peers() -> Peers {
    let options = PeersOptions { connect_timeout: WITHIN, ..PeersOptions::new(HERE) };
    Peers::new(options, TransportMetrics::unregistered())
}

async fn call(peers: &Peers, to: NodeId, address: &HostPort, payload: &'static str) -> Result<Bytes, CallError> {
    peers.call(to, address, Service::QUORUM, Bytes::from_static(payload.as_bytes()), WITHIN).await
}

#[tokio::test]
async fn calls_on_one_connection_overlap_and_get_their_own_answers() {
    let (_node, _events, address) = node(THERE, 0);
    let peers = peers();
    let hanging = peers.call(THERE, &address, Service::QUORUM, Bytes::from_static(b"h"), WITHIN);
    let answered = async {
        for text in ["one", "two", "three"] {
            assert_eq!(call(&peers, THERE, &address, text).await, Ok(Bytes::from_static(text.as_bytes())));
        }
    };
    tokio::select! {
        _ = hanging => panic!("it hangs"),
        () = answered => {}
    }
    assert_eq!(call(&peers, THERE, &address, "after a dropped call").await.map(|answer| answer.len()), Ok(20));
}

#[tokio::test]
async fn a_call_fails_for_the_reason_that_it_has() {
    let (_node, _events, address) = node(THERE, 0);
    let peers = peers();
    assert_eq!(call(&peers, THERE, &address, "r").await, Err(CallError::Rejected));
    assert_eq!(call(&peers, THERE, &address, "x").await, Err(CallError::Closed));
    assert_eq!(call(&peers, THERE, &address, "fine again").await.map(|answer| answer.len()), Ok(10));
    let wrong = call(&peers, NodeId::new(7), &address, "for another").await;
    assert_eq!(wrong, Err(CallError::WrongNode { found: THERE }));
    let payload = Bytes::new();
    let no_service = peers.call(THERE, &address, Service::CONTROLLER, payload, WITHIN).await;
    assert_eq!(no_service, Err(CallError::Rejected));
    let short = Duration::from_millis(20);
    let hangs = peers.call(THERE, &address, Service::QUORUM, Bytes::from_static(b"h"), short).await;
    assert_eq!(hangs, Err(CallError::TimedOut));
    let huge = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    let bytes = huge.len();
    let too_large = peers.call(THERE, &address, Service::QUORUM, huge, WITHIN).await;
    assert_eq!(too_large, Err(CallError::TooLarge { bytes }));
}

#[tokio::test]
async fn the_largest_payload_passes() {
    let (_node, _events, address) = node(THERE, 0);
    let payload = Bytes::from(vec![1; PAYLOAD_BYTES_MAX]);
    let answer = peers().call(THERE, &address, Service::QUORUM, payload.clone(), WITHIN).await;
    assert!(answer == Ok(payload));
}

#[tokio::test]
async fn a_node_that_is_gone_is_refused_and_one_that_is_back_is_reached() {
    let (first, _events, address) = node(THERE, 0);
    let peers = peers();
    call(&peers, THERE, &address, "before").await.expect("it is there");
    first.stop();
    // The old connection may still have to find out.
    let refused = async { while call(&peers, THERE, &address, "gone").await != Err(CallError::Refused) {} };
    tokio::time::timeout(WITHIN, refused).await.expect("nobody listens");
    let (_second, _events, _) = node(THERE, address.port);
    call(&peers, THERE, &address, "back").await.expect("it is there again");
}

#[tokio::test]
async fn callers_that_gave_up_do_not_block_those_behind_them() {
    let (_node, _events, address) = node(THERE, 0);
    let peers = peers();
    for _ in 0..3 * CALLS_WAITING_MAX {
        let hanging = peers.call(THERE, &address, Service::QUORUM, Bytes::from_static(b"h"), Duration::from_millis(1));
        // The peer serves 64 of them at once and never answers; what we hold for them is given up.
        let _ = hanging.await;
    }
    let other = peers.call(THERE, &address, Service::CONTROLLER, Bytes::new(), WITHIN).await;
    assert_eq!(other, Err(CallError::Rejected), "another service has its own connection");
    let link = peers.link(THERE, &address, Service::QUORUM);
    assert!(link.calls.capacity() > 0, "the queue is not stuck");
}

#[tokio::test]
async fn a_stranger_on_the_controller_listener_is_turned_away() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (_node, _events, address) = node(THERE, 0);
    let mut socket = Dialer::new(address).dial(WITHIN).await.expect("it listens");
    socket.stream_mut().write_all(b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n").await.expect("sent");
    let mut byte = [0; 1];
    let read = tokio::time::timeout(WITHIN, socket.stream_mut().read(&mut byte)).await.expect("it acts");
    assert!(matches!(read, Ok(0) | Err(_)));
}
