//! A9, illegal gap: broken by consecutive batches of a raw log of which the later does not begin one past the end of
//! the earlier, or by a hole that a reader meets and that no legal removal explains.
//!
//! Source: KAFKA-10778 (append after a failed write). Holes are legal through compaction, and through transactions'
//! markers and aborted records: when those come, this file must ask for them.

use crate::model::{Offset, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{PollOutcome, ReplicaDump};
use crate::verify::index::{Index, PartitionFacts, read_by};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        for dump in &facts.dumps {
            check_dump(dump, findings);
        }
        check_scan(facts, findings);
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

fn check_scan(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let Some(scan) = &facts.scan else { return };
    let offsets = scan.records.iter().map(|seen| seen.offset);
    for (start, end) in holes(scan.start, offsets, scan.end, Offset::ZERO) {
        let partition = facts.id;
        findings.add(Invariant::A9, || format!("{partition}: nothing from {start} to {end} in the end"));
    }
}

fn check_polls(facts: &PartitionFacts<'_>, findings: &mut Findings) {
    for poll in &facts.polls {
        let PollOutcome::Records { records, next, .. } = &poll.outcome else { continue };
        let removed = facts.start_at_most(poll.returned);
        for (start, end) in holes(poll.position, records.iter().map(|seen| seen.offset), *next, removed) {
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
