//! Everything that a shard asks of the world.
//!
//! Invariant: effects of one turn are handed out in order; `Flush` stands last, so that what it covers is complete.

use crate::machines::group;
use crate::machines::replication::{EpochEnd, FollowerState, IsrProposal, ProofRound, Ticket};
use crate::model::{
    LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, ProducerEpoch, ProducerId, Timestamp, TopicName,
};
use crate::records::BatchError;
use crate::storage::{AppendError, FlushOrder, ReadPlan, TakenOver};

use super::compact::CompactionJob;
use super::event::WatchId;
use super::lookup::OffsetAnswer;

/// One thing asked of the world.
#[derive(Debug)]
pub enum Effect {
    /// A request ended.
    Reply {
        /// Which one.
        ticket: Ticket,
        /// How.
        reply: Reply,
    },
    /// There may be more to read; the watch is gone.
    Wake(WatchId),
    /// Make these ends durable in one group; answered by `Event::Flushed` or `FlushFailed`. At most one per turn.
    Flush(Vec<FlushOrder>),
    /// Compact this log; ends with `Event::CompactionEnded`. At most one round for each shard.
    Compact(Box<CompactionJob>),
    /// What became of an `Event::CompactionMade`.
    CompactionGoesOn {
        /// The partition.
        partition: PartitionId,
        /// Whether the round goes on.
        taken: TakenOver,
    },
    /// Ask the controller for another ISR; answered by `Event::IsrAnswer`.
    ProposeIsr(PartitionProposal),
    /// Ask these brokers whether they follow this leader; each that does is told by `Event::Vouched` (rule S6).
    AskFollowers(FollowersAsked),
    /// Fetch from here: a level that replaces the last one of this partition. After an answer was handed back by
    /// `Event::Fetched`, the next position is awaited; until an answer, the same position may be fetched again.
    FetchFrom(FetchPosition),
    /// Fetch this partition no more, until another position comes.
    StopFetching(PartitionId),
    /// A leader sends what cannot be taken: someone has to look at its copy. Told when that begins, and now and then
    /// while it lasts; the partition is asked for again after each rest.
    Unusable(UnusableFetch),
    /// Some records cannot be served any more, though the partition goes on: nobody else in sync has them.
    Damaged(UnservedRecords),
    /// Readers are refused for what is not remembered: too many open files, no memory, what is sound when it is read
    /// again, or damage in more places than are. They ask again, and it is told now and then.
    Unreadable(UnservedRecords),
    /// A follower's log holds another batch than this one (rule R21); it is told, and gives its copy up.
    Contradicted(ContradictedFollower),
    /// `Event::Open` is done.
    Opened(OpenedPartition),
    /// A log is corrupt or cannot be opened: to be named at registration and in heartbeats (rule S3).
    Broken(BrokenPartition),
    /// The directory failed: nothing more may be acknowledged from it (ADR 7).
    Fatal {
        /// What the system said.
        cause: FatalCause,
    },
}

/// What a leader sent, and why it cannot be taken.
#[derive(Debug)]
pub struct UnusableFetch {
    /// The topic's name.
    pub name: TopicName,
    /// Of whom what was asked.
    pub position: FetchPosition,
    /// What is wrong.
    pub fault: FetchFault,
}

/// Records that were asked for and are not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnservedRecords {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub name: TopicName,
    /// Which records, in which file, and why.
    pub message: String,
}

/// A follower whose log is not the leader's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContradictedFollower {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub name: TopicName,
    /// Whose log it is.
    pub follower: NodeId,
    /// The batches before this offset differ.
    pub offset: Offset,
}

/// What is wrong with fetched bytes. The copy of the leader is damaged, or what brought them.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// There is no batch.
    #[error(transparent)]
    Unreadable(#[from] BatchError),
    /// Less than one batch.
    #[error("{size} bytes hold no whole batch")]
    Partial {
        /// How many there are.
        size: usize,
    },
    /// The bytes are not those that the CRC was made from.
    #[error("the batch at offset {base} has a wrong checksum")]
    Checksum {
        /// Where it starts.
        base: Offset,
    },
    /// Another batch than was asked for.
    #[error("the batch at offset {base} does not continue a log that ends at {end}")]
    NotContiguous {
        /// Where it starts.
        base: Offset,
        /// Where the log ends.
        end: Offset,
    },
    /// The log does not take it.
    #[error(transparent)]
    Refused(AppendError),
}

/// Why a data directory is given up.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FatalCause {
    /// A write or a truncation failed.
    #[error("partition {partition}: {message}")]
    Write {
        /// Which log.
        partition: PartitionId,
        /// What the system said.
        message: String,
    },
    /// A flush failed.
    #[error("a flush failed")]
    Flush,
}

