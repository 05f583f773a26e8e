//! B6, watermark order: broken by an answer in which not start <= last stable offset <= high watermark, or which brings
//! a record at or above what its isolation level may read; by a start, or a stable offset, that falls from answer to
//! answer of one node in one epoch; or by a replica in whose log not start <= high watermark <= end.
//!
//! Source: KIP-98, KIP-101. In a run that allowed loss, only single answers are judged.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Isolation, Poll, PollOutcome, ReplicaDump};
use crate::verify::index::{Index, PartitionFacts, read_by, records_of};
use crate::verify::report::Findings;

/// What an answer tells.
#[derive(Clone, Copy, Debug)]
struct Told {
    start: Offset,
    stable: Offset,
    watermark: Offset,
}

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        for poll in &facts.polls {
            if let Some(told) = told(poll) {
                check_answer(poll, told, findings);
            }
        }
        if !index.loss_is_allowed() {
            check_successions(index, facts, findings);
        }
        for dump in &facts.dumps {
            check_dump(dump, findings);
        }
    }
}

const fn told(poll: &Poll) -> Option<Told> {
    match &poll.outcome {
        PollOutcome::Records { high_watermark, last_stable, log_start, .. } => {
            Some(Told { start: *log_start, stable: *last_stable, watermark: *high_watermark })
        }
        PollOutcome::OutOfRange | PollOutcome::Corrupt => None,
    }
}

fn check_answer(poll: &Poll, told: Told, findings: &mut Findings) {
    if told.start > told.stable || told.stable > told.watermark {
        findings.add(Invariant::B6, || format!("{}: {told:?} for {}", poll.partition, read_by(poll)));
    }
    let readable = match poll.isolation {
        Isolation::ReadUncommitted => told.watermark,
        Isolation::ReadCommitted => told.stable,
    };
    if let Some(seen) = records_of(&poll.outcome).iter().find(|seen| seen.offset >= readable) {
        findings.add(Invariant::B6, || {
            format!("{}: {told:?} and a record at {} for {}", poll.partition, seen.offset, read_by(poll))
        });
    }
}

fn check_successions(index: &Index<'_>, facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let polls = facts.polls.iter().copied().filter(|poll| told(poll).is_some());
    for (before, poll) in index.successions(polls).filter(|(a, b)| a.leader_epoch == b.leader_epoch) {
        let (Some(earlier), Some(later)) = (told(before), told(poll)) else { continue };
        if later.start < earlier.start || later.stable < earlier.stable {
            findings.add(Invariant::B6, || {
                format!("{}: {earlier:?} for {}; then {later:?} for {}", facts.id, read_by(before), read_by(poll))
            });
        }
    }
}

fn check_dump(dump: &ReplicaDump, findings: &mut Findings) {
    let ReplicaDump { node, partition, log_start, high_watermark, end, .. } = dump;
    if log_start > high_watermark || high_watermark > end {
        findings.add(Invariant::B6, || {
            format!("{partition}: node {node} has start {log_start}, high watermark {high_watermark} and end {end}")
        });
    }
}
