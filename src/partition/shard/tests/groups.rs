//! The coordinator on its replica: what it answers when, and what the next one knows.

use std::sync::Arc;

use super::world::World;
use crate::machines::group::{Call, Client, Commit, CommitOf, Fetch, Identity, Join, Refusal, Reply};
use crate::machines::metadata::{Image, Record};
use crate::machines::replication::Ticket;
use crate::model::GroupEpoch;
use crate::model::{Generation, GroupId, LogIndex, MemberId, Offset, PartitionIndex, TopicId, TopicName};
use crate::partition::{Event, RoleDescription};

fn group() -> GroupId {
    GroupId::new("g")
}

fn topic() -> TopicName {
    TopicName::new("t").expect("a valid name")
}

/// An image with the topic `t`, or with none.
fn image(index: u64, topic_id: Option<TopicId>) -> Event {
    let mut image = Image::default();
    if let Some(id) = topic_id {
        image.replay(LogIndex::new(index), &Record::TopicCreated { topic: id, name: topic() });
    }
    Event::Image(Arc::new(image))
}

fn identity(member: &str, generation: i32) -> Identity {
    let (member, generation) = (MemberId::new(member), Generation::new(generation));
    Identity { group: group(), member, instance: None, generation }
}

/// The topic as it is at first.
const FIRST: TopicId = TopicId::new([9; 16]);
/// Another of its name.
const SECOND: TopicId = TopicId::new([8; 16]);

fn commit(offset: i64) -> Call {
    commit_for(FIRST, offset)
}

fn commit_for(topic_id: TopicId, offset: i64) -> Call {
    Call::Commit(Commit {
        identity: identity("", -1),
        knows_kip_848: false,
        offsets: vec![CommitOf {
            topic: topic(),
            topic_id,
            partition: PartitionIndex::new(0),
            offset: Offset::new(offset),
            leader_epoch: None,
            metadata: "".into(),
            retention: None,
        }],
    })
}

fn join() -> Call {
    join_saying(0)
}

/// A member joins that says so many bytes.
fn join_saying(bytes: usize) -> Call {
    Call::Join(Join {
        group: group(),
        member: MemberId::new(""),
        instance: None,
        fresh: MemberId::new("m"),
        client: Client::new("c", "/h"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), vec![0; bytes].into())],
        requires_known_member: false,
        skips_assignment: true,
    })
}

fn fetch() -> Call {
    Call::Fetch(Fetch { group: group(), member: None, epoch: GroupEpoch::new(-1), topics: None })
}

/// The committed offset that a node tells.
fn committed(world: &mut World, node: i32) -> Result<Option<i64>, Refusal> {
    let ticket = world.ask_group(node, fetch());
    world.run();
    let offsets = world.answered(node, ticket).expect("it is answered").fetch()?;
    Ok(offsets.get(&topic()).map(|known| known[&PartitionIndex::new(0)].offset.get()))
}

fn outcome(world: &mut World, node: i32, ticket: Ticket) -> Result<(), Refusal> {
    let outcomes = world.answered(node, ticket).expect("it is answered").commit()?;
    outcomes.into_iter().collect()
}

/// Three nodes with a topic to commit for; the first leads.
fn world() -> World {
    let mut world = World::of_groups(3);
    for node in 1..=3 {
        world.tell(node, image(1, Some(FIRST)));
    }
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world
}

#[test]
fn a_commit_is_answered_when_every_replica_in_sync_has_it() {
    let mut world = world();
    let ticket = world.ask_group(1, commit(5));
    assert!(!world.is_answered(1, ticket));
    world.run();
    assert_eq!(outcome(&mut world, 1, ticket), Ok(()));
    assert_eq!(committed(&mut world, 1), Ok(Some(5)));
}

#[test]
fn a_fetch_tells_no_commit_that_could_be_lost() {
    let mut world = world();
    world.hold_flushes(2);
    let commits = world.ask_group(1, commit(5));
    let fetches = world.ask_group(1, fetch());
    world.run();
    assert!(!world.is_answered(1, commits) && !world.is_answered(1, fetches));
    world.let_flush(2);
    world.run();
    assert!(world.is_answered(1, commits) && world.is_answered(1, fetches));
}

#[test]
fn the_next_coordinator_knows_what_was_committed() {
    let mut world = world();
    for offset in 0..50 {
        let ticket = world.ask_group(1, commit(offset));
        world.run();
        assert_eq!(outcome(&mut world, 1, ticket), Ok(()));
    }
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Ok(Some(49)));
    assert_eq!(committed(&mut world, 1), Err(Refusal::NotCoordinator));
}

