//! Three shards in one loop, values passed by hand: produce, fetch, failover, divergence, ISR, acknowledgements.

mod compact;
mod damage;
mod disk;
mod groups;
mod withheld;
mod world;

use crate::machines::replication::{Acks, IsrOutcome};
use crate::model::{LeaderEpoch, Offset, PartitionEpoch, Timestamp};
use crate::partition::{
    AppendRefusal, Event, FetchedOutcome, FlushMode, ListRefusal, OffsetQuery, ReadRefusal, Reply, RoleDescription,
    TrimRefusal, WatchId, Watching,
};

use world::{World, id};

fn offset(number: i64) -> Offset {
    Offset::new(number)
}

#[test]
fn what_is_acknowledged_by_all_is_flushed_and_readable_on_every_replica() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    let first = world.produce(1, "a", Acks::All);
    let second = world.produce(1, "b", Acks::All);
    world.run();
    assert_eq!(world.acked(1, first), Ok(0));
    assert_eq!(world.acked(1, second), Ok(1));
    assert_eq!(world.consume(1, 0), Ok("ab".to_owned()));
    for node in 1..=3 {
        let description = world.describe(node);
        assert_eq!((description.flushed_end, description.high_watermark), (offset(2), offset(2)), "node {node}");
    }
    assert_eq!(world.consume(2, 1), Ok("b".to_owned()));
}

#[test]
fn acks_all_waits_for_the_flush_of_every_in_sync_follower() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.hold_flushes(3);
    let all = world.produce(1, "a", Acks::All);
    let leader = world.produce(1, "b", Acks::Leader);
    world.run();
    assert_eq!(world.acked(1, leader), Ok(1));
    assert!(!world.is_answered(1, all));
    assert_eq!(world.consume(1, 0), Ok(String::new()));
    world.let_flush(3);
    world.run();
    assert_eq!(world.acked(1, all), Ok(0));
    assert_eq!(world.consume(1, 0), Ok("ab".to_owned()));
}

#[test]
fn the_leader_ships_before_its_own_flush_and_acknowledges_after_it() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.hold_flushes(1);
    let ticket = world.produce(1, "a", Acks::Leader);
    world.run();
    assert_eq!(world.describe(2).flushed_end, offset(1));
    assert!(!world.is_answered(1, ticket));
    world.let_flush(1);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
}

#[test]
fn a_former_leader_of_an_empty_epoch_takes_records_of_an_earlier_one() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.cut(1);
    world.produce(1, "a", Acks::Leader);
    world.run();
    // Node 2 leads and writes nothing; then node 1 leads again, with a record of the epoch before.
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    world.heal(1);
    world.elect(1, 3, 3, &[1, 2, 3]);
    world.run();
    assert_eq!(world.describe(2).end, offset(1));
    assert_eq!(world.consume(1, 0), Ok("a".to_owned()));
}

#[test]
fn a_recovered_tail_is_flushed_before_it_counts() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2]);
    world.cut(3);
    world.run();
    world.hold_flushes(2);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    // Node 2 is killed between its write and its flush.
    world.restart(2);
    world.tell_follow(2, 1, 1, 1);
    world.run();
    let description = world.describe(2);
    assert_eq!((description.flushed_end, description.end), (offset(0), offset(1)));
    assert!(!world.fetches(2));
    assert!(!world.is_answered(1, ticket));
    world.let_flush(2);
    world.run();
    assert_eq!(world.describe(2).flushed_end, offset(1));
    assert_eq!(world.acked(1, ticket), Ok(0));
}

#[test]
fn a_copy_with_an_epoch_that_no_leader_has_had_is_given_up() {
    let mut world = World::new(3);
    world.elect(1, 5, 5, &[1, 2]);
    world.produce(1, "a", Acks::All);
    world.run();
    // To its next life, which is told of an earlier epoch, that of its log can only be a damaged one. As long as nobody
    // leads, it may be the only copy.
    world.restart(2);
    world.tell_follow_nobody(2, 4, 6);
    world.run();
    assert_ne!(world.describe(2).role, RoleDescription::Offline);
    world.expect_damage(2);
    world.tell_follow(2, 1, 4, 7);
    world.run();
    assert_eq!(world.describe(2).role, RoleDescription::Offline);
}

