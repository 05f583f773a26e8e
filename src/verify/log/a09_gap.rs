//! A9, illegal gap: broken by consecutive batches of a raw log of which the later does not begin one past the end of
//! the earlier, or by a hole that a reader meets and that no legal removal explains.
//!
//! Source: KAFKA-10778 (append after a failed write). In a compacted log offsets may be missing of which each may have been
//! taken by then. Holes are legal through transactions' markers and aborted records, too: when those come, this file must
//! ask for them.

use crate::model::{Instant, Offset, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{PollOutcome, ReplicaDump};
use crate::verify::index::{Index, PartitionFacts, read_by};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let ended_at = index.history.ended_at;
        for dump in &facts.dumps {
            match facts.keys {
                None => check_dump(dump, findings),
                Some(_) => check_compacted(facts, dump, ended_at, findings),
            }
        }
        check_scan(facts, ended_at, findings);
        check_polls(facts, findings);
    }
}

fn check_dump(dump: &ReplicaDump, findings: &mut Findings) {
    let ReplicaDump { node, partition, .. } = dump;
    // The log may start within its first batch.
    let mut next = dump.batches.first().map_or(dump.log_start, |first| first.base.min(dump.log_start));
    for batch in &dump.batches {
        if batch.base != next {
            let base = batch.base;
            findings
                .add(Invariant::A9, || format!("{partition}: the log of node {node} goes on at {base}, not at {next}"));
        }
        next = batch.last.plus(1);
    }
    if next != dump.end {
        let end = dump.end;
        findings
            .add(Invariant::A9, || format!("{partition}: the log of node {node} holds up to {next} and ends at {end}"));
    }
}

/// A log that is compacted: batches do not overlap, and what is missing may have been taken.
fn check_compacted(facts: &PartitionFacts<'_>, dump: &ReplicaDump, ended_at: Instant, findings: &mut Findings) {
    let ReplicaDump { node, partition, log_start, end, .. } = dump;
    for pair in dump.batches.windows(2).filter(|pair| pair[1].base <= pair[0].last) {
        let (base, last) = (pair[1].base, pair[0].last);
        findings
            .add(Invariant::A9, || format!("{partition}: the log of node {node} goes on at {base}, not behind {last}"));
    }
    let held = dump.batches.last().map_or(*log_start, |last| last.last.plus(1));
    if held != *end {
        findings
            .add(Invariant::A9, || format!("{partition}: the log of node {node} holds up to {held} and ends at {end}"));
    }
    let offsets = dump.batches.iter().flat_map(|batch| &batch.records).map(|seen| seen.offset);
    for hole in holes(*log_start, offsets, *end, Offset::ZERO) {
        if let Some(offset) = unexplained(facts, hole, ended_at) {
            findings.add(Invariant::A9, || format!("{partition}: the log of node {node} lacks {offset}"));
        }
    }
}

/// The first offset of a hole that nothing may have taken by then.
fn unexplained(facts: &PartitionFacts<'_>, hole: (Offset, Offset), moment: Instant) -> Option<Offset> {
    (hole.0.get()..hole.1.get()).map(Offset::new).find(|offset| !facts.may_lack(*offset, moment))
}

fn check_scan(facts: &PartitionFacts<'_>, ended_at: Instant, findings: &mut Findings) {
    let Some(scan) = &facts.scan else { return };
    let offsets = scan.records.iter().map(|seen| seen.offset);
    let holes = holes(scan.start, offsets, scan.end, Offset::ZERO);
    for (start, end) in holes.filter(|hole| unexplained(facts, *hole, ended_at).is_some()) {
        let partition = facts.id;
        findings.add(Invariant::A9, || format!("{partition}: nothing from {start} to {end} in the end"));
    }
}

fn check_polls(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    for poll in &facts.polls {
        let PollOutcome::Records { records, next, .. } = &poll.outcome else { continue };
        let removed = facts.start_at_most(poll.returned);
        let holes = holes(poll.position, records.iter().map(|seen| seen.offset), *next, removed);
        for (start, end) in holes.filter(|hole| unexplained(facts, *hole, poll.returned).is_some()) {
            let partition: PartitionId = facts.id;
            findings.add(Invariant::A9, || format!("{partition}: nothing from {start} to {end} for {}", read_by(poll)));
        }
    }
}

/// The ranges between a start and an end that no offset fills, as far as they are not below `removed`.
fn holes(
    start: Offset,
    offsets: impl Iterator<Item = Offset>,
    end: Offset,
    removed: Offset,
) -> impl Iterator<Item = (Offset, Offset)> {
    let mut next = start.max(removed);
    offsets.chain(std::iter::once(end)).filter_map(move |offset| {
        let hole = (next, offset);
        next = next.max(offset.plus(1));
        (hole.0 < hole.1).then_some(hole)
    })
}
