//! Rules of what administrators were promised, and of where replicas are.

use crate::model::{NodeId, PartitionId, TopicId};
use crate::verify::Invariant;
use crate::verify::history::{AdministrationKind, Class, MetadataFact};
use crate::verify::tests::sketch::{Sketch, at, partition, state, value};

fn topic(number: u8) -> TopicId {
    TopicId::new([number; 16])
}

fn made(number: u8, name: &str) -> MetadataFact {
    MetadataFact::TopicCreated { topic: topic(number), name: name.to_owned() }
}

fn gone(number: u8) -> MetadataFact {
    MetadataFact::TopicDeleted { topic: topic(number) }
}

fn wish(sketch: &mut Sketch, number: u8, when: u64) {
    sketch.administer(AdministrationKind::DeleteTopic { topic: topic(number) }, when, Class::Ok);
}

/// A topic that was promised with so many replicas, and is on two.
fn promised(replicas: usize, class: Class) -> Sketch {
    let mut sketch = Sketch::new();
    let (replicas, name, id) = (Some(replicas), "orders".to_owned(), Some(topic(1)));
    sketch.administer(AdministrationKind::CreateTopic { replicas, name, topic: id }, 9, class);
    sketch.commit(10, vec![made(1, "orders"), MetadataFact::Partition(state(&[1, 2], &[], (0, 0)))]);
    sketch
}

#[test]
fn a_topic_is_made_with_the_replicas_that_were_promised() {
    promised(2, Class::Ok).is_legal();
    promised(3, Class::Ok).is_flagged(Invariant::E11);
    promised(1, Class::Ok).is_flagged(Invariant::E11);
}

#[test]
fn a_topic_that_was_not_promised_may_have_other_replicas() {
    promised(3, Class::Info).is_legal();
    let mut sketch = promised(3, Class::Ok);
    sketch.is_flagged(Invariant::E11);
    // Of another topic, nothing was promised.
    sketch.history.metadata[0].facts[1] = MetadataFact::Partition(crate::verify::history::PartitionState {
        partition: PartitionId { topic: topic(2), ..partition() },
        ..state(&[1, 2], &[], (0, 0))
    });
    sketch.is_legal();
}

#[test]
fn a_name_is_given_again_only_when_its_topic_is_gone() {
    let mut sketch = Sketch::new();
    wish(&mut sketch, 1, 15);
    sketch.commit(10, vec![made(1, "orders")]);
    sketch.commit(20, vec![gone(1)]);
    sketch.commit(30, vec![made(2, "orders")]);
    sketch.is_legal();
    sketch.history.metadata[1].accepted = false;
    sketch.history.administrations.clear();
    sketch.is_flagged(Invariant::E7);
}

#[test]
fn an_id_is_given_once_though_its_first_topic_is_gone() {
    let mut sketch = Sketch::new();
    wish(&mut sketch, 1, 15);
    sketch.commit(10, vec![made(1, "orders")]);
    sketch.commit(20, vec![gone(1)]);
    sketch.commit(30, vec![made(2, "offers")]);
    sketch.is_legal();
    sketch.history.metadata[2].facts[0] = made(1, "offers");
    sketch.is_flagged(Invariant::E7);
}

#[test]
fn a_topic_goes_once() {
    let mut sketch = Sketch::new();
    wish(&mut sketch, 1, 15);
    sketch.commit(10, vec![made(1, "orders")]);
    sketch.commit(20, vec![gone(1)]);
    sketch.commit(30, vec![gone(2)]);
    sketch.is_legal();
    sketch.history.metadata[2].facts[0] = gone(1);
    sketch.is_flagged(Invariant::E7);
}

#[test]
fn a_partition_of_a_topic_that_is_gone_has_no_new_state() {
    let mut sketch = Sketch::new();
    wish(&mut sketch, 1, 15);
    sketch.commit(10, vec![made(1, "orders"), MetadataFact::Partition(state(&[1, 2], &[], (0, 0)))]);
    sketch.commit(20, vec![MetadataFact::Partition(state(&[1], &[2], (0, 1))), gone(1)]);
    sketch.is_legal();
    sketch.history.metadata[1].facts.reverse();
    sketch.is_flagged(Invariant::E7);
}

#[test]
fn a_topic_goes_only_after_somebody_asked_for_it() {
    let mut sketch = Sketch::new();
    wish(&mut sketch, 1, 20);
    sketch.commit(10, vec![made(1, "orders")]);
    sketch.commit(20, vec![gone(1)]);
    sketch.is_legal();
    sketch.history.administrations[0].invoked = at(21);
    sketch.is_flagged(Invariant::E7);
}

#[test]
fn a_topic_that_is_gone_may_be_read_until_everybody_must_have_heard() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    wish(&mut sketch, 1, 900);
    sketch.commit(0, vec![made(1, "orders")]);
    sketch.commit(1000, vec![gone(1)]);
    sketch.history.healed_at = Some(at(1000));
    sketch.read(6000, 0, &[value(1, 0)]);
    sketch.is_legal();
    sketch.history.polls[0].invoked = at(6001);
    sketch.is_flagged(Invariant::E7);
}

#[test]
fn a_replica_of_a_topic_that_is_gone_is_gone_when_the_time_for_recovery_is_over() {
    let mut sketch = Sketch::new();
    wish(&mut sketch, 1, 900);
    sketch.commit(0, vec![made(1, "orders")]);
    sketch.commit(1000, vec![gone(1)]);
    sketch.history.healed_at = Some(at(1000));
    sketch.dump(1, &[]);
    sketch.is_flagged(Invariant::E7);
    sketch.history.ended_at = at(15_999);
    sketch.is_legal();
}

#[test]
fn a_log_stands_on_replicas_only() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.dump(1, &[value(1, 0)]);
    sketch.dump(2, &[value(1, 0)]);
    sketch.finish(state(&[1, 2], &[], (0, 0)), 10);
    sketch.is_legal();
    sketch.dump(3, &[value(1, 0)]);
    sketch.is_flagged(Invariant::E11);
    sketch.history.replicas.truncate(1);
    sketch.is_flagged(Invariant::E11);
    // Who read no disk knows of no replica.
    sketch.history.replicas.clear();
    sketch.is_legal();
}

#[test]
fn a_partition_keeps_the_number_of_its_replicas_and_not_who_they_are() {
    let mut sketch = Sketch::new();
    let mut moved = state(&[1, 3], &[], (0, 1));
    moved.replicas = vec![NodeId::new(1), NodeId::new(3)];
    sketch.commit(10, vec![MetadataFact::Partition(state(&[1, 2], &[], (0, 0)))]);
    sketch.commit(20, vec![MetadataFact::Partition(moved.clone())]);
    sketch.finish(moved, 30);
    sketch.is_legal();
    sketch.history.endings[0].state.replicas.push(NodeId::new(2));
    sketch.is_flagged(Invariant::E11);
}