#[test]
fn a_replica_that_was_opened_and_given_no_order_leads_nothing() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
    world.restart(1);
    let ticket = world.produce(1, "b", Acks::All);
    world.run();
    assert_eq!(world.acked(1, ticket), Err(AppendRefusal::NotLeader));
    assert!(matches!(world.describe(1).role, RoleDescription::Idle));
}

#[test]
fn one_flush_covers_all_that_a_turn_wrote() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.run();
    let before = world.flushes(1);
    for _ in 0..10 {
        world.produce(1, "a", Acks::All);
    }
    world.run();
    assert_eq!(world.flushes(1), before + 1);
}

#[test]
fn a_new_leader_keeps_what_was_acknowledged_and_cuts_what_was_not() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    let kept = world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.acked(1, kept), Ok(0));
    // Node 1 is cut off and writes on; node 2 is elected and writes something else.
    world.cut(1);
    let lost = world.produce(1, "xyz", Acks::All);
    world.run();
    world.elect(2, 2, 2, &[2, 3]);
    let new = world.produce(2, "b", Acks::All);
    world.run();
    assert_eq!(world.acked(2, new), Ok(1));
    assert!(!world.is_answered(1, lost));
    // It returns, is told, and takes over the new leader's log.
    world.heal(1);
    world.tell_follow(1, 2, 2, 2);
    world.run();
    assert_eq!(world.acked(1, lost), Err(AppendRefusal::NotLeader));
    assert_eq!(world.consume(1, 0), Ok("ab".to_owned()));
    let RoleDescription::Leader { isr, .. } = world.describe(2).role else { panic!("node 2 leads") };
    assert_eq!(isr.len(), 3);
}

#[test]
fn a_new_leader_does_not_tell_the_latest_offset_before_it_knows_what_is_committed() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    // Committed at node 1; the followers have flushed it and do not know that it is committed.
    world.produce(1, "ab", Acks::All);
    world.run_without_news();
    assert_eq!(world.describe(1).high_watermark, offset(2));
    assert_eq!(world.describe(2).high_watermark, offset(0));
    world.cut(1);
    world.cut(3);
    world.elect(2, 2, 2, &[2, 3]);
    world.run();
    assert_eq!(world.list(2, OffsetQuery::Latest), Err(ListRefusal::NotAvailable));
    assert_eq!(world.list(2, OffsetQuery::Timestamp(Timestamp::new(5))), Err(ListRefusal::NotAvailable));
    assert_eq!(world.consume(2, 1), Ok(String::new()));
    assert!(matches!(world.consume(2, 3), Err(ReadRefusal::OutOfRange { .. })));
    world.heal(3);
    world.tell_follow(3, 2, 2, 2);
    world.run();
    assert_eq!(world.list(2, OffsetQuery::Latest), Ok(Some(2)));
    assert_eq!(world.consume(2, 0), Ok("ab".to_owned()));
}

#[test]
fn a_laggard_leaves_the_isr_and_returns() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.cut(3);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    assert!(!world.is_answered(1, ticket));
    world.wait_ms(4000);
    assert!(!world.is_answered(1, ticket));
    world.wait_ms(2000);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
    let RoleDescription::Leader { isr, .. } = world.describe(1).role else { panic!("node 1 leads") };
    assert_eq!(isr.len(), 2);
    world.heal(3);
    world.run();
    let RoleDescription::Leader { isr, .. } = world.describe(1).role else { panic!("node 1 leads") };
    assert_eq!(isr.len(), 3);
}

