//! What the controller remembers without writing it down, and its options.
//!
//! Invariant: losing it costs time, never data: a new controller begins with [`Soft::begin`] and gives everybody a
//! full session, except whose connection this very process held and saw close (rule S16).

use std::time::Duration;

use crate::machines::metadata::Image;
use crate::model::{BootNumber, NodeId, Now};

use super::liveness::DialOutcome;

/// What the controller may be set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `broker.session.timeout.ms`: how long a silent broker stays unfenced.
    pub session_timeout: Duration,
    /// `broker.heartbeat.interval.ms`: how often brokers speak.
    pub heartbeat_interval: Duration,
    /// `broker.reconnect.grace.ms`: how long a broker whose connection closed has to come back.
    pub reconnect_grace: Duration,
    /// How old a broker's oldest unfinished flush, turn or apply may be before it is fenced (rule S11).
    pub stall_max: Duration,
    /// How many bytes of records a proposal may hold (rule S14).
    pub proposal_bytes_max: usize,
    /// How many partitions one request may create.
    pub request_partitions_max: usize,
    /// The defaults of topics.
    pub defaults: Defaults,
}

/// What a topic gets when nobody says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `default.replication.factor` (rule S4).
    pub replication_factor: i16,
    /// `num.partitions`.
    pub partitions: i32,
    /// `min.insync.replicas` (decision 16).
    pub min_isr: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(250),
            reconnect_grace: Duration::from_millis(150),
            stall_max: Duration::from_secs(3),
            proposal_bytes_max: 128 * 1024,
            request_partitions_max: 10_000,
            defaults: Defaults::default(),
        }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self { replication_factor: 3, partitions: 1, min_isr: 2 }
    }
}

/// The controller's soft state.
#[derive(Clone, Debug)]
pub struct Soft {
    pub(super) options: Options,
}

impl Soft {
    /// The soft state of a process that has just started.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// This process is the active controller from `now` on: every session begins afresh (rule S16).
    pub fn begin(&mut self, image: &Image, now: Now) {
        let _ = (image, now);
    }

    /// A liveness connection from that start of that broker is open. To be told while another leads, too.
    pub fn connected(&mut self, now: Now, node: NodeId, boot: BootNumber) {
        let _ = (now, node, boot);
    }

    /// It has closed.
    pub fn closed(&mut self, now: Now, node: NodeId, boot: BootNumber) {
        let _ = (now, node, boot);
    }

    /// What came of an [`super::Effect::Dial`].
    pub fn dialed(&mut self, now: Now, node: NodeId, boot: BootNumber, outcome: DialOutcome) {
        let _ = (now, node, boot, outcome);
    }

    /// An [`super::Effect::ReadBarrier`] succeeded.
    pub fn barrier_passed(&mut self, now: Now) {
        let _ = now;
    }

    /// When [`super::tick`] is due next.
    #[must_use]
    pub fn next_deadline(&self, now: Now) -> crate::model::Instant {
        now.instant.plus(self.options.heartbeat_interval)
    }
}
