//! What the active controller decides: brokers' lives, leaders, in-sync sets, topics, producer ids.
//!
//! Contract: an event and the image it is decided on come in; a [`Decision`] goes out. Its records are proposed as one
//! entry, its reply leaves once that entry is accepted (a decision without records answers at once), its effects are
//! carried out at once. When `rest` is set, the work was more than one proposal holds: once the records are accepted
//! the host decides `rest`, whose reply is the reply. [`tick`] does what is due: fences the dead, elects where a
//! leader is owed. It is called when [`Soft::next_deadline`] has come and after every accepted proposal.
//!
//! The host keeps one proposal in flight: it decides on the image last published, or, for several events in one
//! proposal, on [`Image::with`] the records decided before, within the proposal's bound ([`Record::size_max`]). It
//! begins a term with [`Soft::begin`] and a tick, and drops what it decided when a proposal is dropped.
//!
//! Hard state is the image and changes only by replay. [`Soft`] is sessions, connections and progress: a new
//! controller begins without it and loses nothing but time. No safety rests on a clock.

mod options;
mod soft;
mod batch;
mod liveness;
mod register;
mod heartbeat;
mod fence;
mod elect;
mod owed;
mod unreachable;
mod preferred;
mod alter_isr;
mod create_topics;
mod create_partitions;
mod delete_topics;
mod alter_configs;
mod unregister;
mod place;
mod allocate_producers;
mod min_isr;
mod round;

use serde::{Deserialize, Serialize};

use crate::model::{BootNumber, BrokerEpoch, Instant, LogIndex, NodeId, Now};
use crate::probe::{Mark, Mutant, mark, planted};

use super::metadata::{Broker, Image, Record};

use batch::Batch;

pub use allocate_producers::{AllocateProducers, ProducerIds};
pub use alter_configs::{AlterConfigs, AlterationScope, ConfigAlteration, ConfigChange, ConfigRefusal, ConfigTarget};
pub use alter_isr::{AlterIsr, IsrAnswer, IsrChange, IsrFlaw, IsrMember, IsrRefusal};
pub use create_partitions::{CreatePartitions, GrowRefusal, GrowingTopic};
pub use create_topics::{
    AssignmentFlaw, CreateTopics, CreatedTopic, ManualAssignment, NewTopic, ReplicationFactor, TopicRefusal,
};
pub use delete_topics::{DeleteRefusal, DeleteTopics, DeletedTopic, TopicReference};
pub use heartbeat::{Heartbeat, HeartbeatAnswer, Progress, SignOfLife, Wish};
pub use liveness::DialOutcome;
pub use min_isr::effective_min_isr;
pub use options::{Defaults, Options};
pub use register::{DirectoryClaim, RegisterRefusal, Registered, Registration};
pub use round::{Asked, EVENTS_PER_ROUND_MAX, Round};
pub use soft::Soft;
pub use unregister::UnregisterRefusal;

/// What the controller can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A broker has started.
    Register(Registration),
    /// A broker says how it is.
    Heartbeat(Heartbeat),
    /// A leader wants another in-sync set.
    AlterIsr(AlterIsr),
    /// Topics are to be made.
    CreateTopics(CreateTopics),
    /// Topics are to have more partitions.
    CreatePartitions(CreatePartitions),
    /// Topics are to go.
    DeleteTopics(DeleteTopics),
    /// Configurations are to change.
    AlterConfigs(AlterConfigs),
    /// A broker is to be forgotten.
    Unregister(NodeId),
    /// A broker needs producer ids to give out.
    AllocateProducers(AllocateProducers),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing is to be said.
    Nothing,
    /// To [`Event::Register`].
    Register(Result<Registered, RegisterRefusal>),
    /// To [`Event::Heartbeat`].
    Heartbeat(Result<HeartbeatAnswer, StaleBroker>),
    /// To [`Event::AlterIsr`].
    AlterIsr(Result<Vec<IsrAnswer>, StaleBroker>),
    /// To [`Event::CreateTopics`], in the order of the request.
    CreateTopics(Vec<(String, Result<CreatedTopic, TopicRefusal>)>),
    /// To [`Event::CreatePartitions`], in the order of the request.
    CreatePartitions(Outcomes<(String, Result<(), GrowRefusal>)>),
    /// To [`Event::AlterConfigs`], in the order of the request.
    AlterConfigs(Outcomes<(ConfigTarget, Result<(), ConfigRefusal>)>),
    /// To [`Event::Unregister`].
    Unregister(Result<(), UnregisterRefusal>),
    /// To [`Event::DeleteTopics`], each topic once.
    DeleteTopics(Vec<(TopicReference, Result<DeletedTopic, DeleteRefusal>)>),
    /// To [`Event::AllocateProducers`].
    AllocateProducers(Result<ProducerIds, StaleBroker>),
}

