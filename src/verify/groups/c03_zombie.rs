//! C3, zombie generation: broken by a commit, a sync or a heartbeat that names a generation and is taken, though it was sent
//! after somebody had been told a later generation of the group; and in a group of KIP-848 by a commit for a partition in
//! an epoch that is taken, though it was sent after another member had been given that partition in a later epoch.
//!
//! Source: Kafka's ILLEGAL_GENERATION; KIP-848, "Member epoch fencing", where members reach epochs one by one, so that an
//! older epoch alone proves nothing: what proves is the partition in other hands. A sign of life may be as late as
//! a coordinator's session (`no_older_than`). Not judged in a run that allowed loss.

use std::collections::BTreeMap;

use super::told::{by_group, no_older_than};
use crate::model::{Instant, MemberId, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{MemberAnswer, MemberCall, MemberRequest};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every group.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for (group, calls) in by_group(index) {
        let (ladder, grants) = (Ladder::of(&calls), Grants::of(&calls));
        for call in calls.iter().filter(|call| call.is_ok() && names_generation(call)) {
            let MemberCall { member, generation, invoked, .. } = call;
            if let Some(later) = ladder.before(no_older_than(index, call)).filter(|later| later > generation) {
                findings.add(Invariant::C3, || {
                    format!(
                        "{group}: {member} was obeyed in generation {generation} at {invoked}, after {later} was told"
                    )
                });
            }
            if let Some((partition, epoch, other)) = grants.against(call) {
                findings.add(Invariant::C3, || {
                    format!(
                        "{group}: a commit of {member} for {partition} in epoch {generation} was taken at {invoked}, after \
                         {other} was given it in {epoch}"
                    )
                });
            }
        }
    }
}

fn names_generation(call: &MemberCall) -> bool {
    match call.request {
        MemberRequest::Sync | MemberRequest::Heartbeat | MemberRequest::Commit(_) => true,
        MemberRequest::Join { .. } | MemberRequest::Leave | MemberRequest::Fetch | MemberRequest::Beat { .. } => false,
    }
}

/// The latest generation that was told up to each moment.
#[derive(Debug)]
struct Ladder(Vec<(Instant, i32)>);

impl Ladder {
    fn of(calls: &[&MemberCall]) -> Self {
        let joined = |call: &&MemberCall| match &call.answer {
            MemberAnswer::Joined { generation, .. } => Some((call.returned?, *generation)),
            MemberAnswer::Lost
            | MemberAnswer::Refused
            | MemberAnswer::Done
            | MemberAnswer::Assigned(_)
            | MemberAnswer::Told { .. }
            | MemberAnswer::Positions(_) => None,
        };
        let mut told: Vec<(Instant, i32)> = calls.iter().filter_map(joined).collect();
        told.sort_unstable();
        let mut latest = i32::MIN;
        for (_, generation) in &mut told {
            latest = latest.max(*generation);
            *generation = latest;
        }
        Self(told)
    }

    fn before(&self, moment: Instant) -> Option<i32> {
        let count = self.0.partition_point(|(at, _)| *at < moment);
        Some(self.0.get(count.checked_sub(1)?)?.1)
    }
}

/// A member of KIP-848 that was given a partition, and the epoch in which it was told so.
type Grant<'h> = (i32, &'h MemberId);

/// Up to a moment: the latest grant, and the latest of another member than that one.
#[derive(Clone, Copy, Debug)]
struct Latest<'h> {
    at: Instant,
    first: Grant<'h>,
    second: Option<Grant<'h>>,
}

/// Who was given each partition.
#[derive(Debug, Default)]
struct Grants<'h>(BTreeMap<PartitionId, Vec<Latest<'h>>>);

impl<'h> Grants<'h> {
    fn of(calls: &[&'h MemberCall]) -> Self {
        let mut told: Vec<(Instant, Grant<'_>, PartitionId)> = Vec::new();
        for call in calls {
            if let (Some(at), MemberAnswer::Told { epoch, assignment: Some(given) }) = (call.returned, &call.answer) {
                told.extend(given.iter().map(|partition| (at, (*epoch, &call.member), *partition)));
            }
        }
        told.sort_unstable();
        let mut grants = Self::default();
        for (at, grant, partition) in told {
            let steps = grants.0.entry(partition).or_default();
            let next = match steps.last() {
                None => Latest { at, first: grant, second: None },
                Some(last) => last.with(at, grant),
            };
            steps.push(next);
        }
        grants
    }

    /// A grant that a commit comes too late after.
    fn against(&self, call: &MemberCall) -> Option<(PartitionId, i32, &'h MemberId)> {
        let MemberRequest::Commit(positions) = &call.request else { return None };
        positions.iter().find_map(|(partition, _)| {
            let steps = self.0.get(partition)?;
            let count = steps.partition_point(|step| step.at < call.invoked);
            let last = steps.get(count.checked_sub(1)?)?;
            let of_others =
                [Some(last.first), last.second].into_iter().flatten().find(|(_, who)| **who != call.member)?;
            (of_others.0 > call.generation).then_some((*partition, of_others.0, of_others.1))
        })
    }
}

impl<'h> Latest<'h> {
    fn with(self, at: Instant, grant: Grant<'h>) -> Self {
        let Self { first, second, .. } = self;
        if grant.1 == first.1 {
            return Self { at, first: (grant.0.max(first.0), first.1), second };
        }
        let second = second.filter(|other| other.1 != grant.1 || other.0 > grant.0).unwrap_or(grant);
        let second = if second.0 < grant.0 { grant } else { second };
        if second.0 > first.0 {
            Self { at, first: second, second: Some(first) }
        } else {
            Self { at, first, second: Some(second) }
        }
    }
}
