//! A5, phantom, misroute or corruption: broken by a record whose own checksum is wrong, or which nobody had begun to
//! write when it was read, or which was written to another partition, or which is not as it was written.
//!
//! Source: Jepsen's "phantom" reads; CVE-2026-35554 (a buffer used again delivered records to another topic). Reads,
//! the final scan and the raw logs are judged; a batch whose checksum is wrong is A12's.

use crate::model::{Instant, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{DumpedBatch, ReplicaDump, Seen, Send};
use crate::verify::index::{Index, Reader, at_offset, sent};
use crate::verify::report::Findings;

/// Judges every record.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        for reading in &facts.readings {
            let returned = match reading.by {
                Reader::Poll(poll) => poll.returned,
                Reader::Scan => index.history.ended_at,
            };
            if let Some(flaw) = flaw(index, facts.id, reading.seen, returned) {
                let partition = facts.id;
                findings.add(Invariant::A5, || format!("{partition}: {}: {}", at_offset(reading), flaw.text()));
            }
        }
        for dump in &facts.dumps {
            check_dump(index, dump, findings);
        }
    }
}

fn check_dump(index: &Index<'_>, dump: &ReplicaDump, findings: &mut Findings) {
    let records = |batch: &'_ DumpedBatch| batch.is_sound;
    for seen in dump.batches.iter().filter(|batch| records(batch)).flat_map(|batch| &batch.records) {
        if let Some(flaw) = flaw(index, dump.partition, seen, index.history.ended_at) {
            let (partition, node, offset) = (dump.partition, dump.node, seen.offset);
            findings.add(Invariant::A5, || {
                format!("{partition}: offset {offset} in the log of node {node}: {}", flaw.text())
            });
        }
    }
}

/// What is wrong with a record.
enum Flaw<'h> {
    Unsound,
    Unknown,
    FromTheFuture(&'h Send),
    Misrouted(&'h Send, Option<PartitionId>),
    Altered(&'h Send, u64),
}

fn flaw<'h>(index: &Index<'h>, partition: PartitionId, seen: &Seen, read_at: Instant) -> Option<Flaw<'h>> {
    let Some(value) = seen.value else { return Some(Flaw::Unsound) };
    let Some((_, send)) = index.send_of(value) else { return Some(Flaw::Unknown) };
    if send.partition != partition || seen.wrote_to != Some(partition) {
        return Some(Flaw::Misrouted(send, seen.wrote_to));
    }
    if send.invoked > read_at {
        return Some(Flaw::FromTheFuture(send));
    }
    (send.digest != seen.digest).then_some(Flaw::Altered(send, seen.digest))
}

impl Flaw<'_> {
    fn text(&self) -> String {
        match self {
            Self::Unsound => "its own checksum is wrong, or it names no value".to_owned(),
            Self::Unknown => "nobody wrote this value".to_owned(),
            Self::FromTheFuture(send) => format!("read before it was written: {}", sent(send)),
            Self::Misrouted(send, Some(named)) => format!("it names partition {named}: {}", sent(send)),
            Self::Misrouted(send, None) => format!("it names no partition: {}", sent(send)),
            Self::Altered(send, digest) => {
                format!("its digest is {digest:x}, not {:x} as written: {}", send.digest, sent(send))
            }
        }
    }
}
