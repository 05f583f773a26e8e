//! Rules of the metadata log, of the registrations and of the partitions' states.

use crate::model::{LeaderEpoch, NodeId, PartitionEpoch};
use crate::verify::Invariant;
use crate::verify::history::{Class, MetadataFact, NodeEventKind, PartitionState};
use crate::verify::tests::sketch::{Sketch, at, fenced, partition, registered, state, unfenced, value};

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

/// A state led by somebody.
fn led_by(leader: Option<i32>, isr: &[i32], epochs: (i32, i32)) -> PartitionState {
    let elr = if isr.len() < 2 { [1, 2].into_iter().filter(|node| !isr.contains(node)).collect() } else { Vec::new() };
    PartitionState { leader: leader.map(NodeId::new), ..state(isr, &elr, epochs) }
}

fn commit(sketch: &mut Sketch, when: u64, state: PartitionState) {
    sketch.commit(when, vec![MetadataFact::Partition(state)]);
}

fn change(sketch: &mut Sketch, entry: usize, change: impl Fn(&mut PartitionState)) {
    for fact in &mut sketch.history.metadata[entry].facts {
        if let MetadataFact::Partition(state) = fact {
            change(state);
        }
    }
}

#[test]
fn entries_may_be_committed_at_one_moment_and_not_before_each_other() {
    let mut sketch = Sketch::new();
    sketch.commit(10, Vec::new());
    sketch.commit(10, Vec::new());
    sketch.is_legal();
    sketch.history.metadata[1].committed_at = at(9);
    sketch.is_flagged(Invariant::E4);
}

#[test]
fn a_controller_may_say_its_term_twice_and_nobody_else_may() {
    let mut sketch = Sketch::new();
    let controls = || NodeEventKind::Controls { term: crate::model::Term::new(3) };
    sketch.note(1, 10, controls());
    sketch.note(1, 20, controls());
    sketch.is_legal();
    sketch.history.node_events[1].node = NodeId::new(2);
    sketch.is_flagged(Invariant::E4);
}

#[test]
fn an_older_state_may_be_told_within_the_bound_of_stale_reads() {
    let mut sketch = Sketch::new();
    sketch.history.healed_at = Some(at(1000));
    commit(&mut sketch, 10, led_by(Some(1), &[1, 2], (0, 0)));
    commit(&mut sketch, 20_000, led_by(Some(1), &[1, 2], (0, 1)));
    let (leader_epoch, partition_epoch) = (LeaderEpoch::new(0), PartitionEpoch::new(0));
    sketch.note(1, 25_000, NodeEventKind::Told { partition: partition(), leader_epoch, partition_epoch });
    sketch.is_legal();
    sketch.history.node_events[0].at = at(25_001);
    sketch.is_flagged(Invariant::E5);
}

#[test]
fn who_serves_is_registered_anew_by_its_own_next_start_only() {
    let mut sketch = Sketch::new();
    sketch.note(1, 0, NodeEventKind::Started);
    sketch.serve(1, 10, 1);
    sketch.note(1, 20, NodeEventKind::Started);
    sketch.commit(21, vec![registered(1, 2)]);
    sketch.is_legal();
    // A start of before the registration is the one that was registered.
    sketch.history.node_events[1].at = at(9);
    sketch.is_flagged(Invariant::E6);
    // Nor does the start of another count.
    sketch.history.node_events[1].at = at(20);
    sketch.history.node_events[1].node = NodeId::new(2);
    sketch.is_flagged(Invariant::E6);
}

#[test]
fn who_is_fenced_may_be_registered_anew_at_any_time() {
    let mut sketch = Sketch::new();
    sketch.note(1, 0, NodeEventKind::Started);
    sketch.serve(1, 10, 1);
    sketch.commit(20, vec![fenced(1)]);
    sketch.commit(30, vec![registered(1, 2)]);
    sketch.is_legal();
    sketch.history.metadata.remove(2);
    sketch.is_flagged(Invariant::E6);
}

#[test]
fn a_broker_epoch_rises_and_two_brokers_may_share_one() {
    let mut sketch = Sketch::new();
    sketch.commit(10, vec![registered(1, 5), registered(2, 5)]);
    sketch.commit(20, vec![registered(1, 6)]);
    sketch.is_legal();
    sketch.history.metadata[1].facts[0] = registered(1, 4);
    sketch.is_flagged(Invariant::E6);
}