#[test]
fn a_shrink_that_is_not_answered_releases_nothing() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.hold_proposals();
    world.cut(3);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    world.wait_ms(6000);
    world.run();
    let proposal = world.proposals().pop().expect("node 3 is proposed out");
    assert_eq!(proposal.isr.len(), 2);
    assert!(!world.is_answered(1, ticket));
    assert_eq!(world.describe(1).high_watermark, offset(0));
    // The controller has committed it.
    let isr = proposal.isr.iter().map(|member| member.node).collect();
    let outcome = IsrOutcome::Accepted { partition_epoch: PartitionEpoch::new(2), isr };
    let (leader_epoch, partition_epoch) = (proposal.leader_epoch, proposal.partition_epoch);
    world.tell(1, Event::IsrAnswer { partition: id(), leader_epoch, partition_epoch, outcome });
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
}

#[test]
fn too_few_in_sync_refuse_acks_all_and_hide_acks_1() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1]);
    world.cut(2);
    world.cut(3);
    let all = world.produce(1, "a", Acks::All);
    let one = world.produce(1, "b", Acks::Leader);
    world.run();
    assert_eq!(world.acked(1, all), Err(AppendRefusal::NotEnoughReplicas { isr: 1, isr_min: 2 }));
    assert_eq!(world.acked(1, one), Ok(0));
    assert_eq!(world.consume(1, 0), Ok(String::new()));
    world.heal(2);
    world.run();
    assert_eq!(world.consume(1, 0), Ok("b".to_owned()));
}

#[test]
fn a_produce_is_told_when_its_time_is_over() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.cut(2);
    world.cut(3);
    world.hold_proposals();
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    world.wait_ms(29_999);
    assert!(!world.is_answered(1, ticket));
    world.wait_ms(1);
    assert_eq!(world.acked(1, ticket), Err(AppendRefusal::TimedOut));
}

#[test]
fn requests_of_another_epoch_or_to_a_follower_are_refused() {
    let mut world = World::new(3);
    world.elect(1, 5, 1, &[1, 2, 3]);
    world.run();
    let to_follower = world.produce(2, "a", Acks::All);
    let fenced = world.produce_in(1, "a", Acks::All, 4);
    let unknown = world.produce_in(1, "a", Acks::All, 6);
    world.run();
    let current = LeaderEpoch::new(5);
    assert_eq!(world.acked(2, to_follower), Err(AppendRefusal::NotLeader));
    assert_eq!(world.acked(1, fenced), Err(AppendRefusal::FencedEpoch { current }));
    assert_eq!(world.acked(1, unknown), Err(AppendRefusal::UnknownEpoch { current }));
    assert_eq!(world.fetch_as(1, 2, 19, 5), Err(ReadRefusal::NotLeader));
    assert_eq!(world.fetch_as(1, 4, 40, 5), Err(ReadRefusal::UnknownEpoch { current }));
    assert_eq!(world.fetch_as(1, 2, 20, 4), Err(ReadRefusal::FencedEpoch { current }));
    assert_eq!(world.fetch_as(1, 2, 20, -1), Err(ReadRefusal::NotLeader), "who follows knows the epoch (rule R3)");
    assert_eq!(world.fetch_as(1, 2, 20, 5), Ok(()));
    assert_eq!(world.fetch_as(3, 2, 20, 5), Err(ReadRefusal::NotLeader));
}

#[test]
fn a_late_fetch_of_an_earlier_epoch_commits_nothing_in_this_one() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.produce(1, "a", Acks::All);
    world.run();
    // Node 3 alone has the next record when node 2 is elected, and cuts it off.
    world.cut(2);
    world.produce(1, "b", Acks::All);
    world.run();
    let late = world.position(3);
    world.cut(1);
    world.heal(2);
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    assert_eq!((late.offset, world.describe(3).end), (offset(2), offset(1)));
    // Node 1, which has heard nothing of that, leads again.
    world.heal(1);
    world.cut(3);
    world.elect(1, 3, 3, &[1, 2, 3]);
    world.run();
    assert_eq!(world.describe(2).flushed_end, offset(2));
    world.fetch_late(3, late);
    world.run();
    assert_eq!(world.describe(1).high_watermark, offset(1), "node 3 is in sync and lacks the second record");
    assert_eq!(world.consume(1, 0), Ok("a".to_owned()));
}

