//! What the controller remembers without writing it down.
//!
//! Invariant: losing it costs time, never data: a new controller begins with [`Soft::begin`] and gives everybody a
//! full session, except whose connection this very process held and saw close (rule S16).

use std::collections::{BTreeMap, BTreeSet};

use crate::machines::metadata::{Broker, Image};
use crate::model::{BootNumber, BrokerEpoch, Instant, LogIndex, NodeId, Now, PartitionId};
use crate::probe::{Mutant, planted};

use super::liveness::{Connection, DialOutcome};
use super::{Heartbeat, Options, Progress, SignOfLife, Wish};

/// The controller's soft state.
#[derive(Clone, Debug)]
pub struct Soft {
    pub(super) options: Options,
    /// Outlives terms: a connection closes for this process, whoever leads.
    pub(super) connections: BTreeMap<(NodeId, BootNumber), Connection>,
    pub(super) sessions: BTreeMap<NodeId, Session>,
    pub(super) suspicion: Suspicion,
    /// The latest tick: a long gap means that this process was asleep, not the brokers.
    pub(super) ticked: Option<Instant>,
    /// Whether the latest tick left something to do at once.
    pub(super) is_owing: bool,
    /// The leader that was last moved for being unreachable, and when (rule S12).
    pub(super) unreachable: Option<(NodeId, Instant)>,
    /// When leaderships were last returned to preferred replicas.
    pub(super) preferred: Option<Instant>,
}

/// What is known of a broker by what it says.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The life it is of.
    pub(super) broker_epoch: BrokerEpoch,
    /// When this controller first knew of it.
    pub(super) begun: Instant,
    /// When it was last heard.
    pub(super) contact: Instant,
    /// How it gets on.
    pub(super) progress: Progress,
    /// What it is to apply, and since when: cleared when it has (rule S11).
    pub(super) behind: Option<(LogIndex, Instant)>,
    /// Leaders it cannot fetch from, and when it said so (rule S12): signs of life say nothing of them.
    pub(super) unfetchable: BTreeSet<NodeId>,
    pub(super) unfetchable_at: Instant,
    /// It has asked to stop, and will not ask for anything else (rule R16): what it said before may be read later.
    is_leaving: bool,
    /// What it holds and cannot serve (rule S3).
    unserved: BTreeSet<PartitionId>,
    /// From which index on, and since when, nothing depends on it while it shuts down (rule R16).
    pub(super) released: Option<(LogIndex, Instant)>,
}

/// Whether this process doubts itself because most brokers went missing together (rule S16).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspicion {
    /// When a read barrier was asked for.
    pub(super) asked: Option<Instant>,
    /// Who went missing before this is missing indeed: a barrier that was asked for then has passed.
    pub(super) trusted: Instant,
    /// Whether the quorum was asked to let another lead.
    pub(super) is_handing_over: bool,
}

