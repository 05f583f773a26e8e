//! The host of the controller: gathers events, decides them on the image, proposes, answers once accepted.
//!
//! Runs on every voter; active only while this node leads the quorum. Called through `ControllerHandle` by the
//! dispatch of the controller listener and by this node's own broker.
//! Invariant: one proposal is in flight; a reply leaves only when the records that it saw are accepted (rule S5); after
//! an outcome that is not known the host decides nothing before it has been made active anew.

mod connections;
mod effects;
pub(crate) mod round;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::connections::Connections;
use self::round::{Progress, Unsettled};
use super::calls;
use super::vital::spawn_vital;
use crate::env::Clock;
use crate::machines::controller::{Asked, DialOutcome, EVENTS_PER_ROUND_MAX, Event, Options, Reply, Soft};
use crate::machines::metadata::Image;
use crate::model::{BootNumber, Instant as Moment, NodeId, Now};
use crate::quorum::{Leadership, Quorum};
use crate::telemetry::BrokerMetrics;
use crate::transport::{LivenessEvent, VoterEvents};

/// Events that may wait for the host. At the bound the asker is told to try again.
const EVENTS_WAITING_MAX: usize = 4_096;

/// This node is not the active controller, or cannot say what became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node is not the active controller")]
pub struct NotController;

/// The way to this node's controller.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    asks: mpsc::Sender<Ask>,
}

/// Who waits for a reply.
type Asker = oneshot::Sender<Result<Reply, NotController>>;
/// An event and who waits for its reply.
type Ask = Asked<Asker>;

/// What the host learns from what it has started.
#[derive(Debug)]
enum Finding {
    Dialed { node: NodeId, boot: BootNumber, outcome: DialOutcome },
    BarrierPassed { asked: Moment },
}

/// What the host works with.
pub struct ControllerWorld {
    /// The metadata log.
    pub quorum: Quorum,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// What the liveness connections tell.
    pub liveness: VoterEvents,
    /// The listener on which brokers are dialled when their liveness connection has closed.
    pub dial_listener: String,
    /// Where the host counts.
    pub metrics: BrokerMetrics,
}

struct Host {
    world: ControllerWorld,
    soft: Soft,
    asks: mpsc::Receiver<Ask>,
    /// Taken from `asks` and not decided yet, and the rests of large requests.
    waiting: VecDeque<Ask>,
    findings: mpsc::UnboundedReceiver<Finding>,
    found: mpsc::UnboundedSender<Finding>,
    images: watch::Receiver<Arc<Image>>,
    /// From where each broker last connected: with the port of its listener, where it is dialled.
    seen_at: BTreeMap<NodeId, IpAddr>,
    connections: Connections,
    leadership: watch::Receiver<Leadership>,
}

impl ControllerHandle {
    /// Starts the host on the current runtime.
    #[must_use]
    pub fn start(world: ControllerWorld, options: Options) -> Self {
        let (asks, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let (found, findings) = mpsc::unbounded_channel();
        let images = world.quorum.images();
        let leadership = world.quorum.leadership();
        let soft = Soft::new(options);
        let host = Host {
            world,
            soft,
            asks: receiver,
            waiting: VecDeque::new(),
            findings,
            found,
            images,
            seen_at: BTreeMap::new(),
            connections: Connections::default(),
            leadership,
        };
        spawn_vital("controller", host.run());
        Self { asks }
    }

    /// Asks; returns when the controller's answer is final.
    ///
    /// # Errors
    /// When this node is not the active controller, or stops being it before the outcome is known.
    pub async fn ask(&self, event: Event) -> Result<Reply, NotController> {
        let (reply, receiver) = oneshot::channel();
        self.asks.try_send(Ask { event, to: reply }).map_err(|_| NotController)?;
        receiver.await.map_err(|_| NotController)?
    }
}

impl Host {
    async fn run(mut self) {
        loop {
            let leadership = *self.leadership.borrow_and_update();
            self.world.metrics.active_controller.set(i64::from(leadership.active));
            if leadership.active {
                info!(term = %leadership.term, "this node is the active controller");
                self.serve(leadership).await;
                info!(term = %leadership.term, "this node is no longer the active controller");
                self.refuse_all();
                continue;
            }
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() { return },
                Some(event) = self.world.liveness.next() => self.note(event),
                Some(_) = self.findings.recv() => {}
                ask = self.asks.recv() => match ask {
                    // The asker may have given up.
                    Some(ask) => _ = ask.to.send(Err(NotController)),
                    None => return,
                },
            }
        }
    }

    fn refuse_all(&mut self) {
        for ask in self.waiting.drain(..) {
            let _ = ask.to.send(Err(NotController));
        }
    }

