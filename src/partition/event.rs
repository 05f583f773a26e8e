//! Everything that a shard can be told.
//!
//! Invariant: every event is a value that can be sent again or lost without harm: orders and positions are levels that
//! carry their epochs, and a request that gets no reply is ended by its sender's deadline.

use std::sync::Arc;

use bytes::Bytes;

use crate::machines::group::Call;
use crate::machines::metadata::Image;
use crate::machines::replication::{Acks, EpochEnd, IsrOutcome, ReplicaState, Ticket};
use crate::model::{
    BrokerEpoch, Instant, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, Timestamp, TopicName,
};
use crate::records::Batch;
use crate::storage::{Flushed, LogOptions, Place, Replacement};

use super::compact::CompactionOutcome;
use super::effect::FetchPosition;

/// Names one parked read; minted by the caller, unique while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// One thing told to a shard.
#[derive(Debug)]
pub enum Event {
    /// At start, before any order: the directory holds this partition. Answered by `Effect::Opened` or `Broken`.
    Open {
        /// The partition.
        partition: PartitionId,
        /// Its topic's name, from the directory.
        name: TopicName,
    },
    /// The image says that this broker leads.
    Lead(LeadOrder),
    /// The image says that another broker leads, or nobody.
    Follow(FollowOrder),
    /// The image no longer has a replica here.
    Stop {
        /// The partition.
        partition: PartitionId,
        /// Whether its files go too (topic deleted, replica moved away), or are only closed.
        delete: bool,
    },
    /// A produce, checked by `records`. Answered by `Reply::Append` when it is as durable as asked.
    Append {
        /// Resolved by the reply.
        ticket: Ticket,
        /// The partition.
        partition: PartitionId,
        /// The leader epoch that the caller took from the image, if it cares.
        leader_epoch: Option<LeaderEpoch>,
        /// The batch, with offsets and epoch still to be stamped.
        batch: Batch,
        /// When to answer.
        acks: Acks,
        /// When to answer at the latest.
        deadline: Instant,
    },
    /// A fetch. Answered at once by `Reply::Read`; with a watch, something may be left behind.
    Read(ReadEvent),
    /// A reader found what stands at a place damaged: to be looked at, and told by `Effect::Broken` or `Damaged`.
    Inspect {
        /// The partition.
        partition: PartitionId,
        /// That of the answer which gave the place.
        generation: u64,
        /// Where a batch begins that is damaged, or the one behind it.
        place: Place,
    },
    /// Nobody waits on this watch any more.
    Unwatch(WatchId),
    /// ListOffsets for one partition. Answered by `Reply::ListOffset`.
    ListOffset {
        /// Resolved by the reply.
        ticket: Ticket,
        /// The partition.
        partition: PartitionId,
        /// The leader epoch that the client knows.
        leader_epoch: Option<LeaderEpoch>,
        /// Who asks: latest is the log's end for a replica, the high watermark or last stable offset for a consumer.
        reader: Reader,
        /// What is asked.
        query: OffsetQuery,
    },
    /// OffsetForLeaderEpoch for one partition. Answered by `Reply::EpochEnd`.
    EpochEnd {
        /// Resolved by the reply.
        ticket: Ticket,
        /// The partition.
        partition: PartitionId,
        /// The leader epoch that the client knows.
        leader_epoch: Option<LeaderEpoch>,
        /// The epoch whose end is asked for.
        epoch: LeaderEpoch,
    },
    /// DeleteRecords for one partition. Answered by `Reply::Trim`.
    Trim {
        /// Resolved by the reply.
        ticket: Ticket,
        /// The partition.
        partition: PartitionId,
        /// The new start of the log; `None` means the high watermark.
        before: Option<Offset>,
    },
    /// A request about groups, for the coordinator that stands on this partition. Answered by `Reply::Group`: by some
    /// calls only when other members have done their part.
    Group {
        /// Resolved by the reply.
        ticket: Ticket,
        /// The partition.
        partition: PartitionId,
        /// What is asked.
        call: Box<Call>,
    },
    /// The metadata as of now: before any order or request that goes by it.
    Image(Arc<Image>),
    /// What the leader answered to a fetch from the position last told by `Effect::FetchFrom`.
    Fetched(FetchedPartition),
    /// The directory's flush thread has made these ends durable.
    Flushed(Vec<Flushed>),
    /// A flush failed: nothing of this directory can be trusted any more. Never retried (style rule 26).
    FlushFailed,
    /// What became of an `Effect::ProposeIsr`.
    IsrAnswer {
        /// The partition.
        partition: PartitionId,
        /// The leader epoch of the proposal.
        leader_epoch: LeaderEpoch,
        /// The partition epoch of the proposal; an answer to any other is ignored.
        partition_epoch: PartitionEpoch,
        /// What became of it.
        outcome: IsrOutcome,
    },
    /// The topic's configuration changed.
    Configure {
        /// The partition.
        partition: PartitionId,
        /// The new options.
        options: LogOptions,
        /// When a write counts as durable.
        flush: FlushMode,
        /// The smaller of `min.insync.replicas` and the replication factor.
        isr_min: usize,
    },
    /// A round of compaction has made a segment. Answered by `Effect::CompactionGoesOn`.
    CompactionMade(Replacement),
    /// A round of compaction is over: the shard may want the next.
    CompactionEnded {
        /// The partition.
        partition: PartitionId,
        /// How it ended.
        outcome: CompactionOutcome,
    },
    /// The broker stops: every log is flushed, its derived state written, its files closed. Answered by `Reply::Closed`
    /// once all of it is durable; until then `Flushed` events must go on. Nothing but those may follow.
    Close {
        /// Resolved by the reply.
        ticket: Ticket,
    },
    /// A broker asks whether this one follows it. Answered by `Reply::Vouch`.
    Vouch {
        /// Resolved by the reply.
        ticket: Ticket,
        /// The partition.
        partition: PartitionId,
        /// Who asks.
        leader: NodeId,
        /// The epoch in which it leads.
        leader_epoch: LeaderEpoch,
    },
    /// A broker has vouched in answer to `Effect::AskFollowers`.
    Vouched {
        /// The partition.
        partition: PartitionId,
        /// The epoch that it was asked about.
        leader_epoch: LeaderEpoch,
        /// The round.
        round: u64,
        /// Who.
        node: NodeId,
    },
    /// Facts for people and metrics. Answered by `Reply::Describe`.
    Describe {
        /// Resolved by the reply.
        ticket: Ticket,
        /// One partition, or all of this shard.
        partition: Option<PartitionId>,
    },
    /// Time passed: at `Shard::next_deadline`, or now and then. Deadlines, lag, retention, proposals to be sent again.
    Tick,
}

