//! A broker says how it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::Image;
use crate::model::{BootNumber, BrokerEpoch, LogIndex, NodeId, Now, PartitionId};

use super::{Decision, Reply, Soft};

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
    /// Partitions it cannot vouch for: missing, set aside, below their attested end, not wholly flushed since
    /// `flush.mode` became durable (rule S3), or on a directory that failed. They leave ISR and ELR. Named until the
    /// broker is unfenced, or for as long as the directory is failed.
    pub suspects: Vec<PartitionId>,
    /// Leaders it cannot fetch from (rule S12).
    pub unfetchable: Vec<NodeId>,
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
    /// The index of the metadata log it has applied.
    pub applied: LogIndex,
    /// The age of the oldest flush that has not ended.
    pub oldest_flush: Duration,
    /// The age of the oldest shard's turn that has not ended.
    pub oldest_turn: Duration,
    /// The age of the oldest metadata entry received and not applied.
    pub oldest_apply: Duration,
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

pub(super) fn decide(image: &Image, soft: &mut Soft, now: Now, heartbeat: Heartbeat) -> Decision {
    let _ = (image, soft, now, heartbeat);
    Decision::reply(Reply::Nothing)
}
