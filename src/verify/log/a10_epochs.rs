//! A10, epoch order: broken by leader epochs that fall as offsets rise; by one offset that is read in two epochs; by a
//! replica's epoch cache that disagrees with its batches, or, in the end, with that of another replica; or by an
//! OffsetForLeaderEpoch that does not answer with the first offset of a later epoch.
//!
//! Source: KIP-101, KIP-279, KAFKA-10706. What a leader says of an epoch before its own is judged where the end of the
//! run holds a record of its epoch: then its log below was what stands in the end. A run that may lose records may
//! read an offset in two epochs. In a compacted log an epoch begins anywhere behind the last batch of the one before:
//! there each replica's cache is compared with its batches only, and those with the other's (E1).

use crate::model::{LeaderEpoch, Offset};
use crate::verify::Invariant;
use crate::verify::history::{EpochLookup, ReplicaDump, Seen};
use crate::verify::index::{Index, PartitionFacts, Reading, Scan, at_offset, read_by, records_of};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        check_reads(facts, findings);
        if !index.loss_is_allowed() {
            check_offsets(facts, findings);
        }
        for dump in &facts.dumps {
            check_dump(dump, findings);
        }
        let mut replicas = facts.replicas();
        if let Some(first) = replicas.next() {
            replicas.filter(|_| facts.keys.is_none()).for_each(|other| check_caches(first, other, findings));
        }
        if let Some(scan) = facts.lasting_scan() {
            for lookup in &facts.epoch_lookups {
                check_lookup(facts, scan, lookup, findings);
            }
        }
    }
}

fn check_reads(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let falls = |a: &Seen, b: &Seen| a.offset < b.offset && a.epoch > b.epoch;
    for poll in &facts.polls {
        for pair in records_of(&poll.outcome).windows(2).filter(|pair| falls(&pair[0], &pair[1])) {
            findings.add(Invariant::A10, || format!("{} for {}", fall(facts, &pair[0], &pair[1]), read_by(poll)));
        }
    }
    let scanned = facts.scan.as_ref().map_or(&[][..], |scan| &scan.records);
    for pair in scanned.windows(2).filter(|pair| falls(pair[0], pair[1])) {
        findings.add(Invariant::A10, || format!("{} in the end", fall(facts, pair[0], pair[1])));
    }
}

fn fall(facts: &PartitionFacts<'_>, a: &Seen, b: &Seen) -> String {
    let partition = facts.id;
    format!("{partition}: offset {} is of epoch {}, and offset {} of epoch {}", a.offset, a.epoch, b.offset, b.epoch)
}

/// One offset, one epoch.
fn check_offsets(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let by_offset = |a: &Reading<'_>, b: &Reading<'_>| a.seen.offset == b.seen.offset;
    for readings in facts.readings.chunk_by(by_offset) {
        let Some((first, others)) = readings.split_first() else { continue };
        if let Some(other) = others.iter().find(|other| other.seen.epoch != first.seen.epoch) {
            findings.add(Invariant::A10, || format!("{}: {}, but {}", facts.id, at_offset(first), at_offset(other)));
        }
    }
}

fn check_dump(dump: &ReplicaDump, findings: &mut Findings) {
    let (partition, node) = (dump.partition, dump.node);
    for pair in dump.batches.windows(2).filter(|pair| pair[0].epoch > pair[1].epoch) {
        let ((a, at), (b, later)) = ((pair[0].epoch, pair[0].base), (pair[1].epoch, pair[1].base));
        findings.add(Invariant::A10, || {
            format!("{partition}: node {node} holds epoch {a} at {at} and epoch {b} at {later}")
        });
    }
    for pair in dump.epochs.windows(2).filter(|pair| pair[0].0 >= pair[1].0 || pair[0].1 > pair[1].1) {
        findings.add(Invariant::A10, || format!("{partition}: node {node}'s epoch cache falls: {pair:?}"));
    }
    for batch in dump.batches.iter().filter(|batch| batch.last >= dump.log_start) {
        let cached = epoch_at(&dump.epochs, batch.base.max(dump.log_start));
        if cached != Some(batch.epoch) {
            let (base, epoch) = (batch.base, batch.epoch);
            findings.add(Invariant::A10, || {
                format!("{partition}: node {node} holds epoch {epoch} at {base}, its cache says {cached:?}")
            });
        }
    }
}

fn epoch_at(epochs: &[(LeaderEpoch, Offset)], offset: Offset) -> Option<LeaderEpoch> {
    epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
}

/// Two replicas' caches, where both hold records.
fn check_caches(a: &ReplicaDump, b: &ReplicaDump, findings: &mut Findings) {
    let (start, end) = (a.log_start.max(b.log_start), a.end.min(b.end));
    let (ours, theirs) = (within(&a.epochs, start, end), within(&b.epochs, start, end));
    if ours != theirs {
        let (partition, n, m) = (a.partition, a.node, b.node);
        findings.add(Invariant::A10, || {
            format!("{partition}: from {start} to {end}, node {n} has epochs {ours:?}, node {m} {theirs:?}")
        });
    }
}

/// The epochs that have records in a range, each with the first of them.
fn within(epochs: &[(LeaderEpoch, Offset)], start: Offset, end: Offset) -> Vec<(LeaderEpoch, Offset)> {
    let mut within = Vec::new();
    for (at, (epoch, begin)) in epochs.iter().enumerate() {
        let next = epochs.get(at + 1).map_or(end, |(_, next)| (*next).min(end));
        let begin = (*begin).max(start);
        if begin < next {
            within.push((*epoch, begin));
        }
    }
    within
}

fn check_lookup(facts: &PartitionFacts<'_>, scan: &Scan<'_>, lookup: &EpochLookup, findings: &mut Findings) {
    let below = |epoch: LeaderEpoch| scan.records.partition_point(|seen| seen.epoch <= epoch);
    let led_here = scan.records.iter().rev().any(|seen| seen.epoch == lookup.leader_epoch);
    let boundary = below(lookup.epoch);
    if lookup.epoch >= lookup.leader_epoch || !led_here || boundary == 0 {
        return;
    }
    let Some(first_later) = scan.records.get(boundary).map(|seen| seen.offset) else { return };
    // An epoch without a record ends where the log begins. Who led then may have deleted what the end of the run holds,
    // as a leader that had not heard of a deletion keeps it.
    let may_begin = |start: Offset| start > first_later && start <= facts.start_at_most(lookup.returned);
    let is_deleted = lookup.answer.is_some_and(|(epoch, end)| epoch == lookup.epoch && may_begin(end));
    // What lies between may have been taken by compaction, from who answered or since.
    let may_lack = |seen: &&Seen| facts.may_lack(seen.offset, lookup.returned);
    let is_below =
        |end: Offset| facts.keys.is_some() && end < first_later && scan.range(end, first_later).iter().all(may_lack);
    let is_right = lookup.answer.is_some_and(|(_, end)| end == first_later || is_below(end));
    if !is_right && !is_deleted {
        findings.add(Invariant::A10, || {
            let EpochLookup { partition, node, leader_epoch, returned, epoch, answer } = lookup;
            format!(
                "{partition}: node {node} in epoch {leader_epoch} told {answer:?} as the end of epoch {epoch} at \
                 {returned}, but the first offset of a later one is {first_later}"
            )
        });
    }
}
