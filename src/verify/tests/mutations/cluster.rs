//! Edits that break the invariants of replicas, metadata and administration.

use super::{evidence, flags, some_send};
use crate::model::{Instant, LeaderEpoch, LogIndex, NodeId, Offset, PartitionEpoch, Term};
use crate::verify::history::{
    AdministrationKind, Class, FinalScan, MetadataFact, NodeEvent, NodeEventKind, PartitionState, Send,
};
use crate::verify::tests::random::{Random, mixed};
use crate::verify::{Bounds, History, Invariant};

/// A place among the node events for which something holds.
fn some_event(history: &History, random: &mut Random, wanted: impl Fn(&NodeEvent) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..history.node_events.len()).filter(|at| wanted(&history.node_events[*at])).collect();
    random.pick(&places).copied()
}

/// The index of the metadata log that a node says it has applied.
fn applied(event: &NodeEvent) -> Option<LogIndex> {
    if let NodeEventKind::Applied { index, .. } = event.what { Some(index) } else { None }
}

/// Every state of a partition in the metadata, for change.
fn states(history: &mut History) -> Vec<&mut PartitionState> {
    let facts = history.metadata.iter_mut().flat_map(|entry| &mut entry.facts);
    facts
        .filter_map(|fact| match fact {
            MetadataFact::Partition(state) => Some(state),
            MetadataFact::TopicCreated { .. }
            | MetadataFact::TopicDeleted { .. }
            | MetadataFact::Registered { .. }
            | MetadataFact::Unfenced { .. }
            | MetadataFact::Fenced { .. } => None,
        })
        .collect()
}

#[test]
fn a_byte_that_differs_between_replicas_is_flagged() {
    flags(Invariant::E1, |history, random| {
        let shared: Vec<usize> = (0..history.replicas.len())
            .filter(|at| {
                history.replicas[*at].batches.iter().any(|batch| batch.base >= history.replicas[*at].log_start)
            })
            .collect();
        let at = *random.pick(&shared)?;
        let partition = history.replicas[at].partition;
        let of = history.replicas.iter().filter(|dump| dump.partition == partition);
        let start = of.map(|dump| dump.log_start).max()?;
        let batch = history.replicas[at].batches.iter_mut().find(|batch| batch.base >= start)?;
        batch.digest ^= 1;
        Some(())
    });
}

#[test]
fn ends_that_differ_between_replicas_are_flagged() {
    flags(Invariant::E1, |history, random| {
        let at = random.below(history.replicas.len());
        match random.below(2) {
            0 => history.replicas[at].end = history.replicas[at].end.plus(1),
            _ => history.replicas[at].high_watermark = history.replicas[at].high_watermark.plus(-1),
        }
        Some(())
    });
}

#[test]
fn a_leader_without_what_was_acknowledged_is_flagged() {
    flags(Invariant::E2, |history, random| {
        let mut short = Vec::new();
        for (at, event) in history.node_events.iter().enumerate() {
            let NodeEventKind::Leads { partition, epoch, .. } = event.what else { continue };
            let known = evidence(history, partition).into_iter().filter(|(_, older, _)| *older < epoch);
            short.extend(known.map(|(_, _, offset)| (at, offset)));
        }
        let (at, offset) = *random.pick(&short)?;
        if let NodeEventKind::Leads { end, .. } = &mut history.node_events[at].what {
            *end = offset;
        }
        Some(())
    });
}

#[test]
fn an_acknowledgement_by_another_than_the_leader_is_flagged() {
    flags(Invariant::E3, |history, random| {
        let at = some_send(history, random, |send| send.class == Class::Ok)?;
        let (node, epoch) = history.sends[at].answered_by?;
        history.sends[at].answered_by = Some((NodeId::new(node.get() % 3 + 1), epoch));
        Some(())
    });
}

#[test]
fn an_epoch_that_two_nodes_take_up_is_flagged() {
    flags(Invariant::E3, |history, random| {
        let leads = |event: &NodeEvent| matches!(event.what, NodeEventKind::Leads { .. });
        let at = some_event(history, random, leads)?;
        let node = history.node_events[at].node;
        history.node_events[at].node = NodeId::new(node.get() % 3 + 1);
        Some(())
    });
}

