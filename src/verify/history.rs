//! What happened in one run, as those outside of the cluster saw it; and what the cluster held at the end.
//!
//! Written by a run's recorder, in the order of its moments; read by the invariants. Invariant: all moments are of one
//! clock, that of whoever recorded, never of a broker. An operation stands in the history from its invocation on: one
//! without `returned` is still open, and may yet take effect.

mod membership;

pub use membership::{GroupEnding, MemberAnswer, MemberCall, MemberRequest, Processed};

use crate::model::{
    BrokerEpoch, Instant, LeaderEpoch, LogIndex, NodeId, Offset, PartitionEpoch, PartitionId, ProducerEpoch,
    ProducerId, Sequence, Term, Timestamp, TopicId,
};

/// Names one value that is written once in a run: whatever is read tells which produce wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u64);

/// Names a producing or consuming client of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// Everything that is known of a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// One per value that a producer tried to write, in the order of invocation.
    pub sends: Vec<Send>,
    /// Fetches that were answered, per partition, in the order of their return.
    pub polls: Vec<Poll>,
    /// ListOffsets, in the order of their return.
    pub offset_lookups: Vec<OffsetLookup>,
    /// OffsetForLeaderEpoch, in the order of their return.
    pub epoch_lookups: Vec<EpochLookup>,
    /// Commits of offsets, in the order of invocation.
    pub commits: Vec<CommitSent>,
    /// Committed offsets as coordinators told them, in the order of their return.
    pub committed_reads: Vec<CommittedRead>,
    /// What members of groups asked, in the order of invocation.
    pub member_calls: Vec<MemberCall>,
    /// What they processed, in the order of time.
    pub processed: Vec<Processed>,
    /// What they hold at the end, when everything was well.
    pub group_endings: Vec<GroupEnding>,
    /// What an administrator asked, in the order of invocation.
    pub administrations: Vec<Administration>,
    /// The metadata log as it was committed, by index.
    pub metadata: Vec<MetadataEntry>,
    /// What single nodes said or did, in order of time.
    pub node_events: Vec<NodeEvent>,
    /// Faults that were made, in order of their begin.
    pub faults: Vec<FaultSpan>,
    /// When partitions could be served, as whoever made the faults knows. All time that is far enough from faults
    /// counts besides.
    pub serviceable: Vec<ServiceSpan>,
    /// What every node holds at the end, after everything was healed; empty when the run has no such end.
    pub replicas: Vec<ReplicaDump>,
    /// What a fresh consumer reads at the end from each partition's leader.
    pub scans: Vec<FinalScan>,
    /// Who is what at the end.
    pub endings: Vec<PartitionEnding>,
    /// When the faults ended and the healing began.
    pub healed_at: Option<Instant>,
    /// From when on, after the healing, nothing was under way any more, if that was seen: every write was answered, and
    /// everybody had, and had read, all of it.
    pub rested_at: Option<Instant>,
    /// When the run ended.
    pub ended_at: Instant,
}

/// Names what one group has committed for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterId(pub u32);

/// A commit of an offset; each value is committed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitSent {
    /// Where.
    pub register: RegisterId,
    /// What.
    pub value: u64,
    /// When it was sent.
    pub invoked: Instant,
    /// When it ended; `None` when it never did.
    pub returned: Option<Instant>,
    /// How it ended: `Ok`, `Fail` or `Info`.
    pub class: Class,
}

/// A committed offset as a coordinator told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedRead {
    /// Where.
    pub register: RegisterId,
    /// What; `None` when nothing is committed.
    pub value: Option<u64>,
    /// When it was asked for.
    pub invoked: Instant,
    /// When it was told.
    pub returned: Instant,
}

/// How an operation ended, as far as its client can tell (the class of the worst attempt decides).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It was promised.
    Ok,
    /// It was answered well, with acks 0 or 1: no promise of durability.
    Weak,
    /// Every attempt was refused before anything was written.
    Fail,
    /// Nobody knows: it may be in the log now, later, or never.
    Info,
}