#[test]
fn an_old_order_changes_nothing() {
    let mut world = World::new(3);
    world.elect(1, 1, 5, &[1, 2, 3]);
    world.run();
    world.tell_follow(1, 2, 1, 4);
    world.tell_follow(1, 2, 0, 6);
    world.run();
    assert!(matches!(world.describe(1).role, RoleDescription::Leader { .. }));
}

#[test]
fn a_waiting_consumer_is_woken_by_the_high_watermark_and_by_a_new_epoch() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.cut(2);
    assert_eq!(world.watch(1, 0, WatchId(7)), Watching::Yes);
    world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.wakes(1), []);
    world.heal(2);
    world.run();
    assert_eq!(world.wakes(1), [WatchId(7)]);
    assert_eq!(world.watch(1, 0, WatchId(8)), Watching::No);
    assert_eq!(world.watch(1, 1, WatchId(9)), Watching::Yes);
    world.elect(2, 2, 2, &[1, 2, 3]);
    world.run();
    assert_eq!(world.wakes(1), [WatchId(9)]);
}

#[test]
fn a_watch_that_nobody_waits_for_does_not_fire() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.run();
    assert_eq!(world.watch(1, 0, WatchId(7)), Watching::Yes);
    world.tell(1, Event::Unwatch(WatchId(7)));
    world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.wakes(1), []);
}

#[test]
fn a_late_answer_of_an_earlier_position_is_ignored() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.produce(1, "a", Acks::All);
    let late = world.answer_for(2);
    world.run();
    assert_eq!(world.describe(2).end, offset(1));
    world.tell(2, late);
    world.run();
    assert_eq!(world.describe(2).end, offset(1));
}

#[test]
fn a_late_answer_that_the_logs_part_cuts_nothing_any_more() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.cut(1);
    world.produce(1, "a", Acks::Leader);
    world.run();
    world.elect(2, 2, 2, &[2, 3]);
    world.run();
    world.heal(1);
    world.tell_follow(1, 2, 2, 2);
    world.cut(1);
    world.run();
    let late = world.answer_for(1);
    world.heal(1);
    world.produce(2, "b", Acks::All);
    world.run();
    assert_eq!((world.describe(1).end, world.consume(1, 0)), (offset(1), Ok("b".to_owned())));
    world.cut(1);
    world.tell(1, late);
    world.run();
    assert_eq!(world.describe(1).end, offset(1));
}

#[test]
fn batches_of_a_leader_that_is_not_followed_yet_are_not_taken() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.produce(1, "a", Acks::All);
    let later_epoch = |bytes: &[u8]| [&bytes[..12], &9_i32.to_be_bytes(), &bytes[16..]].concat();
    world.fetch_damaged(2, later_epoch);
    assert_eq!(world.describe(2).end, offset(0));
    world.wait_ms(1000);
    assert_eq!(world.describe(2).end, offset(1));
}

#[test]
fn a_duplicate_is_answered_when_its_original_is_committed() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.hold_flushes(3);
    let first = world.produce_sequence(1, "a", 0);
    world.run();
    let again = world.produce_sequence(1, "a", 0);
    world.run();
    assert!(!world.is_answered(1, first) && !world.is_answered(1, again));
    world.let_flush(3);
    world.run();
    assert_eq!((world.acked(1, first), world.acked(1, again)), (Ok(0), Ok(0)));
}

#[test]
fn a_follower_far_behind_the_start_of_the_leader_starts_anew() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2]);
    world.cut(3);
    world.produce(1, "abc", Acks::All);
    world.run();
    assert_eq!(world.trim(1, Some(2)), Ok(2));
    assert_eq!(world.trim(1, Some(4)), Err(TrimRefusal::OutOfRange { high_watermark: offset(3) }));
    world.heal(3);
    world.run();
    let description = world.describe(3);
    assert_eq!((description.start, description.end), (offset(2), offset(3)));
    assert_eq!(world.list(1, OffsetQuery::Earliest), Ok(Some(2)));
    assert!(matches!(world.consume(1, 1), Err(ReadRefusal::OutOfRange { .. })));
}