#[test]
fn a_divergent_metadata_log_is_flagged() {
    flags(Invariant::E4, |history, random| {
        let last = history.metadata.len() - 1;
        match random.below(3) {
            0 => {
                let index = history.metadata[last - 1].index;
                history.metadata[last].index = index;
            }
            1 => history.metadata[last].term = Term::new(history.metadata[last - 1].term.get() - 1),
            _ => {
                let controls = |event: &NodeEvent| matches!(event.what, NodeEventKind::Controls { .. });
                let at = some_event(history, random, controls)?;
                let mut twin = history.node_events[at].clone();
                twin.node = NodeId::new(twin.node.get() % 3 + 1);
                history.node_events.insert(at + 1, twin);
            }
        }
        Some(())
    });
}

#[test]
fn an_image_that_differs_at_one_index_is_flagged() {
    flags(Invariant::E4, |history, random| {
        let at = some_event(history, random, |event| {
            let same = history.node_events.iter().filter(|other| applied(other) == applied(event));
            applied(event).is_some() && same.count() > 1
        })?;
        if let NodeEventKind::Applied { digest, .. } = &mut history.node_events[at].what {
            *digest ^= 1;
        }
        Some(())
    });
}

#[test]
fn a_node_that_hears_nothing_more_is_flagged() {
    flags(Invariant::E5, |history, random| {
        let node = NodeId::new(i32::try_from(random.between(1, 3)).ok()?);
        let last = history.metadata.last()?.index;
        let heard = |event: &NodeEvent| event.node == node && applied(event).is_some_and(|index| index < last);
        history.node_events.iter().any(heard).then_some(())?;
        history.node_events.retain(|event| event.node != node || applied(event).is_none_or(|index| index < last));
        Some(())
    });
}

#[test]
fn an_ending_that_is_not_the_last_state_is_flagged() {
    flags(Invariant::E5, |history, random| {
        let at = random.below(history.endings.len());
        history.endings[at].state.partition_epoch = history.endings[at].state.partition_epoch.next();
        Some(())
    });
}

#[test]
fn an_older_state_told_long_after_healing_is_flagged() {
    flags(Invariant::E5, |history, random| {
        let at = random.below(history.endings.len());
        let PartitionState { partition, leader_epoch, partition_epoch, .. } = history.endings[at].state;
        let older = PartitionEpoch::new(partition_epoch.get() - 1);
        let what = NodeEventKind::Told { partition, leader_epoch, partition_epoch: older };
        history.node_events.push(NodeEvent { node: NodeId::new(1), at: history.ended_at, what });
        Some(())
    });
}

#[test]
fn a_view_that_goes_back_is_flagged() {
    flags(Invariant::E6, |history, random| {
        let told = |event: &NodeEvent| matches!(event.what, NodeEventKind::Told { .. });
        let at = some_event(history, random, told)?;
        let mut later = history.node_events[at].clone();
        if let NodeEventKind::Told { leader_epoch, partition_epoch, .. } = &mut later.what {
            match random.below(2) {
                0 => *leader_epoch = LeaderEpoch::new(leader_epoch.get() - 1),
                _ => *partition_epoch = PartitionEpoch::new(partition_epoch.get() - 1),
            }
        }
        history.node_events.insert(at + 1, later);
        Some(())
    });
}

#[test]
fn an_index_that_goes_back_is_flagged() {
    flags(Invariant::E6, |history, random| {
        let at = some_event(history, random, |event| applied(event).is_some())?;
        let mut later = history.node_events[at].clone();
        later.what = NodeEventKind::Applied { index: LogIndex::new(0), digest: 0 };
        history.node_events.insert(at + 1, later);
        Some(())
    });
}

#[test]
fn a_broker_epoch_given_twice_is_flagged() {
    flags(Invariant::E6, |history, random| {
        let mut all = Vec::new();
        for (at, entry) in history.metadata.iter().enumerate() {
            let registered = |fact: &MetadataFact| matches!(fact, MetadataFact::Registered { .. });
            all.extend(
                (0..entry.facts.len()).filter(|place| registered(&entry.facts[*place])).map(|place| (at, place)),
            );
        }
        let (at, place) = *random.pick(&all)?;
        let again = history.metadata[at].facts[place].clone();
        history.metadata[at].facts.push(again);
        Some(())
    });
}

#[test]
fn a_promised_topic_that_was_never_made_is_flagged() {
    flags(Invariant::E7, |history, random| {
        let created = |fact: &MetadataFact| matches!(fact, MetadataFact::TopicCreated { .. });
        let with: Vec<usize> =
            (0..history.metadata.len()).filter(|at| history.metadata[*at].facts.iter().any(created)).collect();
        history.metadata[*random.pick(&with)?].facts.retain(|fact| !created(fact));
        Some(())
    });
}

