//! Who is alive, on a path of its own.
//!
//! One thread with its own runtime holds, as a broker, a connection to *every* voter, over which it says who it is and
//! beats; as a voter, it takes those of the brokers and reports what it sees as events. The same thread accepts on the
//! CONTROLLER listener for all services. `node` starts it; the broker's life cycle feeds it; the controller reads it.
//!
//! Invariants: nothing here waits for appends, snapshots or applies; every message carries the boot number of its
//! sender's start, and one of a lower boot number than was seen is dropped (rule S15); only a connection that this
//! process held is ever reported as closed (rule S16); a beat that cannot be sent at once is not sent later.

mod broker_side;
mod voter_side;
mod wire;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::env::Clock;
use crate::model::{BootNumber, BrokerEpoch, Instant, NodeId};
use crate::telemetry::TransportMetrics;
use crate::threads::{Apart, run_apart};

use super::peer_gate::{Gate, PeerRoute};
use super::socket::{self, DialError, ListenError, Listener};
use super::{HostPort, socket::Acceptor};

/// Events that may wait for the controller. At the bound beats are left out (the next one tells the same) and openings
/// and closings wait.
const EVENTS_WAITING_MAX: usize = 1024;
/// Threads for name lookups, which block: one for each voter of a large quorum.
const LOOKUP_THREADS_MAX: usize = 8;

/// Who a broker is, as it tells every voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The broker.
    pub node: NodeId,
    /// Its start (rule S15).
    pub boot: BootNumber,
    /// Its registration; none before the controller has answered.
    pub broker_epoch: Option<BrokerEpoch>,
}

/// What a broker says at every beat.
pub trait BeatSource: Send + Sync + 'static {
    /// The payload. Asked by the liveness thread: read atomics, never wait.
    fn beat(&self) -> Bytes;
}

/// How liveness runs.
#[derive(Clone, Debug)]
pub struct LivenessOptions {
    /// This node.
    pub node: NodeId,
    /// `broker.heartbeat.interval.ms`.
    pub interval: Duration,
    /// `broker.session.timeout.ms`: a voter that acknowledges no beat for so long is dialled anew.
    pub silence_max: Duration,
    /// Name lookup and connecting together.
    pub connect_timeout: Duration,
}

impl LivenessOptions {
    /// The defaults for `node`.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            interval: Duration::from_millis(250),
            silence_max: Duration::from_secs(2),
            connect_timeout: Duration::from_millis(300),
        }
    }
}

/// Why a liveness connection ended, as the voter saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The broker's kernel closed it without a farewell: the process is gone, or about to be.
    Ended,
    /// The connection was reset: as `Ended`, with bytes of ours unread.
    Reset,
    /// What we sent was not acknowledged in time, or the peer did not answer the kernel: host or network is gone.
    Lost,
    /// The broker said that it stops.
    Stopping,
    /// The broker said that it dials anew, because it heard nothing of us.
    Redialling,
    /// A newer connection of the same broker took its place; never a reason to fence.
    Replaced,
    /// It sent what is no message.
    Malformed,
}

/// What a voter sees of brokers. Of each broker, `Opened` comes first, then its beats; `Closed` of one connection may
/// come after `Opened` of the next, and then its reason is `Replaced`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivenessEvent {
    /// A broker holds a connection to us. Comes again when its registration becomes known to it.
    Opened {
        /// Who it is.
        hello: Hello,
        /// Its address as we see it: with the port of its listener, where to dial when the connection closes.
        from: SocketAddr,
        /// When.
        at: Instant,
    },
    /// It is alive.
    Beat {
        /// The broker.
        node: NodeId,
        /// Its start.
        boot: BootNumber,
        /// What its `BeatSource` said.
        payload: Bytes,
        /// When it arrived, which may be before the event is read.
        at: Instant,
    },
    /// A connection that was open has ended.
    Closed {
        /// The broker.
        node: NodeId,
        /// The start that held the connection.
        boot: BootNumber,
        /// Why.
        reason: CloseReason,
        /// Its address as we saw it.
        from: SocketAddr,
        /// When.
        at: Instant,
    },
}

/// The events of the voter's side.
#[derive(Debug)]
pub struct VoterEvents {
    events: mpsc::Receiver<LivenessEvent>,
}