/// Node 1's tail parts from the others' logs at 1. Node 3 was away, began anew at 2 and knows no earlier epoch: what
/// stands between was never committed, and nobody else knows its producers.
#[test]
fn a_follower_whose_log_parted_below_the_leaders_start_keeps_nothing_of_it() {
    let mut world = World::new(3);
    world.set_isr_min(1);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.produce(1, "a", Acks::All);
    world.run();
    world.cut(1);
    world.cut(3);
    let lost = world.produce_sequence(1, "x", 0);
    world.produce_sequence(1, "y", 1);
    world.run();
    world.elect(2, 2, 2, &[2]);
    for value in ["b", "c"] {
        world.produce(2, value, Acks::All);
        world.run();
    }
    assert_eq!(world.trim(2, Some(2)), Ok(2));
    world.heal(3);
    world.tell_follow(3, 2, 2, 2);
    world.run();
    world.elect(3, 3, 3, &[2, 3]);
    world.heal(1);
    world.tell_follow(1, 3, 3, 3);
    world.run();
    assert!(world.acked(1, lost).is_err());
    assert_eq!((world.describe(1).start, world.describe(1).end), (offset(2), offset(3)));
    // It leads, and is asked again for what was lost.
    world.elect(1, 4, 4, &[1, 2, 3]);
    let again = world.produce_sequence(1, "x", 0);
    world.run();
    assert_eq!(world.acked(1, again), Ok(3));
}

/// No leader of ours says so; the bound keeps the log readable from its start behind one that errs.
#[test]
fn a_follower_does_not_start_behind_what_it_knows_to_be_committed() {
    let mut world = World::new(2);
    world.elect(1, 1, 1, &[1, 2]);
    world.run();
    world.cut(2);
    world.produce(1, "abc", Acks::Leader);
    let Event::Fetched(mut fetched) = world.answer_for(2) else { panic!("a fetch brings what was fetched") };
    let FetchedOutcome::Records { log_start, .. } = &mut fetched.outcome else { panic!("it brings records") };
    *log_start = offset(2);
    world.tell(2, Event::Fetched(fetched));
    world.run();
    assert_eq!((world.describe(2).start, world.describe(2).end), (offset(0), offset(3)));
}

#[test]
fn a_follower_takes_the_whole_batch_in_which_the_leaders_log_starts() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2]);
    world.cut(3);
    world.produce(1, "abc", Acks::All);
    world.run();
    assert_eq!(world.trim(1, Some(1)), Ok(1));
    world.heal(3);
    world.run();
    let ticket = world.produce(1, "d", Acks::All);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(3));
    let description = world.describe(3);
    assert_eq!((description.start, description.end), (offset(1), offset(4)));
}

/// Its first batch begins below the start, and is not flushed when the leader goes.
#[test]
fn a_follower_never_tells_a_start_above_its_high_watermark() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2]);
    world.cut(3);
    world.produce(1, "abc", Acks::All);
    world.run();
    assert_eq!(world.trim(1, Some(1)), Ok(1));
    world.hold_flushes(3);
    world.heal(3);
    world.run();
    world.tell_follow_nobody(3, 2, 2);
    world.run();
    let description = world.describe(3);
    assert_eq!((description.start, description.high_watermark, description.end), (offset(1), offset(1), offset(3)));
}

#[test]
fn offsets_are_found_by_time() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.produce(1, "abc", Acks::All);
    world.run();
    // The harness stamps a record with its letter.
    let at_b = OffsetQuery::Timestamp(Timestamp::new(i64::from(b'b')));
    assert_eq!(world.list(1, at_b), Ok(Some(1)));
    assert_eq!(world.list(1, OffsetQuery::Timestamp(Timestamp::new(500))), Ok(None));
    assert_eq!(world.list(1, OffsetQuery::MaxTimestamp), Ok(Some(2)));
    assert_eq!(world.list(1, OffsetQuery::Latest), Ok(Some(3)));
}

