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
