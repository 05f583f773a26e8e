//! E2, leader completeness: broken by a node that begins to lead in an epoch with a log that ends at or below an offset
//! which somebody who knew only older epochs acknowledged, or gave to a consumer.
//!
//! Source: KIP-966's LeaderCompleteness, seen from outside; KIP-101, KAFKA-7128. The order of epochs stands for that of
//! time: what is committed in an epoch is in the log of every later leader, also when the acknowledgement is still on
//! its way, and a node that hears late of an old election may lack what later epochs committed. Not judged in a run
//! that allowed loss.

use std::collections::BTreeMap;

use crate::model::{LeaderEpoch, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{NodeEvent, NodeEventKind};
use crate::verify::index::{EpochFloor, Index};
use crate::verify::report::Findings;

/// Judges every election that somebody took up.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    let floors = floors(index);
    for NodeEvent { node, at, what } in &index.history.node_events {
        let NodeEventKind::Leads { partition, epoch, end } = what else { continue };
        let older = LeaderEpoch::new(epoch.get().saturating_sub(1));
        let Some(known) = floors.get(partition).and_then(|floor| floor.up_to(older)) else { continue };
        if *end < known.end {
            findings.add(Invariant::E2, || {
                format!("{partition}: node {node} leads in epoch {epoch} at {at} with a log up to {end}; but {known}")
            });
        }
    }
}

fn floors<'h>(index: &Index<'h>) -> BTreeMap<PartitionId, EpochFloor<'h>> {
    let mut floors: BTreeMap<PartitionId, EpochFloor<'h>> = BTreeMap::new();
    for facts in &index.partitions {
        let floor = floors.entry(facts.id).or_default();
        facts.floor.evidence.iter().for_each(|fact| floor.add(*fact));
    }
    floors
}
