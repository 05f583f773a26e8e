//! What a leader that is alone in sync does not serve of its copy, and that it serves all else.

use super::world::World;
use crate::machines::replication::Acks;
use crate::partition::{ReadRefusal, RoleDescription};

/// Of a batch of one record.
const SIZE: usize = 69;

/// A leader alone in sync, on a simulated disk, with so many batches of one record.
fn alone_with(batches: usize) -> World {
    let mut world = World::on_simulated_disks(1);
    world.elect(1, 1, 1, &[1]);
    world.run();
    for _ in 0..batches {
        world.produce(1, "b", Acks::All);
    }
    world.run();
    world
}

fn leads(world: &mut World) -> bool {
    matches!(world.describe(1).role, RoleDescription::Leader { .. })
}

#[test]
fn a_sector_that_is_lost_is_not_missed_by_who_reads_before_it() {
    let mut world = alone_with(100);
    world.lose_sector(1, 60 * 69);
    assert_eq!((world.read_on(1, 0, SIZE), world.alarms(1)), (Ok(1), vec![]));
}

#[test]
fn of_a_sector_that_is_lost_only_its_batches_are_blamed() {
    let mut world = alone_with(3000);
    // The index is written, and nothing is in memory any more.
    world.wait_ms(1_000_000);
    world.restart(1);
    world.run();
    world.let_flush(1);
    world.elect(1, 2, 2, &[1]);
    world.run();
    world.lose_sector(1, 150_000);
    let (first, last) = (149_504 / SIZE, 150_015 / SIZE);
    let mut refused = Vec::new();
    for offset in 0..3000 {
        if world.read_on(1, offset, SIZE) == Err(ReadRefusal::Damaged) {
            refused.push(usize::try_from(offset).unwrap());
        }
    }
    // What lies between them and the next entry of the index cannot be found.
    let in_reach = |offset: &usize| (first..first + 70).contains(offset);
    assert!(refused.iter().all(in_reach) && refused.contains(&last), "{refused:?}");
    for alarm in world.alarms(1) {
        let offset: usize = alarm.split_once("(offset ").unwrap().1.split_once(')').unwrap().0.parse().unwrap();
        assert!((first..=last).contains(&offset), "{alarm}");
    }
    assert!(leads(&mut world));
}

/// The same, started again: nothing is in memory, and a sector is lost that holds the batches from 59 on.
fn with_a_lost_sector() -> World {
    let mut world = alone_with(100);
    world.wait_ms(1_000_000);
    world.restart(1);
    world.run();
    world.let_flush(1);
    world.elect(1, 2, 2, &[1]);
    world.run();
    world.lose_sector(1, 60 * 69);
    assert_eq!(world.read_on(1, 59, SIZE), Err(ReadRefusal::Damaged));
    world
}

#[test]
fn a_sector_that_can_be_read_again_is_served_again() {
    let mut world = with_a_lost_sector();
    world.heal_disk(1);
    assert_eq!(world.read_on(1, 59, SIZE), Err(ReadRefusal::Damaged), "it was looked at a moment ago");
    world.wait_ms(1_000);
    assert_eq!(world.read_on(1, 59, SIZE), Ok(60));
}

#[test]
fn what_could_not_be_read_for_long_is_looked_at_each_minute() {
    let mut world = with_a_lost_sector();
    for _ in 0..300 {
        world.wait_ms(1_000);
        assert_eq!(world.read_on(1, 59, SIZE), Err(ReadRefusal::Damaged));
    }
    world.heal_disk(1);
    let served = (1..).find(|_| {
        world.wait_ms(1_000);
        world.read_on(1, 59, SIZE) == Ok(60)
    });
    assert!(served.is_some_and(|seconds| (1..=60).contains(&seconds)), "served after {served:?} s");
}

#[test]
fn the_only_copy_is_kept_in_however_many_places_it_is_damaged() {
    // Whether it is their bytes that are damaged, or only their epochs that are not those of the history.
    for byte in [65, 15] {
        check_kept_in_however_many_places(byte);
    }
}

fn check_kept_in_however_many_places(byte: usize) {
    let mut world = alone_with(100);
    let damage = |world: &mut World, batches: std::ops::Range<i64>| {
        for batch in batches {
            let position = SIZE * usize::try_from(batch).unwrap();
            world.flip_byte(1, position + byte);
            world.doubt_at(1, position, batch);
        }
    };
    damage(&mut world, 0..64);
    assert_eq!(world.alarms(1).len(), 64);
    world.doubt_at(1, 0, 0);
    assert_eq!(world.alarms(1), [""; 0], "it is known");
    damage(&mut world, 64..70);
    let [alarm] = &world.alarms(1)[..] else { panic!("once a minute") };
    assert!(alarm.starts_with("unreadable: ") && alarm.contains("(offset 64)"), "{alarm}");
    assert!(leads(&mut world));
    assert_eq!(world.read_on(1, 63, 1 << 20), Err(ReadRefusal::Damaged));
    assert_eq!(world.read_on(1, 70, 1 << 20), Ok(100));
}

#[test]
fn a_damaged_batch_in_which_the_log_starts_is_remembered() {
    let mut world = World::on_simulated_disks(1);
    world.elect(1, 1, 1, &[1]);
    world.produce(1, "abc", Acks::All);
    world.run();
    let size = world.log_size(1);
    world.produce(1, "d", Acks::All);
    world.run();
    world.flip_byte(1, 65);
    world.doubt(1, 0);
    assert_eq!(world.trim(1, Some(1)), Ok(1));
    world.flip_byte(1, size + 65);
    world.doubt(1, 3);
    assert_eq!(world.read_on(1, 1, 1 << 20), Err(ReadRefusal::Damaged));
    assert_eq!(world.alarms(1).len(), 2);
}

#[test]
fn what_a_known_damaged_batch_claims_to_hold_is_not_read_again() {
    let mut world = alone_with(1500);
    // The length of the eleventh batch grows by 64 KiB.
    world.flip_bits(1, 10 * SIZE + 9, 1);
    assert_eq!(world.read_on(1, 12, SIZE), Err(ReadRefusal::Damaged));
    assert_eq!(world.alarms(1).len(), 1);
    let before = world.bytes_read(1);
    assert_eq!(world.read_on(1, 12, SIZE), Err(ReadRefusal::Damaged));
    let read = world.bytes_read(1) - before;
    assert!(read < 32 << 10, "{read} bytes");
}
