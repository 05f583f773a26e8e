//! What is acknowledged out of the page cache, and disks that fill up or fail.

use super::world::{World, id};
use super::*;

#[test]
fn in_kafkas_mode_the_page_cache_is_acknowledged() {
    let mut world = World::new(3);
    world.set_flush(FlushMode::Kafka);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.attest();
    for node in 1..=3 {
        world.hold_flushes(node);
    }
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
}

#[test]
fn the_page_cache_is_not_acknowledged_before_the_disk_says_that_it_will_be() {
    let mut world = World::new(1);
    world.set_flush(FlushMode::Kafka);
    world.elect(1, 1, 1, &[1]);
    world.run();
    world.hold_flushes(1);
    let ticket = world.produce(1, "a", Acks::All);
    world.wait_ms(1000);
    assert!(!world.is_answered(1, ticket));
    world.attest();
    assert_eq!(world.acked(1, ticket), Ok(0));
}

#[test]
fn a_log_that_became_durable_is_vouched_for_only_after_a_flush_of_all_of_it() {
    let mut world = World::new(1);
    world.set_flush(FlushMode::Kafka);
    world.elect(1, 1, 1, &[1]);
    world.attest();
    world.hold_flushes(1);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
    world.set_flush(FlushMode::Durable);
    world.elect(1, 1, 2, &[1]);
    world.run();
    assert!(world.is_volatile(1), "what was acknowledged is not flushed yet");
    world.let_flush(1);
    world.run();
    assert!(!world.is_volatile(1));
}

#[test]
fn what_a_crash_may_have_cost_stays_known_until_the_controller_gives_an_order() {
    let mut world = World::new(1);
    world.set_flush(FlushMode::Kafka);
    world.elect(1, 1, 1, &[1]);
    world.attest();
    world.hold_flushes(1);
    world.produce(1, "a", Acks::All);
    world.run();
    world.restart(1);
    world.run();
    world.let_flush(1);
    world.run();
    assert!(world.is_volatile(1), "the process may end again before it is registered");
    world.set_flush(FlushMode::Durable);
    world.elect(1, 2, 2, &[1]);
    world.run();
    assert!(!world.is_volatile(1));
}

#[test]
fn a_stop_in_good_order_leaves_nothing_unvouched() {
    let mut world = World::new(1);
    world.set_flush(FlushMode::Kafka);
    world.elect(1, 1, 1, &[1]);
    world.attest();
    world.produce(1, "a", Acks::All);
    world.run();
    assert!(world.is_volatile(1));
    let ticket = world.ticket();
    world.tell(1, Event::Close { ticket });
    world.run();
    assert!(matches!(world.reply(1, ticket), Some(Reply::Closed)));
    world.wait_ms(1000);
    assert!(!world.is_volatile(1));
}

#[test]
fn an_order_that_comes_after_the_close_revives_nothing() {
    let mut world = World::new(2);
    world.elect(1, 1, 1, &[1, 2]);
    world.produce(1, "a", Acks::All);
    world.run();
    let ticket = world.ticket();
    world.tell(1, Event::Close { ticket });
    world.tell(2, Event::Close { ticket });
    world.elect(1, 2, 2, &[1]);
    world.run();
    assert!(matches!(world.reply(1, ticket), Some(Reply::Closed)));
    world.elect(1, 3, 3, &[1]);
    let refused = world.produce(1, "b", Acks::Leader);
    world.wait_ms(2000);
    assert_eq!(world.acked(1, refused), Err(AppendRefusal::NotLeader));
    for node in 1..=2 {
        let description = world.describe(node);
        assert!(matches!(description.role, RoleDescription::Idle), "{description:?}");
        assert_eq!((description.end, world.fetches(node)), (offset(1), false));
    }
}

#[test]
fn a_failed_flush_ends_everything_and_is_told() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.run();
    world.hold_flushes(1);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    world.tell(1, Event::FlushFailed);
    world.run();
    assert_eq!(world.acked(1, ticket), Err(AppendRefusal::Offline));
    assert_eq!(world.fatal(1), ["a flush failed"]);
    let after = world.produce(1, "b", Acks::All);
    world.run();
    assert_eq!(world.acked(1, after), Err(AppendRefusal::Offline));
    assert!(matches!(world.describe(1).role, RoleDescription::Offline));
}

fn check_full_disk(world: &mut World, node: i32) {
    let [cause] = world.fatal(node) else { panic!("it ends once, for one cause: {:?}", world.fatal(node)) };
    let partition = format!("partition {}: ", id());
    assert!(cause.starts_with(&partition), "{cause}");
    assert!(cause.contains("/orders-0/00000000000000000000.log: no storage space"), "{cause}");
    assert!(matches!(world.describe(node).role, RoleDescription::Offline));
}

#[test]
fn a_full_disk_ends_the_leader_and_names_the_partition_and_the_file() {
    let mut world = World::on_simulated_disks(1);
    world.elect(1, 1, 1, &[1]);
    let first = world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.acked(1, first), Ok(0));
    world.fill_disk(1);
    let second = world.produce(1, "b", Acks::All);
    world.run();
    assert_eq!(world.acked(1, second), Err(AppendRefusal::Offline));
    check_full_disk(&mut world, 1);
}

#[test]
fn a_full_disk_ends_the_follower_and_names_the_partition_and_the_file() {
    let mut world = World::on_simulated_disks(2);
    world.elect(1, 1, 1, &[1, 2]);
    world.produce(1, "a", Acks::All);
    world.run();
    world.fill_disk(2);
    let second = world.produce(1, "b", Acks::All);
    world.run();
    assert!(!world.is_answered(1, second));
    check_full_disk(&mut world, 2);
    assert_eq!(world.fatal(1), [""; 0]);
}