impl Reply {
    /// The reply of a decision whose records were accepted at `index`: a registration's epoch is that index
    /// (rule R14), and what was changed is seen from there on.
    #[must_use]
    pub fn at(self, index: LogIndex) -> Self {
        match self {
            Self::Register(Ok(registered)) => Self::Register(Ok(registered.at(index))),
            Self::CreatePartitions(outcomes) => Self::CreatePartitions(outcomes.at(index)),
            Self::AlterConfigs(outcomes) => Self::AlterConfigs(outcomes.at(index)),
            other @ (Self::Nothing
            | Self::Register(Err(_))
            | Self::Heartbeat(_)
            | Self::AlterIsr(_)
            | Self::CreateTopics(_)
            | Self::DeleteTopics(_)
            | Self::Unregister(_)
            | Self::AllocateProducers(_)) => other,
        }
    }
}

/// What became of each part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes<T> {
    /// In the order of the request.
    pub each: Vec<T>,
    /// Who has applied the log up to here sees what was done, now or before.
    pub seen_at: LogIndex,
}

impl<T> Outcomes<T> {
    fn at(self, seen_at: LogIndex) -> Self {
        Self { seen_at, ..self }
    }
}

/// The sender is not the life of the broker that is registered; it registers again (rule S15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("broker {node} with epoch {given} is stale; {}", registered.map_or("it is not registered".to_owned(), |e| format!("its epoch is {e}")))]
pub struct StaleBroker {
    /// The broker.
    pub node: NodeId,
    /// The epoch it claims.
    pub given: BrokerEpoch,
    /// The epoch that is registered.
    pub registered: Option<BrokerEpoch>,
}

/// What the host does besides proposing and answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Dial the broker's listener once at its last address and tell [`Soft::dialed`].
    Dial {
        /// The broker.
        node: NodeId,
        /// Which start of it lost its connection.
        boot: BootNumber,
    },
    /// Do one read barrier and tell [`Soft::barrier_passed`] when it succeeds (rule S16).
    ReadBarrier {
        /// To be told back.
        asked: Instant,
    },
    /// This process cannot judge who is alive: ask another voter to lead (rule S16).
    HandOver,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// To be proposed as one entry.
    pub records: Vec<Record>,
    /// To be said once they are accepted.
    pub reply: Reply,
    /// To be decided once they are accepted; its reply replaces this one.
    pub rest: Option<Box<Event>>,
    /// To be done now.
    pub effects: Vec<Effect>,
}

impl Decision {
    /// A decision that changes nothing.
    #[must_use]
    pub fn reply(reply: Reply) -> Self {
        Self::new(Vec::new(), reply)
    }

    /// A decision that fits into one proposal.
    #[must_use]
    pub fn new(records: Vec<Record>, reply: Reply) -> Self {
        Self { records, reply, rest: None, effects: Vec::new() }
    }
}

/// Decides what an event changes.
#[must_use]
pub fn decide(image: &Image, soft: &mut Soft, now: Now, event: Event) -> Decision {
    match event {
        Event::Register(registration) => register::decide(image, soft, now, &registration),
        Event::Heartbeat(heartbeat) => heartbeat::decide(image, soft, now, &heartbeat),
        Event::AlterIsr(request) => alter_isr::decide(image, soft, &request),
        Event::CreateTopics(request) => create_topics::decide(image, soft, request),
        Event::CreatePartitions(request) => create_partitions::decide(image, soft, request),
        Event::AlterConfigs(request) => alter_configs::decide(image, soft, request),
        Event::Unregister(node) => unregister::decide(image, node),
        Event::DeleteTopics(request) => delete_topics::decide(image, soft, request),
        Event::AllocateProducers(request) => allocate_producers::decide(image, request),
    }
}

/// Does what is due, in at most `bytes_max` bytes of records (rules S10, S14): fences who is gone or stuck, then
/// gives partitions the leaders and ISRs that the image owes them.
#[must_use]
pub fn tick(image: &Image, soft: &mut Soft, now: Now, bytes_max: usize) -> Decision {
    let verdict = liveness::judge(image, soft, now);
    let mut batch = Batch::new(image, bytes_max);
    min_isr::owed_default(image, &soft.options.defaults).into_iter().for_each(|record| batch.add(record));
    for broker in verdict.fence.iter().filter_map(|node| image.broker(*node)) {
        if let Some(record) = fence::fence(broker) {
            batch.add(record);
        }
    }
    let owes = !verdict.fence.is_empty() || !planted(Mutant::OwedOnlyAtTheFence);
    let is_full = owes && owed::settle(&mut batch, &soft.options.defaults);
    soft.is_owing = is_full || unreachable::settle(&mut batch, soft, now);
    if verdict.effects.is_empty() {
        preferred::settle(&mut batch, soft, now);
    }
    Decision { effects: verdict.effects, ..Decision::new(batch.into_records(), Reply::Nothing) }
}

/// The registered broker, if the sender is that very life of it (rules R9, S15).
fn sender(image: &Image, node: NodeId, given: BrokerEpoch) -> Result<&Broker, StaleBroker> {
    let broker = image.broker(node);
    let registered = broker.map(|broker| broker.broker_epoch);
    let is_current = |broker: &&Broker| broker.broker_epoch == given || planted(Mutant::StaleSenderHeard);
    broker.filter(is_current).ok_or_else(|| {
        mark(Mark::StaleSender);
        StaleBroker { node, given, registered }
    })
}

#[cfg(test)]
mod tests;
