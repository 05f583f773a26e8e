//! A broker says how it is.
//!
//! Invariant: a broker is unfenced only by its own wish, with nothing left of a former life, and after every
//! partition it cannot vouch for has left ISR and ELR (rule S3).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Broker, BrokerState, Image, Record};
use crate::model::{BootNumber, BrokerEpoch, LogIndex, NodeId, Now, PartitionId};
use crate::probe::{Mark, Mutant, mark, planted};

use super::batch::Batch;
use super::{Decision, Reply, Soft, fence, liveness, owed, sender};

/// What a broker says every `broker.heartbeat.interval.ms`, and at once when its wish changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The broker.
    pub node: NodeId,
    /// Which start of it (rule S15).
    pub boot: BootNumber,
    /// The epoch of its registration.
    pub broker_epoch: BrokerEpoch,
    /// What it wants.
    pub wish: Wish,
    /// How it gets on (rule S11).
    pub progress: Progress,
    /// Partitions it cannot vouch for (rule S3): missing, set aside, below their attested end, not wholly flushed since
    /// `flush.mode` became durable, or of which the leader holds something else. They leave ISR and ELR. Named until the
    /// broker is unfenced; those that contradict their leader for as long as the process runs.
    pub suspects: Vec<PartitionId>,
    /// Partitions it holds and cannot open or read. They leave the ISR as soon as another that holds all can lead, and
    /// are eligible still where the ISR is below its minimum: a start may find them sound. Named for as long as the
    /// process runs.
    pub unserved: Vec<PartitionId>,
    /// Leaders it cannot fetch from (rule S12).
    pub unfetchable: Vec<NodeId>,
}

impl Heartbeat {
    /// What it tells of the broker's life alone.
    #[must_use]
    pub fn sign(&self) -> SignOfLife {
        SignOfLife { node: self.node, broker_epoch: self.broker_epoch, progress: self.progress }
    }
}

/// What a broker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// To stay fenced: it is recovering.
    StayFenced,
    /// To serve: it has recovered and `suspects` is complete.
    Serve,
    /// To stop in good order (rule R16).
    ShutDown,
}

/// How a broker gets on: a hung disk or thread shows here though it talks (rule S11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The index of the metadata log it has applied and acted on. How long it has been behind is the controller's to
    /// measure: a broker to which nothing comes any more does not know that it is.
    pub applied: LogIndex,
    /// The age of the oldest flush that has not ended.
    pub oldest_flush: Duration,
    /// The age of the oldest shard's turn that has not ended.
    pub oldest_turn: Duration,
}

/// What a broker says at every beat of its liveness connection: less than a heartbeat, and nobody answers. It wants
/// nothing, so that one which is read late undoes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOfLife {
    /// The broker.
    pub node: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: BrokerEpoch,
    /// How it gets on (rule S11).
    pub progress: Progress,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// It may serve nothing.
    pub is_fenced: bool,
    /// It has applied its own registration.
    pub is_caught_up: bool,
    /// Nothing depends on it any more: it may stop.
    pub should_shut_down: bool,
}

