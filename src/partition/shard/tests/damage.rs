//! Copies that are not what they should be: damaged on the way, on the disk, or another than the leader's.

use bytes::Bytes;

use super::offset;
use super::world::World;
use crate::machines::replication::{Acks, FollowerState};
use crate::model::{LeaderEpoch, NodeId, Offset, Timestamp};
use crate::partition::{ListRefusal, OffsetQuery, ReadRefusal, RoleDescription};
use crate::records::{Builder, Codec, Draft};

/// The medium is damaged.
const EIO: i32 = 5;
/// Too many open files.
const EMFILE: i32 = 24;

/// The last byte is not covered by anything but the CRC.
fn flip_last(bytes: &[u8]) -> Vec<u8> {
    let (last, others) = bytes.split_last().expect("the leader has a batch");
    [others, &[last ^ 1]].concat()
}

/// A follower, cut off so that only what a test hands to it arrives, of a leader that has one batch.
fn follower_of_one_batch() -> World {
    let mut world = World::new(2);
    world.elect(1, 1, 1, &[1, 2]);
    world.run();
    world.cut(2);
    world.produce(1, "a", Acks::Leader);
    world.run();
    world
}

#[test]
fn a_damaged_batch_of_the_leader_is_told_and_fetched_again_after_a_rest() {
    let mut world = follower_of_one_batch();
    let stops = world.stops(2);
    world.fetch_damaged(2, flip_last);
    assert_eq!(world.unusable(2), ["orders of 1 at 0: the batch at offset 0 has a wrong checksum"]);
    assert_eq!((world.describe(2).end, world.stops(2)), (offset(0), stops + 1));
    assert!(!world.fetches(2), "it rests");
    assert_eq!(world.fatal(2), [""; 0]);
    world.wait_ms(1000);
    world.heal(2);
    world.run();
    assert_eq!((world.describe(2).end, world.unusable(2)), (offset(1), vec![]));
}

#[test]
fn a_damage_that_stays_is_told_now_and_then_and_a_new_one_at_once() {
    let mut world = follower_of_one_batch();
    world.fetch_damaged(2, flip_last);
    assert_eq!(world.unusable(2).len(), 1);
    world.wait_ms(1000);
    world.fetch_damaged(2, flip_last);
    assert_eq!(world.unusable(2).len(), 0);
    world.wait_ms(59_000);
    world.fetch_damaged(2, flip_last);
    assert_eq!(world.unusable(2).len(), 1);
    world.wait_ms(1000);
    world.heal(2);
    world.run();
    world.cut(2);
    world.produce(1, "b", Acks::Leader);
    world.fetch_damaged(2, flip_last);
    assert_eq!(world.unusable(2), ["orders of 1 at 1: the batch at offset 1 has a wrong checksum"]);
}

#[test]
fn less_than_a_batch_is_told_and_does_not_spin() {
    let mut world = follower_of_one_batch();
    world.fetch_damaged(2, |bytes| bytes[..20].to_vec());
    assert_eq!(world.unusable(2), ["orders of 1 at 0: 20 bytes hold no whole batch"]);
    assert!(!world.fetches(2), "it rests");
}

/// The batch of one record `value` at offset 0 in epoch 1, with a CRC of its own.
fn another_batch(value: &str) -> Vec<u8> {
    let mut builder = Builder::new(Codec::None);
    builder.push(Draft { value: Some(value.as_bytes()), ..Draft::default() }).expect("a small record");
    let stamped = builder.build().expect("a small batch").stamp(Offset::ZERO, LeaderEpoch::new(1));
    [Bytes::copy_from_slice(&stamped.header), stamped.rest].concat()
}

#[test]
fn a_follower_that_holds_another_batch_gives_its_copy_up_and_the_leader_says_so() {
    let mut world = follower_of_one_batch();
    world.expect_damage(2);
    world.fetch_damaged(2, |_| another_batch("x"));
    assert_eq!(world.describe(2).end, offset(1), "it looks like the batch that was asked for");
    world.heal(2);
    world.run();
    assert_eq!(world.alarms(1), ["contradicted: 2 at 1"]);
    assert_eq!(world.alarms(2), ["broken: the leader, node 1, holds another batch than this copy before offset 1"]);
    assert_eq!(world.describe(2).role, RoleDescription::Offline);
    assert_eq!(world.describe(1).high_watermark, offset(0), "what differs acknowledges nothing");
}

