//! What looks wrong and is not: each oddity is let pass, and flagged once its excuse is taken away.
//!
//! Those of transactions, groups and compaction come with those.

use std::time::Duration;

use super::sketch::{Sketch, at, partition, seen, session, state, told, value};
use crate::model::{LeaderEpoch, LogIndex, NodeId, Offset, Term};
use crate::verify::history::{
    AdministrationKind, Class, DumpedBatch, EpochLookup, FaultSpan, Isolation, MetadataEntry, MetadataFact,
    NodeEventKind, OffsetLookup, OffsetQuery, PollOutcome, ReplicaDump,
};
use crate::verify::{FlushPromise, Invariant, ReadProfile, Retention, UncleanElection};

#[test]
fn a_write_of_unknown_fate_may_never_appear() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Info, None);
    sketch.end(&[]);
    sketch.is_legal();
    sketch.history.sends[0].class = Class::Ok;
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn a_write_of_unknown_fate_may_appear_after_its_producer_gave_up() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Info, None);
    sketch.write(2, 10, Class::Ok, Some(0));
    sketch.read(20, 0, &[value(2, 0)]);
    sketch.read(30, 1, &[value(1, 1)]);
    sketch.end(&[value(2, 0), value(1, 1)]);
    sketch.is_legal();
    sketch.history.sends[0].class = Class::Fail;
    sketch.is_flagged(Invariant::A6);
}

#[test]
fn a_plain_producer_that_tries_again_may_write_twice() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(1)).attempts = 2;
    sketch.read(10, 0, &[value(1, 0), value(1, 1)]);
    sketch.end(&[value(1, 0), value(1, 1)]);
    sketch.is_legal();
    sketch.history.sends[0].session = session(7, 0);
    sketch.is_flagged(Invariant::A4);
}

#[test]
fn a_late_copy_of_a_plain_write_may_stand_behind_what_was_sent_after_it() {
    let mut sketch = Sketch::new();
    let first = sketch.write(1, 0, Class::Ok, Some(0));
    (first.attempts, first.alone) = (2, true);
    sketch.write(2, 10, Class::Ok, Some(1));
    sketch.end(&[value(1, 0), value(2, 1), value(1, 2)]);
    sketch.is_legal();
    sketch.history.sends[0].attempts = 1;
    sketch.is_flagged(Invariant::A4);
}

#[test]
fn a_duplicate_that_is_acknowledged_without_its_offset_may_stand_anywhere() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, None).session = session(7, 0);
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.scans[0].records.clear();
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn a_consumer_goes_back_to_what_it_had_committed_after_a_rebalance() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.read(10, 0, &[value(1, 0)]);
    sketch.read(20, 0, &[value(1, 0)]).incarnation = 1;
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.polls[1].incarnation = 0;
    sketch.is_flagged(Invariant::B2);
}

#[test]
fn a_consumer_that_begins_at_the_end_misses_what_was_before() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    sketch.history.healed_at = Some(at(1000));
    sketch.read(20_000, 1, &[value(2, 1)]);
    sketch.end(&[value(1, 0), value(2, 1)]);
    sketch.is_legal();
    sketch.history.polls[0].position = Offset::ZERO;
    sketch.is_flagged(Invariant::A3);
}

#[test]
fn a_read_committed_consumer_stalls_at_the_last_stable_offset() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    let poll = sketch.read(10, 0, &[]);
    poll.isolation = Isolation::ReadCommitted;
    if let PollOutcome::Records { high_watermark, .. } = &mut poll.outcome {
        *high_watermark = Offset::new(1);
    }
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    if let PollOutcome::Records { records, next, .. } = &mut sketch.history.polls[0].outcome {
        (*records, *next) = (vec![value(1, 0)], Offset::new(1));
    }
    sketch.is_flagged(Invariant::B6);
}