#[test]
fn the_next_coordinator_answers_nothing_before_it_knows_what_is_committed() {
    let mut world = world();
    let ticket = world.ask_group(1, commit(5));
    world.run_without_news();
    assert_eq!(outcome(&mut world, 1, ticket), Ok(()));
    world.cut(1);
    world.cut(3);
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Err(Refusal::Loading));
    // Nor that there is no such member: there may have been one.
    let beats = world.ask_group(2, Call::Heartbeat(identity("m", 1)));
    world.run();
    assert_eq!(world.answered(2, beats), Some(Reply::Heartbeat(Err(Refusal::Loading))));
    world.heal(3);
    world.elect(2, 2, 3, &[2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Ok(Some(5)));
}

#[test]
fn who_waits_on_a_coordinator_that_goes_looks_for_the_next() {
    let mut world = world();
    world.cut(2);
    world.cut(3);
    let (commits, joins) = (world.ask_group(1, commit(5)), world.ask_group(1, join()));
    world.tell_follow(1, 2, 2, 2);
    world.run();
    assert_eq!(outcome(&mut world, 1, commits), Err(Refusal::NotCoordinator));
    assert_eq!(world.answered(1, joins), Some(Reply::Join(Err(Refusal::NotCoordinator))));
}

#[test]
fn with_too_few_in_sync_nothing_is_decided_that_must_be_kept() {
    let mut world = world();
    world.cut(2);
    world.cut(3);
    world.elect(1, 1, 2, &[1]);
    world.run();
    let ticket = world.ask_group(1, commit(5));
    assert_eq!(outcome(&mut world, 1, ticket), Err(Refusal::Unavailable));
}

#[test]
fn a_leader_that_is_elected_again_keeps_who_waits() {
    let mut world = world();
    let joins = world.ask_group(1, join());
    world.elect(1, 2, 2, &[1, 2, 3]);
    world.run();
    assert!(!world.is_answered(1, joins));
    world.wait_ms(3_100);
    let joined = world.answered(1, joins).expect("the group is complete").join().expect("it has joined");
    assert_eq!(joined.generation, Generation::new(1));
}

#[test]
fn offsets_of_a_topic_go_with_it() {
    let mut world = world();
    world.ask_group(1, commit(5));
    world.run();
    // Made again under its name: what was committed for the former is no place in this one.
    for node in 1..=3 {
        world.tell(node, image(2, Some(SECOND)));
    }
    world.run();
    assert_eq!(committed(&mut world, 1), Ok(None));
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Ok(None));
}

#[test]
fn offsets_of_a_topic_that_went_while_nobody_led_go_too() {
    let mut world = world();
    world.ask_group(1, commit(5));
    world.run();
    for node in 1..=3 {
        world.tell_follow_nobody(node, 2, 2);
        world.tell(node, image(2, None));
    }
    world.elect(2, 3, 3, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Ok(None));
}

#[test]
fn offsets_of_a_topic_that_was_made_again_while_nobody_led_go_too() {
    let mut world = world();
    world.ask_group(1, commit(5));
    world.run();
    for node in 1..=3 {
        world.tell_follow_nobody(node, 2, 2);
        world.tell(node, image(3, Some(SECOND)));
    }
    world.elect(2, 3, 3, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Ok(None));
    let commits = world.ask_group(2, commit_for(SECOND, 7));
    world.run();
    assert_eq!(outcome(&mut world, 2, commits), Ok(()));
    world.elect(3, 4, 4, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 3), Ok(Some(7)));
}

#[test]
fn nothing_is_committed_for_a_topic_that_another_has_followed() {
    let mut world = world();
    for node in 1..=3 {
        world.tell(node, image(2, Some(SECOND)));
    }
    let (late, right) = (world.ask_group(1, commit(5)), world.ask_group(1, commit_for(SECOND, 6)));
    world.run();
    assert_eq!(outcome(&mut world, 1, late), Err(Refusal::TopicGone));
    assert_eq!(outcome(&mut world, 1, right), Ok(()));
    assert_eq!(committed(&mut world, 1), Ok(Some(6)));
}

#[test]
fn another_partition_coordinates_nothing() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 1), Err(Refusal::NotCoordinator));
}

/// A leader that was paused does not know that another has led meanwhile, and that this one has committed (rule S6).
#[test]
fn a_coordinator_that_was_replaced_and_does_not_know_it_tells_nothing() {
    let mut world = world();
    let ticket = world.ask_group(1, commit(5));
    world.run();
    assert_eq!(outcome(&mut world, 1, ticket), Ok(()));
    // The first is paused: it hears of nothing while the second leads and commits.
    world.cut(1);
    world.elect(2, 2, 2, &[2, 3]);
    world.run();
    let ticket = world.ask_group(2, commit(6));
    world.run();
    assert_eq!(outcome(&mut world, 2, ticket), Ok(()));
    // It goes on, and has not heard of the election yet.
    world.heal(1);
    let stale = world.ask_group(1, fetch());
    world.run();
    assert!(!world.is_answered(1, stale), "nobody vouches for it");
    world.tell_follow(1, 2, 2, 2);
    world.run();
    assert_eq!(world.answered(1, stale), Some(Reply::Fetch(Err(Refusal::NotCoordinator))));
    assert_eq!(committed(&mut world, 2), Ok(Some(6)));
}

