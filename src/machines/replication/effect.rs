//! The values that go in and out of the two replication machines.
//!
//! Invariant: nothing here holds bytes of records; the machines see offsets and epochs only.

use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionEpoch};

/// Names one parked request; minted by the caller, who resolves it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// When a produce is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// At once; nobody reads the answer.
    None,
    /// When the leader has it on disk (ADR 7).
    Leader,
    /// When every in-sync replica has it on disk.
    All,
}

/// How a parked produce ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is as durable as asked.
    Done,
    /// It is on every in-sync replica, but these are fewer than `min.insync.replicas` by now (rule R19).
    NotEnoughReplicas,
    /// Its deadline passed; it may be committed later.
    TimedOut,
    /// This broker leads no longer; it may be committed or cut off by the successor.
    NotLeader,
    /// The log failed.
    Offline,
}

/// A member of an ISR, as the leader last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsrMember {
    /// The broker.
    pub node: NodeId,
    /// The registration that its fetches named (KIP-903); the controller refuses any other.
    pub broker_epoch: BrokerEpoch,
}

/// What the image says of one replica of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaState {
    /// The broker.
    pub node: NodeId,
    /// Its registration; `None` when it has none. A fetch that names another is stale.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Whether it may enter the ISR: unfenced, not shutting down, its directory online.
    pub may_join: bool,
    /// Whether it is out of the ISR and holds all that is committed (ELR, rule R11).
    pub is_eligible: bool,
}

/// A wish for another ISR, to be decided by the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch on which it was decided; with another one at the controller it is stale (rule R9).
    pub partition_epoch: PartitionEpoch,
    /// The wanted ISR, by node in order; the leader is in it.
    pub isr: Vec<IsrMember>,
    /// Whether the leader declares its recovery after an unclean election done. Only then may the ISR grow.
    pub recovered: bool,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsrOutcome {
    /// It is committed in the metadata log, with this result.
    Accepted {
        /// The partition's new epoch.
        partition_epoch: PartitionEpoch,
        /// The ISR that now stands.
        isr: Vec<NodeId>,
    },
    /// A wanted member is fenced, shutting down or registered anew; nothing changed (107, also 'not attempted').
    Ineligible,
    /// The partition has changed since (3, 42, 74, 95, 100, 108): the image will tell; the proposal stays pending.
    Stale,
    /// Nobody knows (no controller, lost answer): to be sent again.
    Retry,
}

/// An epoch and the end of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// One past its last record.
    pub end: Offset,
}

/// What the image says of a partition that this broker leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the partition's state.
    pub partition_epoch: PartitionEpoch,
    /// The committed ISR.
    pub isr: Vec<NodeId>,
    /// All replicas, the leader included.
    pub replicas: Vec<ReplicaState>,
    /// The smaller of `min.insync.replicas` and the replication factor.
    pub isr_min: usize,
    /// Whether the election was unclean and the leader has not yet said that it recovered.
    pub recovering: bool,
}

/// Where a log ends, written and flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    /// One past the last record.
    pub end: Offset,
    /// What survives a power cut; at most `end`.
    pub flushed_end: Offset,
}

/// What a follower's fetch says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Which broker.
    pub node: NodeId,
    /// Its registration, as it says.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Its flushed end (ADR 7).
    pub offset: Offset,
    /// The CRC of its last batch, if it told it (rule R21).
    pub last_crc: Option<u32>,
}

/// A batch in a log, as far as two logs are compared by it (rule R21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMark {
    /// The offset after its last record.
    pub next: Offset,
    /// The CRC that its header states.
    pub crc: u32,
}

/// Why a follower's fetch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFault {
    /// The image here does not list it as a replica, yet or any more.
    #[error("no replica of this partition")]
    NotReplica,
    /// Its registration is not the one in the image here.
    #[error("another registration than the image's")]
    StaleBroker,
}

impl FollowerFetch {
    /// Whether the follower's log ends with the batch that stands there in the leader's, which is `ours` (rule R21).
    /// A follower that does not say agrees. Compaction will have to be left out: each copy rewrites batches itself.
    #[must_use]
    pub fn agrees_with(&self, ours: BatchMark) -> bool {
        self.last_crc.is_none_or(|crc| ours == BatchMark { next: self.offset, crc })
    }
}

/// Fewer in sync than needed for acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{isr} replicas in sync, {isr_min} needed")]
pub struct NotEnough {
    /// In sync.
    pub isr: usize,
    /// Needed.
    pub isr_min: usize,
}

/// Members of an ISR are asked whether they still follow (rule S6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRound {
    /// Counts the rounds of this leader.
    pub round: u64,
    /// Who is asked, by node in order.
    pub members: Vec<NodeId>,
}

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerState {
    /// Which broker.
    pub node: NodeId,
    /// Its flushed end, if it has fetched in this epoch.
    pub flushed_end: Option<Offset>,
}

/// What the leader wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderEffect {
    /// The high watermark moved to here.
    HighWatermark(Offset),
    /// A parked produce ended.
    Complete(Ticket, Ending),
    /// Another ISR is wanted.
    Propose(IsrProposal),
    /// Members are to be asked whether they follow this leader in its epoch; who does is told by `on_vouched`.
    Ask(ProofRound),
}