#[test]
fn a_leader_whose_own_batch_is_damaged_gives_its_copy_up_and_not_the_followers() {
    let mut world = follower_of_one_batch();
    world.expect_damage(1);
    world.fetch_damaged(2, |_| another_batch("x"));
    world.flip_byte(1, 65);
    world.heal(2);
    world.run();
    let [alarm] = &world.alarms(1)[..] else { panic!("one alarm") };
    assert!(
        alarm.starts_with("broken: ") && alarm.contains("is corrupt or unreadable at byte 0 (offset 0)"),
        "{alarm}"
    );
    assert_eq!((world.alarms(2), world.describe(1).role), (vec![], RoleDescription::Offline));
}

#[test]
fn after_a_restart_a_follower_names_the_batch_that_its_disk_holds() {
    let mut world = follower_of_one_batch();
    world.heal(2);
    world.run();
    world.elect(1, 1, 2, &[1, 2]);
    world.produce(1, "b", Acks::All);
    world.run();
    world.restart(2);
    world.tell_follow(2, 1, 1, 2);
    world.run_without_news();
    world.let_flush(2);
    world.run();
    assert_eq!((world.alarms(1), world.alarms(2)), (vec![], vec![]));
    assert_eq!(world.last_crc(2), Some(world.crc_of_last_batch(1)));
}

/// Three batches, committed, of two in sync or of one alone.
fn three_batches(isr: &[i32]) -> (World, usize) {
    let mut world = World::new(i32::try_from(isr.len()).expect("a few"));
    world.elect(1, 1, 1, isr);
    world.run();
    let mut size = 0;
    for value in ["a", "b", "c"] {
        world.produce(1, value, Acks::All);
        world.run();
        size = world.log_size(1) / 3;
    }
    assert_eq!(world.consume(1, 0).as_deref(), Ok("abc"));
    (world, size)
}

#[test]
fn a_leader_with_a_damaged_batch_gives_its_copy_up_if_another_is_in_sync() {
    let (mut world, size) = three_batches(&[1, 2]);
    world.expect_damage(1);
    world.flip_byte(1, size + 65);
    world.doubt(1, 0);
    let [alarm] = &world.alarms(1)[..] else { panic!("one alarm") };
    assert!(alarm.contains(&format!("is corrupt or unreadable at byte {size} (offset 1)")), "{alarm}");
    assert_eq!(world.consume(1, 0), Err(ReadRefusal::Offline));
}

#[test]
fn a_copy_is_given_up_for_another_only_while_that_one_fetches() {
    let (mut world, size) = three_batches(&[1, 2]);
    world.expect_damage(1);
    world.cut(2);
    world.wait_ms(4_900);
    world.flip_byte(1, size + 65);
    world.doubt(1, 0);
    assert_eq!(world.alarms(1).len(), 1);
    assert_eq!(world.consume(1, 1), Err(ReadRefusal::Damaged), "nobody may have it");
    assert!(matches!(world.describe(1).role, RoleDescription::Leader { .. }));
    world.heal(2);
    world.run();
    assert_eq!(world.describe(1).role, RoleDescription::Offline);
    assert!(world.alarms(1)[0].ends_with("and others can lead"));
}

#[test]
fn a_leader_alone_in_sync_serves_all_but_what_is_damaged() {
    let (mut world, size) = three_batches(&[1]);
    world.flip_byte(1, size + 65);
    world.doubt(1, 0);
    world.doubt(1, 0);
    let [alarm] = &world.alarms(1)[..] else { panic!("told once") };
    assert!(alarm.starts_with("damaged: "), "{alarm}");
    assert_eq!(world.consume(1, 0).as_deref(), Ok("a"));
    assert_eq!(world.consume(1, 1), Err(ReadRefusal::Damaged));
    assert_eq!(world.consume(1, 2).as_deref(), Ok("c"));
    world.produce(1, "d", Acks::All);
    world.run();
    assert_eq!(world.consume(1, 2).as_deref(), Ok("cd"), "it goes on");
}

