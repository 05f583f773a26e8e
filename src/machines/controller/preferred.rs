//! Leadership returns to the preferred replica, gently (Kafka's auto.leader.rebalance). Called by a tick that has
//! nothing else to do.
//!
//! Invariant: only a member of the ISR is preferred, and only when its broker has been well for a while: a move costs
//! the partition's clients a moment, so a broker that comes and goes must not cause any.

use crate::machines::metadata::{Image, Partition};
use crate::model::{NodeId, Now, PartitionId};
use crate::probe::{Mark, mark};

use super::batch::Batch;
use super::elect::{Election, nobody};
use super::{Defaults, Soft, effective_min_isr, liveness};

/// Moves some leaderships back.
pub(super) fn settle(batch: &mut Batch, soft: &mut Soft, now: Now) {
    let options = &soft.options;
    let due = soft.preferred.is_none_or(|last| now.instant.since(last) >= options.preferred_interval);
    if !due || !batch.is_empty() {
        return;
    }
    soft.preferred = Some(now.instant);
    let image = batch.image();
    let well: Vec<NodeId> =
        image.brokers().iter().map(|broker| broker.node).filter(|node| is_well(image, soft, now, *node)).collect();
    let astray = image.topics().partitions().filter_map(|(id, partition)| {
        let preferred = *partition.replicas.first()?;
        let moves = partition.leader != Some(preferred) && well.contains(&preferred);
        if moves { Some((id, returned(image, &soft.options.defaults, id, partition, preferred)?)) } else { None }
    });
    let astray: Vec<(PartitionId, Partition)> = astray.take(soft.options.preferred_moves_max).collect();
    for (id, state) in astray {
        mark(Mark::PreferredElection);
        if !batch.change(id, state) {
            return;
        }
    }
}

fn is_well(image: &Image, soft: &Soft, now: Now, node: NodeId) -> bool {
    let calm = soft.options.preferred_calm;
    let is_old = soft.sessions.get(&node).is_some_and(|session| now.instant.since(session.begun) >= calm);
    let is_unreachable = soft.unreachable.is_some_and(|(other, since)| {
        // It was moved away from for being unreachable, and nobody has tried to reach it since.
        other == node && now.instant.since(since) < calm.saturating_mul(10)
    });
    image.brokers().is_active(node) && is_old && !is_unreachable && !liveness::is_stalled(node, soft, now)
}

fn returned(
    image: &Image,
    defaults: &Defaults,
    id: PartitionId,
    partition: &Partition,
    preferred: NodeId,
) -> Option<Partition> {
    if partition.leader.is_none() || !partition.isr.contains(&preferred) {
        return None;
    }
    let election = Election {
        partition,
        min_isr: effective_min_isr(image, defaults, id.topic),
        leaving: &nobody,
        lost: &nobody,
        may_lead: &|node| node == preferred,
        first: &[],
    };
    election.outcome()
}