/// When a write counts as durable (`flush.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FlushMode {
    /// When it is synced (ADR 7).
    #[default]
    Durable,
    /// When it is in the page cache, as in Kafka.
    Kafka,
}

/// "You lead this partition": a level, sent again whenever any of it changes.
#[derive(Clone, Debug)]
pub struct LeadOrder {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub name: TopicName,
    /// The epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the partition's state; an order below the last one is ignored.
    pub partition_epoch: PartitionEpoch,
    /// The committed ISR.
    pub isr: Vec<NodeId>,
    /// All replicas, this broker included, in order of preference, with their registrations.
    pub replicas: Vec<ReplicaState>,
    /// The smaller of `min.insync.replicas` and the replication factor.
    pub isr_min: usize,
    /// Whether the election was unclean and the leader has not yet said that it recovered.
    pub recovering: bool,
    /// The log's options.
    pub options: LogOptions,
    /// When a write counts as durable.
    pub flush: FlushMode,
}

/// "Follow this leader": a level.
#[derive(Clone, Debug)]
pub struct FollowOrder {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub name: TopicName,
    /// Whom; `None` while nobody leads.
    pub leader: Option<NodeId>,
    /// The epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the partition's state; an order below the last one is ignored.
    pub partition_epoch: PartitionEpoch,
    /// The log's options.
    pub options: LogOptions,
    /// When a write counts as durable.
    pub flush: FlushMode,
}

/// A fetch of several partitions of this shard.
#[derive(Clone, Debug)]
pub struct ReadEvent {
    /// Resolved by the reply.
    pub ticket: Ticket,
    /// Who reads.
    pub reader: Reader,
    /// What, in the order in which bytes are to be given.
    pub reads: Vec<ReadRequest>,
    /// What all partitions together may give.
    pub bytes_max: usize,
    /// With fewer bytes than this, and no error, the watch is left.
    pub bytes_min: usize,
    /// Whether the first batch found may be larger than the bounds, so that a reader can always go on.
    pub whole_first: bool,
    /// Left when there is too little; fires `Effect::Wake` once, when there may be more.
    pub watch: Option<WatchId>,
    /// Whether this repeats a fetch that was parked: then it is no news from the follower.
    pub again: bool,
}

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A client: up to the high watermark, or the last stable offset.
    Consumer {
        /// Which of the two.
        isolation: ConsumerIsolation,
        /// Whether a follower may answer (KIP-392: fetch version 11 and above).
        from_follower: bool,
    },
    /// A replica: up to the end of the log, before the leader's own flush.
    Follower {
        /// Which broker.
        node: NodeId,
        /// Its registration, if it told it (KIP-903).
        broker_epoch: Option<BrokerEpoch>,
    },
}

/// `isolation.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerIsolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// One partition's part of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The partition.
    pub partition: PartitionId,
    /// From where; for a follower its flushed end, and so its durability ack (ADR 7).
    pub offset: Offset,
    /// The leader epoch that the reader knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the reader's last record, to find where the logs part (rule R3).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The CRC of a follower's last batch, if it told it (rule R21).
    pub last_crc: Option<u32>,
    /// What this partition may give.
    pub bytes_max: usize,
}

/// What ListOffsets asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The start of the log (-2, and -4 as nothing is tiered).
    Earliest,
    /// Its readable end (-1).
    Latest,
    /// The record with the largest timestamp (-3).
    MaxTimestamp,
    /// The first record with at least this timestamp.
    Timestamp(Timestamp),
}

/// One partition's part of a leader's answer to this broker's fetch.
#[derive(Clone, Debug)]
pub struct FetchedPartition {
    /// The position that was fetched, as `Effect::FetchFrom` told it. An answer to any but the latest is ignored (R5).
    pub position: FetchPosition,
    /// What the leader said. Errors that only time mends (not leader, fenced, unknown epoch, storage) are the
    /// fetcher's: it backs off and fetches the same position again.
    pub outcome: FetchedOutcome,
}

/// What a leader said to this broker's fetch.
#[derive(Clone, Debug)]
pub enum FetchedOutcome {
    /// Records, or none.
    Records {
        /// Whole batches.
        bytes: Bytes,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The start of the leader's log.
        log_start: Offset,
    },
    /// The logs part: the largest epoch of the leader's not above ours, and its end (rule R3).
    Diverging(EpochEnd),
    /// The leader holds another batch where this log has its last (rule R21).
    Contradicted,
    /// The offset is not in the leader's log; the fetcher then asked for the bounds (ListOffsets, as a replica).
    OutOfRange {
        /// The start of the leader's log.
        start: Offset,
        /// Its end.
        end: Offset,
    },
}