/// An idempotent producer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// Names a key of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// What compaction goes by in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Its key.
    pub key: KeyId,
    /// Whether it has no value: it deletes its key.
    pub is_tombstone: bool,
}

/// One value that a producer tried to write, with all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// What was written.
    pub value: ValueId,
    /// Who wrote.
    pub client: ClientId,
    /// Where to.
    pub partition: PartitionId,
    /// The session of an idempotent producer, with the sequence of this record.
    pub session: Option<(Session, Sequence)>,
    /// Position among this client's values for this partition, from 0.
    pub order: u64,
    /// Whether the next value of this client for this partition was invoked only after this one had ended.
    pub alone: bool,
    /// When the first attempt began.
    pub invoked: Instant,
    /// When it ended; `None` when it never did.
    pub returned: Option<Instant>,
    /// How it ended; `Info` when it never did.
    pub class: Class,
    /// Its offset, when it was told.
    pub offset: Option<Offset>,
    /// How many attempts were sent.
    pub attempts: u32,
    /// Who answered the last attempt, in which leader epoch as that node knows it.
    pub answered_by: Option<(NodeId, LeaderEpoch)>,
    /// A digest of its key, value, headers and timestamp.
    pub digest: u64,
    /// Its key, if it has one.
    pub keyed: Option<Keyed>,
}

impl Send {
    /// Whether several attempts may have written it: nothing tells a second one of a producer without a session.
    pub(crate) const fn may_stand_twice(&self) -> bool {
        self.session.is_none() && self.attempts > 1
    }
}

/// One record as somebody read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its offset.
    pub offset: Offset,
    /// What it holds; `None` when its bytes name no value, or their own checksum is wrong.
    pub value: Option<ValueId>,
    /// The partition that the value itself names.
    pub wrote_to: Option<PartitionId>,
    /// The leader epoch of its batch.
    pub epoch: LeaderEpoch,
    /// A digest of its key, value, headers and timestamp.
    pub digest: u64,
    /// Its timestamp.
    pub timestamp: Timestamp,
}

/// Up to where a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The high watermark.
    ReadUncommitted,
    /// The last stable offset.
    ReadCommitted,
}

/// One partition's part of an answered fetch of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Who read.
    pub client: ClientId,
    /// Changes with every restart, seek and reassignment of the client: within one, offsets only rise.
    pub incarnation: u32,
    /// The partition.
    pub partition: PartitionId,
    /// How far it may read.
    pub isolation: Isolation,
    /// Who answered.
    pub node: NodeId,
    /// Whether that node thought itself the leader.
    pub as_leader: bool,
    /// The leader epoch as that node knew it.
    pub leader_epoch: LeaderEpoch,
    /// When it was sent.
    pub invoked: Instant,
    /// When its answer came.
    pub returned: Instant,
    /// The offset that was asked for.
    pub position: Offset,
    /// What came.
    pub outcome: PollOutcome,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// Records, or none.
    Records {
        /// The records at or above the position, in the order of the answer.
        records: Vec<Seen>,
        /// The position that follows.
        next: Offset,
        /// The high watermark told.
        high_watermark: Offset,
        /// The last stable offset told.
        last_stable: Offset,
        /// The start of the log told.
        log_start: Offset,
    },
    /// OFFSET_OUT_OF_RANGE.
    OutOfRange,
    /// A batch that is not what its checksum says.
    Corrupt,
}

/// One answered ListOffsets of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetLookup {
    /// The partition.
    pub partition: PartitionId,
    /// Who answered.
    pub node: NodeId,
    /// The leader epoch as that node knew it.
    pub leader_epoch: LeaderEpoch,
    /// When it was sent.
    pub invoked: Instant,
    /// When its answer came.
    pub returned: Instant,
    /// What was asked.
    pub query: OffsetQuery,
    /// The offset; `None` when there is no such record.
    pub answer: Option<Offset>,
}

