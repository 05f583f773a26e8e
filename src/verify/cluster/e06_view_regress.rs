//! E6, view regress: broken by a node that, within one life of its process, tells a lower leader or partition epoch of
//! a partition than before, or applies a lower index of the metadata log; or by an epoch of a broker's registration
//! that is given to it twice, or falls; or by another registration of a broker that serves and has not started anew.
//! Brokers may share an epoch: epochs are compared per broker only.
//!
//! Source: rules R14, S15; KIP-631. Answers to fetches count too, where one client had them one after the other.

use std::collections::BTreeMap;

use crate::model::{BrokerEpoch, Instant, LeaderEpoch, LogIndex, NodeId, PartitionEpoch, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{MetadataFact, NodeEvent, NodeEventKind};
use crate::verify::index::{Index, Turn, read_by, turn};
use crate::verify::report::Findings;

/// What one life of a process has told.
#[derive(Default)]
struct View {
    told: BTreeMap<PartitionId, (LeaderEpoch, PartitionEpoch, Instant)>,
    applied: Option<(LogIndex, Instant)>,
}

/// Judges every node.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let mut views: BTreeMap<NodeId, View> = BTreeMap::new();
    for event in &index.history.node_events {
        let view = views.entry(event.node).or_default();
        if turn(&event.what) == Some(Turn::Began) {
            *view = View::default();
        }
        view.take(event, findings);
    }
    check_answers(index, findings);
    check_registrations(index, findings);
    check_replacements(index, findings);
}

impl View {
    fn take(&mut self, event: &NodeEvent, findings: &mut Findings) {
        let (node, at) = (event.node, event.at);
        if let NodeEventKind::Told { partition, leader_epoch, partition_epoch } = event.what {
            let now = (leader_epoch, partition_epoch, at);
            let before = self.told.insert(partition, now);
            if let Some((leader, state, since)) = before.filter(|b| b.0 > leader_epoch || b.1 > partition_epoch) {
                findings.add(Invariant::E6, || {
                    format!(
                        "{partition}: node {node} told leader epoch {leader}, partition epoch {state} at {since}, then \
                         {leader_epoch}, {partition_epoch} at {at}"
                    )
                });
            }
        }
        if let NodeEventKind::Applied { index, .. } = event.what
            && let Some((before, since)) = self.applied.replace((index, at)).filter(|(before, _)| *before > index)
        {
            findings.add(Invariant::E6, || {
                format!("node {node} had applied index {before} at {since}, and then {index} at {at}")
            });
        }
    }
}

fn check_answers(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        for (before, poll) in index.successions(facts.polls.iter().copied()) {
            if poll.leader_epoch < before.leader_epoch {
                findings.add(Invariant::E6, || {
                    let (first, second) = (read_by(before), read_by(poll));
                    format!("{}: an older epoch for {second}, after {first}", facts.id)
                });
            }
        }
    }
}

fn check_registrations(index: &Index<'_>, findings: &mut Findings) {
    let mut epochs: BTreeMap<NodeId, BrokerEpoch> = BTreeMap::new();
    for entry in index.history.metadata.iter().filter(|entry| entry.accepted) {
        for fact in &entry.facts {
            let MetadataFact::Registered { node, epoch } = fact else { continue };
            let at = entry.committed_at;
            if let Some(before) = epochs.insert(*node, *epoch).filter(|before| before >= epoch) {
                findings.add(Invariant::E6, || {
                    format!("node {node} is registered with broker epoch {epoch} at {at}, after {before}")
                });
            }
        }
    }
}

/// Who serves is replaced by its own next start only: not by a second process, nor by an earlier start (rules R14, S15).
fn check_replacements(index: &Index<'_>, findings: &mut Findings) {
    let mut starts: BTreeMap<NodeId, Vec<Instant>> = BTreeMap::new();
    for event in &index.history.node_events {
        if event.what == NodeEventKind::Started {
            starts.entry(event.node).or_default().push(event.at);
        }
    }
    // Since when each broker is registered, and whether it serves.
    let mut brokers: BTreeMap<NodeId, (Instant, bool)> = BTreeMap::new();
    for entry in index.history.metadata.iter().filter(|entry| entry.accepted) {
        let at = entry.committed_at;
        for fact in &entry.facts {
            match fact {
                MetadataFact::Registered { node, .. } => {
                    let before = brokers.insert(*node, (at, false));
                    let Some((since, true)) = before else { continue };
                    let has_started =
                        starts.get(node).is_some_and(|starts| starts.iter().any(|s| *s >= since && *s <= at));
                    if !has_started {
                        findings.add(Invariant::E6, || {
                            format!("node {node} serves, registered at {since}, and is registered anew at {at}")
                        });
                    }
                }
                MetadataFact::Unfenced { node } => drop(brokers.entry(*node).and_modify(|broker| broker.1 = true)),
                MetadataFact::Fenced { node } => drop(brokers.entry(*node).and_modify(|broker| broker.1 = false)),
                MetadataFact::TopicCreated { .. } | MetadataFact::TopicDeleted { .. } | MetadataFact::Partition(_) => {}
            }
        }
    }
}