/// How a request ended.
#[derive(Debug)]
pub enum Reply {
    /// A produce.
    Append(Result<Acked, AppendRefusal>),
    /// A fetch: one entry per `ReadRequest`, in their order; and what became of its watch.
    Read {
        /// The answers.
        reads: Vec<ReadReply>,
        /// Whether to answer the client now or to wait.
        watching: Watching,
    },
    /// ListOffsets.
    ListOffset(Result<OffsetAnswer, ListRefusal>),
    /// OffsetForLeaderEpoch; `None` when the epoch is not known.
    EpochEnd(Result<Option<EpochEnd>, ListRefusal>),
    /// DeleteRecords: the new start of the log.
    Trim(Result<Offset, TrimRefusal>),
    /// A request about groups.
    Group(group::Reply),
    /// Whether this broker follows whom it was asked about.
    Vouch(bool),
    /// Facts, by partition in order.
    Describe(Vec<PartitionDescription>),
    /// `Event::Close` is done.
    Closed,
}

/// What became of a read's watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// None was left: there is enough, an error, or more behind a segment's end. Answer now.
    No,
    /// It is left: `Effect::Wake` comes when there may be more.
    Yes,
    /// Too many are left already: answer at the deadline.
    Refused,
}

/// A produce that is as durable as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// The offset of its first record; that of the original for a duplicate.
    pub base_offset: Offset,
    /// The broker's time for LogAppendTime, else `Timestamp::NONE`.
    pub append_time: Timestamp,
    /// The start of the log.
    pub log_start: Offset,
}

/// Why a produce is refused, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// No such partition here, or this broker does not lead it, or led it until now.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The caller knows an older leader epoch than this one.
    #[error("the leader epoch is {current} by now")]
    FencedEpoch {
        /// The epoch here.
        current: LeaderEpoch,
    },
    /// The caller knows a newer leader epoch than this one.
    #[error("the leader epoch is still {current} here")]
    UnknownEpoch {
        /// The epoch here.
        current: LeaderEpoch,
    },
    /// Fewer in sync than `min.insync.replicas`: nothing was written (rule R19).
    #[error("{isr} replicas in sync, {isr_min} needed")]
    NotEnoughReplicas {
        /// In sync.
        isr: usize,
        /// Needed.
        isr_min: usize,
    },
    /// Written, but fewer in sync than `min.insync.replicas` by now (rule R19).
    #[error("written, but fewer replicas in sync than needed")]
    NotEnoughReplicasAfterAppend,
    /// Written, not acknowledged in time; it may be committed later.
    #[error("not acknowledged in time")]
    TimedOut,
    /// The producer's sequence leaves a gap or lies before the window.
    #[error("out of order sequence of producer {producer}")]
    OutOfOrderSequence {
        /// The producer.
        producer: ProducerId,
    },
    /// The producer's epoch is fenced.
    #[error("producer {producer} epoch {epoch} is fenced")]
    ProducerFenced {
        /// The producer.
        producer: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
    },
    /// The batch does not fit the state of the producer's transaction.
    #[error("producer {producer} is in another state of its transaction")]
    TransactionState {
        /// The producer.
        producer: ProducerId,
    },
    /// A transaction marker that cannot be read, or of an older coordinator than was seen.
    #[error("the marker is not valid here")]
    Marker,
    /// The batch is larger than a segment.
    #[error("the batch is larger than a segment")]
    TooLarge,
    /// Too many produces wait on this partition.
    #[error("too many produces wait on the partition")]
    Busy,
    /// The log is corrupt, or its directory failed.
    #[error("the log is offline")]
    Offline,
}

/// One partition's answer to a fetch.
#[derive(Debug)]
pub struct ReadReply {
    /// The partition.
    pub partition: PartitionId,
    /// What there is.
    pub outcome: Result<ReadAnswer, ReadRefusal>,
}

/// What there is to read.
#[derive(Debug)]
pub struct ReadAnswer {
    /// The high watermark.
    pub high_watermark: Offset,
    /// Below it, every transaction is decided.
    pub last_stable: Offset,
    /// The start of the log.
    pub log_start: Offset,
    /// Where the bytes are, whole batches; `None` when there are none.
    pub plan: Option<ReadPlan>,
    /// For a follower whose log parts from this one; then there is no plan (rule R3).
    pub diverging: Option<EpochEnd>,
    /// For a read-committed consumer: aborted transactions among the bytes.
    pub aborted: Vec<AbortedTransaction>,
    /// Of which state of the log this was said; for `Event::Inspect`.
    pub generation: u64,
}

/// A transaction whose records the consumer must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer: ProducerId,
    /// Its first record.
    pub first: Offset,
}