    fn note(&mut self, event: LivenessEvent) {
        let now = self.world.clock.now();
        match event {
            LivenessEvent::Opened { hello, from, at } => {
                debug!(node = %hello.node, boot = %hello.boot, %from, "a broker's liveness connection is open");
                self.seen_at.insert(hello.node, from.ip());
                if self.connections.opened(hello.node, hello.boot) {
                    self.soft.connected(Now { instant: at, ..now }, hello.node, hello.boot);
                }
            }
            LivenessEvent::Beat { payload, at, .. } => self.note_beat(&payload, at),
            LivenessEvent::Closed { node, boot, reason, at, .. } => {
                info!(%node, %boot, ?reason, "a broker's liveness connection has closed");
                if self.connections.closed(node, boot, reason) {
                    self.soft.closed(Now { instant: at, ..now }, node, boot);
                }
            }
        }
    }

    /// A beat tells that the broker lives and how it gets on, even while its other paths are stuck (rule S11). It is
    /// empty until the broker has registered.
    fn note_beat(&mut self, payload: &Bytes, at: Moment) {
        if !self.leadership.borrow().active || payload.is_empty() {
            return;
        }
        if let Some(sign) = calls::unpack_sign(payload) {
            self.soft.alive(&self.images.borrow(), at, &sign);
        }
    }

    /// Decides until this node is no longer the active controller of that term.
    async fn serve(&mut self, leadership: Leadership) {
        let image = Arc::clone(&self.images.borrow());
        self.soft.begin(&image, self.world.clock.now());
        loop {
            if !self.still(leadership) {
                return;
            }
            self.gather();
            let is_done = match self.round(leadership).await {
                // What was accepted may make something else due.
                Ok(progress) => progress == Progress::Nothing && self.waiting.is_empty(),
                Err(Unsettled) => {
                    warn!(term = %leadership.term, "the outcome of a proposal is not known");
                    // Whatever became of it is in the image once this node, or another, is made active anew.
                    self.refuse_all();
                    self.await_change(leadership).await;
                    return;
                }
            };
            if is_done && !self.await_work(leadership).await {
                return;
            }
        }
    }

    fn still(&self, leadership: Leadership) -> bool {
        let current = *self.leadership.borrow();
        current.active && current.term == leadership.term
    }

    /// Waits until there is something to decide; `false` when the leadership has changed.
    async fn await_work(&mut self, leadership: Leadership) -> bool {
        let now = self.world.clock.now();
        let due = Instant::now() + self.soft.next_deadline(now).since(now.instant);
        tokio::select! {
            biased;
            changed = self.leadership.changed() => return changed.is_ok() && self.still(leadership),
            Some(event) = self.world.liveness.next() => self.note(event),
            Some(finding) = self.findings.recv() => self.learn(finding),
            ask = self.asks.recv() => match ask {
                Some(ask) => self.admit(ask),
                None => return false,
            },
            () = tokio::time::sleep_until(due) => {}
        }
        true
    }

    /// Takes all that has come meanwhile, so that it is decided together.
    fn gather(&mut self) {
        while let Some(event) = self.world.liveness.next().now_or_never().flatten() {
            self.note(event);
        }
        while let Ok(finding) = self.findings.try_recv() {
            self.learn(finding);
        }
        while self.waiting.len() < EVENTS_PER_ROUND_MAX
            && let Ok(ask) = self.asks.try_recv()
        {
            self.admit(ask);
        }
    }

    /// An event waits for its turn. Who lives is judged before that, so a heartbeat is a sign of life already now.
    fn admit(&mut self, ask: Ask) {
        if let Event::Heartbeat(heartbeat) = &ask.event {
            let at = self.world.clock.now().instant;
            self.soft.alive(&self.images.borrow(), at, &heartbeat.sign());
        }
        self.waiting.push_back(ask);
    }

    fn learn(&mut self, finding: Finding) {
        match finding {
            Finding::Dialed { node, boot, outcome } => {
                info!(%node, %boot, ?outcome, "dialled a broker whose connection had closed");
                self.soft.dialed(node, boot, outcome);
            }
            Finding::BarrierPassed { asked } => self.soft.barrier_passed(asked),
        }
    }

    async fn await_change(&mut self, leadership: Leadership) {
        /// With no change of leadership for this long, the host tries again in the same term: the proposal's outcome
        /// is in the image by then, or the quorum has lost its majority and says so.
        const RETRY: std::time::Duration = std::time::Duration::from_millis(500);
        let _ = tokio::time::timeout(RETRY, async {
            while self.still(leadership) && self.leadership.changed().await.is_ok() {}
        })
        .await;
    }
}
