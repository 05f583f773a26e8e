//! The serving side of what nodes speak among themselves: accepts on the CONTROLLER listener, greets, and gives each
//! connection to the service that it is for.
//!
//! Run by `liveness` on its own thread, so that a busy node still answers dials. A service's connections live on the
//! service's own runtime. Invariants: connections, calls in flight on each and the size of a call are bounded; a
//! service's panic costs the connection that asked.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::model::NodeId;
use crate::telemetry::TransportMetrics;

use super::budget::Share;
use super::connection::stopped;
use super::peer_frame::{
    FRAME_BYTES_MAX, Frame, GreetingError, Kind, PAYLOAD_BYTES_MAX, Preface, Service, Verdict, Welcome,
};
use super::receive::FrameReader;
use super::send::FrameWriter;
use super::socket::{Acceptor, DetachedSocket, Socket};
use super::throttled_log::OncePerMinute;

/// Connections from peers, all services together. A cluster of 100 nodes needs three from each.
const CONNECTIONS_MAX: usize = 1024;
/// Calls of one connection that may be unanswered; further ones wait in the socket.
const CALLS_INFLIGHT_MAX: usize = 64;
/// How long a dialler may take to say who it is.
const PREFACE_WAIT: Duration = Duration::from_secs(2);
/// Without the peer reading what it asked for.
const STALL_DEADLINE: Duration = Duration::from_secs(10);
/// What was sent and is not acknowledged for this long is lost: the peer dials again.
pub(super) const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers calls of other nodes.
pub trait PeerService: Send + Sync + 'static {
    /// Answers one call; `None` refuses it, and the caller gets `CallError::Rejected`. Calls of one connection may
    /// overlap and be answered in any order.
    fn call(&self, service: Service, from: SocketAddr, payload: Bytes) -> BoxFuture<'static, Option<Bytes>>;
}

/// Where the connections of one service go.
#[derive(Clone)]
pub struct PeerRoute {
    /// The service.
    pub service: Service,
    /// The runtime on which its connections live.
    pub runtime: Handle,
    /// Who answers.
    pub handler: Arc<dyn PeerService>,
}

/// Takes a greeted liveness connection.
pub(super) trait LivenessPort: Send + Sync + 'static {
    /// Serves it until it ends.
    fn serve(&self, socket: Socket, from: SocketAddr) -> BoxFuture<'static, ()>;
}

/// The accepting side of the CONTROLLER listener.
pub(super) struct Gate {
    pub(super) node: NodeId,
    pub(super) routes: Vec<PeerRoute>,
    pub(super) liveness: Arc<dyn LivenessPort>,
    pub(super) metrics: TransportMetrics,
    pub(super) stop: watch::Receiver<bool>,
}

