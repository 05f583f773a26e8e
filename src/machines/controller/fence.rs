//! A broker leads nothing and is in no ISR from here on (rule R15).
//!
//! Invariant: the fence is written first; the elections that follow from it are owed (rule S10).

use crate::machines::metadata::{Broker, Record};

/// The record that fences a broker; `None` when it is fenced.
pub(super) fn fence(broker: &Broker) -> Option<Record> {
    let record = Record::BrokerFenced { node: broker.node, broker_epoch: broker.broker_epoch };
    (!broker.is_fenced()).then_some(record)
}

/// The record that lets it serve again; `None` when it may.
pub(super) fn unfence(broker: &Broker) -> Option<Record> {
    let record = Record::BrokerUnfenced { node: broker.node, broker_epoch: broker.broker_epoch };
    broker.is_fenced().then_some(record)
}