#[test]
fn a_topic_that_goes_without_a_wish_is_flagged() {
    flags(Invariant::E7, |history, random| {
        let scan = random.below(history.scans.len());
        let topic = history.scans[scan].partition.topic;
        let asked = |history: &History| {
            history.administrations.iter().any(|a| {
                matches!(a.what, AdministrationKind::DeleteTopic { topic: of } if of == topic) && a.class != Class::Fail
            })
        };
        if asked(history) {
            return None;
        }
        history.metadata.last_mut()?.facts.push(MetadataFact::TopicDeleted { topic });
        history.metadata.last_mut()?.accepted = true;
        Some(())
    });
}

#[test]
fn a_deleted_topic_that_comes_back_is_flagged() {
    flags(Invariant::E7, |history, random| {
        let facts = history.metadata.iter().flat_map(|entry| &entry.facts);
        let gone =
            facts.filter_map(|fact| if let MetadataFact::TopicDeleted { topic } = fact { Some(*topic) } else { None });
        let gone: Vec<_> = gone.collect();
        let topic = *random.pick(&gone)?;
        let partition = history.sends.iter().find(|send| send.partition.topic == topic)?.partition;
        let nothing = FinalScan { partition, log_start: Offset::ZERO, end: Offset::ZERO, records: Vec::new() };
        history.scans.push(nothing);
        Some(())
    });
}

#[test]
fn a_promised_deletion_of_a_topic_that_never_happens_is_flagged() {
    flags(Invariant::E7, |history, random| {
        let scan = random.below(history.scans.len());
        let topic = history.scans[scan].partition.topic;
        let mut wish = history.administrations.first()?.clone();
        wish.what = AdministrationKind::DeleteTopic { topic };
        history.administrations.push(wish);
        Some(())
    });
}

#[test]
fn an_isr_or_elr_that_cannot_be_is_flagged() {
    flags(Invariant::E9, |history, random| {
        let kind = random.below(5);
        let mut states = states(history);
        let at = random.below(states.len());
        let state = &mut states[at];
        match kind {
            0 => state.isr.push(NodeId::new(9)),
            1 => state.elr.push(NodeId::new(9)),
            2 => state.elr.push(*state.isr.first()?),
            3 => state.isr.push(*state.isr.first()?),
            _ => {
                let leader = state.leader?;
                state.isr.retain(|node| *node != leader);
            }
        }
        Some(())
    });
}

/// Applies a change to a state that is not its partition's first.
fn change_a_later_state(
    history: &mut History,
    random: &mut Random,
    change: impl Fn(&PartitionState, &mut PartitionState, &mut Random) -> Option<()>,
) -> Option<()> {
    let mut states = states(history);
    let at = random.below(states.len());
    let partition = states[at].partition;
    let before = (0..at).rfind(|before| states[*before].partition == partition)?;
    let before = states[before].clone();
    change(&before, states[at], random)
}

#[test]
fn a_step_of_epochs_that_cannot_be_is_flagged() {
    flags(Invariant::E9, |history, random| {
        change_a_later_state(history, random, |before, state, random| {
            match random.below(3) {
                0 => state.partition_epoch = before.partition_epoch,
                1 => state.leader_epoch = LeaderEpoch::new(before.leader_epoch.get() - 1),
                _ => {
                    (state.leader != before.leader).then_some(())?;
                    state.leader_epoch = before.leader_epoch;
                }
            }
            Some(())
        })
    });
}

#[test]
fn a_leader_elected_from_outside_is_flagged() {
    flags(Invariant::E9, |history, random| {
        change_a_later_state(history, random, |before, state, _| {
            let held = |node: &&NodeId| before.isr.contains(node) || before.elr.contains(node);
            let stranger = *state.replicas.iter().find(|node| !held(node))?;
            let leader_epoch = before.leader_epoch.next();
            *state = PartitionState {
                leader: Some(stranger),
                isr: vec![stranger],
                elr: Vec::new(),
                leader_epoch,
                ..state.clone()
            };
            Some(())
        })
    });
}