/// Why a fetch of one partition is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadRefusal {
    /// No such partition here.
    #[error("no such partition here")]
    UnknownPartition,
    /// This broker does not lead it, or the follower is not the registered one.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The reader knows an older leader epoch.
    #[error("the leader epoch is {current} by now")]
    FencedEpoch {
        /// The epoch here.
        current: LeaderEpoch,
    },
    /// The reader knows a newer leader epoch, or is no replica of this partition yet.
    #[error("the leader epoch is still {current} here")]
    UnknownEpoch {
        /// The epoch here.
        current: LeaderEpoch,
    },
    /// Below the start or above the end of the log.
    #[error("the log is [{start}, {end})")]
    OutOfRange {
        /// Its start.
        start: Offset,
        /// Its end.
        end: Offset,
    },
    /// The log is corrupt, or its directory failed.
    #[error("the log is offline")]
    Offline,
    /// What stands there is not what was written, and nobody else in sync has a copy.
    #[error("the records there are damaged")]
    Damaged,
    /// To a follower: this log holds another batch where that one has its last (rule R21).
    #[error("the logs hold different batches at one offset")]
    Contradicted,
}

/// Why ListOffsets or OffsetForLeaderEpoch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListRefusal {
    /// No such partition here.
    #[error("no such partition here")]
    UnknownPartition,
    /// This broker does not lead it.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The client knows an older leader epoch.
    #[error("the leader epoch is {current} by now")]
    FencedEpoch {
        /// The epoch here.
        current: LeaderEpoch,
    },
    /// The client knows a newer leader epoch.
    #[error("the leader epoch is still {current} here")]
    UnknownEpoch {
        /// The epoch here.
        current: LeaderEpoch,
    },
    /// A fresh leader does not yet know what is committed (rule R18).
    #[error("the high watermark has not reached the start of the leader's epoch")]
    NotAvailable,
    /// The log is corrupt, or its directory failed.
    #[error("the log is offline")]
    Offline,
}

/// Why DeleteRecords is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrimRefusal {
    /// No such partition here, or this broker does not lead it.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// Above the high watermark.
    #[error("the offset lies above the high watermark {high_watermark}")]
    OutOfRange {
        /// The high watermark.
        high_watermark: Offset,
    },
    /// The log is corrupt, or its directory failed.
    #[error("the log is offline")]
    Offline,
}

/// Brokers are asked whether they follow this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowersAsked {
    /// Which partition.
    pub partition: PartitionId,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Who, and in which round.
    pub round: ProofRound,
}

/// A wish for another ISR of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProposal {
    /// The partition.
    pub partition: PartitionId,
    /// The wish.
    pub proposal: IsrProposal,
}

/// Where this broker's copy goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// The partition.
    pub partition: PartitionId,
    /// Whom to ask.
    pub leader: NodeId,
    /// The epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// Counts the positions of this partition, so that no answer is taken for another's (rule R5).
    pub number: u64,
    /// The end of this copy, all of it flushed (ADR 7, rule S1).
    pub offset: Offset,
    /// The epoch of its last record (rule R3).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The CRC of its last batch (rule R21).
    pub last_crc: Option<u32>,
    /// The start of this copy.
    pub log_start: Offset,
}

/// A partition that was found on disk and opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The start of its log.
    pub start: Offset,
    /// The end that was attested as flushed before the stop.
    pub attested_end: Offset,
    /// The end that was found. Below the attested one, the copy has lost acknowledged records (rule S3).
    pub end: Offset,
}

/// A partition whose log cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenPartition {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub name: TopicName,
    /// What is wrong.
    pub message: String,
    /// What that makes of the copy.
    pub breakage: Breakage,
}

/// What a copy is worth that is served no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// It cannot be opened or read, or not just now: it may hold all that it held.
    Unreadable,
    /// The leader holds something else in its place.
    Contradicted,
}

/// Facts about one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// The partition.
    pub partition: PartitionId,
    /// Its topic's name.
    pub name: TopicName,
    /// What this broker is for it.
    pub role: RoleDescription,
    /// The epoch of the last order.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch of the last order.
    pub partition_epoch: PartitionEpoch,
    /// The start of the log.
    pub start: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
    /// What is flushed here.
    pub flushed_end: Offset,
    /// The end of the log.
    pub end: Offset,
    /// The size of the log in bytes.
    pub size_bytes: u64,
}

/// What this broker is for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleDescription {
    /// Opened, without an order yet.
    Idle,
    /// The leader.
    Leader {
        /// The committed ISR.
        isr: Vec<NodeId>,
        /// Who may be in sync beside them, as another ISR is asked for.
        pending: Option<Vec<NodeId>>,
        /// Produces that wait.
        waiting: usize,
        /// How far each follower has flushed, as its fetches of this epoch said.
        followers: Vec<FollowerState>,
    },
    /// A follower.
    Follower {
        /// Of whom.
        leader: Option<NodeId>,
    },
    /// Its log cannot be served.
    Offline,
}
