//! One client's connection: frames in, answers out, in the order of the requests.
//!
//! Called by `server`, one task for each connection. Invariants: answers leave in request order; at most
//! `PIPELINE_DEPTH` requests are unanswered, and more than one only if the handler says of each that it pipelines;
//! nothing is read while the budget is spent, the peer does not read, or a throttle runs (the kernel's buffers then
//! push back on the peer); a handler's panic costs its connection and nothing else.

use std::collections::VecDeque;
use std::future::{Future as _, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, CatchUnwind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::telemetry::TransportMetrics;

use super::budget::{Budget, Share};
use super::handler::{Answer, Handled, RequestContext, RequestHandler};
use super::receive::{FrameReader, LENGTH_BYTES, ReceiveError};
use super::send::{FrameWriter, SendError};
use super::throttled_log::OncePerMinute;

/// Requests of one connection that may be unanswered at once, where they pipeline. Clients keep at most five in
/// flight when they are idempotent; the bound is for those that are not.
pub(super) const PIPELINE_DEPTH: usize = 16;

/// The waits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// Without any byte and without a request in flight.
    pub(super) idle: Duration,
    /// From a request's first byte to its last.
    pub(super) receive: Duration,
    /// For how long a peer that has closed its side is still answered.
    pub(super) farewell: Duration,
}

/// Why a connection ended. The names are those of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The peer closed or vanished.
    Peer,
    /// A length that no request has.
    BadLength,
    /// A request took too long to arrive.
    ReceiveDeadline,
    /// Nothing happened for too long.
    Idle,
    /// The peer did not read its answers.
    Stalled,
    /// The handler said so.
    Handler,
    /// The handler panicked.
    Panic,
    /// What was to be sent could not be read.
    Unreadable,
    /// The server stops.
    Stopped,
}

impl Ended {
    /// The metric's label.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::BadLength => "bad_length",
            Self::ReceiveDeadline => "receive_deadline",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Handler => "handler",
            Self::Panic => "panic",
            Self::Unreadable => "unreadable",
            Self::Stopped => "stopped",
        }
    }
}

/// A connection and all it needs.
pub(super) struct Connection {
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
    pub(super) context: RequestContext,
    pub(super) handler: Arc<dyn RequestHandler>,
    pub(super) budget: Budget,
    pub(super) deadlines: Deadlines,
    pub(super) metrics: TransportMetrics,
    /// Shared by the server's connections, so that a scan of many does not fill the log.
    pub(super) odd_peers: Arc<OncePerMinute>,
    /// Becomes true when the server stops.
    pub(super) stop: watch::Receiver<bool>,
}

/// A request that is not answered yet.
struct Owed {
    api: &'static str,
    answer: CatchUnwind<AssertUnwindSafe<BoxFuture<'static, Answer>>>,
    received: Instant,
    pipelines: bool,
    /// Given back when the answer has been written.
    _share: Share,
}

/// A request that waits until earlier ones are answered.
struct Held {
    frame: Bytes,
    share: Share,
    received: Instant,
}

/// A request that its handler is still taking.
struct Entering {
    handled: CatchUnwind<AssertUnwindSafe<BoxFuture<'static, Handled>>>,
    received: Instant,
    pipelines: bool,
    share: Share,
}

enum Event {
    Answer(std::thread::Result<Answer>),
    /// The handler has taken the request that was entering.
    Entered(std::thread::Result<Handled>),
    Frame(Result<Bytes, Ended>),
    /// While nothing is wanted from it, the peer closed its side.
    Left,
    /// The peer is gone, or was waited for long enough after it closed its side.
    Gone,
    Unmuted,
    Stopping,
}

impl Connection {
    /// Serves the connection until it ends.
    pub(super) async fn run(self) -> Ended {
        let share = self.budget.share();
        let activity = Activity { last: Instant::now(), frame_started: None };
        let session = Session {
            connection: self,
            owed: VecDeque::with_capacity(1),
            entering: None,
            held: None,
            share,
            activity,
            muted_until: None,
            ending: None,
            leaves_at: None,
        };
        session.run().await
    }
}

/// When something last happened, for the deadlines.
struct Activity {
    last: Instant,
    frame_started: Option<Instant>,
}

