//! B12, last value and time travel: broken by a copy, or a reader, that lacks a record which nothing may have taken: a later
//! record of its key, or, for a tombstone, `delete.retention.ms`; by a value that stands in the end though a tombstone had
//! deleted it; by a record at another offset than it was promised; or by a reader that is given an older record of a key
//! after a newer one.
//!
//! Source: KIP-58, KIP-534; Kafka's log compaction guarantees. Every poll is judged by the moment of its answer, every copy
//! by the end. Each replica compacts by itself, so that one which was out of sync for as long as a tombstone stays may never
//! have been sent it, as in Kafka: what that deleted may stand there, and wherever it is copied to. Not judged in a run that
//! allowed loss.

use std::collections::BTreeMap;

use crate::model::{Instant, Offset};
use crate::verify::Invariant;
use crate::verify::history::{ClientId, KeyId, Poll, PollOutcome, ReplicaDump, Seen, Send};
use crate::verify::index::{Index, Keys, Known, PartitionFacts, read_by, records_of, sent};
use crate::verify::report::Findings;

/// Judges every partition that is compacted.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let Some(keys) = &facts.keys else { continue };
        for poll in &facts.polls {
            check_poll(facts, keys, poll, findings);
        }
        check_order(index, facts, keys, findings);
        let removed = facts.start_at_most_ever();
        for copy in copies(facts) {
            let copy = Copy { start: copy.start.max(removed), ..copy };
            check_places(index, keys, &copy, findings);
            check_copy(index, keys, &copy, findings);
            check_view(index, facts, keys, &copy, findings);
        }
    }
}

/// What stands somewhere in the end.
struct Copy<'h> {
    of: String,
    start: Offset,
    end: Offset,
    /// By their offsets.
    records: Vec<&'h Seen>,
}

/// What a fresh consumer read, and what each replica holds and knows as committed.
fn copies<'a, 'h>(facts: &'a PartitionFacts<'h>) -> impl Iterator<Item = Copy<'h>> + 'a {
    let scan = facts.lasting_scan().map(|scan| Copy {
        of: "what is read in the end".to_owned(),
        start: scan.start,
        end: scan.end,
        records: scan.records.clone(),
    });
    let is_there = facts.deleted_from.is_none();
    scan.into_iter().chain(facts.replicas().filter(move |_| is_there).map(of_dump))
}

fn of_dump(dump: &ReplicaDump) -> Copy<'_> {
    let records = dump.batches.iter().flat_map(|batch| &batch.records);
    let mut records: Vec<&Seen> = records.filter(|seen| seen.offset < dump.high_watermark).collect();
    records.sort_by_key(|seen| seen.offset);
    Copy { of: format!("the log of node {}", dump.node), start: dump.log_start, end: dump.high_watermark, records }
}

/// A reader that passes an offset is given what stands there, if that may not have been taken by then.
fn check_poll(facts: &PartitionFacts<'_>, keys: &Keys<'_>, poll: &Poll, findings: &mut Findings) {
    let PollOutcome::Records { records, next, .. } = &poll.outcome else { return };
    let start = poll.position.max(facts.start_at_most(poll.returned));
    let mut given = records.iter().peekable();
    for known in keys.range(start, *next) {
        while given.next_if(|seen| seen.offset < known.offset).is_some() {}
        let is_given = given.peek().is_some_and(|seen| seen.offset == known.offset);
        if !is_given && !may_lack(known, poll.returned) {
            findings.add(Invariant::B12, || format!("{} for {}", missing(known), read_by(poll)));
        }
    }
}

fn may_lack(known: &Known<'_>, moment: Instant) -> bool {
    known.may_go_at.is_some_and(|at| at <= moment)
}

fn missing(known: &Known<'_>) -> String {
    let kind = if is_tombstone(known.send) { "the tombstone" } else { "the value" };
    let (key, offset) = (known.key.0, known.offset);
    match known.may_go_at {
        Some(at) => {
            format!("{kind} of key {key} at {offset}, which may go from {at} on, is missing: {}", sent(known.send))
        }
        None => format!("{kind} of key {key} at {offset} is missing, and no later one is there: {}", sent(known.send)),
    }
}

fn is_tombstone(send: &Send) -> bool {
    send.keyed.is_some_and(|keyed| keyed.is_tombstone)
}

