//! The voter's side: takes brokers' connections and reports what they say and when they end.
//!
//! Invariant: an event of a connection comes after those of the same connection before it, and an ended connection
//! that was announced by `Opened` is announced by exactly one `Closed`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::env::Clock;
use crate::model::{BootNumber, NodeId};
use crate::transport::budget::Share;
use crate::transport::connection::stopped;
use crate::transport::peer_gate::LivenessPort;
use crate::transport::receive::{FrameReader, ReceiveError};
use crate::transport::send::FrameWriter;
use crate::transport::socket::Socket;

use super::wire::{FRAME_BYTES_MAX, Message, acknowledgement};
use super::{CloseReason, Hello, LivenessEvent};

/// How long a broker may take to say hello.
const HELLO_WAIT: Duration = Duration::from_secs(2);
/// Without the broker reading acknowledgements.
const STALL_DEADLINE: Duration = Duration::from_secs(3);
/// Node ids that may ever say hello to this process; further ones are refused.
const BROKERS_MAX: usize = 4096;

/// The newest connection of each broker.
#[derive(Debug, Default)]
struct Newest {
    boot: BootNumber,
    /// Counts the connections of this broker; rises with each.
    connection: u64,
}

#[derive(Clone)]
struct Voter {
    events: mpsc::Sender<LivenessEvent>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
    /// Guards which connection of a broker is the newest; held for a lookup, never while waiting.
    newest: Arc<Mutex<BTreeMap<NodeId, Newest>>>,
}

/// Serves liveness connections and reports to `events`.
pub(super) fn port(
    events: mpsc::Sender<LivenessEvent>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
) -> Arc<dyn LivenessPort> {
    Arc::new(Voter { events, clock, stop, newest: Arc::default() })
}

impl LivenessPort for Voter {
    fn serve(&self, socket: Socket, from: SocketAddr) -> BoxFuture<'static, ()> {
        self.clone().run(socket, from).boxed()
    }
}

impl Voter {
    async fn run(self, socket: Socket, from: SocketAddr) {
        let (reader, writer) = socket.split();
        let mut reader = FrameReader::new(reader, FRAME_BYTES_MAX);
        let first = timeout(HELLO_WAIT, reader.frame(&mut Share::unbudgeted())).await;
        let Some(Message::Hello(hello)) = first.ok().and_then(Result::ok).and_then(Message::parse) else { return };
        let Some(connection) = self.announce(hello) else {
            tracing::debug!(node = %hello.node, boot = %hello.boot, "a liveness connection of an earlier start was dropped");
            return;
        };
        self.tell(LivenessEvent::Opened { hello, from, at: self.now() }).await;
        let writer = FrameWriter::new(writer, STALL_DEADLINE);
        let Some(reason) = self.listen(reader, writer, hello, from).await else { return };
        let is_newest = self.is_newest(hello.node, connection);
        let reason = if is_newest { reason } else { CloseReason::Replaced };
        let (node, boot) = (hello.node, hello.boot);
        self.tell(LivenessEvent::Closed { node, boot, reason, from, at: self.now() }).await;
    }

    /// Until the connection ends; `None` when it ends because this node stops, which says nothing about the broker.
    async fn listen(
        &self,
        mut reader: FrameReader,
        mut writer: FrameWriter,
        hello: Hello,
        from: SocketAddr,
    ) -> Option<CloseReason> {
        let mut stop = self.stop.clone();
        let mut share = Share::unbudgeted();
        loop {
            let frame = tokio::select! {
                () = stopped(&mut stop) => return None,
                frame = reader.frame(&mut share) => frame,
            };
            let message = match frame {
                Ok(frame) => Message::parse(frame),
                Err(ReceiveError::Ended | ReceiveError::Cut) => return Some(CloseReason::Ended),
                Err(ReceiveError::Io(error)) if error.kind() == ErrorKind::TimedOut => return Some(CloseReason::Lost),
                Err(ReceiveError::Io(_)) => return Some(CloseReason::Reset),
                Err(ReceiveError::BadLength(_)) => return Some(CloseReason::Malformed),
            };
            match message {
                Some(Message::Beat { id, payload }) => {
                    self.report_beat(hello, payload);
                    writer.push(acknowledgement(id));
                    if writer.flush().await.is_err() {
                        return Some(CloseReason::Reset);
                    }
                }
                Some(Message::Hello(again)) if (again.node, again.boot) == (hello.node, hello.boot) => {
                    self.tell(LivenessEvent::Opened { hello: again, from, at: self.now() }).await;
                }
                Some(Message::Farewell { redials: true }) => return Some(CloseReason::Redialling),
                Some(Message::Farewell { redials: false }) => return Some(CloseReason::Stopping),
                Some(Message::Hello(_)) | None => return Some(CloseReason::Malformed),
            }
        }
    }

    /// Notes a connection as its broker's newest; `None` when a later start of that broker was seen (rule S15),
    /// or more node ids than a cluster has.
    fn announce(&self, hello: Hello) -> Option<u64> {
        let mut newest = self.newest.lock().expect("nothing panics while holding the lock");
        if newest.len() >= BROKERS_MAX && !newest.contains_key(&hello.node) {
            return None;
        }
        let newest = newest.entry(hello.node).or_default();
        if hello.boot < newest.boot {
            return None;
        }
        newest.boot = hello.boot;
        newest.connection += 1;
        Some(newest.connection)
    }

    fn is_newest(&self, node: NodeId, connection: u64) -> bool {
        let newest = self.newest.lock().expect("nothing panics while holding the lock");
        newest.get(&node).is_some_and(|newest| newest.connection == connection)
    }

    fn report_beat(&self, hello: Hello, payload: Bytes) {
        let event = LivenessEvent::Beat { node: hello.node, boot: hello.boot, payload, at: self.now() };
        // A full queue means that the controller does not read; the next beat tells it the same.
        let _ = self.events.try_send(event);
    }

    async fn tell(&self, event: LivenessEvent) {
        // An error means that the controller's side is gone, and nobody wants to know.
        let _ = self.events.send(event).await;
    }

    fn now(&self) -> crate::model::Instant {
        self.clock.now().instant
    }
}
