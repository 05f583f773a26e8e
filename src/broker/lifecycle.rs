//! The life of this broker in the cluster: recovery, registration, heartbeats, controlled shutdown.
//!
//! Invariant: the broker asks to be unfenced only after every log is recovered and every suspect partition is named
//! (rule S3), and only after the epoch of the registration is on disk (rule R12).

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::Inner;
use super::standing::{Stage, Standing};
use super::suspects::{Recovered, Suspects};
use crate::machines::controller::{Event, HeartbeatAnswer, Progress, RegisterRefusal, Reply, Wish};
use crate::model::{BrokerEpoch, PartitionId};
use crate::probe::{Mutant, planted};
use crate::transport::Hello;

/// How long one registration or heartbeat may look for a controller.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries to register.
const REGISTER_PAUSE: Duration = Duration::from_millis(10);
/// The same after a refusal that stands until a person acts.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How often a refusal that stays the same is logged.
const REFUSED_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Between two heartbeats while fenced or stopping: the state is about to change.
const HURRY_INTERVAL: Duration = Duration::from_millis(10);
/// How long a controlled shutdown may take before the broker goes anyway.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// What stands on the façade about this broker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BrokerLife {
    /// The controller has unfenced it.
    pub unfenced: bool,
    /// It may stop: nothing depends on it any more.
    pub may_stop: bool,
}

pub(super) struct Lifecycle {
    inner: Arc<Inner>,
    recovered: mpsc::UnboundedReceiver<Recovered>,
    stop: watch::Receiver<bool>,
    suspects: Suspects,
}

impl Lifecycle {
    pub(super) fn new(
        inner: Arc<Inner>,
        recovered: mpsc::UnboundedReceiver<Recovered>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let suspects = Suspects::of(&inner.directory);
        Self { inner, recovered, stop, suspects }
    }

    pub(super) async fn run(mut self) {
        self.greet(None);
        self.recover().await;
        loop {
            let Some(epoch) = self.register().await else { return };
            self.greet(Some(epoch));
            let ended = self.live(epoch).await;
            if ended == Ended::Stopped {
                return;
            }
            warn!("the controller knows another life of this broker: registering again (rule S15)");
        }
    }

    /// Says on the liveness connections who this is (rule S15).
    fn greet(&self, broker_epoch: Option<BrokerEpoch>) {
        let inner = &self.inner;
        inner.liveness.set_hello(Hello { node: inner.node, boot: inner.directory.boot(), broker_epoch });
    }

    /// Waits until every log found on disk is open, and notes those that cannot be vouched for (rule S3).
    async fn recover(&mut self) {
        let mut outstanding: BTreeSet<PartitionId> = self.inner.found.iter().copied().collect();
        let count = outstanding.len();
        while !outstanding.is_empty() && !planted(Mutant::RegistersUnrecovered) {
            let Some(report) = self.recovered.recv().await else { return };
            outstanding.remove(&self.suspects.note(report));
        }
        info!(
            logs = count,
            suspects = self.suspects.lost().len(),
            unserved = self.suspects.unserved().len(),
            "recovered"
        );
    }

    fn note_arrived(&mut self) {
        while let Ok(report) = self.recovered.try_recv() {
            self.suspects.note(report);
        }
    }

    async fn register(&mut self) -> Option<BrokerEpoch> {
        let mut refusals = Refusals::default();
        loop {
            let mut span = REGISTER_PAUSE;
            if *self.stop.borrow() {
                self.inner.life.send_replace(BrokerLife { unfenced: false, may_stop: true });
                return None;
            }
            let options = &self.inner.options;
            let registration = self.standing().registration(options.advertised.clone(), options.rack.clone());
            match self.inner.controllers.ask(Event::Register(registration), ASK_TIMEOUT).await {
                Ok(Reply::Register(Ok(registered))) => {
                    if let Some(epoch) = registered.broker_epoch {
                        info!(broker_epoch = %epoch, "registered");
                        self.inner.epoch.send_replace(Some(epoch));
                        return Some(epoch);
                    }
                }
                Ok(Reply::Register(Err(refusal))) => {
                    if refusals.is_news(&refusal, Instant::now()) {
                        log_refusal(&refusal);
                    }
                    span = pause_after(&refusal);
                }
                Ok(other) => warn!(?other, "an answer that is none to a registration"),
                Err(cause) => info!(%cause, "waiting for a controller to register with"),
            }
            self.pause(span, false).await;
        }
    }

