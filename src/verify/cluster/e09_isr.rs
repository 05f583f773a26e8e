//! E9, ISR legality: broken by a state of a partition in the metadata whose ISR or ELR hold others than replicas, or one
//! twice or both, or whose leader is outside the ISR, or whose ELR is not empty while the ISR has its least size; by a
//! step from one state to the next in which a leader epoch falls, or does not rise with a change of leader, or a
//! partition epoch does not rise, or somebody leads who was neither in the ISR nor, with nobody left there, in the ELR,
//! or somebody joins the ELR from outside of both; or by a fenced broker that is elected or joins an ISR.
//!
//! Source: KIP-966's ValidControllerIsrAndElr and ValidControllerState; rules R1, R11, R15. A run that allowed unclean
//! elections may elect anybody.

use std::collections::BTreeMap;

use crate::model::{Instant, NodeId, PartitionId};
use crate::verify::history::{MetadataEntry, MetadataFact, PartitionState};
use crate::verify::index::Index;
use crate::verify::report::Findings;
use crate::verify::{Invariant, UncleanElection};

/// Replays the metadata log.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let clean = index.expectations.unclean_election == UncleanElection::Forbidden;
    let mut states: BTreeMap<PartitionId, &PartitionState> = BTreeMap::new();
    let mut fenced: BTreeMap<NodeId, bool> = BTreeMap::new();
    for entry in index.history.metadata.iter().filter(|entry| entry.accepted) {
        let before = fenced.clone();
        note_fences(entry, &mut fenced);
        // Within one entry, the fence may stand before or behind what follows from it; and one that is unfenced may be
        // fenced again.
        let unfenced = |node: NodeId| entry.facts.contains(&MetadataFact::Unfenced { node });
        let is_out =
            |node: NodeId| before.get(&node) == Some(&true) && fenced.get(&node) == Some(&true) && !unfenced(node);
        for fact in &entry.facts {
            let MetadataFact::Partition(state) = fact else { continue };
            let earlier = states.insert(state.partition, state);
            let flaws = [
                flaw_of_state(state),
                earlier.and_then(|earlier| flaw_of_step(earlier, state, clean)),
                flaw_of_fence(earlier, state, &is_out),
            ];
            for flaw in flaws.into_iter().flatten() {
                findings.add(Invariant::E9, || message(flaw, earlier, state, entry.committed_at));
            }
        }
    }
}

fn message(flaw: &str, earlier: Option<&PartitionState>, state: &PartitionState, at: Instant) -> String {
    match earlier {
        Some(earlier) => format!("{flaw} at {at}: {state:?}; before: {earlier:?}"),
        None => format!("{flaw} at {at}: {state:?}"),
    }
}

fn note_fences(entry: &MetadataEntry, fenced: &mut BTreeMap<NodeId, bool>) {
    for fact in &entry.facts {
        match fact {
            MetadataFact::Registered { node, .. } | MetadataFact::Fenced { node } => fenced.insert(*node, true),
            MetadataFact::Unfenced { node } => fenced.insert(*node, false),
            MetadataFact::TopicCreated { .. } | MetadataFact::TopicDeleted { .. } | MetadataFact::Partition(_) => None,
        };
    }
}

fn flaw_of_state(state: &PartitionState) -> Option<&'static str> {
    let PartitionState { replicas, isr, elr, leader, isr_min, .. } = state;
    let is_set = |nodes: &[NodeId]| nodes.iter().enumerate().all(|(at, node)| !nodes[..at].contains(node));
    let flaws = [
        (!is_set(replicas) || !is_set(isr) || !is_set(elr), "a member stands twice"),
        (isr.iter().any(|node| !replicas.contains(node)), "the ISR holds others than replicas"),
        (elr.iter().any(|node| !replicas.contains(node)), "the ELR holds others than replicas"),
        (elr.iter().any(|node| isr.contains(node)), "ISR and ELR have a member in common"),
        (leader.is_some_and(|leader| !isr.contains(&leader)), "the leader is outside the ISR"),
        (isr.len() >= *isr_min && !elr.is_empty(), "there is an ELR beside an ISR of the least size"),
    ];
    flaws.into_iter().find(|(is_so, _)| *is_so).map(|(_, flaw)| flaw)
}

fn flaw_of_step(before: &PartitionState, after: &PartitionState, clean: bool) -> Option<&'static str> {
    let is_election = after.leader_epoch > before.leader_epoch;
    let changes = after.leader != before.leader;
    let held = |node: &NodeId| before.isr.contains(node) || before.elr.contains(node);
    let stranger = after.leader.is_some_and(|leader| is_election && !may_lead(before, after, leader));
    let flaws = [
        (after.leader_epoch < before.leader_epoch, "the leader epoch falls"),
        (changes && !is_election, "the leader changes, and its epoch does not"),
        (!changes && is_election, "the leader epoch rises under the same leader"),
        (after.partition_epoch <= before.partition_epoch, "the partition epoch does not rise"),
        (clean && stranger, "somebody is elected who may lack committed records"),
        (after.elr.iter().any(|node| !held(node)), "somebody joins the ELR from outside the ISR"),
    ];
    flaws.into_iter().find(|(is_so, _)| *is_so).map(|(_, flaw)| flaw)
}

/// From the ISR, or, when nobody of it is left, from the ELR (rule R11).
fn may_lead(before: &PartitionState, after: &PartitionState, leader: NodeId) -> bool {
    let somebody_left = before.isr.iter().any(|node| after.isr.contains(node));
    before.isr.contains(&leader) || (!somebody_left && before.elr.contains(&leader))
}

fn flaw_of_fence(
    before: Option<&PartitionState>,
    after: &PartitionState,
    is_out: &dyn Fn(NodeId) -> bool,
) -> Option<&'static str> {
    let is_election = before.is_none_or(|before| before.leader_epoch < after.leader_epoch);
    let was_in = |node: &NodeId| before.is_some_and(|before| before.isr.contains(node));
    let flaws = [
        (is_election && after.leader.is_some_and(is_out), "a fenced broker is elected"),
        (after.isr.iter().any(|node| !was_in(node) && is_out(*node)), "a fenced broker joins the ISR"),
    ];
    flaws.into_iter().find(|(is_so, _)| *is_so).map(|(_, flaw)| flaw)
}
