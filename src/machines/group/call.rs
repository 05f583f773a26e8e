//! What a coordinator is asked, and what it answers.
//!
//! Invariant: a reply is a value with its facts; what it is called on the wire is decided in `api`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Generation, GroupEpoch, GroupId, InstanceId, LeaderEpoch, MemberId, Offset, PartitionIndex, TopicId, TopicName,
};

use super::assignor::Assignor;
use super::consumer::{Beat, ConsumerDescription, Told};
use super::state::{Client, Committed, Offsets};

/// Names one request; minted by the host, resolved once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// One request about groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Identity),
    /// LeaveGroup.
    Leave(Leave),
    /// ConsumerGroupHeartbeat.
    Beat(Box<Beat>),
    /// OffsetCommit.
    Commit(Commit),
    /// OffsetFetch.
    Fetch(Fetch),
    /// OffsetDelete.
    Forget(Forget),
    /// DescribeGroups, for one group.
    Describe(GroupId),
    /// ConsumerGroupDescribe, for one group.
    DescribeConsumers(GroupId),
    /// ListGroups.
    List,
    /// What operators follow: groups and their offsets, a part at a time.
    Survey(Survey),
    /// DeleteGroups, for one group.
    Delete(GroupId),
}

/// Who speaks, for which group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The group.
    pub group: GroupId,
    /// The member; empty when it has no id yet.
    pub member: MemberId,
    /// Of a static member.
    pub instance: Option<InstanceId>,
    /// The generation that it knows; -1 for none.
    pub generation: Generation,
}

/// A member wants to be in the next generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The group.
    pub group: GroupId,
    /// The member; empty when it has no id yet.
    pub member: MemberId,
    /// Of a static member (KIP-345).
    pub instance: Option<InstanceId>,
    /// The id that it gets when it has none: unique, made by the caller.
    pub fresh: MemberId,
    /// Whose it is.
    pub client: Client,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// "consumer" for consumers, "connect" for Connect and so on.
    pub protocol_type: Arc<str>,
    /// What it can do, best first, each with what it says to the leader.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Whether a dynamic member without an id is told one, and joins with it again (KIP-394).
    pub requires_known_member: bool,
    /// Whether the client knows `skip_assignment` (version 9 and above).
    pub skips_assignment: bool,
}

/// A member asks for its assignment; the leader brings all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Who.
    pub identity: Identity,
    /// What the client takes for the protocol type, if it says.
    pub protocol_type: Option<String>,
    /// What the client takes for the protocol, if it says.
    pub protocol: Option<String>,
    /// From the leader: each member's.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// Members leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The group.
    pub group: GroupId,
    /// Who; a static member may be named by its instance alone.
    pub members: Vec<(MemberId, Option<InstanceId>)>,
}

/// Offsets are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Who; with generation -1 and no member, somebody who assigns partitions himself.
    pub identity: Identity,
    /// Whether the client knows member epochs and `GROUP_ID_NOT_FOUND` (version 9 and above).
    pub knows_kip_848: bool,
    /// What, of topics and partitions that exist, in the order of the request.
    pub offsets: Vec<CommitOf>,
}

/// One partition's part of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOf {
    /// The topic.
    pub topic: TopicName,
    /// Which topic of that name.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
    /// Where to go on.
    pub offset: Offset,
    /// The leader epoch of the last record that was consumed.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the client wrote beside it.
    pub metadata: Arc<str>,
    /// How long it is to be kept, if the client says so (versions 2 to 4) instead of the broker.
    pub retention: Option<Duration>,
}

/// Committed offsets are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The group.
    pub group: GroupId,
    /// Who asks, if it says so: a member of KIP-848.
    pub member: Option<MemberId>,
    /// The epoch that it has reached; -1 for none.
    pub epoch: GroupEpoch,
    /// Which partitions; `None` means all that there are.
    pub topics: Option<Vec<(TopicName, Vec<PartitionIndex>)>>,
}

impl Fetch {
    /// All that a group has committed, whoever asks.
    #[must_use]
    pub fn all(group: GroupId) -> Self {
        Self { group, member: None, epoch: GroupEpoch::new(-1), topics: None }
    }
}

