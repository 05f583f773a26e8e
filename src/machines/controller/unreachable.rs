//! A leader that the controller reaches and its followers do not (rule S12). Called by every tick.
//!
//! Invariant: leadership moves only to a member of ISR or ELR, and only when too few are left who can follow the
//! present leader to commit anything; so no write that could have been acknowledged is cut off.

use std::collections::{BTreeMap, BTreeSet};

use crate::machines::metadata::{Image, Partition};
use crate::model::{NodeId, Now, PartitionId};
use crate::probe::{Mark, Mutant, mark, planted};

use super::batch::Batch;
use super::elect::{Election, nobody};
use super::{Defaults, Soft, effective_min_isr};

/// Moves what unreachable leaders lead. Returns whether something was left for lack of room.
pub(super) fn settle(batch: &mut Batch, soft: &mut Soft, now: Now) -> bool {
    for (leader, namers) in named(batch.image(), soft, now) {
        let holds = soft
            .unreachable
            .is_some_and(|(other, since)| other != leader && now.instant.since(since) < soft.options.unreachable_hold);
        if holds {
            continue;
        }
        let led: Vec<PartitionId> = batch.image().topics().led_by(leader).map(|(id, _)| id).collect();
        for id in led {
            let Some(state) = moved(batch.image(), &soft.options.defaults, id, leader, &namers) else { continue };
            mark(Mark::UnreachableMoved);
            soft.unreachable = Some((leader, now.instant));
            if !batch.change(id, state) {
                return true;
            }
        }
    }
    false
}

/// Who is named as unreachable, by which active brokers whose word is fresh.
fn named(image: &Image, soft: &Soft, now: Now) -> BTreeMap<NodeId, BTreeSet<NodeId>> {
    let mut named: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
    for (namer, session) in &soft.sessions {
        let is_fresh = now.instant < session.unfetchable_at.plus(soft.options.session_timeout);
        if is_fresh && !planted(Mutant::UnreachableLeaderStays) && image.brokers().is_active(*namer) {
            for leader in session.unfetchable.iter().filter(|leader| *leader != namer) {
                named.entry(*leader).or_default().insert(*namer);
            }
        }
    }
    named
}

fn moved(
    image: &Image,
    defaults: &Defaults,
    id: PartitionId,
    leader: NodeId,
    namers: &BTreeSet<NodeId>,
) -> Option<Partition> {
    let partition = image.partition(id)?;
    let min_isr = effective_min_isr(image, defaults, id.topic);
    let members = partition.replicas.iter().copied().filter(|node| *node != leader);
    let eligible = members.filter(|node| partition.isr.contains(node) || partition.elr.contains(node));
    let first: Vec<NodeId> = eligible.filter(|node| namers.contains(node)).collect();
    let followed = partition.isr.iter().filter(|node| !namers.contains(node)).count();
    if first.len() < min_isr || followed >= min_isr && !planted(Mutant::FollowedLeaderMoved) {
        return None;
    }
    let brokers = image.brokers();
    let election = Election {
        partition,
        min_isr,
        leaving: &|node| node == leader || !brokers.is_active(node),
        lost: &nobody,
        may_lead: &|node| brokers.is_active(node) && node != leader,
        first: &first,
    };
    election.outcome().filter(|after| after.leader.is_some())
}
