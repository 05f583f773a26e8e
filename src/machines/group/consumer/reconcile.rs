//! One member on its way from what it has to what it shall have (KIP-848).
//!
//! A step takes what must go before it gives anything, and gives only what nobody else holds. Invariant: no partition is
//! given to a member while another may read it; an epoch is reached only when everything that it takes away is given back.

use std::collections::{BTreeMap, BTreeSet};

use super::super::assignor::Share;
use super::facts::{Current, MemberState};
use crate::model::{GroupEpoch, PartitionId};
use crate::probe::{Mutant, planted};

/// Where a member is to go, and what it says that it holds.
pub(super) struct Goal<'a> {
    pub(super) target: &'a Share,
    pub(super) epoch: GroupEpoch,
    /// `None`: it has not said.
    pub(super) owned: Option<&'a BTreeSet<PartitionId>>,
}

/// The next step; the same state when there is none. `is_held` says whether another member holds a partition.
pub(super) fn step(current: &Current, goal: &Goal<'_>, is_held: impl Fn(&PartitionId) -> bool) -> Current {
    if current.has_reached(goal.epoch) {
        return current.clone();
    }
    let from = match current.state {
        MemberState::Stable | MemberState::Unreleased => current.epoch,
        MemberState::Unrevoked if owns_any(goal, &current.revoking) => return current.clone(),
        // What it gave back was of the epoch after its own.
        MemberState::Unrevoked => current.epoch.next().min(goal.epoch),
    };
    let (assigned, revoking): (BTreeMap<_, _>, BTreeMap<_, _>) =
        current.assigned.iter().map(|(id, epoch)| (*id, *epoch)).partition(|(id, _)| goal.target.contains(id));
    let previous = |epoch| if epoch == current.epoch { current.previous } else { current.epoch };
    if owns_any(goal, &revoking) {
        return Current { epoch: from, previous: previous(from), state: MemberState::Unrevoked, assigned, revoking };
    }
    let wanted = goal.target.iter().filter(|id| !assigned.contains_key(id));
    let (unreleased, given): (Vec<PartitionId>, Vec<PartitionId>) =
        wanted.copied().partition(|id| is_held(id) && !planted(Mutant::GrantedUnreleased));
    let state = if unreleased.is_empty() { MemberState::Stable } else { MemberState::Unreleased };
    let given = given.into_iter().map(|id| (id, goal.epoch));
    Current {
        epoch: goal.epoch,
        previous: previous(goal.epoch),
        state,
        assigned: assigned.into_iter().chain(given).collect(),
        revoking: BTreeMap::new(),
    }
}

/// Whether it may still read some of them: it has not said what it holds, or holds one.
fn owns_any(goal: &Goal<'_>, partitions: &BTreeMap<PartitionId, GroupEpoch>) -> bool {
    let holds = |owned: &BTreeSet<PartitionId>| partitions.keys().any(|id| owned.contains(id));
    !partitions.is_empty() && goal.owned.map_or(!planted(Mutant::SilenceRevokes), holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PartitionIndex, TopicId};

    fn ids(indexes: &[i32]) -> BTreeSet<PartitionId> {
        indexes.iter().map(|index| PartitionId { topic: TopicId::ZERO, index: PartitionIndex::new(*index) }).collect()
    }

    fn given(indexes: &[i32], epoch: i32) -> BTreeMap<PartitionId, GroupEpoch> {
        ids(indexes).into_iter().map(|id| (id, GroupEpoch::new(epoch))).collect()
    }

    fn current(epoch: i32, assigned: &[i32]) -> Current {
        let (epoch, assigned) = (GroupEpoch::new(epoch), given(assigned, epoch));
        Current { epoch, previous: epoch, assigned, ..Current::new() }
    }

    fn toward(current: &Current, epoch: i32, target: &[i32], owned: Option<&[i32]>, held: &[i32]) -> Current {
        let (target, owned, held) = (ids(target), owned.map(ids), ids(held));
        let goal = Goal { target: &target, epoch: GroupEpoch::new(epoch), owned: owned.as_ref() };
        step(current, &goal, |id| held.contains(id))
    }

    #[test]
    fn what_is_free_is_given_at_once() {
        let next = toward(&current(1, &[0]), 2, &[0, 1], None, &[]);
        assert_eq!((next.state, next.epoch.get(), next.previous.get()), (MemberState::Stable, 2, 1));
        assert_eq!(next.assigned, [given(&[0], 1), given(&[1], 2)].into_iter().flatten().collect());
    }

    #[test]
    fn what_must_go_goes_before_anything_is_given() {
        let first = toward(&current(1, &[0, 1]), 3, &[1, 2], None, &[]);
        assert_eq!((first.state, first.epoch.get()), (MemberState::Unrevoked, 1));
        assert_eq!((&first.assigned, &first.revoking), (&given(&[1], 1), &given(&[0], 1)));
        assert_eq!(toward(&first, 3, &[1, 2], Some(&[0, 1]), &[]), first, "it still has it");
        assert_eq!(toward(&first, 3, &[1, 2], None, &[]), first, "it has not said");
        let last = toward(&first, 3, &[1, 2], Some(&[1]), &[]);
        assert_eq!((last.state, last.epoch.get()), (MemberState::Stable, 3));
        assert_eq!(last.assigned.keys().copied().collect::<BTreeSet<_>>(), ids(&[1, 2]));
    }

    #[test]
    fn what_others_hold_is_waited_for_in_the_new_epoch() {
        let waits = toward(&current(1, &[]), 2, &[0, 1], Some(&[]), &[1]);
        assert_eq!((waits.state, waits.epoch.get()), (MemberState::Unreleased, 2));
        assert_eq!(waits.assigned, given(&[0], 2));
        let same = toward(&waits, 2, &[0, 1], None, &[1]);
        assert_eq!(same, waits, "an answer that was lost can be asked for again: the epoch before stays");
        let done = toward(&waits, 2, &[0, 1], None, &[]);
        assert_eq!((done.state, done.assigned.len()), (MemberState::Stable, 2));
    }

    #[test]
    fn a_newer_target_may_take_more_away() {
        let first = toward(&current(1, &[0, 1]), 2, &[1], None, &[]);
        let second = toward(&first, 4, &[], Some(&[1]), &[]);
        assert_eq!((second.state, second.epoch.get(), &second.revoking), (MemberState::Unrevoked, 2, &given(&[1], 1)));
        let third = toward(&second, 4, &[], Some(&[]), &[]);
        assert_eq!((third.state, third.epoch.get()), (MemberState::Stable, 4));
    }
}
