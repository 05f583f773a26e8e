//! C4, double owner: broken when in one generation two members are given one partition, or one member two assignments; when
//! a member of KIP-848 is given a partition while another certainly has it; and when in the end, with nobody coming
//! or going, a partition of a group has no owner or several.
//!
//! Source: Kafka's group protocol; KIP-848, "a partition is only assigned once its former owner has revoked it". Who is only
//! silent may have been taken out, which nobody outside can know. So a member certainly has a partition from the
//! answer that gave it up to the last request in which it still held it and that was obeyed: it was a member all that
//! time, and gave nothing back. Not judged in a run that allowed loss.

use std::collections::{BTreeMap, BTreeSet};

use super::told::{Identities, Identity, by_group, by_member, no_older_than};
use crate::model::{GroupId, Instant, MemberId, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{GroupEnding, MemberAnswer, MemberCall, MemberRequest};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every group.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for (group, calls) in by_group(index) {
        check_generations(group, &calls, findings);
        check_holdings(group, holdings(index, &calls), findings);
    }
    if index.settled_at().is_some() {
        index.history.group_endings.iter().for_each(|ending| check_ending(ending, findings));
    }
}

/// Assignments by generation.
fn check_generations(group: &GroupId, calls: &[&MemberCall], findings: &mut Findings) {
    let who = Identities::of(calls);
    let mut given: BTreeMap<(i32, Identity<'_>), &Vec<PartitionId>> = BTreeMap::new();
    let mut owners: BTreeMap<(i32, PartitionId), Identity<'_>> = BTreeMap::new();
    for call in calls {
        let MemberAnswer::Assigned(partitions) = &call.answer else { continue };
        let (generation, member) = (call.generation, who.of_member(&call.member));
        let first = *given.entry((generation, member)).or_insert(partitions);
        if first != partitions {
            findings.add(Invariant::C4, || {
                format!("{group}: {member:?} was given {first:?} and {partitions:?} in generation {generation}")
            });
        }
        for partition in partitions {
            let owner = *owners.entry((generation, *partition)).or_insert(member);
            if owner != member {
                findings.add(Invariant::C4, || {
                    format!("{group}: {partition} was given to {owner:?} and to {member:?} in generation {generation}")
                });
            }
        }
    }
}

/// A time in which a member certainly had a partition.
#[derive(Clone, Copy, Debug)]
struct Holding<'h> {
    partition: PartitionId,
    begin: Instant,
    end: Instant,
    member: &'h MemberId,
}

/// What members of KIP-848 had, and when.
fn holdings<'h>(index: &Index<'_>, calls: &[&'h MemberCall]) -> Vec<Holding<'h>> {
    let mut all = Vec::new();
    for (member, calls) in by_member(calls) {
        let mut held: BTreeMap<PartitionId, Holding<'_>> = BTreeMap::new();
        for call in calls {
            all.extend(let_go(call, &mut held));
            if call.is_ok() {
                let known = no_older_than(index, call);
                held.values_mut().for_each(|holding| holding.end = holding.end.max(known));
            }
            if let (Some(begin), MemberAnswer::Told { assignment: Some(given), .. }) = (call.returned, &call.answer) {
                for partition in given {
                    let new = Holding { partition: *partition, begin, end: begin, member };
                    held.entry(*partition).or_insert(new);
                }
            }
        }
        all.extend(held.into_values());
    }
    all
}

/// What a member gives back with a request, whether that is answered or not.
fn let_go<'h>(call: &MemberCall, held: &mut BTreeMap<PartitionId, Holding<'h>>) -> Vec<Holding<'h>> {
    let MemberRequest::Beat { owned } = &call.request else { return Vec::new() };
    let keeps =
        |partition: &PartitionId| call.generation > 0 && owned.as_ref().is_none_or(|owned| owned.contains(partition));
    held.extract_if(.., |partition, _| !keeps(partition)).map(|(_, holding)| holding).collect()
}

/// No two members have one partition at one time.
fn check_holdings(group: &GroupId, mut all: Vec<Holding<'_>>, findings: &mut Findings) {
    all.sort_by_key(|holding| (holding.partition, holding.begin));
    let mut longest: Option<Holding<'_>> = None;
    for holding in all {
        let before = longest.filter(|before| before.partition == holding.partition);
        if let Some(before) = before.filter(|before| before.end > holding.begin && before.member != holding.member) {
            findings.add(Invariant::C4, || {
                let Holding { partition, begin, member, .. } = holding;
                format!(
                    "{group}: {member} was given {partition} by {begin}, and {} had it until {}",
                    before.member, before.end
                )
            });
        }
        longest = Some(before.filter(|before| before.end >= holding.end).unwrap_or(holding));
    }
}

/// In the end each partition has one owner.
fn check_ending(ending: &GroupEnding, findings: &mut Findings) {
    let GroupEnding { group, partitions, members } = ending;
    let mut owned: BTreeMap<PartitionId, usize> = partitions.iter().map(|partition| (*partition, 0)).collect();
    for partition in members.iter().flat_map(|(_, holds)| holds.iter().collect::<BTreeSet<_>>()) {
        *owned.entry(*partition).or_default() += 1;
    }
    for (partition, count) in owned.into_iter().filter(|(_, count)| *count != 1 && !members.is_empty()) {
        findings.add(Invariant::C4, || {
            format!("{group}: in the end {partition} has {count} owners among {} members", members.len())
        });
    }
}
