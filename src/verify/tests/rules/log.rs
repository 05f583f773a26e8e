//! Rules of a partition's log.

use crate::model::{LeaderEpoch, NodeId, Offset, Timestamp};
use crate::verify::history::{AdministrationKind, Class, OffsetQuery, PollOutcome, Seen};
use crate::verify::tests::sketch::{Sketch, at, partition, seen, session, value};
use crate::verify::{Invariant, UncleanElection};

#[test]
fn an_offset_may_be_written_anew_in_a_later_epoch_of_a_run_that_may_lose_records() {
    let mut sketch = Sketch::new();
    sketch.expectations.unclean_election = UncleanElection::Allowed;
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(0)).answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.read(5, 0, &[value(1, 0)]);
    let poll = sketch.read(20, 0, &[seen(2, 0, 1)]);
    (poll.incarnation, poll.node, poll.leader_epoch) = (1, NodeId::new(2), LeaderEpoch::new(1));
    sketch.is_legal();
    if let PollOutcome::Records { records, .. } = &mut sketch.history.polls[0].outcome {
        records[0].epoch = LeaderEpoch::new(1);
    }
    sketch.is_flagged(Invariant::A1);
}

#[test]
fn a_consumer_that_begins_behind_a_write_does_not_pass_over_it() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    sketch.read(20, 1, &[value(2, 1)]);
    sketch.is_legal();
    sketch.history.polls[0].position = Offset::ZERO;
    sketch.is_flagged(Invariant::A2w);
}

#[test]
fn a_weak_write_that_was_tried_again_may_stand_elsewhere_than_it_was_told() {
    let mut sketch = Sketch::new();
    let weak = sketch.write(1, 0, Class::Weak, Some(0));
    (weak.session, weak.attempts) = (session(7, 0), 2);
    sketch.write(2, 10, Class::Ok, Some(0)).answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.end(&[seen(2, 0, 1), seen(1, 1, 1)]);
    sketch.is_legal();
    sketch.history.sends[0].attempts = 1;
    sketch.is_flagged(Invariant::A4);
}

#[test]
fn a_record_may_be_read_when_its_write_has_just_begun() {
    let mut sketch = Sketch::new();
    sketch.write(1, 11, Class::Ok, Some(0));
    sketch.read(10, 0, &[value(1, 0)]);
    sketch.is_legal();
    sketch.history.sends[0].invoked = at(12);
    sketch.is_flagged(Invariant::A5);
}

#[test]
fn writes_of_a_plain_producer_that_did_not_wait_may_stand_in_any_order() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(1)).returned = Some(at(20));
    sketch.write(2, 1, Class::Ok, Some(0)).returned = Some(at(20));
    sketch.is_legal();
    sketch.history.sends[0].alone = true;
    sketch.is_flagged(Invariant::A7);
}

#[test]
fn writes_of_two_sessions_may_stand_in_any_order() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(1)).session = session(7, 0);
    let other = sketch.write(2, 0, Class::Ok, Some(0));
    other.session = session(8, 0);
    sketch.is_legal();
    sketch.history.sends[1].session = session(7, 1);
    sketch.is_flagged(Invariant::A7);
}

#[test]
fn a_write_that_began_before_an_offset_was_known_may_stand_below_it() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(1)).returned = Some(at(10));
    sketch.write(2, 10, Class::Ok, Some(0));
    sketch.is_legal();
    sketch.history.sends[1].invoked = at(11);
    sketch.is_flagged(Invariant::A8);
}

/// A write that is promised in epoch 1, and one that the leader of epoch 0 takes with acks=1 so much later.
fn taken_by_a_former_leader(later: u64) -> Sketch {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0)).answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.write(2, 1 + later, Class::Weak, Some(1));
    sketch.end(&[seen(1, 0, 1)]);
    sketch
}

#[test]
fn a_leader_that_was_replaced_takes_weak_writes_for_a_session_at_most() {
    taken_by_a_former_leader(15_000).is_legal();
    let mut sketch = taken_by_a_former_leader(15_001);
    sketch.is_flagged(Invariant::A8);
    // What nobody was told is nobody's promise.
    (sketch.history.sends[1].class, sketch.history.sends[1].offset) = (Class::Info, None);
    sketch.is_legal();
}

#[test]
fn a_leader_that_was_not_replaced_takes_weak_writes_for_ever() {
    let mut sketch = taken_by_a_former_leader(90_000);
    sketch.history.sends[1].answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.is_legal();
    sketch.history.sends[1].answered_by = Some((NodeId::new(1), LeaderEpoch::new(0)));
    sketch.is_flagged(Invariant::A8);
}

#[test]
fn a_reader_may_meet_a_hole_where_records_were_deleted() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    let before = Offset::new(1);
    sketch.administer(AdministrationKind::DeleteRecords { partition: partition(), before }, 20, Class::Info);
    sketch.read(21, 0, &[value(2, 1)]);
    sketch.is_legal();
    sketch.history.administrations[0].invoked = at(23);
    sketch.is_flagged(Invariant::A9);
}

#[test]
fn a_leader_may_note_its_epoch_before_the_first_record_of_it() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.dump(1, &[value(1, 0)]).epochs.push((LeaderEpoch::new(1), Offset::new(1)));
    sketch.dump(2, &[value(1, 0)]);
    sketch.is_legal();
    sketch.history.replicas[0].epochs[1].1 = Offset::ZERO;
    sketch.is_flagged(Invariant::A10);
}

#[test]
fn replicas_agree_where_epochs_begin_within_a_batch_too() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 0, Class::Ok, Some(1));
    for node in [1, 2] {
        let dump = sketch.dump(node, &[value(1, 0), value(2, 1)]);
        let second = dump.batches.remove(1);
        dump.batches[0].last = second.last;
        dump.batches[0].records.extend(second.records);
    }
    sketch.is_legal();
    sketch.history.replicas[1].epochs.push((LeaderEpoch::new(1), Offset::new(1)));
    sketch.is_flagged(Invariant::A10);
}

#[test]
fn a_record_in_a_batch_says_its_own_offset() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.dump(1, &[value(1, 0)]);
    sketch.is_legal();
    sketch.history.replicas[0].batches[0].records[0].offset = Offset::new(1);
    sketch.is_flagged(Invariant::A12);
}

#[test]
fn a_timestamp_need_not_be_found_before_its_record_is_known() {
    let mut sketch = Sketch::new();
    let promised = sketch.write(1, 10, Class::Ok, Some(0));
    promised.returned = Some(at(20));
    sketch.end(&[Seen { timestamp: Timestamp::new(5), ..value(1, 0) }]);
    sketch.look_up(20, OffsetQuery::Timestamp(Timestamp::new(3)), None);
    sketch.is_legal();
    sketch.history.offset_lookups[0].invoked = at(21);
    sketch.is_flagged(Invariant::A11);
}

#[test]
fn a_session_of_weak_writes_may_begin_with_any_sequence_in_a_replica() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Weak, None).session = session(7, 0);
    sketch.write(2, 10, Class::Ok, Some(0)).session = session(7, 1);
    sketch.dump(1, &[value(2, 0)]).batches[0].session = session(7, 1);
    sketch.is_legal();
    sketch.history.sends[0].class = Class::Info;
    sketch.is_flagged(Invariant::A13);
}
