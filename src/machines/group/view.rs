//! Groups as people and their tools see them.
//!
//! Invariant: one group has one state, here and wherever its members are answered.

use std::collections::BTreeMap;

use super::call::{
    DescribedMember, Description, GroupState, Listed, Protocol, Refusal, Reply, Survey, Surveyed, SurveyedGroup,
};
use super::classic::Live;
use super::consumer;
use super::decide::{Present, Soft, exists};
use super::state::{CONSUMER_PROTOCOL, ClassicGroup};
use crate::model::GroupId;

/// One group of the classic protocol.
pub(super) fn describe(present: Present<'_>, soft: &Soft, id: &GroupId) -> Reply {
    if !exists(present, soft, id) || present.consumers(id).is_some() {
        return Reply::Describe(Err(Refusal::GroupNotFound));
    }
    let classic = present.groups.get(id).and_then(|group| group.classic.as_ref());
    let description = soft.live(id).map_or_else(|| empty(classic), Live::describe);
    Reply::Describe(Ok(Box::new(description)))
}

/// One group of KIP-848.
pub(super) fn describe_consumers(present: Present<'_>, id: &GroupId) -> Reply {
    let described = present.consumers(id).map(|group| Box::new(consumer::describe(group, present.image)));
    Reply::DescribeConsumers(described.ok_or(Refusal::GroupNotFound))
}

/// All groups.
pub(super) fn list(present: Present<'_>, soft: &Soft) -> Vec<Listed> {
    let of_facts = present.groups.iter().map(|(id, group)| {
        if let Some(consumers) = &group.consumer {
            return Listed {
                group: id.clone(),
                protocol_type: CONSUMER_PROTOCOL.into(),
                state: consumer::state(consumers),
                protocol: Protocol::Consumer,
            };
        }
        let kind = group.classic.as_ref().map(|classic| classic.protocol_type.clone());
        let live = soft.live(id);
        Listed {
            group: id.clone(),
            protocol_type: live.and_then(Live::kind).or(kind).unwrap_or_else(|| "".into()),
            state: live.map_or(GroupState::Empty, Live::state),
            protocol: Protocol::Classic,
        }
    });
    let only_live = soft.all_live().filter(|(id, _)| present.groups.get(id).is_none());
    let of_live = only_live.map(|(id, live)| Listed {
        group: id.clone(),
        protocol_type: live.kind().unwrap_or_else(|| "".into()),
        state: live.state(),
        protocol: Protocol::Classic,
    });
    of_facts.chain(of_live).collect()
}

/// Some groups, by id, with what they have committed.
pub(super) fn survey(present: Present<'_>, soft: &Soft, asked: &Survey) -> Surveyed {
    let after = asked.after.as_ref();
    let mut of_facts = present.groups.iter_after(after).map(|(id, _)| id).peekable();
    let mut of_live = soft.live_after(after).map(|(id, _)| id).peekable();
    let groups_max = asked.groups_max.min(Survey::GROUPS_MAX);
    let mut surveyed = Surveyed { groups: Vec::new(), is_last: true };
    let mut room = asked.offsets_max;
    while let Some(id) = [of_facts.peek(), of_live.peek()].into_iter().flatten().copied().min() {
        if surveyed.groups.len() >= groups_max {
            surveyed.is_last = false;
            break;
        }
        let group = survey_group(present, soft, id, room);
        room -= group.offsets.as_ref().map_or(0, Vec::len);
        surveyed.groups.push(group);
        // One group may stand in both.
        let _ = (of_facts.next_if_eq(&id), of_live.next_if_eq(&id));
    }
    surveyed
}

fn survey_group(present: Present<'_>, soft: &Soft, id: &GroupId, room: usize) -> SurveyedGroup {
    let (group, live) = (present.groups.get(id), soft.live(id));
    let kind = group.and_then(|group| group.classic.as_ref()).map(|classic| classic.protocol_type.clone());
    let offset_count = group.map_or(0, |group| group.offsets.values().map(BTreeMap::len).sum());
    let offsets = || {
        let topics = group.into_iter().flat_map(|group| &group.offsets);
        topics.flat_map(|(topic, known)| known.iter().map(|(index, at)| (topic.clone(), *index, at.offset))).collect()
    };
    let consumers = group.and_then(|group| group.consumer.as_ref());
    let (protocol_type, state, members) = match consumers {
        Some(consumers) => (CONSUMER_PROTOCOL.into(), consumer::state(consumers), consumers.members().len()),
        None => (
            live.and_then(Live::kind).or(kind).unwrap_or_else(|| "".into()),
            live.map_or(GroupState::Empty, Live::state),
            live.map_or(0, Live::size),
        ),
    };
    SurveyedGroup {
        group: id.clone(),
        protocol_type,
        state,
        members,
        offset_count,
        offsets: (offset_count <= room).then(offsets),
    }
}

fn empty(classic: Option<&ClassicGroup>) -> Description {
    Description {
        state: GroupState::Empty,
        protocol_type: classic.map_or_else(|| "".into(), |classic| classic.protocol_type.clone()),
        protocol: "".into(),
        members: Vec::<DescribedMember>::new(),
    }
}
