//! Groups as people and their tools see them.
//!
//! Invariant: one group has one state, here and wherever its members are answered.

use super::call::{DescribedMember, Description, GroupState, Listed, Refusal, Reply};
use super::decide::{Present, Soft, exists};
use super::state::ClassicGroup;
use crate::model::GroupId;

/// One group.
pub(super) fn describe(present: Present<'_>, soft: &Soft, id: &GroupId) -> Reply {
    if !exists(present, soft, id) {
        return Reply::Describe(Err(Refusal::GroupNotFound));
    }
    let classic = present.groups.get(id).and_then(|group| group.classic.as_ref());
    let description = soft.live(id).map_or_else(|| empty(classic), super::classic::Live::describe);
    Reply::Describe(Ok(Box::new(description)))
}

/// All groups.
pub(super) fn list(present: Present<'_>, soft: &Soft) -> Vec<Listed> {
    let of_facts = present.groups.iter().map(|(id, group)| {
        let kind = group.classic.as_ref().map(|classic| classic.protocol_type.clone());
        let live = soft.live(id);
        Listed {
            group: id.clone(),
            protocol_type: live.and_then(super::classic::Live::kind).or(kind).unwrap_or_else(|| "".into()),
            state: live.map_or(GroupState::Empty, super::classic::Live::state),
        }
    });
    let only_live = soft.all_live().filter(|(id, _)| present.groups.get(id).is_none());
    let of_live = only_live.map(|(id, live)| Listed {
        group: id.clone(),
        protocol_type: live.kind().unwrap_or_else(|| "".into()),
        state: live.state(),
    });
    of_facts.chain(of_live).collect()
}

fn empty(classic: Option<&ClassicGroup>) -> Description {
    Description {
        state: GroupState::Empty,
        protocol_type: classic.map_or_else(|| "".into(), |classic| classic.protocol_type.clone()),
        protocol: "".into(),
        members: Vec::<DescribedMember>::new(),
    }
}