impl Soft {
    /// The soft state of a process that has just started.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            suspicion: Suspicion::default(),
            ticked: None,
            is_owing: true,
            unreachable: None,
            preferred: None,
        }
    }

    /// This process is the active controller from `now` on: every session begins afresh (rule S16).
    pub fn begin(&mut self, image: &Image, now: Now) {
        let (connections, sessions) = (std::mem::take(&mut self.connections), std::mem::take(&mut self.sessions));
        *self = Self { connections, ..Self::new(self.options.clone()) };
        if planted(Mutant::SessionsOutliveTerm) {
            self.sessions = sessions;
        }
        for broker in image.brokers().iter() {
            self.session(broker, now);
        }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// A liveness connection from that start of that broker is open. To be told while another leads, too.
    pub fn connected(&mut self, now: Now, node: NodeId, boot: BootNumber) {
        let keep = self.options.session_timeout;
        self.connections.retain(|_, connection| !connection.is_closed_since(now.instant, keep));
        self.connections.entry((node, boot)).or_default().opened();
        if let Some(session) = self.sessions.get_mut(&node) {
            session.contact = session.contact.max(now.instant);
        }
    }

    /// It has closed.
    pub fn closed(&mut self, now: Now, node: NodeId, boot: BootNumber) {
        if planted(Mutant::ForeignCloseCounts) {
            self.connections.entry((node, boot)).or_default();
        }
        // Only a connection that this process held can close (rule S16).
        if let Some(connection) = self.connections.get_mut(&(node, boot)) {
            connection.closed(now.instant);
            self.is_owing = true;
        }
    }

    /// What came of an [`super::Effect::Dial`].
    pub fn dialed(&mut self, node: NodeId, boot: BootNumber, outcome: DialOutcome) {
        if let Some(connection) = self.connections.get_mut(&(node, boot)) {
            connection.dialed(outcome);
            self.is_owing = true;
        }
    }

    /// A sign of life came at `at`, which may be some time ago: it counts from then. One of another life of the broker
    /// counts nothing (rule S15).
    pub fn alive(&mut self, image: &Image, at: Instant, sign: &SignOfLife) {
        let is_current =
            |session: &&mut Session| session.broker_epoch == sign.broker_epoch || planted(Mutant::OldLifeCounts);
        if let Some(session) = self.sessions.get_mut(&sign.node).filter(is_current) {
            session.tell(at, sign.progress, image.last_accepted());
        }
    }

    /// The [`super::Effect::ReadBarrier`] that was asked for at `asked` succeeded: this process is in touch with the
    /// cluster, so whoever was missing then is missing indeed.
    pub fn barrier_passed(&mut self, asked: Instant) {
        self.suspicion.trusted = self.suspicion.trusted.max(asked);
        self.suspicion.asked = None;
        self.is_owing = true;
    }

    /// When [`super::tick`] is due next.
    #[must_use]
    pub fn next_deadline(&self, now: Now) -> Instant {
        let Some(ticked) = self.ticked.filter(|_| !self.is_owing) else { return now.instant };
        let sessions = self.sessions.values().map(|session| session.contact.plus(self.options.session_timeout));
        let connections = self.connections.values().filter_map(|c| c.deadline(self.options.reconnect_grace));
        let unseen = sessions.chain(connections).filter(|deadline| *deadline > ticked);
        let regular = ticked.plus(self.options.heartbeat_interval);
        unseen.min().map_or(regular, |deadline| deadline.min(regular))
    }

    /// The session of a registered broker, begun when there is none of its epoch.
    pub(super) fn session(&mut self, broker: &Broker, now: Now) -> &mut Session {
        let fresh = || Session {
            broker_epoch: broker.broker_epoch,
            begun: now.instant,
            contact: now.instant,
            progress: Progress::default(),
            behind: None,
            unfetchable: BTreeSet::new(),
            unfetchable_at: now.instant,
            is_leaving: false,
            unserved: BTreeSet::new(),
            released: None,
        };
        let session = self.sessions.entry(broker.node).or_insert_with(fresh);
        if session.broker_epoch != broker.broker_epoch {
            *session = fresh();
        }
        session
    }

    /// Notes what a broker says of itself; `accepted` is what it is to apply in time.
    pub(super) fn heard(&mut self, broker: &Broker, now: Now, heartbeat: &Heartbeat, accepted: LogIndex) {
        let session = self.session(broker, now);
        session.tell(now.instant, heartbeat.progress, accepted);
        session.unfetchable = heartbeat.unfetchable.iter().copied().collect();
        session.unfetchable_at = now.instant;
        session.is_leaving |= heartbeat.wish == Wish::ShutDown;
        session.unserved = heartbeat.unserved.iter().copied().collect();
    }

    /// Whether this life of a broker has asked to stop.
    pub(super) fn is_leaving(&self, node: NodeId) -> bool {
        self.sessions.get(&node).is_some_and(|session| session.is_leaving)
    }

    /// Whether a broker has said that it cannot serve its copy of a partition.
    pub(super) fn cannot_serve(&self, node: NodeId, partition: PartitionId) -> bool {
        self.sessions.get(&node).is_some_and(|session| session.unserved.contains(&partition))
    }
}

impl Session {
    /// The broker was heard at `at`; `accepted` is what it is to apply in time. What it has applied stays applied,
    /// whichever of its messages comes last.
    fn tell(&mut self, at: Instant, progress: Progress, accepted: LogIndex) {
        self.contact = self.contact.max(at);
        let applied = progress.applied.max(self.progress.applied);
        self.progress = Progress { applied, ..progress };
        if self.behind.is_some_and(|(index, _)| applied >= index) {
            self.behind = None;
        }
        if self.behind.is_none() && applied < accepted {
            self.behind = Some((accepted, at));
        }
    }
}