#[test]
fn a_leader_that_was_replaced_may_serve_what_it_had() {
    let mut sketch = Sketch::new();
    let promised = sketch.write(1, 0, Class::Ok, Some(0));
    promised.answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.read(10, 0, &[]);
    sketch.history.offset_lookups.push(OffsetLookup {
        partition: partition(),
        node: NodeId::new(1),
        leader_epoch: LeaderEpoch::new(0),
        invoked: at(10),
        returned: at(11),
        query: OffsetQuery::Latest,
        answer: Some(Offset::ZERO),
    });
    sketch.end(&[seen(1, 0, 1)]);
    sketch.is_legal();
    sketch.expectations.reads = ReadProfile::Strict;
    sketch.is_flagged(Invariant::B8);
    sketch.history.offset_lookups[0].leader_epoch = LeaderEpoch::new(1);
    sketch.is_flagged(Invariant::B5);
}

#[test]
fn a_follower_may_be_behind_its_leader() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    let poll = sketch.read(10, 0, &[]);
    (poll.node, poll.as_leader) = (NodeId::new(2), false);
    sketch.expectations.reads = ReadProfile::Strict;
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.polls[0].as_leader = true;
    sketch.is_flagged(Invariant::B8);
}

#[test]
fn an_offset_may_be_out_of_range_at_a_follower_that_is_behind() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    let poll = sketch.read(10, 1, &[]);
    (poll.node, poll.as_leader, poll.outcome) = (NodeId::new(2), false, PollOutcome::OutOfRange);
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.polls[0].as_leader = true;
    sketch.is_flagged(Invariant::B7);
}

#[test]
fn the_high_watermark_of_a_node_that_came_back_may_be_lower() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.read(10, 0, &[value(1, 0)]).as_leader = false;
    sketch.note(1, 15, NodeEventKind::Killed);
    sketch.note(1, 16, NodeEventKind::Started);
    let poll = sketch.read(20, 1, &[]);
    told(poll, 0, 0);
    poll.as_leader = false;
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.node_events.clear();
    sketch.is_flagged(Invariant::B4);
}

#[test]
fn a_write_with_acks_one_may_be_lost_and_its_offset_written_anew() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Weak, Some(0));
    let other = sketch.write(2, 10, Class::Ok, Some(0));
    other.answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.read(20, 0, &[seen(2, 0, 1)]).leader_epoch = LeaderEpoch::new(1);
    sketch.history.polls[0].node = NodeId::new(2);
    sketch.end(&[seen(2, 0, 1)]);
    sketch.is_legal();
    sketch.history.sends[0].class = Class::Ok;
    sketch.is_flagged(Invariant::A2);
    sketch.is_flagged(Invariant::A1);
}

#[test]
fn an_unclean_election_may_lose_records_in_a_run_that_declared_it() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.read(10, 0, &[value(1, 0)]);
    let other = sketch.write(2, 20, Class::Ok, Some(0));
    other.answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.end(&[seen(2, 0, 1)]);
    sketch.expectations.unclean_election = UncleanElection::Allowed;
    sketch.is_legal();
    sketch.expectations.unclean_election = UncleanElection::Forbidden;
    sketch.is_flagged(Invariant::A2);
    sketch.is_flagged(Invariant::B9);
}

