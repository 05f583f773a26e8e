//! Who is alive, as far as this process can tell (rules S11 and S16).
//!
//! Invariant: nobody is fenced because this process was asleep, has just begun, or lost touch with most at once and
//! has not yet heard from the quorum since. Being wrong costs an election, never data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Broker, Image};
use crate::model::{Instant, NodeId, Now};
use crate::probe::{Mark, Mutant, mark, planted};

use super::{Effect, Options, Soft};

/// What came of dialing a broker whose connection had closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialOutcome {
    /// The host answers that nobody listens: the process is gone.
    Refused,
    /// Somebody listens.
    Answered,
    /// No answer in time, no route, or the name does not resolve.
    Unreachable,
    /// This process could not even try: it is out of descriptors or memory (rule S16).
    Unable,
}

/// The liveness connections that one start of a broker holds to this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    /// How many are open: a new one may be seen before the old one's close.
    open: u32,
    closed: Option<Closed>,
}

#[derive(Clone, Copy, Debug)]
struct Closed {
    since: Instant,
    is_dialed: bool,
    outcome: Option<DialOutcome>,
}

impl Connection {
    pub(super) fn opened(&mut self) {
        self.open += 1;
        self.closed = None;
    }

    pub(super) fn closed(&mut self, now: Instant) {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 && self.closed.is_none() {
            self.closed = Some(Closed { since: now, is_dialed: false, outcome: None });
        }
    }

    pub(super) fn dialed(&mut self, outcome: DialOutcome) {
        if let Some(closed) = &mut self.closed {
            closed.outcome = Some(outcome);
        }
    }

    pub(super) fn is_closed_since(&self, now: Instant, at_least: Duration) -> bool {
        self.closed.is_some_and(|closed| now.since(closed.since) >= at_least)
    }

    /// When its broker's time to come back is over.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Instant> {
        self.closed.map(|closed| closed.since.plus(grace))
    }

    fn wants_dial(&mut self) -> bool {
        let wants = self.closed.as_mut().filter(|closed| !closed.is_dialed);
        wants.map(|closed| closed.is_dialed = true).is_some()
    }

    fn is_unable(&self) -> bool {
        self.closed.is_some_and(|closed| closed.outcome == Some(DialOutcome::Unable))
    }

    /// Since when the broker counts as gone: refused at once, else when the grace is over.
    fn gone_since(&self, now: Instant, grace: Duration) -> Option<Instant> {
        let closed = self.closed?;
        let is_gone = match closed.outcome {
            Some(DialOutcome::Refused) => true,
            // Who cannot dial cannot judge; the session decides.
            Some(DialOutcome::Unable) => false,
            Some(DialOutcome::Answered | DialOutcome::Unreachable) | None => now >= closed.since.plus(grace),
        };
        is_gone.then_some(closed.since)
    }
}

/// What the sessions and connections say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// To be fenced.
    pub(super) fence: Vec<NodeId>,
    /// To be done.
    pub(super) effects: Vec<Effect>,
}

/// Judges every broker that is not fenced.
pub(super) fn judge(image: &Image, soft: &mut Soft, now: Now) -> Verdict {
    soft.sessions.retain(|node, _| image.broker(*node).is_some());
    forget_closed(image, soft, now);
    for broker in image.brokers().iter() {
        soft.session(broker, now);
    }
    forgive_own_sleep(soft, now);
    let unfenced: Vec<&Broker> = image.brokers().iter().filter(|broker| !broker.is_fenced()).collect();
    let mut effects = dials(&unfenced, soft);
    let missing: Vec<(NodeId, Instant)> =
        unfenced.iter().filter_map(|broker| Some((broker.node, missing_since(broker, soft, now)?))).collect();
    let doubted = doubts(&missing, unfenced.len(), soft, now, &mut effects);
    let is_missing = |node: NodeId| missing.iter().any(|(gone, _)| *gone == node);
    let stalled = |broker: &&Broker| !is_missing(broker.node) && is_stalled(broker.node, soft, now);
    // Rule S11: who is overdue is fenced, unless nobody is healthier.
    let has_healthy = unfenced.iter().any(|broker| !is_missing(broker.node) && !stalled(broker));
    let has_healthy = has_healthy || planted(Mutant::AllStalledFenced);
    let stalled = unfenced.iter().filter(|broker| has_healthy && stalled(broker)).map(|broker| broker.node);
    let stalled = stalled.inspect(|_| mark(Mark::StalledFenced));
    let gone = missing.iter().filter(|(_, since)| !doubted || *since <= soft.suspicion.trusted);
    let fence = gone.map(|(node, _)| *node).chain(stalled).collect();
    hand_over(&unfenced, soft, &mut effects);
    Verdict { fence, effects }
}

