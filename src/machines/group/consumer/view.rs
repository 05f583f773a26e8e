//! Groups of KIP-848 as people and their tools see them.

use super::super::call::GroupState;
use super::call::{ConsumerDescription, DescribedConsumer};
use super::facts::ConsumerGroup;
use super::target::assignor;
use crate::machines::metadata::Image;
use crate::model::{PartitionId, TopicName};

/// What a group does.
pub(in super::super) fn state(group: &ConsumerGroup) -> GroupState {
    if group.members().is_empty() {
        return GroupState::Empty;
    }
    if group.epoch() > group.assignment_epoch() {
        return GroupState::Assigning;
    }
    let has_reached = |id| group.current(id).is_some_and(|current| current.has_reached(group.assignment_epoch()));
    if group.members().keys().all(has_reached) { GroupState::Stable } else { GroupState::Reconciling }
}

/// The whole group.
pub(in super::super) fn describe(group: &ConsumerGroup, image: &Image) -> ConsumerDescription {
    let named = |id: &PartitionId| -> Option<(PartitionId, TopicName)> {
        image.topic(id.topic).map(|topic| (*id, topic.name.clone()))
    };
    let members = group.members().iter().map(|(member, says)| {
        let current = group.current(member).cloned().unwrap_or_default();
        let target = group.target(member).cloned().unwrap_or_default();
        DescribedConsumer {
            member: member.clone(),
            epoch: current.epoch,
            says: says.clone(),
            assigned: current.assigned.keys().filter_map(named).collect(),
            target: target.iter().filter_map(named).collect(),
        }
    });
    ConsumerDescription {
        state: state(group),
        epoch: group.epoch(),
        assignment_epoch: group.assignment_epoch(),
        assignor: assignor(group).name(),
        members: members.collect(),
    }
}
