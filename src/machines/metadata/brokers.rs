//! The brokers of an image: who is registered, under which epoch, and whether it may lead.
//!
//! Invariant: a broker's epoch only rises, and a registration always begins fenced (rule R14).

use imbl::OrdMap;

use crate::model::{BootNumber, BrokerEpoch, DirectoryId, LogIndex, NodeId};
use crate::probe::{Mutant, planted};

use super::{BrokerRegistered, Listener};

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub node: NodeId,
    /// Which start of it is registered (rule S15).
    pub boot: BootNumber,
    /// The index of its registration (rule R14).
    pub broker_epoch: BrokerEpoch,
    /// Its data directories.
    pub directories: Vec<DirectoryId>,
    /// Where it is reached.
    pub listeners: Vec<Listener>,
    /// Where it stands.
    pub rack: Option<String>,
    /// What it may do.
    pub state: BrokerState,
    /// Its last registration that was unfenced: only a disk that saw that one holds all that the node acknowledged
    /// (rules R12, S3).
    pub last_active: Option<LastActive>,
}

/// What a broker may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// Nothing but catch up.
    Fenced,
    /// Lead and join ISRs.
    Active,
    /// Follow, while what it led moves away (rule R16).
    ShuttingDown,
}

/// A registration that has been unfenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastActive {
    /// Its epoch.
    pub broker_epoch: BrokerEpoch,
    /// The directories it served from.
    pub directories: Vec<DirectoryId>,
}

impl Broker {
    /// Whether it may lead nothing and be in no ISR (rule R15).
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.state == BrokerState::Fenced
    }

    /// Whether it may be elected and join ISRs: neither fenced nor shutting down.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == BrokerState::Active
    }

    /// Its address on a listener.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

/// All registered brokers. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Brokers {
    by_node: OrdMap<NodeId, Broker>,
}

impl Brokers {
    /// One broker.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<&Broker> {
        self.by_node.get(&node)
    }

    /// All of them, by node id.
    pub fn iter(&self) -> impl Iterator<Item = &Broker> {
        self.by_node.values()
    }

    /// How many are registered, fenced ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_node.len()
    }

    /// Whether none is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    /// Whether that broker is registered and may be elected.
    #[must_use]
    pub fn is_active(&self, node: NodeId) -> bool {
        self.get(node).is_some_and(Broker::is_active)
    }

    /// The epoch of that broker, when it is registered and not fenced.
    #[must_use]
    pub fn unfenced_epoch(&self, node: NodeId) -> Option<BrokerEpoch> {
        self.get(node).filter(|broker| !broker.is_fenced()).map(|broker| broker.broker_epoch)
    }

    pub(super) fn register(&mut self, index: LogIndex, record: &BrokerRegistered) {
        let epoch = i64::try_from(index.get()).expect("a log index stays below 2^63");
        let was_active = planted(Mutant::RegistersUnfenced) && self.is_active(record.node);
        let broker = Broker {
            node: record.node,
            boot: record.boot,
            broker_epoch: record.broker_epoch.unwrap_or(BrokerEpoch::new(epoch)),
            directories: record.directories.clone(),
            listeners: record.listeners.clone(),
            rack: record.rack.clone(),
            state: if was_active { BrokerState::Active } else { BrokerState::Fenced },
            last_active: self.get(record.node).and_then(|before| before.last_active.clone()),
        };
        self.by_node.insert(record.node, broker);
    }

    pub(super) fn set_state(&mut self, node: NodeId, epoch: BrokerEpoch, state: BrokerState) {
        let Some(broker) = self.by_node.get_mut(&node).filter(|broker| broker.broker_epoch == epoch) else { return };
        broker.state = state;
        if state == BrokerState::Active {
            let directories = broker.directories.clone();
            broker.last_active = Some(LastActive { broker_epoch: epoch, directories });
        }
    }

    pub(super) fn unregister(&mut self, node: NodeId, epoch: BrokerEpoch) {
        if self.get(node).is_some_and(|broker| broker.broker_epoch == epoch) {
            self.by_node.remove(&node);
        }
    }

    pub(super) fn by_node(&self) -> &OrdMap<NodeId, Broker> {
        &self.by_node
    }
}
