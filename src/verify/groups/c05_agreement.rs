//! C5, generation agreement: broken when one member is told an epoch or a generation that is lower than one that it was told
//! before, when a join that was sent after a generation was told is told an earlier one, and when what is told of
//! one generation differs: its leader, the members that the leader is told, or the protocol.
//!
//! Source: Kafka's group protocol; ADR 16, "no coordinator after this one gives its number again". A static member that came
//! back has another id and is the same (KIP-345). Not judged in a run that allowed loss.

use std::collections::{BTreeMap, BTreeSet};

use super::told::{Identities, Identity, by_group, by_member};
use crate::model::{GroupId, Instant};
use crate::verify::Invariant;
use crate::verify::history::{MemberAnswer, MemberCall};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every group.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for (group, calls) in by_group(index) {
        for (member, calls) in by_member(&calls) {
            let told: Vec<(Instant, i32)> = calls.iter().filter_map(|call| told(call)).collect();
            for pair in told.windows(2).filter(|pair| pair[1].1 < pair[0].1) {
                findings.add(Invariant::C5, || {
                    format!("{group}: {member} was told {} and at {} {}", pair[0].1, pair[1].0, pair[1].1)
                });
            }
        }
        check_order(group, &calls, findings);
        check_rounds(group, &calls, findings);
    }
}

/// The generation or epoch that an answer tells.
fn told(call: &MemberCall) -> Option<(Instant, i32)> {
    match &call.answer {
        MemberAnswer::Joined { generation, .. } => Some((call.returned?, *generation)),
        // Who leaves is told what it said.
        MemberAnswer::Told { epoch, .. } => Some((call.returned?, *epoch)).filter(|_| call.generation >= 0),
        MemberAnswer::Lost
        | MemberAnswer::Refused
        | MemberAnswer::Done
        | MemberAnswer::Assigned(_)
        | MemberAnswer::Positions(_) => None,
    }
}

/// Joins, one after the other.
fn check_order(group: &GroupId, calls: &[&MemberCall], findings: &mut Findings) {
    let is_join = |call: &&&MemberCall| matches!(call.answer, MemberAnswer::Joined { .. });
    let joins = calls.iter().filter(is_join).filter_map(|call| Some((call.invoked, told(call)?)));
    let joins: Vec<(Instant, (Instant, i32))> = joins.collect();
    let mut by_return: Vec<(Instant, i32)> = joins.iter().map(|(_, told)| *told).collect();
    by_return.sort_unstable();
    let (mut latest, mut seen) = (i32::MIN, 0);
    for (invoked, (_, generation)) in joins {
        while let Some((_, earlier)) = by_return.get(seen).filter(|(at, _)| *at < invoked) {
            latest = latest.max(*earlier);
            seen += 1;
        }
        if generation < latest {
            findings.add(Invariant::C5, || {
                format!("{group}: a join of {invoked} was told generation {generation}, after {latest} was told")
            });
        }
    }
}

/// What was told of one generation.
#[derive(Debug, Default)]
struct Round<'h> {
    leaders: BTreeSet<Identity<'h>>,
    protocols: BTreeSet<&'h str>,
    rolls: BTreeSet<BTreeSet<Identity<'h>>>,
}

fn check_rounds(group: &GroupId, calls: &[&MemberCall], findings: &mut Findings) {
    let who = Identities::of(calls);
    let mut rounds: BTreeMap<i32, Round<'_>> = BTreeMap::new();
    for call in calls {
        let MemberAnswer::Joined { generation, leader, protocol, members, .. } = &call.answer else { continue };
        let round = rounds.entry(*generation).or_default();
        round.leaders.insert(who.of_member(leader));
        round.protocols.insert(protocol);
        if !members.is_empty() {
            round.rolls.insert(members.iter().map(|(member, _)| who.of_member(member)).collect());
        }
    }
    for (generation, round) in rounds {
        if round.leaders.len() > 1 {
            findings.add(Invariant::C5, || format!("{group}: generation {generation} is led by {:?}", round.leaders));
        }
        if round.protocols.len() > 1 {
            findings.add(Invariant::C5, || format!("{group}: generation {generation} speaks {:?}", round.protocols));
        }
        if round.rolls.len() > 1 {
            findings
                .add(Invariant::C5, || format!("{group}: the members of generation {generation}: {:?}", round.rolls));
        }
    }
}
