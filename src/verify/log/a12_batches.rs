//! A12, batch well-formedness: broken by a fetched batch whose checksum is wrong, or by one in a raw log whose checksum
//! or counts are wrong, whose records do not fill its offsets, or whose producer, epoch and sequence are not those that
//! its records were sent with.
//!
//! Source: record batch format v2; KAFKA-10778. In a compacted topic a batch that says so may have fewer records, or none.
//! Batches without records come with transactions, too; this file must know them then.

use crate::verify::Invariant;
use crate::verify::history::{DumpedBatch, PollOutcome, ReplicaDump};
use crate::verify::index::{Index, read_by, sent};
use crate::verify::report::Findings;

/// Judges every batch.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for poll in index.history.polls.iter().filter(|poll| poll.outcome == PollOutcome::Corrupt) {
        findings.add(Invariant::A12, || {
            format!("{}: a batch whose checksum is wrong for {}", poll.partition, read_by(poll))
        });
    }
    for dump in &index.history.replicas {
        for batch in &dump.batches {
            if let Some(flaw) = flaw(index, dump, batch) {
                findings.add(Invariant::A12, || describe(dump, batch, &flaw));
            }
        }
    }
}

fn describe(dump: &ReplicaDump, batch: &DumpedBatch, flaw: &str) -> String {
    let (partition, node) = (dump.partition, dump.node);
    let DumpedBatch { base, last, epoch, session, .. } = batch;
    format!("{partition}: batch {base} to {last} of epoch {epoch} and {session:?} in the log of node {node}: {flaw}")
}

fn flaw(index: &Index<'_>, dump: &ReplicaDump, batch: &DumpedBatch) -> Option<String> {
    if !batch.is_sound {
        return Some("its checksum or its counts are wrong".to_owned());
    }
    let is_compacted = index.partition(dump.partition).is_some_and(|facts| facts.keys.is_some());
    if batch.is_thinned && !is_compacted {
        return Some("it lacks records, or has a delete horizon".to_owned());
    }
    if dump.is_internal {
        return None;
    }
    let count = batch.last.since(batch.base) + 1;
    if i64::try_from(batch.records.len()) != Ok(count) && !batch.is_thinned {
        return Some(format!("holds {} records", batch.records.len()));
    }
    let mut next = 0;
    for seen in &batch.records {
        let place = i32::try_from(seen.offset.since(batch.base)).unwrap_or(-1);
        let is_in_place = if batch.is_thinned { place >= next && seen.offset <= batch.last } else { place == next };
        if !is_in_place || seen.epoch != batch.epoch {
            return Some(format!("its record {place} says offset {} of epoch {}", seen.offset, seen.epoch));
        }
        next = place + 1;
        let Some((_, send)) = seen.value.and_then(|value| index.send_of(value)) else { continue };
        let own = batch.session.map(|(session, first)| (session, first.plus(place)));
        if own != send.session {
            return Some(format!("its record {place} was sent as {:?}: {}", send.session, sent(send)));
        }
    }
    None
}