/// Whether the broker's oldest unfinished work is overdue (rule S11).
pub(super) fn is_stalled(node: NodeId, soft: &Soft, now: Now) -> bool {
    soft.sessions.get(&node).is_some_and(|session| {
        let progress = session.progress;
        let behind = session.behind.map_or(Duration::ZERO, |(_, since)| now.instant.since(since));
        let ages = [progress.oldest_flush, progress.oldest_turn, behind];
        ages.into_iter().any(|age| age >= soft.options.stall_max) && !planted(Mutant::StalledBrokerStays)
    })
}

/// Whether that start of the broker is to be taken for alive, so that another may not take its place. One that serves is,
/// until it is fenced: who judges that doubts itself first (rule S16).
pub(super) fn is_alive(broker: &Broker, soft: &Soft, now: Now) -> bool {
    if !broker.is_fenced() && !planted(Mutant::SilentIsReplaced) {
        return true;
    }
    let connection = soft.connections.get(&(broker.node, broker.boot));
    if connection.is_some_and(|connection| connection.closed.is_some()) {
        return connection.is_some_and(|c| c.gone_since(now.instant, soft.options.reconnect_grace).is_none());
    }
    let contact = soft.sessions.get(&broker.node).map(|session| session.contact);
    contact.is_none_or(|contact| now.instant < contact.plus(soft.options.session_timeout))
}

/// Whether that start of the broker lost its connection and has not come back.
pub(super) fn is_cut(broker: &Broker, soft: &Soft) -> bool {
    soft.connections.get(&(broker.node, broker.boot)).is_some_and(|connection| connection.closed.is_some())
}

/// A closed connection has told all it can once its broker is fenced or has started anew.
fn forget_closed(image: &Image, soft: &mut Soft, now: Now) {
    let timeout = soft.options.session_timeout;
    soft.connections.retain(|(node, boot), connection| {
        let counts = image.broker(*node).is_some_and(|broker| broker.boot == *boot && !broker.is_fenced());
        counts || !connection.is_closed_since(now.instant, timeout)
    });
}

/// A process that slept would find every session over: it gives them all their time again.
fn forgive_own_sleep(soft: &mut Soft, now: Now) {
    let bound = soft.options.heartbeat_interval.saturating_mul(2).max(soft.options.session_timeout / 2);
    let slept = soft.ticked.is_some_and(|ticked| now.instant.since(ticked) > bound);
    if slept && !planted(Mutant::OwnSleepBlamesOthers) {
        mark(Mark::OwnSleepForgiven);
        for session in soft.sessions.values_mut() {
            session.contact = now.instant;
            session.behind = None;
        }
    }
    soft.ticked = Some(now.instant);
}

fn dials(unfenced: &[&Broker], soft: &mut Soft) -> Vec<Effect> {
    let mut effects = Vec::new();
    for broker in unfenced {
        let connection = soft.connections.get_mut(&(broker.node, broker.boot));
        if connection.is_some_and(Connection::wants_dial) {
            effects.push(Effect::Dial { node: broker.node, boot: broker.boot });
        }
    }
    effects
}

fn missing_since(broker: &Broker, soft: &Soft, now: Now) -> Option<Instant> {
    let Options { session_timeout, reconnect_grace, .. } = soft.options;
    let connection = soft.connections.get(&(broker.node, broker.boot));
    let gone = connection.and_then(|connection| connection.gone_since(now.instant, reconnect_grace));
    let silent = soft.sessions.get(&broker.node).map(|session| session.contact.plus(session_timeout));
    let silent = silent.filter(|end| now.instant >= *end);
    gone.into_iter().chain(silent).min()
}

/// When most brokers went missing since the last barrier, this process may be the one that is cut off: it asks the
/// quorum before it fences them (rule S16). One barrier ends the doubt about all who were missing then.
fn doubts(
    missing: &[(NodeId, Instant)],
    unfenced: usize,
    soft: &mut Soft,
    now: Now,
    effects: &mut Vec<Effect>,
) -> bool {
    let suspicion = &mut soft.suspicion;
    let is_new = missing.iter().any(|(_, since)| *since > suspicion.trusted);
    if !is_new || missing.len() * 2 <= unfenced || planted(Mutant::FencesManyUnasked) {
        return false;
    }
    let again = soft.options.heartbeat_interval;
    if suspicion.asked.is_none_or(|asked| now.instant.since(asked) >= again) {
        mark(Mark::SuspicionAsked);
        suspicion.asked = Some(now.instant);
        effects.push(Effect::ReadBarrier { asked: now.instant });
    }
    true
}

/// A controller that cannot even dial most brokers cannot judge them (rule S16).
fn hand_over(unfenced: &[&Broker], soft: &mut Soft, effects: &mut Vec<Effect>) {
    let connection = |broker: &&Broker| soft.connections.get(&(broker.node, broker.boot));
    let unable = unfenced.iter().filter_map(connection).filter(|connection| connection.is_unable()).count();
    let is_blind = unable * 2 > unfenced.len() && !planted(Mutant::BlindControllerStays);
    if is_blind && !soft.suspicion.is_handing_over {
        mark(Mark::HandedOver);
        soft.suspicion.is_handing_over = true;
        effects.push(Effect::HandOver);
    }
}