#[test]
fn a_stopped_replica_answers_as_one_that_never_was() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.hold_flushes(1);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    world.tell(1, Event::Stop { partition: id(), delete: true });
    world.run();
    assert_eq!(world.acked(1, ticket), Err(AppendRefusal::NotLeader));
    assert_eq!(world.consume(1, 0), Err(ReadRefusal::UnknownPartition));
}

#[test]
fn a_broken_replica_that_is_deleted_leaves_nothing_on_the_disk() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.produce(1, "a", Acks::All);
    world.run();
    world.attest();
    world.lose_segments(1);
    world.restart(1);
    world.run();
    assert!(matches!(world.describe(1).role, RoleDescription::Offline));
    assert_eq!(world.holds(1), (true, true));
    world.tell(1, Event::Stop { partition: id(), delete: true });
    world.run();
    assert_eq!(world.holds(1), (false, false));
}

#[test]
fn a_follower_that_ends_while_it_flushes_tells_its_fetcher_once() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.hold_flushes(3);
    let _ = world.produce(1, "a", Acks::All);
    world.run();
    assert!(!world.fetches(3), "what it fetched is not flushed yet");
    let before = world.stops(3);
    world.tell(3, Event::Stop { partition: id(), delete: true });
    world.run();
    assert_eq!(world.stops(3), before + 1);
}

#[test]
fn a_removed_follower_raises_the_partition_epoch_only_and_keeps_waiters() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.cut(3);
    let ticket = world.produce(1, "a", Acks::All);
    world.run();
    assert!(!world.is_answered(1, ticket));
    world.fence(3);
    world.elect(1, 1, 2, &[1, 2]);
    world.run();
    assert_eq!(world.acked(1, ticket), Ok(0));
}

#[test]
fn closing_flushes_everything_and_says_so() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.produce(1, "a", Acks::None);
    let ticket = world.ticket();
    world.tell(1, Event::Close { ticket });
    world.run();
    assert!(matches!(world.reply(1, ticket), Some(Reply::Closed)));
    assert_eq!(world.describe(1).flushed_end, offset(1));
}

#[test]
fn the_end_of_an_epoch_is_told_by_the_leader() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.produce(1, "ab", Acks::All);
    world.run();
    world.elect(2, 3, 2, &[1, 2, 3]);
    world.produce(2, "c", Acks::All);
    world.run();
    assert_eq!(world.epoch_end(2, 1), Ok(Some((1, 2))));
    assert_eq!(world.epoch_end(2, 2), Ok(Some((1, 2))));
    assert_eq!(world.epoch_end(2, 3), Ok(Some((3, 3))));
    assert_eq!(world.epoch_end(2, 4), Ok(None));
    assert_eq!(world.epoch_end(1, 1), Err(ListRefusal::NotLeader));
}

#[test]
fn a_leader_that_goes_on_in_a_later_epoch_tells_where_the_earlier_ended() {
    let mut world = World::new(1);
    world.elect(1, 1, 1, &[1]);
    world.produce(1, "a", Acks::All);
    world.run();
    world.elect(1, 3, 3, &[1]);
    world.run();
    assert_eq!((world.epoch_end(1, 2), world.epoch_end(1, 3)), (Ok(Some((1, 1))), Ok(Some((3, 1)))));
}

#[test]
fn a_lookup_beside_the_shard_finds_nothing_above_the_readable_end() {
    let mut world = World::new(3);
    world.elect(1, 1, 1, &[1, 2, 3]);
    world.run();
    world.cut(2);
    world.produce(1, "a", Acks::All);
    world.run();
    assert_eq!(world.list(1, OffsetQuery::Timestamp(Timestamp::new(0))), Ok(None));
}