    fn standing(&self) -> Standing<'_> {
        Standing { node: self.inner.node, directory: &self.inner.directory, suspects: &self.suspects }
    }

    /// Heartbeats until the controller says that this life is over, or the node stops.
    async fn live(&mut self, epoch: BrokerEpoch) -> Ended {
        let mut epoch_is_stored = false;
        let mut stopping_since = None;
        loop {
            self.note_arrived();
            if *self.stop.borrow() && stopping_since.is_none() {
                info!("asking the controller to move the leaderships away (rule R16)");
                stopping_since = Some(Instant::now());
            }
            epoch_is_stored = epoch_is_stored || self.store(epoch);
            let stage = Stage { is_stopping: stopping_since.is_some(), epoch_is_stored };
            let answer = match self.beat(epoch, stage.wish()).await {
                Beat::Answer(answer) => Some(answer),
                Beat::Stale => return Ended::Stale,
                Beat::None => None,
            };
            let life = BrokerLife {
                unfenced: answer.map_or(self.inner.life.borrow().unfenced, |a| !a.is_fenced),
                may_stop: answer.is_some_and(|a| a.should_shut_down),
            };
            self.tell(life);
            let overdue = stopping_since.is_some_and(|since: Instant| since.elapsed() > SHUTDOWN_TIMEOUT);
            if life.may_stop || overdue {
                self.tell(BrokerLife { unfenced: false, may_stop: true });
                return Ended::Stopped;
            }
            if answer.is_some_and(|a| !a.is_fenced) {
                self.suspects.unfenced();
            }
            let hurry = stopping_since.is_some() || !life.unfenced;
            self.pause(
                if hurry { HURRY_INTERVAL } else { self.inner.options.heartbeat_interval },
                stopping_since.is_some(),
            )
            .await;
        }
    }

    fn tell(&self, life: BrokerLife) {
        let before = self.inner.life.send_replace(life);
        if before.unfenced != life.unfenced {
            info!(unfenced = life.unfenced, "the controller changed its mind about this broker");
        }
    }

    /// Whether the registration is on disk, so that this broker may serve under it.
    fn store(&self, epoch: BrokerEpoch) -> bool {
        self.standing().store(&self.inner.image(), epoch).unwrap_or_else(|cause| {
            let path = self.inner.directory.path().display();
            super::abort(&format!("the registration cannot be written to {path}: {cause}"))
        })
    }

    async fn beat(&self, epoch: BrokerEpoch, wish: Wish) -> Beat {
        let inner = &self.inner;
        let now = inner.clock.now().instant;
        let progress = Progress {
            applied: inner.reconciled.borrow().last_applied(),
            oldest_flush: inner.progress.flush_age(now),
            oldest_turn: inner.progress.turn_age(now),
        };
        let heartbeat = self.standing().heartbeat(epoch, wish, progress, inner.reach.unfetchable(now));
        let answer = inner.controllers.ask(Event::Heartbeat(heartbeat), ASK_TIMEOUT).await.map_or(Beat::None, heard);
        inner.progress.heard(answer.is_fenced(), now, inner.options.session_timeout);
        answer
    }

    async fn pause(&mut self, span: Duration, stopping: bool) {
        if stopping {
            sleep_until(Instant::now() + span).await;
        } else {
            // A request to stop is heard at once, and so is that a partition can be served no more.
            tokio::select! {
                _ = self.stop.changed() => {}
                Some(report) = self.recovered.recv() => { self.suspects.note(report); }
                () = sleep_until(Instant::now() + span) => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Stopped,
    Stale,
}

enum Beat {
    Answer(HeartbeatAnswer),
    Stale,
    None,
}

fn heard(reply: Reply) -> Beat {
    let Reply::Heartbeat(answer) = reply else {
        warn!(?reply, "an answer that is none to a heartbeat");
        return Beat::None;
    };
    match answer {
        Ok(answer) => Beat::Answer(answer),
        Err(stale) => {
            warn!(%stale, "a heartbeat was refused");
            Beat::Stale
        }
    }
}

impl Beat {
    /// Whether the controller counts this broker out: it fenced it, or does not know its epoch. `None` without an answer.
    fn is_fenced(&self) -> Option<bool> {
        match self {
            Self::Answer(answer) => Some(answer.is_fenced),
            Self::Stale => Some(true),
            Self::None => None,
        }
    }
}

/// Which refusals of registrations were logged: thousands of the same would hide what else is in the log.
#[derive(Default)]
struct Refusals {
    /// The kind that was logged last, and when.
    logged: Option<(Discriminant<RegisterRefusal>, Instant)>,
}

impl Refusals {
    /// Whether this one is to be logged: it is of another kind than the last, or that one is long ago.
    fn is_news(&mut self, refusal: &RegisterRefusal, now: Instant) -> bool {
        let kind = discriminant(refusal);
        let is_known = self.logged.is_some_and(|(known, at)| known == kind && now - at < REFUSED_LOG_INTERVAL);
        if !is_known {
            self.logged = Some((kind, now));
        }
        !is_known
    }
}

fn pause_after(refusal: &RegisterRefusal) -> Duration {
    match refusal {
        RegisterRefusal::Unformed | RegisterRefusal::Duplicate { .. } => REGISTER_PAUSE,
        RegisterRefusal::Cluster { .. }
        | RegisterRefusal::OldBoot { .. }
        | RegisterRefusal::Directories
        | RegisterRefusal::DirectoryOwned { .. } => REFUSED_PAUSE,
    }
}

fn log_refusal(refusal: &RegisterRefusal) {
    let advice = match refusal {
        RegisterRefusal::Unformed => return info!(%refusal, "waiting to register"),
        RegisterRefusal::Duplicate { .. } => {
            let advice = "stop the other process, or give this one a node.id of its own";
            return warn!(%refusal, advice, "waiting to register");
        }
        RegisterRefusal::Cluster { .. } => {
            "the data directory is another cluster's: check log.dirs and controller.quorum.voters"
        }
        RegisterRefusal::OldBoot { .. } => {
            "another process has this node.id, or the file node-identity was lost or is an old copy: docs/DATA.md says \
             how to start a node over"
        }
        RegisterRefusal::Directories => "no configuration does this: please report it",
        RegisterRefusal::DirectoryOwned { .. } => {
            "the data directory is a copy of another node's: give this node an empty one of its own"
        }
    };
    error!(%refusal, advice, "the controller refuses this broker");
}

#[cfg(test)]
mod tests {
    use super::super::progress::Progress as Parts;
    use super::*;
    use crate::machines::controller::StaleBroker;
    use crate::model::Instant as Moment;
    use crate::model::{BootNumber, NodeId};

    fn answer(is_fenced: bool) -> Reply {
        Reply::Heartbeat(Ok(HeartbeatAnswer { is_fenced, is_caught_up: true, should_shut_down: false }))
    }

    /// Whether a broker that was counted in still is, just after such an answer.
    fn has_session(reply: Reply) -> bool {
        let (sent, session) = (Moment::from_nanos(1_000), Duration::from_secs(9));
        let parts = Parts::new(1);
        parts.heard(Some(false), sent, Duration::from_secs(1));
        parts.heard(heard(reply).is_fenced(), sent, session);
        parts.has_session(sent.plus(Duration::from_millis(1)))
    }

    #[test]
    fn a_fenced_or_stale_answer_ends_the_session_at_once() {
        let stale = StaleBroker { node: NodeId::new(1), given: BrokerEpoch::new(2), registered: None };
        assert!(has_session(answer(false)));
        assert!(!has_session(answer(true)));
        assert!(!has_session(Reply::Heartbeat(Err(stale))));
        assert!(has_session(Reply::Nothing), "no answer says nothing");
    }

    #[test]
    fn a_refusal_that_stays_the_same_is_logged_every_half_minute() {
        let old_boot = |given| RegisterRefusal::OldBoot {
            node: NodeId::new(1),
            given: BootNumber::new(given),
            registered: BootNumber::new(9),
        };
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let seconds = |count| start + Duration::from_secs(count);
        assert!(refusals.is_news(&old_boot(1), start));
        assert!(!refusals.is_news(&old_boot(2), seconds(29)), "the same kind");
        assert!(refusals.is_news(&old_boot(1), seconds(30)));
        assert!(refusals.is_news(&RegisterRefusal::Directories, seconds(31)), "another kind");
        assert!(refusals.is_news(&old_boot(1), seconds(32)), "another kind again");
    }

    #[test]
    fn only_a_refusal_that_may_end_by_itself_is_tried_again_at_once() {
        assert_eq!(pause_after(&RegisterRefusal::Unformed), REGISTER_PAUSE);
        assert_eq!(pause_after(&RegisterRefusal::Duplicate { node: NodeId::new(1) }), REGISTER_PAUSE);
        assert_eq!(pause_after(&RegisterRefusal::Directories), REFUSED_PAUSE);
    }

    #[test]
    fn a_session_is_counted_from_the_sending_of_the_heartbeat() {
        let (sent, session) = (Moment::from_nanos(1_000), Duration::from_secs(9));
        let parts = Parts::new(1);
        parts.heard(heard(answer(false)).is_fenced(), sent, session);
        parts.heard(Beat::None.is_fenced(), sent.plus(session), session);
        assert!(parts.has_session(sent.plus(session - Duration::from_nanos(1))));
        assert!(!parts.has_session(sent.plus(session)));
    }
}
