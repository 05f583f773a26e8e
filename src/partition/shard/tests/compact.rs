//! Three shards that compact their logs, each by itself: what consumers see across failover, and what followers take.

use super::world::{World, id};
use crate::partition::{Event, RoleDescription};

/// A world in which the first node leads a compacted topic of three replicas.
fn compacted() -> World {
    let mut world = World::new(3);
    world.set_compacted(true, false);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world
}

/// So many values of each key, one round after another, by this leader.
fn put_all(world: &mut World, leader: i32, keys: &[&str], rounds: usize) {
    for round in 0..rounds {
        for key in keys {
            let ticket = world.put(leader, key, Some(&format!("{key}{round} of the epoch of node {leader}")));
            world.run();
            assert!(world.acked(leader, ticket).is_ok());
        }
    }
}

#[test]
fn a_compacted_topic_keeps_the_last_value_of_each_key_and_its_offset_across_failover() {
    let mut world = compacted();
    put_all(&mut world, 1, &["a", "b", "c"], 20);
    let (expected, before) = (world.last_values(1), world.records(1).unwrap().len());
    world.let_compact();
    for node in 1..=3 {
        let found = world.records(node).unwrap();
        assert!(found.len() < before / 2, "node {node} has {} of {before} records", found.len());
        assert_eq!(world.last_values(node), expected, "node {node}");
    }
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    assert_eq!(world.last_values(2), expected);
    put_all(&mut world, 2, &["b"], 20);
    world.put(2, "c", None);
    world.run();
    let expected = world.last_values(2);
    assert_eq!(expected.keys().collect::<Vec<_>>(), ["a", "b"]);
    world.let_compact();
    for node in 1..=3 {
        assert_eq!(world.last_values(node), expected, "node {node}");
        assert!(world.unusable(node).is_empty() && world.fatal(node).is_empty());
    }
}

#[test]
fn what_waits_only_until_its_log_rests_is_compacted_before_the_log_is_idle() {
    let mut world = World::new(3);
    world.set_compacted(true, false);
    world.set_derived_at_rest();
    world.elect(1, 1, 1, &[1, 2, 3]);
    put_all(&mut world, 1, &["a", "b", "c"], 20);
    let before = world.records(1).unwrap().len();
    world.restart(3);
    world.run();
    world.let_flush(3);
    world.elect(1, 2, 2, &[1, 2]);
    for _ in 0..3 {
        world.attest();
        world.wait_ms(15_000);
    }
    for node in 1..=3 {
        let found = world.records(node).unwrap();
        assert!(found.len() < before / 2, "node {node} has {} of {before} records", found.len());
    }
}

#[test]
fn a_follower_that_was_away_takes_what_compaction_has_left_and_may_lead() {
    let mut world = compacted();
    put_all(&mut world, 1, &["a", "b"], 3);
    world.cut(3);
    world.elect(1, 2, 2, &[1, 2]);
    put_all(&mut world, 1, &["a", "b", "c"], 20);
    world.let_compact();
    let expected = world.last_values(1);
    world.heal(3);
    world.elect(1, 3, 3, &[1, 2]);
    world.run();
    world.wait_ms(1000);
    assert_eq!(world.describe(3).flushed_end, world.describe(1).end);
    assert!(world.unusable(3).is_empty());
    // Its history of epochs and that of the leader lead to no cut of what is committed.
    for leader in [3, 2, 1] {
        world.elect(leader, 7 - leader, 7 - leader, &[1, 2, 3]);
        world.run();
        put_all(&mut world, leader, &["d"], 2);
        let found = world.last_values(leader);
        assert!(expected.iter().all(|(key, value)| found.get(key) == Some(value)), "led by {leader}: {found:?}");
    }
}

#[test]
fn a_batch_that_compaction_wrote_anew_contradicts_nobody() {
    let mut world = compacted();
    put_all(&mut world, 1, &["a", "b"], 3);
    world.put(1, "c", None);
    world.run();
    world.cut(3);
    world.elect(1, 2, 2, &[1, 2]);
    put_all(&mut world, 1, &["a", "b"], 20);
    // The tombstone is the last that node 3 holds; elsewhere its batch has a delete horizon now, and another CRC.
    world.let_compact();
    let last = world.describe(3).end.get() - 1;
    assert!(world.records(1).unwrap().contains(&(last, "c".to_owned(), None)));
    world.heal(3);
    world.elect(1, 3, 3, &[1, 2]);
    world.run();
    world.wait_ms(1000);
    assert!(matches!(world.describe(3).role, RoleDescription::Follower { .. }));
    assert_eq!(world.describe(3).flushed_end, world.describe(1).end);
    assert_eq!(world.last_values(3), world.last_values(1));
}

#[test]
fn a_copy_is_made_of_a_topic_that_is_compacted_no_more() {
    let mut world = compacted();
    world.cut(3);
    world.elect(1, 2, 2, &[1, 2]);
    put_all(&mut world, 1, &["a", "b"], 20);
    world.let_compact();
    world.set_compacted(false, true);
    world.heal(3);
    world.elect(1, 3, 3, &[1, 2]);
    world.run();
    world.wait_ms(1000);
    assert!(world.unusable(3).is_empty());
    assert_eq!(world.last_values(3), world.last_values(1));
    world.restart(3);
    world.run();
    world.let_flush(3);
    world.elect(1, 4, 4, &[1, 2]);
    world.run();
    assert_eq!(world.last_values(3), world.last_values(1));
}

#[test]
fn a_copy_of_a_topic_that_was_never_compacted_takes_no_gap() {
    let mut world = compacted();
    world.cut(3);
    world.elect(1, 2, 2, &[1, 2]);
    put_all(&mut world, 1, &["a", "b"], 20);
    world.let_compact();
    world.set_compacted(false, false);
    world.heal(3);
    world.elect(1, 3, 3, &[1, 2]);
    world.run();
    world.wait_ms(1000);
    let [fault] = &world.unusable(3)[..] else { panic!("it is told once") };
    assert!(fault.contains("does not continue a log"), "{fault}");
}

#[test]
fn a_partition_that_is_deleted_while_it_is_compacted_is_gone() {
    let mut world = compacted();
    put_all(&mut world, 1, &["a", "b"], 20);
    world.run();
    world.attest();
    // The look for dirt and the deletion meet in one turn: what is made then comes too late.
    world.tell(2, Event::Stop { partition: id(), delete: true });
    world.wait_ms(15_000);
    world.let_compact();
    assert_eq!(world.holds(2), (false, false));
    assert!(world.fatal(2).is_empty());
    assert_eq!(world.last_values(1).len(), 2);
}