impl Gate {
    /// Accepts until told to stop.
    pub(super) async fn run(self, acceptor: Acceptor) {
        let gate = Arc::new(self);
        let mut stop = gate.stop.clone();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let failures = Arc::new(OncePerMinute::default());
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => return,
                accepted = acceptor.accept() => accepted,
            };
            match accepted {
                Ok((socket, from)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        gate.metrics.count_refused("peer_connections_max");
                        continue;
                    };
                    tokio::spawn(Arc::clone(&gate).admit(socket, from, place, Arc::clone(&failures)));
                }
                Err(error) => {
                    gate.metrics.count_refused("accept_failed");
                    if let Some(suppressed) = failures.permit(Instant::now()) {
                        tracing::warn!(%error, suppressed, "cannot accept connections of peers");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(
        self: Arc<Self>,
        mut socket: Socket,
        from: SocketAddr,
        place: OwnedSemaphorePermit,
        failures: Arc<OncePerMinute>,
    ) {
        if socket.tune(UNACKNOWLEDGED_MAX).is_err() {
            return; // The peer has gone already.
        }
        let preface = match timeout(PREFACE_WAIT, Preface::receive(&mut socket)).await {
            Ok(Ok(preface)) => preface,
            // A probe connects and closes: nothing to tell.
            Ok(Err(GreetingError::Closed)) => return,
            Ok(Err(GreetingError::Foreign)) | Err(_) => {
                if let Some(suppressed) = failures.permit(Instant::now()) {
                    tracing::warn!(%from, suppressed, "a connection to the controller listener that no node made");
                }
                return;
            }
        };
        let route = self.routes.iter().find(|route| route.service == preface.service);
        let is_liveness = preface.service == Service::LIVENESS;
        let verdict = if preface.to != self.node {
            Verdict::WrongNode
        } else if is_liveness || route.is_some() {
            Verdict::Accepted
        } else {
            Verdict::NoService
        };
        let greeted = Welcome { verdict, node: self.node }.send(&mut socket).await;
        if greeted.is_err() || verdict != Verdict::Accepted {
            return;
        }
        match route {
            Some(route) => self.hand_over(route, socket, from, place),
            None => {
                self.liveness.serve(socket, from).await;
                drop(place);
            }
        }
    }

    fn hand_over(&self, route: &PeerRoute, socket: Socket, from: SocketAddr, place: OwnedSemaphorePermit) {
        let Ok(socket) = socket.detach() else { return };
        let served = Served {
            service: route.service,
            handler: Arc::clone(&route.handler),
            from,
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        };
        route.runtime.spawn(async move {
            served.run(socket).await;
            drop(place);
        });
    }
}

/// One connection of a service, on that service's runtime.
struct Served {
    service: Service,
    handler: Arc<dyn PeerService>,
    from: SocketAddr,
    metrics: TransportMetrics,
    stop: watch::Receiver<bool>,
}

impl Served {
    async fn run(mut self, socket: DetachedSocket) {
        let Ok(socket) = socket.attach() else { return };
        let (reader, writer) = socket.split();
        let mut reader = FrameReader::new(reader, FRAME_BYTES_MAX);
        let mut writer = FrameWriter::new(writer, STALL_DEADLINE);
        let mut calls = FuturesUnordered::new();
        let mut stop = self.stop.clone();
        let mut share = Share::unbudgeted();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                Some((id, answer)) = calls.next(), if !calls.is_empty() => {
                    let Some(answer) = self.answer(id, answer) else { return };
                    writer.push(answer.chunks());
                    // What else is ready leaves with it.
                    while let Some(Some((id, answer))) = calls.next().now_or_never() {
                        let Some(answer) = self.answer(id, answer) else { return };
                        writer.push(answer.chunks());
                    }
                    if writer.flush().await.is_err() {
                        return;
                    }
                }
                frame = reader.frame(&mut share), if calls.len() < CALLS_INFLIGHT_MAX => {
                    let Some(frame) = frame.ok().and_then(Frame::parse) else { return };
                    if frame.service != self.service || frame.kind != Kind::Request {
                        return;
                    }
                    let call = self.handler.call(self.service, self.from, frame.payload);
                    let call = AssertUnwindSafe(call).catch_unwind();
                    calls.push(async move { (frame.id, call.await) });
                }
            }
        }
    }

    /// The frame that answers call `id`; `None` ends the connection.
    fn answer(&mut self, id: u64, answer: std::thread::Result<Option<Bytes>>) -> Option<Frame> {
        let service = self.service;
        match answer {
            Ok(Some(payload)) if payload.len() <= PAYLOAD_BYTES_MAX => {
                Some(Frame { id, service, kind: Kind::Response, payload })
            }
            Ok(Some(payload)) => {
                tracing::error!(%service, bytes = payload.len(), "an answer to a peer is too large");
                Some(Frame { id, service, kind: Kind::Error, payload: Bytes::new() })
            }
            Ok(None) => Some(Frame { id, service, kind: Kind::Error, payload: Bytes::new() }),
            Err(_) => {
                self.metrics.panics.inc();
                tracing::error!(%service, from = %self.from, "peer service panicked; connection closed");
                None
            }
        }
    }
}