#[test]
fn a_power_failure_may_lose_what_only_a_page_cache_was_promised_to_hold() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.note(1, 10, NodeEventKind::PowerLost);
    sketch.end(&[]);
    sketch.expectations.flush = FlushPromise::PageCache;
    sketch.is_legal();
    sketch.history.node_events[0].what = NodeEventKind::Killed;
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn a_deleted_topic_takes_its_records_with_it() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Info, None);
    sketch.administer(AdministrationKind::DeleteTopic { topic: partition().topic }, 11, Class::Ok);
    sketch.end(&[]);
    sketch.is_legal();
    sketch.history.administrations[0].class = Class::Fail;
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn the_start_of_a_log_jumps_when_records_are_deleted() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    let before = Offset::new(1);
    sketch.administer(AdministrationKind::DeleteRecords { partition: partition(), before }, 20, Class::Ok);
    sketch.read(30, 0, &[]).outcome = PollOutcome::OutOfRange;
    told(sketch.read(40, 1, &[value(2, 1)]), 1, 2);
    sketch.end(&[value(2, 1)]);
    sketch.is_legal();
    sketch.history.administrations.clear();
    sketch.is_flagged(Invariant::B7);
    sketch.is_flagged(Invariant::B11);
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn an_epoch_may_have_ended_where_a_log_began_that_a_later_leader_has_whole() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    for value in [2, 3] {
        let later = sketch.write(value, value * 10, Class::Ok, Some(value as i64 - 1));
        later.answered_by = Some((NodeId::new(1), LeaderEpoch::new(1)));
    }
    let before = Offset::new(2);
    sketch.administer(AdministrationKind::DeleteRecords { partition: partition(), before }, 40, Class::Info);
    sketch.history.epoch_lookups.push(EpochLookup {
        partition: partition(),
        node: NodeId::new(1),
        leader_epoch: LeaderEpoch::new(1),
        returned: at(50),
        epoch: LeaderEpoch::new(0),
        answer: Some((LeaderEpoch::new(0), Offset::new(2))),
    });
    sketch.end(&[seen(1, 0, 0), seen(2, 1, 1), seen(3, 2, 1)]);
    sketch.is_legal();
    sketch.history.administrations.clear();
    sketch.is_flagged(Invariant::A10);
}

#[test]
fn a_write_may_wait_through_the_faults_while_too_few_are_in_sync() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0)).returned = Some(at(62_000));
    sketch.history.healed_at = Some(at(60_000));
    for (index, state) in [(1, state(&[1], &[2], (0, 0))), (2, state(&[1, 2], &[], (0, 1)))] {
        sketch.history.metadata.push(MetadataEntry {
            index: LogIndex::new(index),
            term: Term::new(1),
            committed_at: at(index * 100),
            accepted: true,
            facts: vec![MetadataFact::Partition(state)],
        });
    }
    sketch.history.metadata[1].committed_at = at(61_000);
    sketch.history.faults.push(FaultSpan { name: "node 2 is gone".to_owned(), begin: at(0), end: at(60_000) });
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.history.metadata[1].committed_at = at(200);
    sketch.is_flagged(Invariant::F3);
}

#[test]
fn records_age_in_a_run_with_retention() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    sketch.end(&[value(2, 1)]);
    sketch.expectations.retention = Retention::Limited;
    sketch.is_legal();
    sketch.expectations.retention = Retention::Unlimited;
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn an_operation_may_be_open_when_the_run_ends() {
    let mut sketch = Sketch::new();
    let open = sketch.write(1, 99_999, Class::Info, None);
    open.returned = None;
    sketch.end(&[]);
    sketch.is_legal();
    sketch.history.sends[0].invoked = at(0);
    sketch.is_flagged(Invariant::F3);
}

#[test]
fn a_hole_in_a_session_is_none_when_its_write_was_refused() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Fail, None).session = session(7, 0);
    sketch.write(2, 10, Class::Ok, Some(0)).session = session(7, 0);
    sketch.end(&[value(2, 0)]);
    sketch.is_legal();
    sketch.history.sends[0].class = Class::Info;
    sketch.is_flagged(Invariant::A7g);
}

#[test]
fn logs_may_begin_at_different_offsets() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Ok, Some(0));
    sketch.write(2, 10, Class::Ok, Some(1));
    sketch.expectations.retention = Retention::Limited;
    for (node, start) in [(1, 0), (2, 1)] {
        let batch = |offset: i64, digest: u64| DumpedBatch {
            base: Offset::new(offset),
            last: Offset::new(offset),
            epoch: LeaderEpoch::new(0),
            session: None,
            is_sound: true,
            is_thinned: false,
            digest,
            records: vec![value(digest, offset)],
        };
        let batches = [batch(0, 1), batch(1, 2)].into_iter().filter(|batch| batch.base >= Offset::new(start));
        sketch.history.replicas.push(ReplicaDump {
            is_internal: false,
            node: NodeId::new(node),
            partition: partition(),
            log_start: Offset::new(start),
            high_watermark: Offset::new(2),
            end: Offset::new(2),
            epochs: vec![(LeaderEpoch::new(0), Offset::new(start))],
            batches: batches.collect(),
        });
    }
    sketch.end(&[value(1, 0), value(2, 1)]);
    sketch.is_legal();
    sketch.history.replicas[1].batches[0].digest = 3;
    sketch.is_flagged(Invariant::E1);
}