/// Committed offsets are to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// The group.
    pub group: GroupId,
    /// Which partitions.
    pub topics: Vec<(TopicName, Vec<PartitionIndex>)>,
}

/// Groups are looked over, by id, a part at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The last group of the part before; `None` for the first part.
    pub after: Option<GroupId>,
    /// How many groups are wanted; one turn gives [`Survey::GROUPS_MAX`] at most.
    pub groups_max: usize,
    /// How many committed offsets are wanted of all of them together.
    pub offsets_max: usize,
}

/// The answer to a [`Call`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a join.
    Join(Result<Joined, Refusal>),
    /// To a sync.
    Sync(Result<Synced, Refusal>),
    /// To a heartbeat.
    Heartbeat(Result<(), Refusal>),
    /// To a leave: one outcome for each member, in the order of the call.
    Leave(Result<Vec<Result<(), Refusal>>, Refusal>),
    /// To a heartbeat of KIP-848.
    Beat(Result<Told, Refusal>),
    /// To a commit: one outcome for each partition, in the order of the call.
    Commit(Result<Vec<Result<(), Refusal>>, Refusal>),
    /// To a fetch.
    Fetch(Result<Offsets, Refusal>),
    /// To a forget: one outcome for each topic, in the order of the call.
    Forget(Result<Vec<Result<(), Refusal>>, Refusal>),
    /// To a describe.
    Describe(Result<Box<Description>, Refusal>),
    /// To a describe of a group of KIP-848.
    DescribeConsumers(Result<Box<ConsumerDescription>, Refusal>),
    /// To a list.
    List(Result<Vec<Listed>, Refusal>),
    /// To a survey.
    Survey(Result<Surveyed, Refusal>),
    /// To a delete.
    Delete(Result<(), Refusal>),
}

/// A member is in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub member: MemberId,
    /// The generation.
    pub generation: Generation,
    /// The kind of the group.
    pub protocol_type: Option<Arc<str>>,
    /// What the members chose.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: MemberId,
    /// To the leader: everybody, with what they say; empty to others.
    pub members: Vec<JoinedMember>,
    /// To a leader that came back: the assignment stands, it need not make one.
    pub skip_assignment: bool,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: MemberId,
    /// Of a static member.
    pub instance: Option<InstanceId>,
    /// What it says with the chosen protocol.
    pub metadata: Bytes,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The kind of the group.
    pub protocol_type: Option<Arc<str>>,
    /// What the members chose.
    pub protocol: Option<Arc<str>>,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// What a group does, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// It waits for its leader to assign.
    CompletingRebalance,
    /// Every member can know its assignment, or of KIP-848 has it.
    Stable,
    /// Of KIP-848: its target assignment is to be made.
    Assigning,
    /// Of KIP-848: members are on their way to their targets.
    Reconciling,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The group.
    pub group: GroupId,
    /// Its kind; empty for one that only commits offsets.
    pub protocol_type: Arc<str>,
    /// What it does.
    pub state: GroupState,
    /// How its members speak.
    pub protocol: Protocol,
}

/// How the members of a group speak to its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// They join in rounds.
    Classic,
    /// KIP-848.
    Consumer,
}

/// A part of the groups of one coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// By id.
    pub groups: Vec<SurveyedGroup>,
    /// Whether there is none behind them.
    pub is_last: bool,
}

/// A group in a survey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedGroup {
    /// The group.
    pub group: GroupId,
    /// Its kind; empty for one that only commits offsets.
    pub protocol_type: Arc<str>,
    /// What it does.
    pub state: GroupState,
    /// How many members it has.
    pub members: usize,
    /// For how many partitions it has committed.
    pub offset_count: usize,
    /// What; `None` when all of it together is more than was wanted.
    pub offsets: Option<Vec<(TopicName, PartitionIndex, Offset)>>,
}

impl Survey {
    /// How many groups are looked at in one turn; others of the shard get theirs in between.
    pub const GROUPS_MAX: usize = 1_000;
}

