//! What members of groups asked their coordinators and were told, and what they processed.
//!
//! Part of the history. Invariant: a process has one request under way at most, and drops answers that come after it has
//! given up waiting: what stands here as answered it has acted on.

use crate::model::{GroupId, InstanceId, Instant, MemberId, Offset, PartitionId};

/// One request of a member, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberCall {
    /// The group.
    pub group: GroupId,
    /// The `group.instance.id`, of a static member.
    pub instance: Option<InstanceId>,
    /// The member as it calls itself; empty before it has an id.
    pub member: MemberId,
    /// The generation, or of KIP-848 the member epoch, that it names.
    pub generation: i32,
    /// What it asked.
    pub request: MemberRequest,
    /// When it was sent.
    pub invoked: Instant,
    /// When its answer came; `None` when none did.
    pub returned: Option<Instant>,
    /// What it was told.
    pub answer: MemberAnswer,
}

/// What a member asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberRequest {
    /// JoinGroup, with the id that it becomes a member by if it has none.
    Join {
        /// That id.
        fresh: MemberId,
    },
    /// SyncGroup.
    Sync,
    /// Heartbeat.
    Heartbeat,
    /// LeaveGroup.
    Leave,
    /// OffsetCommit: where to go on in each partition.
    Commit(Vec<(PartitionId, Offset)>),
    /// OffsetFetch of some partitions.
    Fetch,
    /// ConsumerGroupHeartbeat, with what it holds, if it says so. With epoch 0 it joins, with a negative one it leaves.
    Beat {
        /// What it holds.
        owned: Option<Vec<PartitionId>>,
    },
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberAnswer {
    /// Nothing, or nothing that it waited for any more: nobody knows what became of the request.
    Lost,
    /// No.
    Refused,
    /// Its request was taken: a heartbeat, a leave, all of a commit.
    Done,
    /// It is in a generation.
    Joined {
        /// Its id.
        member: MemberId,
        /// The generation.
        generation: i32,
        /// Who assigns.
        leader: MemberId,
        /// What the members chose.
        protocol: String,
        /// To the leader: everybody.
        members: Vec<(MemberId, Option<InstanceId>)>,
    },
    /// Its assignment in the generation that it named.
    Assigned(Vec<PartitionId>),
    /// Its epoch, and what it may have, unless that is what it knows.
    Told {
        /// The epoch that it has reached.
        epoch: i32,
        /// What it may have.
        assignment: Option<Vec<PartitionId>>,
    },
    /// What is committed of what it asked for.
    Positions(Vec<(PartitionId, Offset)>),
}

/// A member has processed records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processed {
    /// For which group.
    pub group: GroupId,
    /// Of which partition.
    pub partition: PartitionId,
    /// The first.
    pub from: Offset,
    /// One past the last.
    pub end: Offset,
    /// When it was done.
    pub at: Instant,
}

/// A group in the end, after a time in which nobody came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEnding {
    /// The group.
    pub group: GroupId,
    /// What it reads.
    pub partitions: Vec<PartitionId>,
    /// What each of its living processes holds, as it knows.
    pub members: Vec<(MemberId, Vec<PartitionId>)>,
}

impl MemberCall {
    /// Whether it was answered, and not refused.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !matches!(self.answer, MemberAnswer::Lost | MemberAnswer::Refused)
    }

    /// Whether its answer rests on the broker's session alone: a sign of life that tells nothing new. A coordinator that was
    /// replaced and does not know it yet may give it.
    #[must_use]
    pub fn is_light(&self) -> bool {
        match (&self.request, &self.answer) {
            (MemberRequest::Heartbeat, _) => true,
            (MemberRequest::Beat { .. }, MemberAnswer::Told { epoch, assignment: None }) => *epoch == self.generation,
            (_, _) => false,
        }
    }
}
