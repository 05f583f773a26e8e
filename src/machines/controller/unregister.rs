//! A broker leaves the cluster for good.
//!
//! Invariant: nobody is forgotten who is alive or of whose copies a partition counts.

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Record};
use crate::model::NodeId;

use super::{Decision, Reply};

/// Why a broker is not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum UnregisterRefusal {
    /// No such broker.
    #[error("broker {0} is not registered")]
    Unknown(NodeId),
    /// It is not fenced: stop it first.
    #[error("broker {0} is alive; stop it first")]
    Alive(NodeId),
    /// Partitions are kept on it: move them first.
    #[error("broker {node} keeps replicas of {partitions} partitions; move or delete them first")]
    KeepsReplicas {
        /// The broker.
        node: NodeId,
        /// How many.
        partitions: usize,
    },
}

pub(super) fn decide(image: &Image, node: NodeId) -> Decision {
    match check(image, node) {
        Ok(record) => Decision::new(vec![record], Reply::Unregister(Ok(()))),
        Err(refusal) => Decision::reply(Reply::Unregister(Err(refusal))),
    }
}

fn check(image: &Image, node: NodeId) -> Result<Record, UnregisterRefusal> {
    let broker = image.broker(node).ok_or(UnregisterRefusal::Unknown(node))?;
    if !broker.is_fenced() {
        return Err(UnregisterRefusal::Alive(node));
    }
    let partitions = image.topics().replicas_of(node).count();
    if partitions > 0 {
        return Err(UnregisterRefusal::KeepsReplicas { node, partitions });
    }
    Ok(Record::BrokerUnregistered { node, broker_epoch: broker.broker_epoch })
}
