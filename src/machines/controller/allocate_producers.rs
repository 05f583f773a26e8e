//! A broker needs producer ids to give out.

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Record};
use crate::model::{BrokerEpoch, NodeId, ProducerId};

use super::{Decision, Reply, StaleBroker};

/// How many ids a broker gets at once.
const BLOCK: i64 = 1000;

/// A request for a block of producer ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocateProducers {
    /// The broker.
    pub node: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: BrokerEpoch,
}

/// Ids that nobody else will give out: `first` up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIds {
    /// The first.
    pub first: ProducerId,
    /// One past the last.
    pub end: ProducerId,
}

pub(super) fn decide(image: &Image, request: AllocateProducers) -> Decision {
    let registered = image.broker(request.node).map(|broker| broker.broker_epoch);
    if registered != Some(request.broker_epoch) {
        let stale = StaleBroker { node: request.node, given: request.broker_epoch, registered };
        return Decision::reply(Reply::AllocateProducers(Err(stale)));
    }
    let first = image.producers().next();
    let end = ProducerId::new(first.get().checked_add(BLOCK).expect("producer ids stay below 2^63"));
    let records = vec![Record::ProducerIdsAllocated { next: end }];
    Decision::new(records, Reply::AllocateProducers(Ok(ProducerIds { first, end })))
}
