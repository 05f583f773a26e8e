//! What the image itself says is to be done: partitions led by, or with an ISR member among, brokers that are fenced
//! or shutting down, and partitions without a leader that could have one (rule S10). Called at every tick and by
//! every decision that fences or unfences.
//!
//! Invariant: once nothing is owed, no broker that is not active leads or is in an ISR (rule R15). Work that does not
//! fit into one proposal is owed still, to whoever is controller then.

use crate::machines::metadata::{Image, Partition};
use crate::model::{NodeId, PartitionId};
use crate::probe::{Mark, Mutant, mark, planted};

use super::batch::Batch;
use super::elect::{Election, nobody};
use super::{Defaults, Soft, effective_min_isr};

/// Adds what is owed to `batch`. Returns whether something was left for lack of room.
pub(super) fn settle(batch: &mut Batch, defaults: &Defaults) -> bool {
    for id in concerned(batch.image()) {
        if let Some(state) = due(batch.image(), defaults, id)
            && !batch.change(id, state)
        {
            mark(Mark::OwedWork);
            return true;
        }
    }
    false
}

/// The partitions to look at. What serves nobody comes first: one without a living leader before one that lacks a
/// follower.
fn concerned(image: &Image) -> Vec<PartitionId> {
    let (mut dead_leads, mut dead_follows) = (Vec::new(), Vec::new());
    for broker in image.brokers().iter().filter(|broker| !broker.is_active()) {
        for (id, partition) in image.topics().in_isr_of(broker.node) {
            let list = if partition.leader == Some(broker.node) { &mut dead_leads } else { &mut dead_follows };
            list.push(id);
        }
    }
    dead_leads.extend(image.topics().leaderless().map(|(id, _)| id));
    dead_leads.extend(dead_follows);
    dead_leads
}

/// The state that a partition is owed.
pub(super) fn due(image: &Image, defaults: &Defaults, id: PartitionId) -> Option<Partition> {
    let partition = image.partition(id)?;
    let brokers = image.brokers();
    let election = Election {
        partition,
        min_isr: effective_min_isr(image, defaults, id.topic),
        leaving: &|node| !brokers.is_active(node) && !planted(Mutant::FencedStaysInIsr),
        lost: &nobody,
        may_lead: &|node| brokers.is_active(node) || planted(Mutant::FencedLeads),
        first: &[],
    };
    election.outcome()
}

/// The state of a partition after `node` may have lost its copy (rules R12, S3); `None` when it had no claim.
pub(super) fn without(image: &Image, defaults: &Defaults, id: PartitionId, node: NodeId) -> Option<Partition> {
    let partition = image.partition(id)?;
    if !has_claim(partition, node) {
        return None;
    }
    let brokers = image.brokers();
    let election = Election {
        partition,
        min_isr: effective_min_isr(image, defaults, id.topic),
        leaving: &|member| !brokers.is_active(member),
        lost: &|member| member == node,
        may_lead: &|member| brokers.is_active(member) && member != node,
        first: &[],
    };
    election.outcome()
}

/// The state of a partition after `node` has said that it cannot serve its copy (rule S3), which may hold all of it: it
/// leaves the ISR as one that is fenced does, and stays eligible where such a one would (rule R11). `None` when nobody
/// else can serve: then it goes on in its place.
pub(super) fn unserved_by(
    image: &Image,
    defaults: &Defaults,
    soft: &Soft,
    id: PartitionId,
    node: NodeId,
) -> Option<Partition> {
    let partition = image.partition(id)?;
    if !has_claim(partition, node) {
        return None;
    }
    let serves = |member: NodeId| member != node && image.brokers().is_active(member) && !soft.cannot_serve(member, id);
    let mut members = partition.isr.iter().chain(&partition.elr).copied();
    if !members.any(serves) && !planted(Mutant::LastClaimTaken) {
        // Each copy is given up because of the others, and the others may go at the same time: only here it is seen who
        // is the last.
        mark(Mark::LastClaimKept);
        return None;
    }
    let election = Election {
        partition,
        min_isr: effective_min_isr(image, defaults, id.topic),
        leaving: &|member| !image.brokers().is_active(member) || member == node,
        lost: &|member| member == node && planted(Mutant::UnservedLosesClaim),
        may_lead: &serves,
        first: &[],
    };
    election.outcome()
}

fn has_claim(partition: &Partition, node: NodeId) -> bool {
    partition.isr.contains(&node) || partition.elr.contains(&node)
}