/// A group as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What it does.
    pub state: GroupState,
    /// Its kind; empty for one that only commits offsets.
    pub protocol_type: Arc<str>,
    /// What the members chose; empty while that is open.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: MemberId,
    /// Of a static member.
    pub instance: Option<InstanceId>,
    /// Whose it is.
    pub client: Client,
    /// What it says with the chosen protocol; empty while that is open.
    pub metadata: Bytes,
    /// What the leader gave it last; empty until then.
    pub assignment: Bytes,
}

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This broker does not lead the group's partition, or no longer.
    #[error("this broker does not coordinate the group")]
    NotCoordinator,
    /// The group's partition is being read, or what an earlier coordinator acknowledged is not known to be committed yet.
    #[error(
        "the coordinator has not read all that was written before it led; if that lasts, the log of its broker says why"
    )]
    Loading,
    /// Nothing can be committed now: too few replicas in sync, too much at once, or no answer in time.
    #[error("the coordinator cannot write just now")]
    Unavailable,
    /// A group without a name.
    #[error("the group id is empty")]
    GroupId,
    /// There is no such member.
    #[error("the coordinator does not know this member")]
    UnknownMember,
    /// Another generation than the group's.
    #[error("the generation is not the group's")]
    Generation,
    /// The member has to join again.
    #[error("the group is rebalancing")]
    Rebalancing,
    /// Another member has taken the instance over.
    #[error("another member has the same group.instance.id")]
    FencedInstance,
    /// The member has nothing in common with the others.
    #[error("no protocol that all members know")]
    Protocol,
    /// The member is to join again, with this id.
    #[error("the member must join with its id, {0}")]
    MemberIdRequired(MemberId),
    /// There are as many members as are allowed.
    #[error("the group has as many members as it may")]
    GroupFull,
    /// What the members say, or are given, is larger than one record may be.
    #[error("the group's members say more than a record can hold")]
    TooLarge,
    /// Shorter or longer than is allowed.
    #[error("the session timeout is not between the broker's least and greatest")]
    SessionTimeout,
    /// There is no such group.
    #[error("there is no such group")]
    GroupNotFound,
    /// It has members.
    #[error("the group has members")]
    NonEmpty,
    /// Members read the topic.
    #[error("the group reads the topic")]
    SubscribedToTopic,
    /// The member's epoch is not the one that it should have reached: it has to let go of everything and join anew.
    #[error("the member epoch is not the member's")]
    FencedEpoch,
    /// The epoch of a commit or a fetch is not the member's.
    #[error("the member epoch is not, or no longer, the member's")]
    StaleEpoch,
    /// A living member has the instance.
    #[error("another member uses the group.instance.id")]
    UnreleasedInstance,
    /// Nobody here assigns like that.
    #[error("there is no such assignor; there are {}", Assignor::NAMES.join(" and "))]
    Assignor,
    /// It cannot be compiled, or is too large.
    #[error("the regular expression is not valid, or too large")]
    Regex,
    /// The topic is gone, and another has its name.
    #[error("the topic has been deleted, and made again under its name")]
    TopicGone,
    /// Members of KIP-848 commit by a later version of the request.
    #[error("members of this group commit by version 9 of OffsetCommit or above")]
    Version,
    /// What stands beside an offset is too long.
    #[error("the metadata beside the offset is too long")]
    MetadataTooLarge,
}

impl Call {
    /// Whether deciding it may have to write.
    #[must_use]
    pub fn may_write(&self) -> bool {
        match self {
            Self::Join(_)
            | Self::Sync(_)
            | Self::Leave(_)
            | Self::Beat(_)
            | Self::Commit(_)
            | Self::Forget(_)
            | Self::Delete(_) => true,
            Self::Heartbeat(_)
            | Self::Fetch(_)
            | Self::Describe(_)
            | Self::DescribeConsumers(_)
            | Self::List
            | Self::Survey(_) => false,
        }
    }

    /// The answer that refuses it.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> Reply {
        match self {
            Self::Join(_) => Reply::Join(Err(refusal)),
            Self::Sync(_) => Reply::Sync(Err(refusal)),
            Self::Heartbeat(_) => Reply::Heartbeat(Err(refusal)),
            Self::Leave(_) => Reply::Leave(Err(refusal)),
            Self::Beat(_) => Reply::Beat(Err(refusal)),
            Self::Commit(_) => Reply::Commit(Err(refusal)),
            Self::Fetch(_) => Reply::Fetch(Err(refusal)),
            Self::Forget(_) => Reply::Forget(Err(refusal)),
            Self::Describe(_) => Reply::Describe(Err(refusal)),
            Self::DescribeConsumers(_) => Reply::DescribeConsumers(Err(refusal)),
            Self::List => Reply::List(Err(refusal)),
            Self::Survey(_) => Reply::Survey(Err(refusal)),
            Self::Delete(_) => Reply::Delete(Err(refusal)),
        }
    }
}