#[test]
fn what_is_sound_stays_and_what_was_said_of_an_earlier_state_is_not_heard() {
    let (mut world, size) = three_batches(&[1, 2]);
    world.doubt(1, 0);
    world.doubt(1, 0);
    let [alarm] = &world.alarms(1)[..] else { panic!("that a reader was refused is told, once a minute") };
    assert!(alarm.starts_with("unreadable: ") && alarm.ends_with("sound when read again"), "{alarm}");
    assert_eq!(world.consume(1, 0).as_deref(), Ok("abc"));
    let place = world.place_of(1, 1);
    world.flip_byte(1, size + 65);
    world.elect(1, 2, 2, &[1, 2]);
    world.run();
    world.inspect(1, place);
    assert_eq!(world.alarms(1), [""; 0]);
}

#[test]
fn what_was_said_of_a_log_before_its_end_was_cut_off_is_not_heard() {
    let mut world = World::new(2);
    world.set_isr_min(1);
    world.elect(1, 1, 1, &[1, 2]);
    world.produce(1, "a", Acks::All);
    world.run();
    world.cut(1);
    world.produce(1, "x", Acks::Leader);
    world.run();
    world.elect(2, 2, 2, &[2]);
    world.produce(2, "b", Acks::All);
    world.run();
    world.tell_follow(1, 2, 2, 2);
    world.run();
    let place = world.place_of(1, 0);
    world.heal(1);
    world.run();
    assert_eq!(world.consume(1, 0).as_deref(), Ok("ab"), "the other record is cut off");
    world.flip_byte(1, 65);
    world.inspect(1, place);
    assert_eq!(world.alarms(1), [""; 0]);
}

#[test]
fn a_follower_that_serves_consumers_gives_a_damaged_copy_up() {
    let (mut world, size) = three_batches(&[1, 2]);
    world.expect_damage(2);
    world.flip_byte(2, size + 65);
    world.doubt(2, 1);
    assert_eq!(world.alarms(2).len(), 1);
    assert_eq!(world.describe(2).role, RoleDescription::Offline);
}

/// On disks that can fail.
fn one_committed_batch() -> World {
    let mut world = World::on_simulated_disks(2);
    world.elect(1, 1, 1, &[1, 2]);
    world.run();
    world.produce(1, "a", Acks::All);
    world.run();
    world
}

#[test]
fn a_leader_whose_disk_does_not_give_records_back_gives_its_copy_up() {
    let mut world = one_committed_batch();
    world.expect_damage(1);
    let place = world.place_of(1, 0);
    world.fail_reads(1, EIO);
    world.inspect(1, place);
    let [alarm] = &world.alarms(1)[..] else { panic!("one alarm") };
    assert!(alarm.contains("is corrupt or unreadable at byte 0 (offset 0)"), "{alarm}");
    assert_eq!(world.describe(1).role, RoleDescription::Offline);
}

#[test]
fn what_the_system_refuses_to_read_is_told_now_and_then_and_breaks_nothing() {
    let mut world = one_committed_batch();
    let place = world.place_of(1, 0);
    world.fail_reads(1, EMFILE);
    world.inspect(1, place);
    world.inspect(1, place);
    let [alarm] = &world.alarms(1)[..] else { panic!("told once") };
    assert!(alarm.starts_with("unreadable: "), "{alarm}");
    assert!(matches!(world.describe(1).role, RoleDescription::Leader { .. }));
    world.wait_ms(60_000);
    world.inspect(1, place);
    assert_eq!(world.alarms(1).len(), 1);
}

/// Leader 1, alone in sync, with a hundred batches of one record; follower 2 holds the first of them and was cut off.
fn alone_with_a_lagging_follower() -> (World, usize) {
    let mut world = World::new(2);
    world.set_isr_min(1);
    world.elect(1, 1, 1, &[1, 2]);
    world.run();
    world.produce(1, "a", Acks::All);
    world.run();
    let size = world.log_size(1);
    world.cut(2);
    world.elect(1, 2, 2, &[1]);
    world.run();
    for _ in 1..BATCHES {
        world.produce(1, "b", Acks::All);
    }
    world.run();
    assert_eq!(world.describe(1).high_watermark, offset(BATCHES));
    (world, size)
}

/// More than are in memory.
const BATCHES: i64 = 100;

/// The follower returns.
fn heal(world: &mut World) {
    world.heal(2);
    world.tell_follow(2, 1, 2, 2);
    world.run();
    world.wait_ms(1000);
}

