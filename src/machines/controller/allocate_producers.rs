//! A broker needs producer ids to give out.
//!
//! Invariant: no two blocks overlap, for `next` only rises and the proposal names its base (rule S5).

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Record};
use crate::model::{BrokerEpoch, NodeId, ProducerId};

use super::{Decision, Reply, sender};

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
    if let Err(stale) = sender(image, request.node, request.broker_epoch) {
        return Decision::reply(Reply::AllocateProducers(Err(stale)));
    }
    let first = image.producers().next();
    let end = ProducerId::new(first.get().checked_add(BLOCK).expect("producer ids stay below 2^63"));
    let records = vec![Record::ProducerIdsAllocated { next: end }];
    Decision::new(records, Reply::AllocateProducers(Ok(ProducerIds { first, end })))
}