impl VoterEvents {
    /// The next event; `None` once liveness has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<LivenessEvent> {
        self.events.recv().await
    }
}

/// The running liveness thread. Dropping it stops it.
#[derive(Debug)]
pub struct Liveness {
    hello: watch::Sender<Option<Hello>>,
    voters: watch::Sender<Vec<(NodeId, HostPort)>>,
    stop: watch::Sender<bool>,
    thread: Option<Apart>,
}

/// Why liveness cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LivenessError {
    /// The system gives no thread or no event queue.
    #[error("cannot start the liveness thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The listener cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Liveness {
    /// Starts the thread: accepts on `listener` for `routes` and for liveness itself; beats what `source` says once
    /// `set_hello` and `set_voters` were called.
    ///
    /// # Errors
    /// When the system gives no thread or cannot serve the listener.
    pub fn start(
        options: LivenessOptions,
        listener: Listener,
        routes: Vec<PeerRoute>,
        source: Arc<dyn BeatSource>,
        clock: Arc<dyn Clock>,
        metrics: TransportMetrics,
    ) -> Result<(Self, VoterEvents), LivenessError> {
        let (events_in, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let (hello, hello_changes) = watch::channel(None);
        let (voters, voter_changes) = watch::channel(Vec::new());
        let (stop, stopping) = watch::channel(false);
        let gate = Gate {
            node: options.node,
            routes,
            liveness: voter_side::port(events_in, clock, stopping.clone()),
            metrics,
            stop: stopping.clone(),
        };
        let beats = broker_side::Beats { options, source, hello: hello_changes, stop: stopping };
        let thread = run_apart("ottla-liveness", LOOKUP_THREADS_MAX, || -> Result<_, LivenessError> {
            let address = listener.address();
            let named = HostPort::new(address.ip().to_string(), address.port());
            let acceptor = listener.acceptor().map_err(|reason| ListenError { address: named, reason })?;
            Ok(run(gate, acceptor, beats, voter_changes))
        })?;
        Ok((Self { hello, voters, stop, thread: Some(thread) }, VoterEvents { events }))
    }

    /// Says from now on, to every voter, that this broker is `hello`.
    pub fn set_hello(&self, hello: Hello) {
        self.hello.send_replace(Some(hello));
    }

    /// Holds from now on a connection to each of `voters`, itself included if it is one.
    pub fn set_voters(&self, voters: Vec<(NodeId, HostPort)>) {
        self.voters.send_if_modified(|current| {
            let is_new = *current != voters;
            *current = voters;
            is_new
        });
    }

    /// Says farewell to every voter, so that none needs to find out; the thread then ends by itself.
    pub fn farewell(&self) {
        self.stop.send_replace(true);
    }

    /// Says farewell to every voter, so that none needs to find out, and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(
    gate: Gate,
    acceptor: Acceptor,
    beats: broker_side::Beats,
    voters: watch::Receiver<Vec<(NodeId, HostPort)>>,
) {
    let gate = tokio::spawn(gate.run(acceptor));
    broker_side::run(beats, voters).await;
    // The gate ends by the same signal; its failure is a panic, which the hook has printed.
    let _ = gate.await;
}

/// What a dial says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The host answers and nobody listens: the process is dead.
    Refused,
    /// Somebody listens: alive, paused, or just starting.
    Accepted,
    /// Nothing: the host may be gone, or the network cut.
    TimedOut,
    /// There is no way to the host.
    Unreachable,
    /// This process could not even try: no descriptor, no port, no network. Says nothing about the other (rule S16).
    Unable,
}

/// Dials once and closes again.
pub async fn probe(address: SocketAddr, within: Duration) -> Probe {
    match socket::connect(address, within).await {
        Ok(_closed_again) => Probe::Accepted,
        Err(DialError::Refused) => Probe::Refused,
        // Somebody listened until just now: a process that is dying closes its listener after its connections.
        Err(DialError::Failed(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)) => Probe::Accepted,
        Err(DialError::TimedOut) => Probe::TimedOut,
        Err(DialError::Unresolved | DialError::Unreachable) => Probe::Unreachable,
        Err(DialError::Failed(_)) => Probe::Unable,
    }
}

#[cfg(test)]
mod tests;