/// Of one key a reader is never given what was written before what it has.
fn check_order(index: &Index<'_>, facts: &PartitionFacts<'_>, keys: &Keys<'_>, findings: &mut Findings) {
    let mut newest: BTreeMap<(ClientId, u32, KeyId), Offset> = BTreeMap::new();
    for poll in &facts.polls {
        for seen in records_of(&poll.outcome) {
            let Some(send) = sent_as(index, seen) else { continue };
            let (Some(keyed), Some(place)) = (send.keyed, promised(keys, send)) else { continue };
            let known = newest.entry((poll.client, poll.incarnation, keyed.key)).or_insert(place);
            if place < *known {
                let (key, newer) = (keyed.key.0, *known);
                findings.add(Invariant::B12, || {
                    format!("key {key} as of {place} after {newer}: {} for {}", sent(send), read_by(poll))
                });
            }
            *known = place.max(*known);
        }
    }
}

fn sent_as<'h>(index: &Index<'h>, seen: &Seen) -> Option<&'h Send> {
    index.send_of(seen.value?).map(|(_, send)| send)
}

/// The one place where a record was promised to stand, if it is the one that is known there.
fn promised(keys: &Keys<'_>, send: &Send) -> Option<Offset> {
    let known = keys.at(send.offset.filter(|_| !send.may_stand_twice())?)?;
    (known.send.value == send.value).then_some(known.offset)
}

/// What stays keeps its offset.
fn check_places(index: &Index<'_>, keys: &Keys<'_>, copy: &Copy<'_>, findings: &mut Findings) {
    for seen in &copy.records {
        let Some(send) = sent_as(index, seen) else { continue };
        if let Some(place) = promised(keys, send).filter(|place| *place != seen.offset) {
            let (of, offset) = (&copy.of, seen.offset);
            findings.add(Invariant::B12, || {
                format!("{}: {of}: at {offset} stands what was promised at {place}: {}", send.partition, sent(send))
            });
        }
    }
}

/// A copy holds all that may not have been taken by the end.
fn check_copy(index: &Index<'_>, keys: &Keys<'_>, copy: &Copy<'_>, findings: &mut Findings) {
    let mut held = copy.records.iter().peekable();
    for known in keys.range(copy.start, copy.end) {
        while held.next_if(|seen| seen.offset < known.offset).is_some() {}
        let is_held = held.peek().is_some_and(|seen| seen.offset == known.offset);
        if !is_held && !may_lack(known, index.history.ended_at) {
            findings.add(Invariant::B12, || format!("{}: {}", copy.of, missing(known)));
        }
    }
}

/// The last that a copy holds of a key is the last that was committed, or nothing.
fn check_view(
    index: &Index<'_>,
    facts: &PartitionFacts<'_>,
    keys: &Keys<'_>,
    copy: &Copy<'_>,
    findings: &mut Findings,
) {
    let keyed = |seen: &&Seen| Some((sent_as(index, seen)?.keyed?.key, seen.offset));
    let view: BTreeMap<KeyId, Offset> = copy.records.iter().filter_map(keyed).collect();
    for last in keys.lasts().filter(|last| copy.start <= last.offset && last.offset < copy.end) {
        let Some(shown) = view.get(&last.key).filter(|shown| **shown < last.offset) else { continue };
        if may_lack(last, index.history.ended_at) && !may_be_undone(index, facts, last) {
            let (of, key, offset) = (&copy.of, last.key.0, last.offset);
            findings.add(Invariant::B12, || {
                format!("{of}: key {key} shows what stands at {shown}, deleted at {offset} by {}", sent(last.send))
            });
        }
    }
}

/// Whether a replica may never have been sent a tombstone: it was not in sync at any time between the promise and the
/// first moment at which the tombstone may have been gone elsewhere.
fn may_be_undone(index: &Index<'_>, facts: &PartitionFacts<'_>, last: &Known<'_>) -> bool {
    let made_anew = index.expectations.compaction.is_some_and(|compaction| compaction.copies_made_anew);
    let (Some(promised), Some(gone)) = (last.send.returned, last.may_go_at) else { return true };
    let from = facts.states.partition_point(|state| state.at <= promised).saturating_sub(1);
    let until = facts.states.partition_point(|state| state.at <= gone);
    let states = facts.states.get(from..until).unwrap_or_default();
    let Some(replicas) = states.last().map(|state| &state.state.replicas) else { return true };
    made_anew || replicas.iter().any(|node| states.iter().all(|state| !state.state.isr.contains(node)))
}
