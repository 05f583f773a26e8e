//! Edits that break what compaction promises.

use std::time::Duration;

use super::{flags_among, records, records_mut, removed, scan_of_mut, some_poll, some_send};
use crate::model::Offset;
use crate::verify::history::{Class, Keyed, Seen, Send};
use crate::verify::tests::{compacted, random::Random};
use crate::verify::{Expectations, History, Invariant};

/// Histories in which no tombstone is old enough to go.
fn with_tombstones(seed: u64) -> (History, Expectations) {
    compacted::run_with(seed, Duration::from_secs(86_400))
}

fn is_tombstone(send: &Send) -> bool {
    send.keyed.is_some_and(|keyed| keyed.is_tombstone)
}

fn key(send: &Send) -> Keyed {
    send.keyed.expect("each has a key")
}

/// Whether a write is known to stand at the offset that was told, and nowhere else.
fn has_one_place(send: &Send) -> bool {
    send.class == Class::Ok && send.offset.is_some() && !send.may_stand_twice()
}

/// A write that was promised, that nothing may have removed, and that is the last of its key.
fn some_last(history: &History, random: &mut Random, wanted: impl Fn(&Send) -> bool) -> Option<Send> {
    let later = |send: &Send, other: &Send| {
        other.partition == send.partition
            && key(other).key == key(send).key
            && other.class != Class::Fail
            && (!has_one_place(other) || other.offset > send.offset)
            && other.value != send.value
    };
    let place = some_send(history, random, |send| {
        let is_kept = has_one_place(send) && send.offset >= Some(removed(history, send.partition));
        is_kept && wanted(send) && !history.sends.iter().any(|other| later(send, other))
    })?;
    Some(history.sends[place].clone())
}

fn is_value(seen: &Seen, send: &Send) -> bool {
    seen.value == Some(send.value)
}

/// Takes a value out of the scan. Whether it was there.
fn take_scanned(history: &mut History, send: &Send) -> Option<()> {
    let scan = scan_of_mut(history, send.partition)?;
    let before = scan.records.len();
    scan.records.retain(|seen| !is_value(seen, send));
    (scan.records.len() < before).then_some(())
}

/// Takes a value out of one replica.
fn take_held(history: &mut History, random: &mut Random, send: &Send) -> Option<()> {
    let held = |seen: &Seen| is_value(seen, send);
    let holds = |at: &usize| {
        let dump = &history.replicas[*at];
        dump.partition == send.partition && dump.batches.iter().any(|batch| batch.records.iter().any(held))
    };
    let places: Vec<usize> = (0..history.replicas.len()).filter(holds).collect();
    let dump = &mut history.replicas[*random.pick(&places)?];
    for batch in dump.batches.iter_mut().filter(|batch| batch.records.iter().any(held)) {
        batch.records.retain(|seen| !held(seen));
        batch.is_thinned = true;
    }
    Some(())
}

#[test]
fn a_last_value_that_is_gone_is_flagged() {
    flags_among(Invariant::B12, compacted::run, |history, random| {
        let send = some_last(history, random, |send| !is_tombstone(send))?;
        take_scanned(history, &send)
    });
}

#[test]
fn a_last_value_that_one_replica_lacks_is_flagged() {
    flags_among(Invariant::B12, compacted::run, |history, random| {
        let send = some_last(history, random, |send| !is_tombstone(send))?;
        take_held(history, random, &send)
    });
}

#[test]
fn a_tombstone_that_is_gone_early_is_flagged() {
    flags_among(Invariant::B12, with_tombstones, |history, random| {
        let send = some_last(history, random, is_tombstone)?;
        match random.chance(50) {
            true => take_scanned(history, &send),
            false => take_held(history, random, &send),
        }
    });
}

#[test]
fn a_tombstone_that_a_reader_is_not_given_is_flagged() {
    flags_among(Invariant::B12, with_tombstones, |history, random| {
        let send = some_last(history, random, is_tombstone)?;
        let poll = some_poll(history, random, |poll| {
            poll.partition == send.partition && records(poll).iter().any(|seen| is_value(seen, &send))
        })?;
        records_mut(&mut history.polls[poll]).retain(|seen| !is_value(seen, &send));
        Some(())
    });
}

#[test]
fn an_older_value_after_a_newer_one_is_flagged() {
    flags_among(Invariant::B12, compacted::run, |history, random| {
        let sent = |seen: &Seen| history.sends.iter().find(|send| is_value(seen, send) && has_one_place(send));
        let pair = |records: &[Seen]| {
            let is_of_key = |a: &Seen, b: &Seen| {
                sent(a).zip(sent(b)).is_some_and(|(a, b)| a.keyed.map(|k| k.key) == b.keyed.map(|k| k.key))
            };
            let place = |seen: &Seen| sent(seen)?.offset;
            (1..records.len()).find_map(|later| {
                let is_placed = |at: usize| place(&records[at]) == Some(records[at].offset);
                let earlier = (0..later).find(|at| is_of_key(&records[*at], &records[later]) && is_placed(*at))?;
                is_placed(later).then_some((earlier, later))
            })
        };
        let poll = some_poll(history, random, |poll| pair(records(poll)).is_some())?;
        let (earlier, later) = pair(records(&history.polls[poll]))?;
        let records = records_mut(&mut history.polls[poll]);
        let (older, newer) = (records[earlier], records[later]);
        records[earlier] = Seen { offset: older.offset, ..newer };
        records[later] = Seen { offset: newer.offset, ..older };
        Some(())
    });
}

#[test]
fn a_record_that_has_moved_is_flagged() {
    flags_among(Invariant::B12, compacted::run, |history, random| {
        let promised = |history: &History, seen: &Seen| {
            history
                .sends
                .iter()
                .any(|send| is_value(seen, send) && has_one_place(send) && send.offset == Some(seen.offset))
        };
        let at = random.below(history.replicas.len());
        let dump = &history.replicas[at];
        // In front of it something was taken out.
        let (batch, place) = dump.batches.iter().enumerate().find_map(|(number, batch)| {
            let gap = |place: &usize| {
                let before = place.checked_sub(1).map_or(batch.base.plus(-1), |at| batch.records[at].offset);
                let seen = &batch.records[*place];
                before.plus(1) < seen.offset && seen.offset < dump.high_watermark && promised(history, seen)
            };
            Some((number, (0..batch.records.len()).find(gap)?))
        })?;
        let seen = &mut history.replicas[at].batches[batch].records[place];
        seen.offset = Offset::new(seen.offset.get() - 1);
        Some(())
    });
}
