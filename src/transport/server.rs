//! Accepts connections on one listener and serves each on a task.
//!
//! Called by `node`, once for each Kafka listener. Invariants: the numbers of connections, in all and from one
//! address, are bounded; a failed accept (no descriptors left) costs a pause, never the listener.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::telemetry::TransportMetrics;

use super::HostPort;
use super::budget::Budget;
use super::connection::{Connection, Deadlines, Ended, stopped};
use super::handler::{RequestContext, RequestHandler};
use super::receive::FrameReader;
use super::send::FrameWriter;
use super::socket::{Acceptor, ListenError, Listener, Socket};
use super::throttled_log::OncePerMinute;

/// The pause after a failed accept: connections that close in it give descriptors back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Names connections within the process.
static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// The bounds of one listener.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The listener's name, for metrics and handlers.
    pub listener: Arc<str>,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// From a request's first byte to its last.
    pub receive_deadline: Duration,
    /// Without the peer reading what it asked for.
    pub stall_deadline: Duration,
    /// For how long a peer that has closed its side is still answered: it may have closed that side only, but most
    /// have left, and a request of theirs may wait for as long as they pleased.
    pub farewell: Duration,
}

impl ServerOptions {
    /// Kafka's defaults where it has them.
    #[must_use]
    pub fn new(listener: &str) -> Self {
        Self {
            listener: Arc::from(listener),
            request_bytes_max: 100 * 1024 * 1024,
            connections_max: 10_000,
            connections_per_ip_max: usize::MAX,
            idle_max: Duration::from_secs(600),
            receive_deadline: Duration::from_secs(30),
            stall_deadline: Duration::from_secs(30),
            farewell: Duration::from_secs(10),
        }
    }
}

/// A listener that is being served. Dropping it stops accepting and cuts what is open.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<IpAddr>>,
}

impl Server {
    /// Serves `listener` on the current runtime.
    ///
    /// # Errors
    /// When the runtime cannot take the socket.
    pub fn start(
        listener: Listener,
        options: ServerOptions,
        handler: Arc<dyn RequestHandler>,
        budget: Budget,
        metrics: TransportMetrics,
    ) -> Result<Self, ListenError> {
        let address = listener.address();
        let named = HostPort::new(address.ip().to_string(), address.port());
        let acceptor = listener.acceptor().map_err(|reason| ListenError { address: named, reason })?;
        let (stop, stopping) = watch::channel(false);
        let accepting = Accepting {
            options,
            handler,
            budget,
            metrics,
            stopping,
            connections: JoinSet::new(),
            per_ip: BTreeMap::new(),
            odd_peers: Arc::default(),
            refusals: OncePerMinute::default(),
        };
        let accepting = tokio::spawn(accepting.run(acceptor));
        Ok(Self { address, stop, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and reading, lets requests in flight be answered for `grace`, then cuts the rest.
    pub async fn stop(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.stop.send_replace(true);
        let Ok(mut connections) = self.accepting.await else { return };
        let drained = timeout_at(deadline, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(connections = connections.len(), "requests cut off at the end of the grace period");
            connections.shutdown().await;
        }
    }
}

struct Accepting {
    options: ServerOptions,
    handler: Arc<dyn RequestHandler>,
    budget: Budget,
    metrics: TransportMetrics,
    stopping: watch::Receiver<bool>,
    /// Each gives back the address that it counted against.
    connections: JoinSet<IpAddr>,
    per_ip: BTreeMap<IpAddr, usize>,
    odd_peers: Arc<OncePerMinute>,
    refusals: OncePerMinute,
}

impl Accepting {
    async fn run(mut self, acceptor: Acceptor) -> JoinSet<IpAddr> {
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return self.connections,
                Some(ended) = self.connections.join_next() => self.forget(&ended),
                accepted = acceptor.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer),
                    Err(error) => {
                        self.refuse("accept_failed", &error);
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn admit(&mut self, socket: Socket, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        let from_ip = self.per_ip.get(&ip).copied().unwrap_or(0);
        if self.connections.len() >= self.options.connections_max {
            return self.refuse("connections_max", &peer);
        }
        if from_ip >= self.options.connections_per_ip_max {
            return self.refuse("connections_per_ip_max", &peer);
        }
        if socket.tune(self.options.stall_deadline).is_err() {
            return; // The peer has gone already.
        }
        self.per_ip.insert(ip, from_ip + 1);
        self.metrics.count_accepted(&self.options.listener);
        let connection = self.connection(socket, peer);
        let (metrics, open) = (self.metrics.clone(), self.metrics.connections(&self.options.listener));
        open.inc();
        let open = OnDrop(move || {
            open.dec();
        });
        self.connections.spawn(async move {
            let _open = open;
            let ended = AssertUnwindSafe(connection.run()).catch_unwind().await.unwrap_or(Ended::Panic);
            if ended != Ended::Peer {
                tracing::debug!(%peer, reason = ended.reason(), "connection closed");
            }
            metrics.count_closed(ended.reason());
            ip
        });
    }

    fn connection(&self, socket: Socket, peer: SocketAddr) -> Connection {
        let (reader, writer) = socket.split();
        Connection {
            reader: FrameReader::new(reader, self.options.request_bytes_max),
            writer: FrameWriter::new(writer, self.options.stall_deadline),
            context: RequestContext {
                listener: Arc::clone(&self.options.listener),
                peer,
                connection: NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed),
            },
            handler: Arc::clone(&self.handler),
            budget: self.budget.clone(),
            deadlines: Deadlines {
                idle: self.options.idle_max,
                receive: self.options.receive_deadline,
                farewell: self.options.farewell,
            },
            metrics: self.metrics.clone(),
            odd_peers: Arc::clone(&self.odd_peers),
            stop: self.stopping.clone(),
        }
    }

    fn refuse(&self, reason: &'static str, detail: &dyn std::fmt::Display) {
        self.metrics.count_refused(reason);
        if let Some(suppressed) = self.refusals.permit(Instant::now()) {
            tracing::warn!(listener = %self.options.listener, reason, %detail, suppressed, "connection refused");
        }
    }

    fn forget(&mut self, ended: &Result<IpAddr, JoinError>) {
        let ip = ended.as_ref().expect("a connection's task catches its panics and is not aborted while it counts");
        let left = self.per_ip.get(ip).map_or(0, |count| count - 1);
        if left == 0 {
            self.per_ip.remove(ip);
        } else {
            self.per_ip.insert(*ip, left);
        }
    }
}

/// Runs when dropped, so that a cut connection is counted out too.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests;