struct Session {
    connection: Connection,
    /// Oldest first.
    owed: VecDeque<Owed>,
    /// Behind those.
    entering: Option<Entering>,
    held: Option<Held>,
    /// What the request that is arriving has charged so far.
    share: Share,
    activity: Activity,
    muted_until: Option<Instant>,
    /// Set once no more is read; what is owed is still answered.
    ending: Option<Ended>,
    /// Set once the peer has closed its side: until then what is owed is still answered.
    leaves_at: Option<Instant>,
}

impl Session {
    async fn run(mut self) -> Ended {
        loop {
            if let Some(ended) = self.ending
                && self.owed.is_empty()
                && self.entering.is_none()
                && self.held.is_none()
            {
                return ended;
            }
            let event = self.next_event().await;
            let outcome = match event {
                Event::Answer(answer) => self.settle(answer).await,
                Event::Entered(handled) => self.enter(handled),
                Event::Frame(Ok(frame)) => self.take(frame),
                Event::Frame(Err(ended)) => self.stop_reading(ended),
                Event::Left => self.bid_farewell(),
                Event::Gone => return Ended::Peer,
                Event::Unmuted => self.unmute(),
                Event::Stopping => self.stop_reading(Ended::Stopped),
            };
            if let Err(ended) = outcome {
                return ended;
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let may_read = self.may_read();
        if !may_read {
            // What keeps us from reading is not the peer's delay.
            self.activity.frame_started = None;
        }
        let is_running = self.ending.is_none();
        let may_leave = !may_read && is_running && self.leaves_at.is_none();
        let (muted_until, leaves_at) = (self.muted_until, self.leaves_at);
        let Self { connection, owed, entering, share, activity, .. } = self;
        let Connection { reader, deadlines, context, odd_peers, stop, .. } = connection;
        let (is_owing, is_entering) = (!owed.is_empty(), entering.is_some());
        let is_waited_for = is_owing || is_entering;
        let receiving = Receiving { reader, share, activity, deadlines, context, odd_peers, is_waited_for };
        tokio::select! {
            biased;
            answer = front(owed), if is_owing => Event::Answer(answer),
            handled = entered(entering), if is_entering => Event::Entered(handled),
            event = receiving.event(may_read), if may_read || may_leave => event,
            () = sleep_or_never(leaves_at), if leaves_at.is_some() => Event::Gone,
            () = sleep_or_never(muted_until), if muted_until.is_some() => Event::Unmuted,
            () = stopped(stop), if is_running => Event::Stopping,
            // All other branches are off only while one of the above is on.
            () = pending() => Event::Stopping,
        }
    }

    fn may_read(&self) -> bool {
        self.ending.is_none()
            && self.entering.is_none()
            && self.held.is_none()
            && self.muted_until.is_none()
            && self.owed.len() < PIPELINE_DEPTH
            && self.owed.iter().all(|owed| owed.pipelines)
    }

    fn take(&mut self, frame: Bytes) -> Result<(), Ended> {
        let now = Instant::now();
        self.activity = Activity { last: now, frame_started: None };
        let received = u64::try_from(frame.len() + LENGTH_BYTES).unwrap_or(u64::MAX);
        self.connection.metrics.received_bytes.inc_by(received);
        let share = std::mem::replace(&mut self.share, self.connection.budget.share());
        let held = Held { frame, share, received: now };
        let pipelines = self.connection.handler.pipelines(&held.frame);
        if !self.owed.is_empty() && !pipelines {
            self.held = Some(held);
            return Ok(());
        }
        self.hand_over(held, pipelines)
    }

    fn hand_over(&mut self, held: Held, pipelines: bool) -> Result<(), Ended> {
        let Held { frame, share, received } = held;
        let Connection { handler, context, .. } = &self.connection;
        // The frame and the handler's own state are what a panic could leave half done; the handler answers for the
        // latter, the former is dropped with the connection.
        let handled = catch_unwind(AssertUnwindSafe(|| handler.handle(context, frame)));
        self.accept(handled, received, pipelines, share)
    }

    fn enter(&mut self, handled: std::thread::Result<Handled>) -> Result<(), Ended> {
        let Entering { received, pipelines, share, .. } = self.entering.take().expect("only what enters has entered");
        self.accept(handled, received, pipelines, share)
    }

    fn accept(
        &mut self,
        handled: std::thread::Result<Handled>,
        received: Instant,
        pipelines: bool,
        share: Share,
    ) -> Result<(), Ended> {
        match handled {
            Ok(Handled::Pending(pending)) => {
                let answer = AssertUnwindSafe(pending.answer).catch_unwind();
                self.owed.push_back(Owed { api: pending.api, answer, received, pipelines, _share: share });
                Ok(())
            }
            Ok(Handled::Later(start)) => {
                let handled = AssertUnwindSafe(start).catch_unwind();
                self.entering = Some(Entering { handled, received, pipelines, share });
                Ok(())
            }
            Ok(Handled::Close) => self.stop_reading(Ended::Handler),
            Err(_) => {
                let Connection { context, metrics, .. } = &self.connection;
                metrics.panics.inc();
                tracing::error!(peer = %context.peer, "request handler panicked; connection closed");
                self.stop_reading(Ended::Panic)
            }
        }
    }

    /// Writes the oldest request's answer and those behind it that are ready, in one go.
    async fn settle(&mut self, first: std::thread::Result<Answer>) -> Result<(), Ended> {
        let mut written = Vec::new();
        let mut answer = Some(first);
        let mut end = None;
        while let Some(ready) = answer.take() {
            let owed = self.owed.pop_front().expect("an answer belongs to the oldest request owed");
            match self.enqueue(&owed, ready) {
                Ok(()) => written.push(owed),
                Err(ended) => {
                    end = Some(ended);
                    break;
                }
            }
            if self.muted_until.is_none() && !self.owed.is_empty() {
                answer = front(&mut self.owed).now_or_never();
            }
        }
        self.flush().await?;
        let now = Instant::now();
        for owed in written {
            self.connection.metrics.count_request(owed.api, now.saturating_duration_since(owed.received));
        }
        self.activity.last = now;
        end.map_or(Ok(()), Err)?;
        self.release_held()
    }

    fn enqueue(&mut self, owed: &Owed, answer: std::thread::Result<Answer>) -> Result<(), Ended> {
        let Connection { metrics, context, writer, .. } = &mut self.connection;
        let mute = match answer {
            Ok(Answer::Send { chunks, mute }) => {
                writer.push_chunks(chunks);
                mute
            }
            Ok(Answer::Silent { mute }) => mute,
            Ok(Answer::Close) => {
                metrics.count_request_error(owed.api);
                return Err(Ended::Handler);
            }
            Err(_) => {
                metrics.panics.inc();
                metrics.count_request_error(owed.api);
                tracing::error!(api = owed.api, peer = %context.peer, "request handler panicked; connection closed");
                return Err(Ended::Panic);
            }
        };
        if !mute.is_zero() {
            let until = Instant::now() + mute;
            self.muted_until = Some(self.muted_until.map_or(until, |earlier| earlier.max(until)));
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.connection.writer.is_empty() {
            return Ok(());
        }
        match self.connection.writer.flush().await {
            Ok(sent) => {
                self.connection.metrics.sent_bytes.inc_by(u64::try_from(sent).unwrap_or(u64::MAX));
                Ok(())
            }
            Err(SendError::Stalled) => Err(Ended::Stalled),
            Err(SendError::Closed) => Err(Ended::Peer),
            Err(SendError::Unreadable(cause)) => {
                tracing::warn!(peer = %self.connection.context.peer, %cause, "closing: records cannot be read");
                Err(Ended::Unreadable)
            }
        }
    }

    fn release_held(&mut self) -> Result<(), Ended> {
        if !self.owed.is_empty() || self.muted_until.is_some() {
            return Ok(());
        }
        match self.held.take() {
            Some(held) => {
                let pipelines = self.connection.handler.pipelines(&held.frame);
                self.hand_over(held, pipelines)
            }
            None => Ok(()),
        }
    }

    fn unmute(&mut self) -> Result<(), Ended> {
        self.muted_until = None;
        self.activity.last = Instant::now();
        self.release_held()
    }

    /// The peer closed its side. It may wait for its answers, but not for longer than we wait for it.
    fn bid_farewell(&mut self) -> Result<(), Ended> {
        let leaves_at = Instant::now() + self.connection.deadlines.farewell;
        self.leaves_at.get_or_insert(leaves_at);
        Ok(())
    }

    /// Reads nothing more. What was handed over is answered; what the peer sent before is handed over.
    fn stop_reading(&mut self, ended: Ended) -> Result<(), Ended> {
        self.ending = Some(ended);
        if ended == Ended::Peer {
            self.bid_farewell()?;
        }
        if matches!(ended, Ended::Handler | Ended::Panic | Ended::Stopped) {
            self.held = None;
        }
        Ok(())
    }
}

/// Waits until the server stops, or is no more.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped; both mean the same here.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn sleep_or_never(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

/// The oldest request's answer. Cancel-safe.
fn front(owed: &mut VecDeque<Owed>) -> impl Future<Output = std::thread::Result<Answer>> + '_ {
    std::future::poll_fn(|context| match owed.front_mut() {
        Some(oldest) => Pin::new(&mut oldest.answer).poll(context),
        None => Poll::Pending,
    })
}

/// What the handler makes of the request that is entering. Cancel-safe.
fn entered(entering: &mut Option<Entering>) -> impl Future<Output = std::thread::Result<Handled>> + '_ {
    std::future::poll_fn(|context| match entering {
        Some(entering) => Pin::new(&mut entering.handled).poll(context),
        None => Poll::Pending,
    })
}

/// What it takes to read one frame.
struct Receiving<'a> {
    reader: &'a mut FrameReader,
    share: &'a mut Share,
    activity: &'a mut Activity,
    deadlines: &'a Deadlines,
    context: &'a RequestContext,
    odd_peers: &'a OncePerMinute,
    /// A client that waits for an answer is not idle.
    is_waited_for: bool,
}

