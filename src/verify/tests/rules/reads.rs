//! Rules of what consumers see.

use crate::model::{LeaderEpoch, NodeId, Offset};
use crate::verify::Invariant;
use crate::verify::history::{AdministrationKind, Class, OffsetQuery};
use crate::verify::tests::sketch::{Sketch, at, partition, seen, told, value};

#[test]
fn a_position_may_jump_over_what_is_not_there_in_the_end() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    let before = Offset::new(1);
    sketch.administer(AdministrationKind::DeleteRecords { partition: partition(), before }, 20, Class::Ok);
    told(sketch.read(30, 0, &[value(2, 1)]), 1, 2);
    sketch.end(&[value(2, 1)]);
    sketch.is_legal();
    sketch.history.scans.clear();
    sketch.end(&[value(1, 0), value(2, 1)]);
    sketch.is_flagged(Invariant::B3);
}

#[test]
fn a_latest_offset_may_be_behind_for_the_bound_after_the_healing() {
    let mut sketch = Sketch::new();
    sketch.history.healed_at = Some(at(100));
    let promised = sketch.write(1, 1000, Class::Ok, Some(0));
    promised.answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.end(&[seen(1, 0, 1)]);
    sketch.look_up(6001, OffsetQuery::Latest, Some(0));
    sketch.is_legal();
    sketch.history.offset_lookups[0].invoked = at(6002);
    sketch.is_flagged(Invariant::B8);
}

#[test]
fn a_start_may_stand_at_the_high_watermark_of_a_replica_and_not_above_it() {
    let mut sketch = Sketch::new();
    sketch.expectations.retention = crate::verify::Retention::Limited;
    sketch.dump(1, &[]);
    sketch.is_legal();
    sketch.history.replicas[0].log_start = Offset::new(1);
    sketch.is_flagged(Invariant::B6);
}

#[test]
fn a_node_that_has_not_heard_of_an_epoch_may_have_nothing_yet() {
    let mut sketch = Sketch::new();
    let promised = sketch.write(1, 0, Class::Ok, Some(0));
    promised.answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.look_up(10, OffsetQuery::Latest, None);
    sketch.end(&[seen(1, 0, 1)]);
    sketch.is_legal();
    sketch.history.offset_lookups[0].leader_epoch = LeaderEpoch::new(1);
    sketch.is_flagged(Invariant::B7);
}

#[test]
fn an_offset_above_all_that_is_known_may_be_out_of_range() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.read(10, 2, &[]).outcome = crate::verify::history::PollOutcome::OutOfRange;
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.polls[0].position = Offset::new(1);
    sketch.is_flagged(Invariant::B7);
}

#[test]
fn an_earliest_offset_is_explained_by_a_deletion() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    let before = Offset::new(1);
    sketch.administer(AdministrationKind::DeleteRecords { partition: partition(), before }, 20, Class::Info);
    sketch.look_up(19, OffsetQuery::Earliest, Some(1));
    sketch.is_legal();
    sketch.history.offset_lookups[0].returned = at(19);
    sketch.is_flagged(Invariant::B11);
}

#[test]
fn a_follower_may_tell_of_deleted_records_until_everybody_must_have_heard() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 1, Class::Ok, Some(1));
    let before = Offset::new(1);
    sketch.administer(AdministrationKind::DeleteRecords { partition: partition(), before }, 999, Class::Ok);
    sketch.history.healed_at = Some(at(1000));
    let poll = sketch.read(6000, 0, &[value(1, 0), value(2, 1)]);
    (poll.node, poll.as_leader) = (NodeId::new(2), false);
    sketch.is_legal();
    sketch.history.polls[0].invoked = at(6001);
    sketch.is_flagged(Invariant::B11);
    (sketch.history.polls[0].invoked, sketch.history.polls[0].as_leader) = (at(6000), true);
    sketch.is_flagged(Invariant::B11);
}

#[test]
fn a_start_may_fall_from_one_epoch_to_the_next_and_not_within_one() {
    let mut sketch = Sketch::new();
    sketch.expectations.retention = crate::verify::Retention::Limited;
    told(sketch.read(10, 0, &[]), 0, 0);
    told(sketch.read(20, 1, &[]), 1, 1);
    let poll = sketch.read(30, 1, &[]);
    told(poll, 0, 1);
    poll.leader_epoch = LeaderEpoch::new(1);
    sketch.is_legal();
    sketch.history.polls[2].leader_epoch = LeaderEpoch::new(0);
    sketch.is_flagged(Invariant::B6);
}