#[test]
fn a_follower_keeps_its_sound_copy_though_the_lone_leader_is_damaged_behind_it() {
    let (mut world, size) = alone_with_a_lagging_follower();
    // The magic of a batch that it does not hold yet.
    world.flip_byte(1, 5 * size + 16);
    heal(&mut world);
    assert_eq!(world.alarms(2), [""; 0]);
    assert!(matches!(world.describe(2).role, RoleDescription::Follower { .. }));
    let [alarm] = &world.alarms(1)[..] else { panic!("the leader's is told, once") };
    assert!(alarm.starts_with("damaged: "), "{alarm}");
}

#[test]
fn a_follower_that_holds_another_batch_is_found_though_the_leader_is_damaged_behind_it() {
    let mut world = follower_of_one_batch();
    world.expect_damage(2);
    world.fetch_damaged(2, |_| another_batch("x"));
    world.produce(1, "b", Acks::Leader);
    world.run();
    world.flip_byte(1, 69 + 65);
    world.heal(2);
    world.run();
    assert_eq!(world.alarms(1), ["contradicted: 2 at 1"]);
    assert_eq!(world.describe(2).role, RoleDescription::Offline);
}

#[test]
fn a_follower_that_holds_what_the_lone_leader_lost_catches_up_and_replaces_it() {
    let (mut world, _) = alone_with_a_lagging_follower();
    world.expect_damage(1);
    // The CRC of the batch that both hold.
    world.flip_byte(1, 17);
    heal(&mut world);
    assert_eq!((world.describe(2).end, world.alarms(2)), (offset(BATCHES), vec![]));
    let [damaged, broken] = &world.alarms(1)[..] else { panic!("damaged, then given up") };
    assert!(damaged.starts_with("damaged: ") && broken.ends_with("and others can lead"), "{damaged}, {broken}");
}

#[test]
fn a_follower_takes_no_batch_that_does_not_continue_its_log() {
    let (mut world, size) = alone_with_a_lagging_follower();
    world.flip_bits(1, size * 5 + 7, 8);
    heal(&mut world);
    assert!(world.describe(2).end <= offset(5), "{:?}", world.describe(2));
    assert_eq!(world.describe(1).role, leader_of(&[1]));
    assert_eq!(world.alarms(1).len(), 1);
}

fn leader_of(isr: &[i32]) -> RoleDescription {
    let isr = isr.iter().map(|node| NodeId::new(*node)).collect();
    let followers = vec![FollowerState { node: NodeId::new(2), flushed_end: Some(offset(5)) }];
    RoleDescription::Leader { isr, pending: None, waiting: 0, followers }
}

/// The second of three batches is damaged, and known to be, after the follower has left the ISR.
fn lone_leader_with_damage() -> World {
    let (mut world, size) = three_batches(&[1, 2]);
    world.set_isr_min(1);
    world.cut(2);
    world.elect(1, 2, 2, &[1]);
    world.run();
    world.flip_byte(1, size + 65);
    world.doubt(1, 0);
    world
}

#[test]
fn a_leader_with_damage_gives_its_copy_up_once_others_are_in_sync_again() {
    let mut world = lone_leader_with_damage();
    world.expect_damage(1);
    assert_eq!(world.consume(1, 1), Err(ReadRefusal::Damaged));
    heal(&mut world);
    assert_eq!(world.describe(1).role, RoleDescription::Offline);
    let [_, alarm] = &world.alarms(1)[..] else { panic!("damaged, then broken") };
    assert!(alarm.ends_with("and others can lead"), "{alarm}");
}

/// Below the minimum: else nobody could read on here, and nobody else lead.
#[test]
fn a_leader_alone_in_sync_gives_a_damaged_copy_up_for_who_is_eligible() {
    let (mut world, size) = three_batches(&[1, 2]);
    world.expect_damage(1);
    world.cut(2);
    world.make_eligible(2);
    world.fence(2);
    world.elect(1, 2, 2, &[1]);
    world.run();
    world.wait_ms(5000);
    world.flip_byte(1, size + 65);
    world.doubt(1, 0);
    assert!(matches!(world.describe(1).role, RoleDescription::Leader { .. }), "nobody fetches");
    world.heal(2);
    world.tell_follow(2, 1, 2, 2);
    world.run();
    assert_eq!(world.describe(1).role, RoleDescription::Offline);
    let [_, alarm] = &world.alarms(1)[..] else { panic!("damaged, then broken") };
    assert!(alarm.ends_with("and others can lead"), "{alarm}");
}