/// What ListOffsets asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The start.
    Earliest,
    /// The readable end.
    Latest,
    /// The first record that is not older.
    Timestamp(Timestamp),
}

/// One answered OffsetForLeaderEpoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochLookup {
    /// The partition.
    pub partition: PartitionId,
    /// Who answered.
    pub node: NodeId,
    /// The leader epoch as that node knew it.
    pub leader_epoch: LeaderEpoch,
    /// When its answer came.
    pub returned: Instant,
    /// The epoch asked for.
    pub epoch: LeaderEpoch,
    /// The largest epoch not above it, and its end.
    pub answer: Option<(LeaderEpoch, Offset)>,
}

/// What an administrator asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administration {
    /// What.
    pub what: AdministrationKind,
    /// When.
    pub invoked: Instant,
    /// When it was answered.
    pub returned: Option<Instant>,
    /// How.
    pub class: Class,
}

/// A change to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdministrationKind {
    /// A topic was made; its id is known once it was answered.
    CreateTopic {
        /// How many replicas it is to have, if somebody knows.
        replicas: Option<usize>,
        /// Its name.
        name: String,
        /// Its id.
        topic: Option<TopicId>,
    },
    /// A topic was deleted.
    DeleteTopic {
        /// Its id.
        topic: TopicId,
    },
    /// A topic has more partitions.
    CreatePartitions {
        /// Its id, when it was asked for by name.
        topic: TopicId,
        /// How many it is to have at least.
        count: i32,
    },
    /// Records before an offset were deleted.
    DeleteRecords {
        /// Where.
        partition: PartitionId,
        /// The first offset that stays.
        before: Offset,
    },
}

/// One entry of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEntry {
    /// Its index.
    pub index: LogIndex,
    /// The term it was proposed in.
    pub term: Term,
    /// When the quorum had committed it.
    pub committed_at: Instant,
    /// Whether it took effect.
    pub accepted: bool,
    /// What it says, when it took effect.
    pub facts: Vec<MetadataFact>,
}

/// One fact of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataFact {
    /// A topic exists.
    TopicCreated {
        /// Its id.
        topic: TopicId,
        /// Its name.
        name: String,
    },
    /// A topic is gone.
    TopicDeleted {
        /// Its id.
        topic: TopicId,
    },
    /// A partition has this state from here on.
    Partition(PartitionState),
    /// A broker's life began; it is fenced.
    Registered {
        /// The broker.
        node: NodeId,
        /// The epoch of its registration.
        epoch: BrokerEpoch,
    },
    /// A broker may lead and be in sync.
    Unfenced {
        /// The broker.
        node: NodeId,
    },
    /// A broker leads nothing and is in no ISR from here on, once what is owed is written.
    Fenced {
        /// The broker.
        node: NodeId,
    },
}

/// A partition in the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Which.
    pub partition: PartitionId,
    /// Its replicas.
    pub replicas: Vec<NodeId>,
    /// Its in-sync set.
    pub isr: Vec<NodeId>,
    /// Its eligible replicas outside of that (KIP-966).
    pub elr: Vec<NodeId>,
    /// Its leader.
    pub leader: Option<NodeId>,
    /// The epoch of that leadership.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of this state.
    pub partition_epoch: PartitionEpoch,
    /// The smaller of `min.insync.replicas` and the replication factor.
    pub isr_min: usize,
}

/// Something about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// The node.
    pub node: NodeId,
    /// When.
    pub at: Instant,
    /// What.
    pub what: NodeEventKind,
}

