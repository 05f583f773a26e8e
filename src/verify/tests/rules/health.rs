//! Rules of liveness and health.

use crate::model::{LeaderEpoch, NodeId};
use crate::verify::history::{
    Administration, AdministrationKind, Class, FaultSpan, MetadataFact, NodeEventKind, OffsetQuery, ServiceSpan,
};
use crate::verify::tests::sketch::{Sketch, at, fenced, partition, registered, seen, state, told, unfenced, value};
use crate::verify::{Activity, Invariant};

fn fault(begin: u64, end: u64) -> FaultSpan {
    FaultSpan { name: "something is broken".to_owned(), begin: at(begin), end: at(end) }
}

#[test]
fn a_node_that_stops_in_good_order_is_fenced_before() {
    let mut sketch = Sketch::new();
    sketch.note(1, 0, NodeEventKind::Started);
    sketch.serve(1, 10, 1);
    sketch.commit(30, vec![fenced(1)]);
    sketch.note(1, 30, NodeEventKind::Stopped);
    sketch.is_legal();
    sketch.history.metadata[2].committed_at = at(31);
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn a_node_may_stop_while_its_earlier_life_is_in_service_if_it_has_not_registered() {
    let mut sketch = Sketch::new();
    sketch.note(1, 0, NodeEventKind::Started);
    sketch.serve(1, 10, 1);
    sketch.note(1, 20, NodeEventKind::Killed);
    sketch.note(1, 30, NodeEventKind::Started);
    sketch.note(1, 50, NodeEventKind::Stopped);
    sketch.is_legal();
    sketch.serve(1, 40, 2);
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn who_was_killed_need_not_have_been_released() {
    let mut sketch = Sketch::new();
    sketch.serve(1, 10, 1);
    sketch.note(1, 30, NodeEventKind::Killed);
    sketch.is_legal();
    sketch.history.node_events[0].what = NodeEventKind::Stopped;
    sketch.is_flagged(Invariant::F1);
}

/// A write that nobody acknowledges from 20 to 29 seconds, in a run whose fault ends with the first second.
fn unanswered() -> Sketch {
    let mut sketch = Sketch::new();
    sketch.history.faults.push(fault(0, 1000));
    sketch.write(1, 20_000, Class::Info, None).returned = Some(at(29_000));
    sketch
}

#[test]
fn quiet_time_counts_though_another_time_is_said_to_be_serviceable() {
    let mut sketch = unanswered();
    let (begin, end) = (at(2000), at(3000));
    sketch.history.serviceable.push(ServiceSpan { partition: partition(), begin, end });
    sketch.is_flagged(Invariant::F1);
    // Within the time for recovery after a fault, only what is said to be serviceable counts.
    sketch.history.faults.push(fault(14_000, 15_000));
    sketch.is_legal();
    sketch.history.serviceable[0].end = at(29_000);
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn an_outage_counts_as_one_though_it_begins_in_serviceable_and_ends_in_quiet_time() {
    let mut sketch = unanswered();
    // Quiet from 24 seconds on, which alone is not too long.
    sketch.history.faults[0].end = at(9000);
    let span = ServiceSpan { partition: partition(), begin: at(20_000), end: at(23_999) };
    sketch.history.serviceable.push(span);
    sketch.is_legal();
    sketch.history.serviceable[0].end = at(24_000);
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn a_fault_without_a_duration_is_felt_until_the_healing() {
    let mut sketch = unanswered();
    sketch.history.faults[0].end = at(0);
    sketch.history.healed_at = Some(at(15_000));
    sketch.is_legal();
    sketch.history.faults[0].end = at(1);
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn a_write_that_is_acknowledged_just_in_time_is_no_outage() {
    let mut sketch = unanswered();
    sketch.write(2, 20_000, Class::Ok, Some(0)).returned = Some(at(25_000));
    sketch.is_legal();
    sketch.history.sends[1].returned = Some(at(25_001));
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn a_partition_is_served_again_within_the_time_for_recovery() {
    let mut sketch = Sketch::new();
    sketch.history.healed_at = Some(at(1000));
    sketch.finish(state(&[1, 2], &[], (0, 0)), 16_000);
    sketch.is_legal();
    sketch.history.endings[0].read_at = Some(at(16_001));
    sketch.is_flagged(Invariant::F2);
    // A run that ended earlier proves nothing.
    sketch.history.ended_at = at(15_999);
    sketch.is_legal();
}

#[test]
fn a_partition_is_healthy_when_the_time_for_recovery_is_over() {
    let mut sketch = Sketch::new();
    sketch.history.healed_at = Some(at(1000));
    sketch.finish(state(&[1, 2], &[], (0, 0)), 2000);
    sketch.is_legal();
    sketch.history.endings[0].state.isr.pop();
    sketch.is_flagged(Invariant::F5);
    sketch.history.ended_at = at(15_999);
    sketch.is_legal();
}

#[test]
fn an_answer_to_a_fetch_comes_in_time() {
    let mut sketch = Sketch::new();
    sketch.read(0, 0, &[]).returned = at(60_000);
    sketch.is_legal();
    sketch.history.polls[0].returned = at(60_001);
    sketch.is_flagged(Invariant::F3);
}

#[test]
fn an_answer_to_a_lookup_comes_in_time() {
    let mut sketch = Sketch::new();
    sketch.look_up(0, OffsetQuery::Latest, Some(0)).returned = at(60_000);
    sketch.is_legal();
    sketch.history.offset_lookups[0].returned = at(60_001);
    sketch.is_flagged(Invariant::F3);
}

#[test]
fn an_answer_to_an_administrator_comes_in_time() {
    let mut sketch = Sketch::new();
    let what = AdministrationKind::DeleteTopic { topic: partition().topic };
    let (invoked, returned, class) = (at(40_000), None, Class::Info);
    sketch.history.administrations.push(Administration { what, invoked, returned, class });
    sketch.is_legal();
    sketch.history.administrations[0].invoked = at(39_999);
    sketch.is_flagged(Invariant::F3);
}

#[test]
fn a_process_may_end_for_a_fault_that_explains_it() {
    let mut sketch = Sketch::new();
    sketch.note(1, 0, NodeEventKind::Exited { reason: "the disk is full".to_owned(), expected: true });
    sketch.is_legal();
    sketch.history.node_events[0].what =
        NodeEventKind::Exited { reason: "the disk is full".to_owned(), expected: false };
    sketch.is_flagged(Invariant::F4);
}

/// A fault from 10 to 20, one write acknowledged within it, an election, and a read after that.
fn lively() -> Sketch {
    let mut sketch = Sketch::new();
    sketch.history.faults.push(fault(10, 20));
    sketch.write(1, 11, Class::Ok, Some(0));
    sketch.commit(0, vec![MetadataFact::Partition(state(&[1, 2], &[], (0, 0)))]);
    let mut after = state(&[1, 2], &[], (1, 1));
    after.leader = Some(NodeId::new(2));
    sketch.commit(15, vec![MetadataFact::Partition(after)]);
    let poll = sketch.read(30, 0, &[value(1, 0)]);
    (poll.node, poll.leader_epoch) = (NodeId::new(2), LeaderEpoch::new(1));
    sketch.expectations.activity =
        Activity { acknowledged_during_faults: 1, leader_changes: 1, read_after_failover: 1, overlap_per_fault: 1 };
    sketch
}

#[test]
fn a_run_needs_an_acknowledgement_during_a_fault() {
    let mut sketch = lively();
    sketch.is_legal();
    sketch.history.sends[0].returned = Some(at(21));
    sketch.is_flagged(Invariant::F7);
}

#[test]
fn an_acknowledgement_counts_until_the_healing_where_a_fault_has_no_duration() {
    let mut sketch = lively();
    sketch.history.faults[0].end = at(10);
    sketch.history.sends[0].invoked = at(10);
    sketch.history.healed_at = Some(at(12));
    sketch.is_legal();
    sketch.history.healed_at = Some(at(11));
    sketch.is_flagged(Invariant::F7);
}

#[test]
fn a_run_needs_an_election_and_a_read_after_it() {
    let mut sketch = lively();
    told(&mut sketch.history.polls[0], 0, 1);
    sketch.is_legal();
    sketch.history.polls[0].leader_epoch = LeaderEpoch::new(0);
    sketch.history.polls[0].node = NodeId::new(1);
    sketch.is_flagged(Invariant::F7);
    let mut sketch = lively();
    sketch.history.metadata[1].accepted = false;
    sketch.is_flagged(Invariant::F7);
}

#[test]
fn a_run_needs_operations_that_each_fault_hit() {
    let mut sketch = lively();
    sketch.history.faults.push(fault(30, 31));
    sketch.is_legal();
    sketch.history.faults.push(fault(40, 41));
    sketch.is_flagged(Invariant::F7);
}

#[test]
fn a_write_may_wait_for_a_leader_only_while_the_faults_are_on() {
    let mut sketch = Sketch::new();
    sketch.history.healed_at = Some(at(60_000));
    sketch.history.faults.push(fault(0, 60_000));
    let mut leaderless = state(&[1], &[2], (1, 1));
    leaderless.leader = None;
    sketch.commit(0, vec![MetadataFact::Partition(leaderless)]);
    sketch.write(1, 0, Class::Ok, Some(0)).returned = Some(at(62_000));
    sketch.history.sends[0].answered_by = None;
    sketch.end(&[seen(1, 0, 0)]);
    sketch.is_legal();
    sketch.history.healed_at = Some(at(1000));
    sketch.is_flagged(Invariant::F3);
}

#[test]
fn a_broker_that_was_registered_and_never_unfenced_may_stop() {
    let mut sketch = Sketch::new();
    sketch.commit(10, vec![registered(1, 1)]);
    sketch.note(1, 30, NodeEventKind::Stopped);
    sketch.is_legal();
    sketch.commit(20, vec![unfenced(1)]);
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn a_pause_of_the_writers_is_no_outage() {
    let mut sketch = Sketch::new();
    sketch.write(1, 20_000, Class::Info, None).returned = Some(at(24_000));
    sketch.write(2, 24_501, Class::Info, None).returned = Some(at(28_501));
    sketch.is_legal();
    sketch.history.sends[1].invoked = at(24_500);
    sketch.is_flagged(Invariant::F1);
}
