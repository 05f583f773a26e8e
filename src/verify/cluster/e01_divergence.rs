//! E1, replica divergence: broken by two replicas of a partition whose batches differ, after everything has come to
//! rest, at any offset that both hold, or whose ends or high watermarks differ.
//!
//! Source: KIP-101, KIP-279; the spec's LogMatching. Where segments begin may differ, and so may the log's start.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{DumpedBatch, ReplicaDump};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let mut dumps = facts.replicas();
        let Some(first) = dumps.next() else { continue };
        for other in dumps {
            compare_ends(first, other, findings);
            compare_batches(first, other, findings);
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

/// The batches that begin where both hold something.
fn shared(dump: &ReplicaDump, start: Offset, end: Offset) -> impl Iterator<Item = &DumpedBatch> {
    dump.batches.iter().filter(move |batch| batch.base >= start && batch.base < end)
}

fn batch(batch: Option<&DumpedBatch>) -> String {
    let Some(DumpedBatch { base, last, epoch, digest, .. }) = batch else { return "nothing more".to_owned() };
    format!("batch {base} to {last} of epoch {epoch} with digest {digest:x}")
}