impl Receiving<'_> {
    /// The next frame; or, when none is wanted, the peer's end. Cancel-safe.
    async fn event(self, may_read: bool) -> Event {
        if may_read {
            return Event::Frame(self.frame().await);
        }
        match self.reader.ended().await {
            ReceiveError::Ended | ReceiveError::Cut => Event::Left,
            ReceiveError::Io(_) | ReceiveError::BadLength(_) => Event::Gone,
        }
    }

    /// The next frame, within the deadlines. Cancel-safe.
    async fn frame(self) -> Result<Bytes, Ended> {
        let Self { reader, share, activity, deadlines, context, odd_peers, is_waited_for } = self;
        if !reader.has_started() {
            let started = if is_waited_for {
                reader.started().await
            } else {
                timeout_at(activity.last + deadlines.idle, reader.started()).await.map_err(|_| Ended::Idle)?
            };
            started.map_err(|error| receive_failed(error, context, odd_peers))?;
        }
        let first = *activity.frame_started.get_or_insert_with(Instant::now);
        let frame = timeout_at(first + deadlines.receive, reader.frame(share)).await;
        frame.map_err(|_| Ended::ReceiveDeadline)?.map_err(|error| receive_failed(error, context, odd_peers))
    }
}

fn receive_failed(error: ReceiveError, context: &RequestContext, odd_peers: &OncePerMinute) -> Ended {
    match error {
        ReceiveError::Ended | ReceiveError::Cut | ReceiveError::Io(_) => Ended::Peer,
        ReceiveError::BadLength(bytes) => {
            if let Some(suppressed) = odd_peers.permit(Instant::now()) {
                let claimed = i32::from_be_bytes(bytes);
                let (listener, peer) = (&context.listener, context.peer);
                let hint = guess(bytes);
                tracing::warn!(%listener, %peer, claimed, suppressed, hint, "a request of a length that none has");
            }
            Ended::BadLength
        }
    }
}

/// What the first bytes look like when they are no length.
fn guess(bytes: [u8; LENGTH_BYTES]) -> &'static str {
    match &bytes {
        [0x16, 0x03, ..] => "looks like TLS",
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"PRI " | b"OPTI" | b"DELE" => "looks like HTTP",
        b"SSH-" => "looks like SSH",
        b"OTTL" => "looks like a node of this cluster on a listener for clients",
        _ => "",
    }
}