#[test]
fn a_leader_that_nobody_told_of_a_smaller_isr_may_acknowledge() {
    let mut sketch = Sketch::new();
    for (index, state) in [(1, state(&[1, 2], &[], (0, 0))), (2, state(&[1], &[2], (0, 1)))] {
        sketch.history.metadata.push(MetadataEntry {
            index: LogIndex::new(index),
            term: Term::new(1),
            committed_at: at(index * 10),
            accepted: true,
            facts: vec![MetadataFact::Partition(state)],
        });
    }
    sketch.note(1, 11, NodeEventKind::Applied { index: LogIndex::new(1), digest: 1 });
    sketch.write(1, 9000, Class::Ok, Some(0));
    sketch.end(&[value(1, 0)]);
    sketch.is_legal();
    sketch.note(1, 21, NodeEventKind::Applied { index: LogIndex::new(2), digest: 2 });
    sketch.is_flagged(Invariant::E10);
}

#[test]
fn a_node_that_hears_late_of_its_election_may_lack_what_was_committed_since() {
    let mut sketch = Sketch::new();
    let promised = sketch.write(1, 0, Class::Ok, Some(0));
    promised.answered_by = Some((NodeId::new(2), LeaderEpoch::new(3)));
    let leads = NodeEventKind::Leads { partition: partition(), epoch: LeaderEpoch::new(2), end: Offset::ZERO };
    sketch.note(1, 10, leads);
    sketch.end(&[seen(1, 0, 3)]);
    sketch.is_legal();
    sketch.history.sends[0].answered_by = Some((NodeId::new(2), LeaderEpoch::new(1)));
    sketch.is_flagged(Invariant::E2);
}

#[test]
fn a_partition_may_be_out_of_service_while_there_is_a_fault() {
    let mut sketch = Sketch::new();
    sketch.write(1, 0, Class::Info, None).returned = Some(at(20_000));
    let fault = FaultSpan { name: "the leader is gone".to_owned(), begin: at(0), end: at(15_000) };
    sketch.history.faults.push(fault);
    sketch.end(&[]);
    sketch.is_legal();
    sketch.history.faults.clear();
    sketch.is_flagged(Invariant::F1);
}

#[test]
fn a_process_alone_that_ends_may_find_more_than_was_on_its_disk() {
    let mut sketch = Sketch::new();
    sketch.note(1, 10, NodeEventKind::Killed);
    sketch.note(1, 20, NodeEventKind::Started);
    let (end, attested, durable) = (Offset::new(5), Offset::new(3), Some(Offset::new(3)));
    let recovered = NodeEventKind::Recovered { partition: partition(), end, attested, durable, suspected: false };
    sketch.note(1, 21, recovered);
    sketch.end(&[]);
    sketch.is_legal();
    sketch.history.node_events[0].what = NodeEventKind::PowerLost;
    sketch.is_flagged(Invariant::E12);
}

#[test]
fn what_is_committed_just_before_the_end_need_not_have_reached_all() {
    let mut sketch = Sketch::new();
    sketch.history.healed_at = Some(at(1000));
    sketch.history.metadata.push(MetadataEntry {
        index: LogIndex::new(2),
        term: Term::new(1),
        committed_at: at(99_000),
        accepted: false,
        facts: Vec::new(),
    });
    sketch.note(1, 0, NodeEventKind::Started);
    sketch.note(1, 10, NodeEventKind::Applied { index: LogIndex::new(1), digest: 1 });
    sketch.end(&[]);
    sketch.is_legal();
    sketch.history.ended_at = at(99_000).plus(Duration::from_secs(60));
    sketch.is_flagged(Invariant::E5);
}