#[test]
fn a_fenced_broker_that_joins_the_isr_is_flagged() {
    flags(Invariant::E9, |history, random| {
        change_a_later_state(history, random, |before, state, _| {
            let joins = state.isr.iter().any(|node| !before.isr.contains(node));
            joins.then_some(())
        })?;
        // Nobody was ever unfenced.
        for entry in &mut history.metadata {
            entry.facts.retain(|fact| !matches!(fact, MetadataFact::Unfenced { .. }));
        }
        Some(())
    });
}

#[test]
fn an_acknowledgement_by_too_few_is_flagged() {
    flags(Invariant::E10, |history, random| {
        let at = some_send(history, random, |send| send.class == Class::Ok)?;
        let (partition, (leader, epoch)) = (history.sends[at].partition, history.sends[at].answered_by?);
        for state in states(history) {
            if state.partition == partition && state.leader_epoch == epoch {
                state.isr = vec![leader];
            }
        }
        Some(())
    });
}

/// When the leader that acknowledged a write must have heard of the metadata, to have obeyed it before that was sent.
fn heard_before(send: &Send) -> Option<(NodeId, Instant)> {
    let (leader, _) = send.answered_by.filter(|_| send.class == Class::Ok)?;
    let reaction = u64::try_from(Bounds::default().reaction.as_nanos()).ok()?;
    Some((leader, Instant::from_nanos(send.invoked.as_nanos().checked_sub(reaction + 1)?)))
}

/// The last state of the epoch in which a write was acknowledged that its leader may have heard of in that life.
fn heard_of(history: &History, send: &Send) -> Option<LogIndex> {
    let (leader, heard) = heard_before(send)?;
    let (_, epoch) = send.answered_by?;
    let is_of_it = |fact: &MetadataFact| matches!(fact, MetadataFact::Partition(state) if state.partition == send.partition && state.leader_epoch == epoch);
    let mut entries = history.metadata.iter().rev().filter(|entry| entry.accepted && entry.committed_at < heard);
    let last = entries.find(|entry| entry.facts.iter().any(is_of_it))?;
    let begins = |event: &NodeEvent| event.node == leader && event.what == NodeEventKind::Started;
    let began_later = history.node_events.iter().any(|event| begins(event) && event.at >= last.committed_at);
    (!began_later).then_some(last.index)
}

#[test]
fn an_acknowledgement_long_after_its_leader_heard_of_too_few_is_flagged() {
    flags(Invariant::E10, |history, random| {
        let at = some_send(history, random, |send| heard_of(history, send).is_some())?;
        let send = history.sends[at].clone();
        let ((leader, heard), index) = (heard_before(&send)?, heard_of(history, &send)?);
        let place = history.node_events.partition_point(|event| event.at < heard);
        let what = NodeEventKind::Applied { index, digest: mixed(index.get()) };
        history.node_events.insert(place, NodeEvent { node: leader, at: heard, what });
        for entry in history.metadata.iter_mut().filter(|entry| entry.index >= index) {
            for fact in &mut entry.facts {
                if let MetadataFact::Partition(state) = fact
                    && state.partition == send.partition
                {
                    state.isr = vec![leader];
                }
            }
        }
        Some(())
    });
}

#[test]
fn a_missing_replica_is_flagged() {
    flags(Invariant::E11, |history, random| {
        let at = random.below(history.replicas.len());
        match random.below(3) {
            0 => {
                history.replicas.remove(at);
            }
            1 => history.replicas[at].node = NodeId::new(9),
            _ => {
                let ending = random.below(history.endings.len());
                history.endings[ending].state.replicas.pop();
            }
        }
        Some(())
    });
}

#[test]
fn a_recovery_that_claims_too_much_or_hides_a_loss_is_flagged() {
    flags(Invariant::E12, |history, random| {
        let opened = |event: &NodeEvent| matches!(event.what, NodeEventKind::Recovered { .. });
        let at = some_event(history, random, opened)?;
        let node = history.node_events[at].node;
        let fell = |event: &&NodeEvent| event.node == node && crate::verify::index::turn(&event.what).is_some();
        let down = history.node_events[..at].iter().rev().filter(fell).nth(1).map(|event| event.what.clone());
        let NodeEventKind::Recovered { end, attested, durable, .. } = &mut history.node_events[at].what else {
            return None;
        };
        if down == Some(NodeEventKind::PowerLost) && random.chance(50) {
            *durable = Some(end.plus(-1));
        } else {
            *attested = end.plus(1);
        }
        Some(())
    });
}
