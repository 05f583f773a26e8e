//! E10, acknowledged below the least ISR: broken by an acknowledgement with acks=all by a leader which, while the write
//! was open, may have known no state of its epoch whose ISR had at least the least size.
//!
//! Source: rule R19. The leader's own knowledge counts, not the controller's clock: a leader that nobody told of a
//! smaller ISR may still wait for all of the larger one, and whoever left that is eligible. What a leader certainly knew
//! is what its node had applied before the write was sent, by the bound of a node's reaction.

use std::collections::BTreeMap;

use crate::model::{Instant, LogIndex, NodeId};
use crate::verify::Invariant;
use crate::verify::history::{Class, NodeEventKind, PartitionState, Send};
use crate::verify::index::{Committed, Index, PartitionFacts, sent};
use crate::verify::report::Findings;

type Applied = BTreeMap<NodeId, Vec<(Instant, LogIndex)>>;

/// Judges every acknowledgement.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let applied = applied(index);
    for facts in index.partitions.iter().filter(|facts| !facts.states.is_empty()) {
        for send in facts.sends.iter().map(|place| &index.history.sends[*place]) {
            if send.class == Class::Ok {
                check_send(index, facts, &applied, send, findings);
            }
        }
    }
}

fn applied(index: &Index<'_>) -> Applied {
    let mut applied = Applied::new();
    for event in &index.history.node_events {
        if let NodeEventKind::Applied { index, .. } = event.what {
            applied.entry(event.node).or_default().push((event.at, index));
        }
    }
    applied
}

fn check_send(index: &Index<'_>, facts: &PartitionFacts<'_>, applied: &Applied, send: &Send, findings: &mut Findings) {
    let (Some((node, epoch)), Some(returned)) = (send.answered_by, send.returned) else { return };
    let known = certainly_known(index, applied, node, send.invoked);
    let from = known.map_or(0, |known| facts.states.partition_point(|state| state.index <= known).saturating_sub(1));
    let to = facts.states.partition_point(|state| state.at <= returned);
    let mut in_force = facts.states.get(from..to).unwrap_or_default().iter().filter(|s| s.state.leader_epoch == epoch);
    let Some(first) = in_force.next() else { return };
    if !has_enough(first) && !in_force.any(has_enough) {
        let (at, PartitionState { isr, isr_min, .. }) = (first.at, first.state);
        findings.add(Invariant::E10, || {
            format!("{}, though since {at} the ISR was {isr:?}, and {isr_min} are the least", sent(send))
        });
    }
}

const fn has_enough(committed: &Committed<'_>) -> bool {
    committed.state.isr.len() >= committed.state.isr_min
}

/// The index up to which a node had certainly heeded the metadata at a moment.
fn certainly_known(index: &Index<'_>, applied: &Applied, node: NodeId, moment: Instant) -> Option<LogIndex> {
    let steps = applied.get(&node)?;
    let reaction = index.expectations.bounds.reaction;
    let after = steps.partition_point(|(at, _)| at.plus(reaction) < moment);
    let (at, known) = *steps.get(after.checked_sub(1)?)?;
    (!index.lives.began_within(node, at, moment)).then_some(known)
}