impl Reply {
    /// The same answer, had the request been refused.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> Self {
        match self {
            Self::Join(_) => Self::Join(Err(refusal)),
            Self::Sync(_) => Self::Sync(Err(refusal)),
            Self::Heartbeat(_) => Self::Heartbeat(Err(refusal)),
            Self::Leave(_) => Self::Leave(Err(refusal)),
            Self::Beat(_) => Self::Beat(Err(refusal)),
            Self::Commit(_) => Self::Commit(Err(refusal)),
            Self::Fetch(_) => Self::Fetch(Err(refusal)),
            Self::Forget(_) => Self::Forget(Err(refusal)),
            Self::Describe(_) => Self::Describe(Err(refusal)),
            Self::DescribeConsumers(_) => Self::DescribeConsumers(Err(refusal)),
            Self::List(_) => Self::List(Err(refusal)),
            Self::Survey(_) => Self::Survey(Err(refusal)),
            Self::Delete(_) => Self::Delete(Err(refusal)),
        }
    }

    /// Whether it tells nothing that a member relies on, so that the broker's session is proof enough: a refusal, which is
    /// tried again, a sign of life, lists and numbers for people.
    #[must_use]
    pub fn is_light(&self) -> bool {
        match self {
            Self::Heartbeat(_) | Self::List(_) | Self::Survey(_) => true,
            Self::Join(outcome) => outcome.is_err(),
            Self::Sync(outcome) => outcome.is_err(),
            Self::Leave(outcome) | Self::Commit(outcome) | Self::Forget(outcome) => outcome.is_err(),
            Self::Beat(outcome) => outcome.as_ref().is_ok_and(|told| told.is_known) || outcome.is_err(),
            Self::Fetch(outcome) => outcome.is_err(),
            Self::Describe(outcome) => outcome.is_err(),
            Self::DescribeConsumers(outcome) => outcome.is_err(),
            Self::Delete(outcome) => outcome.is_err(),
        }
    }
}

/// The outcome of a reply of one kind. A host that mixes replies up has no answer.
macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident, $variant:ident, $value:ty;)*) => {
        impl Reply {
            $($(#[$doc])*
            ///
            /// # Errors
            /// Why it is refused.
            pub fn $name(self) -> Result<$value, Refusal> {
                if let Self::$variant(outcome) = self { outcome } else { Err(Refusal::Unavailable) }
            })*
        }
    };
}

outcomes! {
    /// To a join.
    join, Join, Joined;
    /// To a sync.
    sync, Sync, Synced;
    /// To a heartbeat.
    heartbeat, Heartbeat, ();
    /// To a leave.
    leave, Leave, Vec<Result<(), Refusal>>;
    /// To a heartbeat of KIP-848.
    beat, Beat, Told;
    /// To a commit.
    commit, Commit, Vec<Result<(), Refusal>>;
    /// To a fetch.
    fetch, Fetch, Offsets;
    /// To a forget.
    forget, Forget, Vec<Result<(), Refusal>>;
    /// To a describe.
    describe, Describe, Box<Description>;
    /// To a describe of a group of KIP-848.
    describe_consumers, DescribeConsumers, Box<ConsumerDescription>;
    /// To a list.
    list, List, Vec<Listed>;
    /// To a survey.
    survey, Survey, Surveyed;
    /// To a delete.
    delete, Delete, ();
}

impl GroupState {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
        Self::Assigning,
        Self::Reconciling,
    ];

    /// As Kafka writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
        }
    }
}

impl CommitOf {
    /// The fact that it becomes.
    #[must_use]
    pub(super) fn committed(&self, at: crate::model::Timestamp) -> Committed {
        Committed {
            topic_id: Some(self.topic_id),
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: Arc::clone(&self.metadata),
            at,
            expires: self.retention.map(|retention| at.plus(retention)),
        }
    }
}
