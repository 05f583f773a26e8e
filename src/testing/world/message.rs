//! What travels over the simulated network: values, not bytes.

use bytes::Bytes;

use crate::machines::metadata::Image;
use crate::machines::replication::{Acks, EpochEnd};
use crate::machines::{controller, group};
use crate::model::{BootNumber, BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionId};
use crate::partition::{Acked, AppendRefusal, ConsumerIsolation, FetchPosition, ListRefusal, OffsetQuery, ReadRefusal};
use crate::records::Batch;
use crate::verify::history::ClientId;
use std::sync::Arc;
use std::time::Duration;

/// Who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    /// A node.
    Node(NodeId),
    /// A client of the run.
    Client(ClientId),
}

/// Names a request for good; an answer to one that nobody waits for any more is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestId(pub(super) u64);

/// One message.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// Wants an answer.
    Request { id: RequestId, body: Request },
    /// Answers.
    Answer { id: RequestId, body: Answer },
    /// The connection broke: there will be no answer.
    Broken { id: RequestId },
    /// A liveness connection of a broker's start is open at a voter, or has closed.
    Opened { node: NodeId, boot: BootNumber },
    /// It has closed.
    Closed { node: NodeId, boot: BootNumber },
    /// A leader asks whether this node follows it.
    AskFollower { leader: NodeId, partition: PartitionId, leader_epoch: LeaderEpoch, round: u64 },
    /// A node follows.
    Vouched { node: NodeId, partition: PartitionId, leader_epoch: LeaderEpoch, round: u64 },
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// Produce of one batch.
    Produce { partition: PartitionId, batch: Batch, acks: Acks, leader_epoch: Option<LeaderEpoch>, within: Duration },
    /// A follower's fetch.
    Fetch { node: NodeId, broker_epoch: BrokerEpoch, positions: Vec<FetchPosition>, wait: Duration },
    /// A consumer's fetch.
    Poll { partition: PartitionId, offset: Offset, epoch: Option<LeaderEpoch>, isolation: ConsumerIsolation },
    /// ListOffsets of a consumer.
    List { partition: PartitionId, query: OffsetQuery },
    /// ListOffsets of a follower: both bounds of the log.
    Bounds { node: NodeId, position: FetchPosition },
    /// OffsetForLeaderEpoch.
    EpochEnd { partition: PartitionId, epoch: LeaderEpoch },
    /// DeleteRecords.
    Trim { partition: PartitionId, before: Offset },
    /// A request to the coordinator on a partition.
    Group { partition: PartitionId, call: Box<group::Call> },
    /// Metadata.
    Metadata,
    /// Something for the active controller; a broker passes it on.
    Control(Box<controller::Event>),
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// To a produce, with the epoch in which the node leads.
    Produced { result: Result<Acked, AppendRefusal>, epoch: LeaderEpoch },
    /// To a follower's fetch.
    Fetched(Vec<(FetchPosition, Result<Piece, ReadRefusal>)>),
    /// To a consumer's fetch.
    Polled { result: Result<Piece, ReadRefusal>, epoch: LeaderEpoch, as_leader: bool },
    /// To ListOffsets.
    Listed { result: Result<Option<Offset>, ListRefusal>, epoch: LeaderEpoch },
    /// To a follower's.
    Bounded { start: Offset, end: Offset },
    /// To OffsetForLeaderEpoch.
    EpochEnd { result: Option<EpochEnd>, epoch: LeaderEpoch },
    /// To DeleteRecords.
    Trimmed,
    /// To a request to a coordinator.
    Group { partition: PartitionId, reply: Box<group::Reply> },
    /// To Metadata.
    Metadata(Arc<Image>),
    /// To what was asked of the controller.
    Controlled(Box<controller::Reply>),
    /// This node cannot say: not the controller, not registered yet, no such thing here.
    Unable,
}

/// What was read of one partition.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) high_watermark: Offset,
    pub(super) last_stable: Offset,
    pub(super) log_start: Offset,
    pub(super) diverging: Option<EpochEnd>,
}

impl Message {
    /// Whether it is of a follower and its leader.
    pub(super) fn is_replication(&self) -> bool {
        matches!(
            self,
            Self::Request { body: Request::Fetch { .. } | Request::Bounds { .. }, .. }
                | Self::Answer { body: Answer::Fetched(_) | Answer::Bounded { .. }, .. }
        )
    }

    /// Whether a broker asks the controller.
    pub(super) fn is_for_the_controller(&self) -> bool {
        matches!(self, Self::Request { body: Request::Control(_), .. })
    }
}