#[test]
fn a_leader_epoch_rises_with_a_change_of_leader_only() {
    let mut sketch = Sketch::new();
    commit(&mut sketch, 10, led_by(Some(1), &[1, 2], (0, 0)));
    commit(&mut sketch, 20, led_by(Some(1), &[1, 2], (0, 1)));
    sketch.is_legal();
    change(&mut sketch, 1, |state| state.leader_epoch = LeaderEpoch::new(1));
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn a_leader_that_lost_its_place_may_lead_again_in_a_later_epoch() {
    let mut sketch = Sketch::new();
    commit(&mut sketch, 10, led_by(Some(1), &[1], (0, 0)));
    commit(&mut sketch, 20, PartitionState { elr: nodes(&[1, 2]), ..led_by(None, &[], (1, 1)) });
    commit(&mut sketch, 30, led_by(Some(1), &[1], (2, 2)));
    sketch.is_legal();
    sketch.history.metadata.remove(1);
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn who_is_fenced_joins_no_isr_unless_one_entry_unfences_and_fences_it_again() {
    let mut sketch = Sketch::new();
    sketch.commit(10, vec![registered(2, 1), MetadataFact::Partition(led_by(Some(1), &[1], (0, 0)))]);
    let joins = MetadataFact::Partition(led_by(Some(1), &[1, 2], (0, 1)));
    let leaves = MetadataFact::Partition(led_by(Some(1), &[1], (0, 2)));
    sketch.commit(20, vec![unfenced(2), joins, fenced(2), leaves]);
    sketch.is_legal();
    sketch.history.metadata[1].facts.remove(0);
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn who_is_fenced_is_not_elected_unless_the_same_entry_unfences_it() {
    let mut sketch = Sketch::new();
    sketch.commit(10, vec![registered(2, 1), MetadataFact::Partition(led_by(Some(1), &[1, 2], (0, 0)))]);
    let elected = MetadataFact::Partition(led_by(Some(2), &[1, 2], (1, 1)));
    sketch.commit(20, vec![elected, unfenced(2)]);
    sketch.is_legal();
    sketch.history.metadata[1].facts.pop();
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn who_is_fenced_in_the_entry_that_elects_it_had_led_before() {
    let mut sketch = Sketch::new();
    sketch.commit(5, vec![registered(2, 1)]);
    sketch.commit(6, vec![unfenced(2), MetadataFact::Partition(led_by(Some(1), &[1, 2], (0, 0)))]);
    // The fence of one that serves, and what is owed to it, stand in one entry or in two.
    sketch.commit(20, vec![fenced(2), MetadataFact::Partition(led_by(Some(1), &[1], (0, 1)))]);
    sketch.is_legal();
    commit(&mut sketch, 30, led_by(Some(1), &[1, 2], (0, 2)));
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn who_leaves_the_isr_may_join_the_elr_and_nobody_else_may() {
    let three =
        |isr: &[i32], elr: &[i32], epoch| PartitionState { replicas: nodes(&[1, 2, 3]), ..state(isr, elr, (0, epoch)) };
    let mut sketch = Sketch::new();
    commit(&mut sketch, 10, three(&[1, 2], &[], 0));
    commit(&mut sketch, 20, three(&[1], &[2], 1));
    sketch.is_legal();
    change(&mut sketch, 1, |state| state.elr = nodes(&[3]));
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn an_elr_stands_beside_an_isr_below_its_least_size_only() {
    let three = |isr: &[i32], elr: &[i32]| PartitionState { replicas: nodes(&[1, 2, 3]), ..state(isr, elr, (0, 0)) };
    let mut sketch = Sketch::new();
    commit(&mut sketch, 10, three(&[1], &[2]));
    sketch.is_legal();
    change(&mut sketch, 0, |state| state.isr = nodes(&[1, 3]));
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn the_elr_may_lead_when_nobody_of_the_isr_is_left() {
    let mut sketch = Sketch::new();
    commit(&mut sketch, 10, led_by(Some(1), &[1], (0, 0)));
    commit(&mut sketch, 20, led_by(Some(2), &[2], (1, 1)));
    sketch.is_legal();
    change(&mut sketch, 1, |state| state.isr = nodes(&[1, 2]));
    change(&mut sketch, 1, |state| state.elr.clear());
    sketch.is_flagged(Invariant::E9);
}

#[test]
fn a_follower_of_an_epoch_may_answer_beside_its_leader() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.read(10, 0, &[value(1, 0)]);
    let poll = sketch.read(20, 1, &[]);
    (poll.node, poll.as_leader) = (NodeId::new(2), false);
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.polls[1].as_leader = true;
    sketch.is_flagged(Invariant::E3);
}

#[test]
fn an_answer_tells_no_older_epoch_than_the_one_before_from_the_same_life() {
    let mut sketch = Sketch::new();
    sketch.read(10, 0, &[]).leader_epoch = LeaderEpoch::new(1);
    sketch.read(20, 0, &[]).as_leader = false;
    sketch.note(1, 15, NodeEventKind::Started);
    sketch.is_legal();
    sketch.history.node_events.clear();
    sketch.is_flagged(Invariant::E6);
}

#[test]
fn a_log_that_ends_below_what_was_attested_is_named_as_suspect() {
    use crate::model::Offset;
    let recovered = |suspected| NodeEventKind::Recovered {
        partition: partition(),
        end: Offset::new(3),
        attested: Offset::new(5),
        durable: None,
        suspected,
    };
    let mut sketch = Sketch::new();
    sketch.note(1, 10, recovered(true));
    sketch.is_legal();
    sketch.history.node_events[0].what = recovered(false);
    sketch.is_flagged(Invariant::E12);
}