#[test]
fn nobody_vouches_who_has_just_been_opened() {
    let mut world = world();
    world.restart(2);
    world.restart(3);
    let fetches = world.ask_group(1, fetch());
    world.run();
    assert!(!world.is_answered(1, fetches));
    world.elect(1, 1, 2, &[1, 2, 3]);
    world.wait_ms(200);
    assert!(world.is_answered(1, fetches));
}

#[test]
fn with_too_few_in_sync_nobody_can_prove_that_it_leads() {
    let mut world = world();
    world.cut(2);
    world.cut(3);
    // The round that asks them is under way when they leave.
    let early = world.ask_group(1, fetch());
    world.elect(1, 1, 2, &[1]);
    world.wait_ms(150);
    assert!(!world.is_answered(1, early));
    let fetches = world.ask_group(1, fetch());
    world.run();
    assert!(!world.is_answered(1, fetches));
    assert!(world.is_idle(1), "nothing is overdue while it waits");
    world.wait_ms(5_001);
    assert_eq!(world.answered(1, fetches), Some(Reply::Fetch(Err(Refusal::Unavailable))));
}

/// What a follower knows of the high watermark lags behind what was acknowledged (KAFKA-20634).
#[test]
fn the_next_coordinator_reads_beyond_the_watermark_that_it_knew() {
    let mut world = world();
    let ticket = world.ask_group(1, commit(5));
    world.run_without_news();
    assert_eq!(outcome(&mut world, 1, ticket), Ok(()));
    world.cut(1);
    world.cut(3);
    world.elect(2, 2, 2, &[2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Err(Refusal::Loading));
    world.heal(3);
    world.elect(2, 2, 3, &[2, 3]);
    world.run();
    assert_eq!(committed(&mut world, 2), Ok(Some(5)));
}

#[test]
fn a_coordinator_that_cannot_read_what_it_needs_gives_its_copy_up() {
    let mut world = world();
    for offset in 0..20 {
        let ticket = world.ask_group(1, commit(offset));
        world.run();
        assert_eq!(outcome(&mut world, 1, ticket), Ok(()));
    }
    let middle = world.log_size(2) / 2;
    world.flip_byte(2, middle);
    world.expect_damage(2);
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    let [alarm] = &world.alarms(2)[..] else { panic!("one alarm") };
    assert!(alarm.contains("is corrupt or unreadable at byte"), "{alarm}");
    assert_eq!(world.describe(2).role, RoleDescription::Offline);
    world.elect(1, 3, 3, &[1, 3]);
    world.run();
    assert_eq!(committed(&mut world, 1), Ok(Some(19)));
}

#[test]
fn what_a_group_is_fits_into_a_segment() {
    let mut world = World::of_groups(1).with_segments_of(4_096);
    world.tell(1, image(1, Some(FIRST)));
    world.elect(1, 1, 1, &[1]);
    world.run();
    let large = world.ask_group(1, join_saying(2_048));
    assert_eq!(world.answered(1, large), Some(Reply::Join(Err(Refusal::TooLarge))));
    let Call::Commit(one) = commit(5) else { unreachable!("it is a commit") };
    let offsets = one.offsets.iter().cycle().take(200).cloned().collect();
    let commits = world.ask_group(1, Call::Commit(Commit { offsets, ..one }));
    let joins = world.ask_group(1, join_saying(1_900));
    world.wait_ms(3_100);
    assert_eq!(outcome(&mut world, 1, commits), Ok(()));
    assert!(world.answered(1, joins).expect("the group is complete").join().is_ok());
}

#[test]
fn a_copy_that_cannot_be_written_coordinates_nothing() {
    let mut world = World::on_simulated_disks(1).that_keeps_groups();
    world.tell(1, image(1, Some(FIRST)));
    world.elect(1, 1, 1, &[1]);
    world.run();
    world.fill_disk(1);
    let commits = world.ask_group(1, commit(5));
    let joins = world.ask_group(1, join());
    world.run();
    assert_eq!(outcome(&mut world, 1, commits), Err(Refusal::NotCoordinator));
    assert_eq!(world.answered(1, joins), Some(Reply::Join(Err(Refusal::NotCoordinator))));
    assert_eq!(committed(&mut world, 1), Err(Refusal::NotCoordinator));
    assert!(world.is_idle(1), "nothing is to be read of a copy that is given up");
}
