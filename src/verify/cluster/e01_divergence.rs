//! E1, replica divergence: broken by two replicas of a partition whose batches differ, after everything has come to
//! rest, at any offset that both hold, or whose ends or high watermarks differ.
//!
//! Source: KIP-101, KIP-279; the spec's LogMatching. Where segments begin may differ, and so may the log's start. Each
//! replica compacts by itself: of a compacted partition each may lack what the others hold (A9 and B12 say which), so what
//! both hold is compared, record by record.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{DumpedBatch, ReplicaDump, Seen};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let mut dumps = facts.replicas();
        let Some(first) = dumps.next() else { continue };
        for other in dumps {
            compare_ends(first, other, findings);
            match facts.keys {
                None => compare_batches(first, other, findings),
                Some(_) => compare_compacted(first, other, findings),
            }
        }
    }
}

fn compare_ends(first: &ReplicaDump, other: &ReplicaDump, findings: &mut Findings) {
    let same = first.end == other.end && first.high_watermark == other.high_watermark;
    if !same {
        findings.add(Invariant::E1, || format!("{}: {}, but {}", first.partition, ends(first), ends(other)));
    }
}

fn ends(dump: &ReplicaDump) -> String {
    format!("node {} has high watermark {} and end {}", dump.node, dump.high_watermark, dump.end)
}

fn compare_batches(first: &ReplicaDump, other: &ReplicaDump, findings: &mut Findings) {
    let start = first.log_start.max(other.log_start);
    let end = first.end.min(other.end);
    let (mut ours, mut theirs) = (shared(first, start, end), shared(other, start, end));
    loop {
        let (a, b) = (ours.next(), theirs.next());
        if a.is_none() && b.is_none() {
            return;
        }
        let agree = a.zip(b).is_some_and(|(a, b)| (a.base, a.last, a.digest) == (b.base, b.last, b.digest));
        if !agree {
            let (n, m) = (first.node, other.node);
            findings.add(Invariant::E1, || {
                format!("{}: node {n} holds {}, but node {m} {}", first.partition, batch(a), batch(b))
            });
            return;
        }
    }
}

/// What both hold of logs that are compacted.
fn compare_compacted(first: &ReplicaDump, other: &ReplicaDump, findings: &mut Findings) {
    let (mut ours, mut theirs) = (first.batches.iter().peekable(), other.batches.iter().peekable());
    while let (Some(a), Some(b)) = (ours.peek(), theirs.peek()) {
        if a.last < b.base {
            ours.next();
            continue;
        }
        if b.last < a.base {
            theirs.next();
            continue;
        }
        if !are_one(a, b) {
            let (n, m) = (first.node, other.node);
            findings.add(Invariant::E1, || {
                format!("{}: node {n} holds {}, but node {m} {}", first.partition, batch(Some(a)), batch(Some(b)))
            });
            return;
        }
        ours.next();
        theirs.next();
    }
}

/// Whether two batches were one before they were compacted.
fn are_one(a: &DumpedBatch, b: &DumpedBatch) -> bool {
    let is_whole = !a.is_thinned && !b.is_thinned;
    let is_other = |seen: &Seen| b.records.iter().any(|other| other.offset == seen.offset && other != seen);
    (a.base, a.last, a.epoch, a.session) == (b.base, b.last, b.epoch, b.session)
        && (!is_whole || a.digest == b.digest)
        && !a.records.iter().any(is_other)
}

/// The batches that begin where both hold something.
fn shared(dump: &ReplicaDump, start: Offset, end: Offset) -> impl Iterator<Item = &DumpedBatch> {
    dump.batches.iter().filter(move |batch| batch.base >= start && batch.base < end)
}

fn batch(batch: Option<&DumpedBatch>) -> String {
    let Some(DumpedBatch { base, last, epoch, digest, .. }) = batch else { return "nothing more".to_owned() };
    format!("batch {base} to {last} of epoch {epoch} with digest {digest:x}")
}