fn a_hundred_alone() -> (World, usize) {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    for _ in 0..BATCHES {
        world.produce(1, "b", Acks::All);
    }
    world.run();
    let size = world.log_size(1) / 100;
    (world, size)
}

#[test]
fn whatever_bit_of_a_header_flips_only_what_stands_there_is_refused() {
    // All but those of the CRC, which the reader's check finds: base offset, length, epoch, magic.
    for byte in 0..17 {
        for bit in 0..8 {
            let (mut world, size) = a_hundred_alone();
            world.flip_bits(1, size * 5 + byte, 1 << bit);
            let what = format!("byte {byte}, bit {bit}");
            for bytes_max in [1, size, size * 2, size * 5, size * 5 + 10, size * 7, 1 << 20] {
                let next = world.read_on(1, 0, bytes_max);
                assert!(next.is_ok_and(|next| next > 0), "{what}: {next:?} of {bytes_max} bytes");
            }
            // Most are found by whoever looks for what stands there, the others by whoever checks what is read.
            let _ = world.read_on(1, 5, 1 << 20);
            world.doubt_at(1, size * 5, 5);
            let [alarm] = &world.alarms(1)[..] else { panic!("{what}: told once") };
            assert!(alarm.contains(&format!("at byte {} (offset 5)", size * 5)), "{what}: {alarm}");
            assert_eq!(world.read_on(1, 0, 1 << 20), Ok(5), "{what}");
            assert_eq!(world.read_on(1, 5, 1 << 20), Err(ReadRefusal::Damaged), "{what}");
            assert_eq!(world.read_on(1, 90, 1 << 20), Ok(100), "{what}");
        }
    }
}

#[test]
fn offsets_of_timestamps_are_not_looked_up_in_a_damaged_batch() {
    let (mut world, size) = three_batches(&[1]);
    let query = OffsetQuery::Timestamp(Timestamp::new(98));
    assert_eq!(world.list(1, query), Ok(Some(1)));
    world.flip_bits(1, size + 63, 0x40);
    world.doubt(1, 0);
    assert_eq!(world.list(1, query), Err(ListRefusal::Offline));
}

#[test]
fn the_only_copy_is_kept_though_it_is_damaged_and_nobody_leads() {
    let (mut world, size) = three_batches(&[1]);
    world.flip_byte(1, size + 65);
    world.doubt(1, 0);
    assert_eq!(world.alarms(1).len(), 1);
    world.tell_follow_nobody(1, 2, 2);
    world.run();
    assert_eq!((world.alarms(1), world.describe(1).role), (vec![], RoleDescription::Follower { leader: None }));
    world.elect(1, 3, 3, &[1]);
    world.run();
    assert_eq!(world.consume(1, 2).as_deref(), Ok("c"));
    assert_eq!(world.alarms(1), [""; 0]);
}

#[test]
fn damage_that_was_deleted_is_forgotten_once_others_are_in_sync() {
    let mut world = lone_leader_with_damage();
    assert_eq!(world.alarms(1).len(), 1);
    assert_eq!(world.trim(1, Some(2)), Ok(2));
    heal(&mut world);
    assert_eq!(world.alarms(1), [""; 0]);
    assert!(matches!(world.describe(1).role, RoleDescription::Leader { .. }));
    assert_eq!(world.consume(1, 2).as_deref(), Ok("c"));
}

#[test]
fn a_truncation_goes_around_a_damaged_index() {
    let mut world = World::new(2);
    world.elect(1, 1, 1, &[1, 2]);
    world.run();
    for _ in 0..200 {
        world.produce(1, "b", Acks::All);
    }
    world.run();
    // The index is written.
    world.wait_ms(1_000_000);
    assert!(world.damage_index(2) > 0, "it has entries");
    world.cut(1);
    world.elect(2, 2, 2, &[2]);
    world.run();
    world.produce(2, "x", Acks::Leader);
    world.run();
    assert_eq!(world.describe(2).end, offset(201));
    world.heal(1);
    world.tell_follow(2, 1, 3, 3);
    world.elect(1, 3, 3, &[1]);
    world.run();
    assert_eq!((world.alarms(2), world.fatal(2)), (vec![], &[][..]));
    assert_eq!(world.describe(2).end, offset(200));
}
