//! Who may commit and read offsets of a group of KIP-848.

use super::super::call::{Commit, Refusal};
use super::facts::{ConsumerGroup, Current};
use crate::machines::metadata::Image;
use crate::model::{GroupEpoch, MemberId, PartitionId};

/// Whether a commit is the group's: by a member in its epoch, or in an earlier one of partitions that it has had since
/// then, so that a rebalance fails no commit that was on its way.
///
/// # Errors
/// Why it is not.
pub(in super::super) fn allow_commit(group: &ConsumerGroup, commit: &Commit, image: &Image) -> Result<(), Refusal> {
    let identity = &commit.identity;
    let epoch = GroupEpoch::new(identity.generation.get());
    if epoch < GroupEpoch::NONE && group.members().is_empty() {
        return Ok(());
    }
    let current = current(group, &identity.member)?;
    let is_classic = group.members().get(&identity.member).is_some_and(|member| member.classic.is_some());
    if is_classic {
        return if epoch == current.epoch { Ok(()) } else { Err(Refusal::Generation) };
    }
    if !commit.knows_kip_848 {
        return Err(Refusal::Version);
    }
    let has_had = |one: &super::super::call::CommitOf| {
        let topic = image.topic_named(one.topic.as_str());
        let id = topic.map(|topic| PartitionId { topic: topic.id, index: one.partition });
        id.and_then(|id| current.assigned.get(&id)).is_some_and(|since| *since <= epoch)
    };
    if epoch == current.epoch || epoch < current.epoch && commit.offsets.iter().all(has_had) {
        Ok(())
    } else {
        Err(Refusal::StaleEpoch)
    }
}

/// Whether a member may read what is committed; whoever says that he is none may.
///
/// # Errors
/// Why it may not.
pub(in super::super) fn allow_fetch(
    group: &ConsumerGroup,
    member: Option<&MemberId>,
    epoch: GroupEpoch,
) -> Result<(), Refusal> {
    if member.is_none() && epoch < GroupEpoch::NONE {
        return Ok(());
    }
    if current(group, member.ok_or(Refusal::UnknownMember)?)?.epoch == epoch {
        Ok(())
    } else {
        Err(Refusal::StaleEpoch)
    }
}

fn current<'a>(group: &'a ConsumerGroup, member: &MemberId) -> Result<&'a Current, Refusal> {
    group.current(member).map(|current| &**current).ok_or(Refusal::UnknownMember)
}