/// What a node said or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEventKind {
    /// A process began.
    Started,
    /// It was killed; what was written is in the page cache.
    Killed,
    /// Its power went; what was not synced may be gone.
    PowerLost,
    /// It ended by itself.
    Exited {
        /// What it said.
        reason: String,
        /// Whether a fault that was made explains it: a failed disk, a full one.
        expected: bool,
    },
    /// It was stopped in good order.
    Stopped,
    /// It panicked.
    Panicked {
        /// What it said.
        message: String,
    },
    /// It acts as leader of a partition in an epoch, with a log up to here.
    Leads {
        /// The partition.
        partition: PartitionId,
        /// The epoch.
        epoch: LeaderEpoch,
        /// The end of its log when it took over.
        end: Offset,
    },
    /// It opened a log after a start.
    Recovered {
        /// The partition.
        partition: PartitionId,
        /// The end that it found.
        end: Offset,
        /// The end that was attested as durable before.
        attested: Offset,
        /// What an outsider knows was durable on its disk when it went down, if somebody looked.
        durable: Option<Offset>,
        /// Whether it named this partition as one that it cannot vouch for.
        suspected: bool,
    },
    /// It has applied the metadata log up to an index, and holds this.
    Applied {
        /// The index.
        index: LogIndex,
        /// A digest of its whole image.
        digest: u64,
    },
    /// It told somebody an epoch of a partition.
    Told {
        /// The partition.
        partition: PartitionId,
        /// The leader epoch.
        leader_epoch: LeaderEpoch,
        /// The partition epoch.
        partition_epoch: PartitionEpoch,
    },
    /// It acted as controller in a term.
    Controls {
        /// The term.
        term: Term,
    },
}

/// A fault that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSpan {
    /// Its name.
    pub name: String,
    /// When it began.
    pub begin: Instant,
    /// When it ended.
    pub end: Instant,
}

impl FaultSpan {
    /// Until when it is felt: one without a duration, as a kill or a flipped bit, until the faults are over.
    pub(crate) fn felt_until(&self, healed_at: Option<Instant>) -> Instant {
        match healed_at {
            Some(healed) if self.begin == self.end => healed.max(self.end),
            Some(_) | None => self.end,
        }
    }
}

/// A time in which a partition's clients reach an in-sync set of at least the least size, and the quorum works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpan {
    /// The partition.
    pub partition: PartitionId,
    /// When it began.
    pub begin: Instant,
    /// When it ended.
    pub end: Instant,
}

/// One replica's log at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDump {
    /// Whose.
    pub node: NodeId,
    /// Of what.
    pub partition: PartitionId,
    /// The start of the log.
    pub log_start: Offset,
    /// Its high watermark.
    pub high_watermark: Offset,
    /// Its end.
    pub end: Offset,
    /// Its epochs, by their first offsets.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Its batches in order.
    pub batches: Vec<DumpedBatch>,
    /// Whether its records are none of the run's values: a topic of the brokers' own. Then only the batches are dumped.
    pub is_internal: bool,
}

/// One batch of a replica's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedBatch {
    /// Its first offset.
    pub base: Offset,
    /// Its last offset.
    pub last: Offset,
    /// Its leader epoch.
    pub epoch: LeaderEpoch,
    /// Its producer, and the sequence of its first record.
    pub session: Option<(Session, Sequence)>,
    /// Whether its checksum and its counts are right.
    pub is_sound: bool,
    /// Whether it says that compaction wrote it anew: it has fewer records than offsets, or a delete horizon.
    pub is_thinned: bool,
    /// A digest of all its bytes, base offset and epoch included.
    pub digest: u64,
    /// Its records.
    pub records: Vec<Seen>,
}

/// What a fresh consumer read of one partition at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalScan {
    /// The partition.
    pub partition: PartitionId,
    /// The start of the log.
    pub log_start: Offset,
    /// One past the last record.
    pub end: Offset,
    /// All records in between.
    pub records: Vec<Seen>,
}

/// What became of a partition after healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionEnding {
    /// Its state in the metadata.
    pub state: PartitionState,
    /// When, after the healing, a produce with acks=all was first acknowledged.
    pub acknowledged_at: Option<Instant>,
    /// When, after the healing, a consumer had read to the end.
    pub read_at: Option<Instant>,
}