pub(super) fn decide(image: &Image, soft: &mut Soft, now: Now, heartbeat: &Heartbeat) -> Decision {
    let broker = match sender(image, heartbeat.node, heartbeat.broker_epoch) {
        Ok(broker) => broker,
        Err(stale) => return Decision::reply(Reply::Heartbeat(Err(stale))),
    };
    soft.heard(broker, now, heartbeat, image.last_accepted());
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    if !forget_suspects(&mut batch, soft, heartbeat) && !planted(Mutant::UnfencesWithSuspects) {
        // The rest of them goes with the next heartbeat, which names them again.
        let answer = answer(broker, heartbeat);
        return Decision::new(batch.into_records(), Reply::Heartbeat(Ok(answer)));
    }
    let mut answer = answer(broker, heartbeat);
    match (broker.state, heartbeat.wish) {
        (BrokerState::Fenced, Wish::Serve) if may_unfence(&batch, soft, now, broker, heartbeat) => {
            fence::unfence(broker).into_iter().for_each(|record| batch.add(record));
            answer.is_fenced = false;
        }
        (BrokerState::Active | BrokerState::ShuttingDown, Wish::StayFenced) => {
            fence::fence(broker).into_iter().for_each(|record| batch.add(record));
            answer.is_fenced = true;
        }
        (BrokerState::Active, Wish::ShutDown) => {
            batch.add(Record::BrokerShuttingDown { node: broker.node, broker_epoch: broker.broker_epoch });
            answer.should_shut_down = planted(Mutant::StopsBeforeLeadersMoved);
        }
        (BrokerState::ShuttingDown, _) if is_released(image, soft, now, broker) => {
            fence::fence(broker).into_iter().for_each(|record| batch.add(record));
            answer.is_fenced = true;
            answer.should_shut_down = true;
        }
        (BrokerState::Fenced, Wish::ShutDown) => answer.should_shut_down = true,
        (BrokerState::Fenced, Wish::Serve | Wish::StayFenced)
        | (BrokerState::Active, Wish::Serve)
        | (BrokerState::ShuttingDown, Wish::Serve | Wish::ShutDown) => {}
    }
    if !batch.is_empty() {
        soft.is_owing |= owed::settle(&mut batch, &soft.options.defaults);
    }
    Decision::new(batch.into_records(), Reply::Heartbeat(Ok(answer)))
}

/// The answer when nothing changes.
fn answer(broker: &Broker, heartbeat: &Heartbeat) -> HeartbeatAnswer {
    let registered = u64::try_from(broker.broker_epoch.get()).expect("a registered epoch is a log index");
    HeartbeatAnswer {
        is_fenced: broker.is_fenced(),
        is_caught_up: heartbeat.progress.applied.get() >= registered,
        should_shut_down: false,
    }
}

/// What the broker cannot vouch for leaves ISR and ELR, in the batch that unfences it at the latest (rule S3); what it
/// cannot serve does if somebody else can. Returns whether all of it did.
fn forget_suspects(batch: &mut Batch, soft: &Soft, heartbeat: &Heartbeat) -> bool {
    if planted(Mutant::SuspectsKept) {
        return true;
    }
    let (defaults, node) = (&soft.options.defaults, heartbeat.node);
    let are_gone = heartbeat.suspects.iter().all(|id| {
        mark(Mark::SuspectNamed);
        let state = owed::without(batch.image(), defaults, *id, node);
        state.is_none_or(|state| batch.change(*id, state))
    });
    are_gone
        && heartbeat.unserved.iter().all(|id| {
            mark(Mark::SuspectNamed);
            let state = owed::unserved_by(batch.image(), defaults, soft, *id, node);
            state.is_none_or(|state| batch.change(*id, state))
        })
}

/// A broker serves again when it has applied its own registration, does not leave (rule R16), gets on with its work, is
/// connected, and nothing of its former life is still to be taken from it: were it leader of anything still, it would
/// resume an epoch that another process began (rule R1).
fn may_unfence(batch: &Batch, soft: &Soft, now: Now, broker: &Broker, heartbeat: &Heartbeat) -> bool {
    (answer(broker, heartbeat).is_caught_up || planted(Mutant::UnfencesBeforeCaughtUp))
        && (!soft.is_leaving(broker.node) || planted(Mutant::LateWishServes))
        && !liveness::is_stalled(broker.node, soft, now)
        && !liveness::is_cut(broker, soft)
        && (batch.image().topics().in_isr_of(broker.node).next().is_none() || planted(Mutant::UnfencesWithOldClaims))
}

/// Whether nothing depends any more on a broker that shuts down (rule R16): it leads nothing, is in no ISR, and the
/// others know; the slow ones are waited for no longer than a session.
fn is_released(image: &Image, soft: &mut Soft, now: Now, broker: &Broker) -> bool {
    if image.topics().in_isr_of(broker.node).next().is_some() {
        return false;
    }
    let timeout = soft.options.session_timeout;
    let applied = image.last_accepted();
    let (index, since) = *soft.session(broker, now).released.get_or_insert((applied, now.instant));
    let knows = |other: &Broker| soft.sessions.get(&other.node).is_some_and(|s| s.progress.applied >= index);
    let all_know = image.brokers().iter().filter(|other| other.is_active()).all(knows);
    all_know || now.instant.since(since) >= timeout
}
