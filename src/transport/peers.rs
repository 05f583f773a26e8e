//! Calls to other nodes: one multiplexed connection for each (node, service), dialled when it is needed.
//!
//! Called by `quorum` and by the broker's calls to the controller. Invariants: every dial resolves the name anew; a
//! node that is not the one asked for gets no payload; a call ends at its deadline at the latest, and dropping it
//! costs nothing but its answer; the calls waiting on one connection are bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::model::NodeId;
use crate::telemetry::TransportMetrics;

use super::HostPort;
use super::budget::Share;
use super::peer_frame::{FRAME_BYTES_MAX, Frame, Kind, PAYLOAD_BYTES_MAX, Preface, Service, Verdict, Welcome};
use super::peer_gate::UNACKNOWLEDGED_MAX;
use super::receive::{FrameReader, ReceiveError};
use super::send::FrameWriter;
use super::socket::{DialError, Dialer, Socket};

/// Calls that may wait on one connection; more are refused at once.
const CALLS_WAITING_MAX: usize = 256;
/// How long a node that took the connection may take to greet. One that is stopped (SIGSTOP) never does.
const WELCOME_WAIT: Duration = Duration::from_millis(500);
/// Without the peer reading what we send.
const STALL_DEADLINE: Duration = Duration::from_secs(3);

/// How a node dials others.
#[derive(Clone, Debug)]
pub struct PeersOptions {
    /// This node.
    pub node: NodeId,
    /// Name lookup and connecting together.
    pub connect_timeout: Duration,
}

impl PeersOptions {
    /// The defaults for `node`.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { node, connect_timeout: Duration::from_millis(300) }
    }
}

/// Why a call has no answer. Unless it says otherwise, the peer may or may not have acted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there; nothing was sent.
    #[error("connection refused")]
    Refused,
    /// There is no way to the host, or the system failed here; nothing was sent.
    #[error("unreachable")]
    Unreachable,
    /// The name has no address; nothing was sent.
    #[error("the name does not resolve")]
    Unresolved,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended before the answer.
    #[error("connection closed")]
    Closed,
    /// Another node answers at that address; nothing was sent.
    #[error("node {found} answers there")]
    WrongNode {
        /// Who answers.
        found: NodeId,
    },
    /// The peer offers no such service, or refused the call.
    #[error("rejected by the peer")]
    Rejected,
    /// Too many calls wait for this peer; nothing was sent.
    #[error("too many calls in flight")]
    Overloaded,
    /// The payload is above the bound; nothing was sent.
    #[error("payload of {bytes} bytes is too large")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl CallError {
    fn reason(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unresolved => "unresolved",
            Self::TimedOut => "timed_out",
            Self::Closed => "closed",
            Self::WrongNode { .. } => "wrong_node",
            Self::Rejected => "rejected",
            Self::Overloaded => "overloaded",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

impl From<DialError> for CallError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Refused => Self::Refused,
            DialError::TimedOut => Self::TimedOut,
            DialError::Unresolved => Self::Unresolved,
            DialError::Unreachable | DialError::Failed(_) => Self::Unreachable,
        }
    }
}

/// Makes calls to other nodes. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Peers {
    options: PeersOptions,
    metrics: TransportMetrics,
    /// Guards which link serves which node and service; held to look one up or to put one in, never while waiting.
    /// At most one for each pair, so bounded by the cluster's size.
    links: Arc<Mutex<BTreeMap<(NodeId, Service), Link>>>,
}

#[derive(Clone, Debug)]
struct Link {
    address: HostPort,
    calls: mpsc::Sender<Call>,
}

#[derive(Debug)]
struct Call {
    payload: Bytes,
    answer: oneshot::Sender<Result<Bytes, CallError>>,
}

impl Peers {
    /// No connection yet.
    #[must_use]
    pub fn new(options: PeersOptions, metrics: TransportMetrics) -> Self {
        Self { options, metrics, links: Arc::default() }
    }

    /// Calls a service of a node that is expected at `address`. The connection is kept for the next call; it lives on
    /// the runtime of the first caller, so callers of one service should share a runtime. Cancel-safe.
    ///
    /// # Errors
    /// When there is no answer within `within`, or sooner when there cannot be one.
    pub async fn call(
        &self,
        node: NodeId,
        address: &HostPort,
        service: Service,
        payload: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let outcome = match timeout(within, self.ask(node, address, service, payload)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::TimedOut),
        };
        outcome.inspect_err(|error| self.metrics.count_peer_error(error.reason()))
    }

    async fn ask(
        &self,
        node: NodeId,
        address: &HostPort,
        service: Service,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(CallError::TooLarge { bytes: payload.len() });
        }
        let (answer, answered) = oneshot::channel();
        let call = Call { payload, answer };
        self.link(node, address, service).calls.try_send(call).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CallError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => CallError::Closed,
        })?;
        answered.await.unwrap_or(Err(CallError::Closed))
    }

    /// Forgets the connections to a node, such as one that has left the cluster.
    pub fn forget(&self, node: NodeId) {
        self.lock().retain(|(linked, _), _| *linked != node);
    }

    fn link(&self, node: NodeId, address: &HostPort, service: Service) -> Link {
        let mut links = self.lock();
        if let Some(link) = links.get(&(node, service))
            && link.address == *address
            && !link.calls.is_closed()
        {
            return link.clone();
        }
        let (calls, waiting) = mpsc::channel(CALLS_WAITING_MAX);
        let link = Link { address: address.clone(), calls };
        let worker = Worker {
            dialer: Dialer::new(address.clone()),
            connect_timeout: self.options.connect_timeout,
            preface: Preface { service, from: self.options.node, to: node },
            waiting,
            metrics: self.metrics.clone(),
        };
        tokio::spawn(worker.run());
        links.insert((node, service), link.clone());
        link
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(NodeId, Service), Link>> {
        self.links.lock().expect("nothing panics while holding the lock")
    }
}

