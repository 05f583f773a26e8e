//! What the invariants of members share: requests by group, who is who over restarts, how late a sign of life may be.

use std::collections::BTreeMap;

use crate::model::{GroupId, InstanceId, Instant, MemberId};
use crate::verify::history::{MemberAnswer, MemberCall, MemberRequest};
use crate::verify::index::Index;

/// The requests of each group, in the order of invocation.
pub(super) fn by_group<'h>(index: &Index<'h>) -> BTreeMap<&'h GroupId, Vec<&'h MemberCall>> {
    let mut groups: BTreeMap<&GroupId, Vec<&MemberCall>> = BTreeMap::new();
    for call in &index.history.member_calls {
        groups.entry(&call.group).or_default().push(call);
    }
    groups
}

/// The requests of each member of a group, in the order of invocation: one is over before the next begins.
pub(super) fn by_member<'h>(calls: &[&'h MemberCall]) -> BTreeMap<&'h MemberId, Vec<&'h MemberCall>> {
    let mut members: BTreeMap<&MemberId, Vec<&MemberCall>> = BTreeMap::new();
    for call in calls {
        members.entry(known_as(call)).or_default().push(call);
    }
    members
}

/// The member that a request concerns: the one that it names, or became by it.
pub(super) fn known_as(call: &MemberCall) -> &MemberId {
    match &call.answer {
        MemberAnswer::Joined { member, .. } => member,
        MemberAnswer::Lost
        | MemberAnswer::Refused
        | MemberAnswer::Done
        | MemberAnswer::Assigned(_)
        | MemberAnswer::Told { .. }
        | MemberAnswer::Positions(_) => &call.member,
    }
}

/// A member, whatever id it has: a static one is who has its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity<'h> {
    Static(&'h InstanceId),
    Dynamic(&'h MemberId),
}

/// Who has which instance.
#[derive(Debug, Default)]
pub(super) struct Identities<'h>(BTreeMap<&'h MemberId, &'h InstanceId>);

impl<'h> Identities<'h> {
    pub(super) fn of(calls: &[&'h MemberCall]) -> Self {
        let mut known = BTreeMap::new();
        for call in calls {
            if let MemberAnswer::Joined { members, .. } = &call.answer {
                known.extend(members.iter().filter_map(|(id, instance)| Some((id, instance.as_ref()?))));
            }
            let Some(instance) = &call.instance else { continue };
            known.insert(known_as(call), instance);
            // Who joins has its id though it may never hear of it: others do.
            if let MemberRequest::Join { fresh } = &call.request {
                known.insert(fresh, instance);
            }
        }
        Self(known)
    }

    pub(super) fn of_member(&self, member: &'h MemberId) -> Identity<'h> {
        self.0.get(member).map_or(Identity::Dynamic(member), |instance| Identity::Static(instance))
    }
}

/// The moment that an answer is known to be no older than: the request's invocation, but for a sign of life, which a
/// coordinator that was replaced may give for as long as its session lasts.
pub(super) fn no_older_than(index: &Index<'_>, call: &MemberCall) -> Instant {
    let late = if call.is_light() { index.expectations.bounds.session } else { std::time::Duration::ZERO };
    Instant::ZERO.plus(call.invoked.since(Instant::ZERO.plus(late)))
}