/// The task behind a link: idle without a socket until a call comes, then connected until that fails.
struct Worker {
    dialer: Dialer,
    connect_timeout: Duration,
    preface: Preface,
    waiting: mpsc::Receiver<Call>,
    metrics: TransportMetrics,
}

impl Worker {
    async fn run(mut self) {
        while let Some(first) = self.waiting.recv().await {
            match self.connect().await {
                Ok(socket) => self.converse(socket, first).await,
                Err(error) => self.fail(first, error),
            }
        }
    }

    async fn connect(&mut self) -> Result<Socket, CallError> {
        let mut socket = self.dialer.dial(self.connect_timeout).await?;
        socket.tune(UNACKNOWLEDGED_MAX).map_err(DialError::from)?;
        let greeting = async {
            self.preface.send(&mut socket).await?;
            Welcome::receive(&mut socket).await
        };
        let welcome = timeout(WELCOME_WAIT, greeting).await.map_err(|_| CallError::TimedOut)?;
        let welcome = welcome.map_err(|_| CallError::Closed)?;
        match welcome.verdict {
            Verdict::Accepted => Ok(socket),
            Verdict::WrongNode => Err(CallError::WrongNode { found: welcome.node }),
            Verdict::NoService => Err(CallError::Rejected),
        }
    }

    /// Fails the call that asked for a connection and all that came while it was tried.
    fn fail(&mut self, first: Call, error: CallError) {
        let mut failed = Some(first);
        while let Some(call) = failed {
            // A caller that has gone wants no answer.
            let _ = call.answer.send(Err(error));
            failed = self.waiting.try_recv().ok();
        }
    }

    async fn converse(&mut self, socket: Socket, first: Call) {
        let (reader, writer) = socket.split();
        let mut reader = FrameReader::new(reader, FRAME_BYTES_MAX);
        let mut sending = Sending {
            service: self.preface.service,
            writer: FrameWriter::new(writer, STALL_DEADLINE),
            next_id: 0,
            pending: BTreeMap::new(),
        };
        let mut call = Some(first);
        let mut share = Share::unbudgeted();
        loop {
            if let Some(call) = call.take() {
                sending.push(call);
                while let Ok(more) = self.waiting.try_recv() {
                    sending.push(more);
                }
            }
            sending.prune();
            let Sending { writer, pending, .. } = &mut sending;
            let is_room = pending.len() < CALLS_WAITING_MAX;
            tokio::select! {
                sent = writer.flush(), if !writer.is_empty() => match sent {
                    Ok(bytes) => { self.metrics.sent_bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX)); }
                    Err(_) => return,
                },
                frame = reader.frame(&mut share) => {
                    if take(pending, frame, &self.metrics).is_none() {
                        return;
                    }
                }
                next = self.waiting.recv(), if is_room => match next {
                    Some(next) => call = Some(next),
                    None => return,
                },
            }
        }
    }
}

/// What has been asked and not been answered on one connection. Dropping it fails the callers with `Closed`.
struct Sending {
    service: Service,
    writer: FrameWriter,
    next_id: u64,
    pending: BTreeMap<u64, oneshot::Sender<Result<Bytes, CallError>>>,
}

impl Sending {
    /// At the bound, forgets the calls whose callers have given up.
    fn prune(&mut self) {
        if self.pending.len() >= CALLS_WAITING_MAX {
            self.pending.retain(|_, answer| !answer.is_closed());
        }
    }

    fn push(&mut self, call: Call) {
        if call.answer.is_closed() {
            return; // Its caller gave up while it waited: nothing was sent, so nothing happens.
        }
        self.prune();
        if self.pending.len() >= CALLS_WAITING_MAX {
            let _ = call.answer.send(Err(CallError::Overloaded));
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, call.answer);
        let frame = Frame { id, service: self.service, kind: Kind::Request, payload: call.payload };
        self.writer.push(frame.chunks());
    }
}

/// Gives an answer to its caller. `None` when the connection is of no more use.
fn take(
    pending: &mut BTreeMap<u64, oneshot::Sender<Result<Bytes, CallError>>>,
    frame: Result<Bytes, ReceiveError>,
    metrics: &TransportMetrics,
) -> Option<()> {
    let frame = frame.ok()?;
    metrics.received_bytes.inc_by(u64::try_from(frame.len()).unwrap_or(u64::MAX));
    let frame = Frame::parse(frame)?;
    let answer = match frame.kind {
        Kind::Response => Ok(frame.payload),
        Kind::Error => Err(CallError::Rejected),
        Kind::Request | Kind::OneWay => return None,
    };
    if let Some(caller) = pending.remove(&frame.id) {
        // A caller that has gone wants no answer.
        let _ = caller.send(answer);
    }
    Some(())
}

#[cfg(test)]
mod tests;
