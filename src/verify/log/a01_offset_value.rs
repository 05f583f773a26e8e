//! A1, offset/value agreement: broken by an offset of a partition for which two values are claimed, by
//! acknowledgements, reads of any client from any replica at any time, and the scan at the end.
//!
//! Source: Jepsen's "inconsistent offsets" for Kafka. An acknowledgement with acks=1 may be of a copy that was lost; it
//! claims only when its value, sent once, was seen. In a run that may lose records, an offset may be written anew in a
//! later epoch: there, reads of one epoch must agree.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Class, Send};
use crate::verify::index::{Index, PartitionFacts, Reading, at_offset, sent};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        let by_offset = |a: &Reading<'_>, b: &Reading<'_>| a.seen.offset == b.seen.offset;
        for readings in facts.readings.chunk_by(by_offset) {
            check_readings(index, readings, findings);
        }
        if !index.loss_is_allowed() {
            check_claims(index, facts, findings);
        }
    }
}

/// The readings of one offset against the first of them.
fn check_readings(index: &Index<'_>, readings: &[Reading<'_>], findings: &mut Findings) {
    let Some((first, others)) = readings.split_first() else { return };
    if index.loss_is_allowed() {
        check_by_epoch(readings, findings);
        return;
    }
    let Some(first) = Some(first).filter(|r| r.seen.value.is_some()).or_else(|| sound(others)) else { return };
    for other in others {
        contradict(first, other, findings);
    }
}

fn sound<'a, 'h>(readings: &'a [Reading<'h>]) -> Option<&'a Reading<'h>> {
    readings.iter().find(|reading| reading.seen.value.is_some())
}

fn check_by_epoch(readings: &[Reading<'_>], findings: &mut Findings) {
    let mut firsts: Vec<&Reading<'_>> = Vec::new();
    for reading in readings.iter().filter(|r| r.seen.value.is_some()) {
        match firsts.iter().find(|first| first.seen.epoch == reading.seen.epoch) {
            Some(first) => contradict(first, reading, findings),
            None => firsts.push(reading),
        }
    }
}

fn contradict(first: &Reading<'_>, other: &Reading<'_>, findings: &mut Findings) {
    if other.seen.value.is_some() && first.seen.value != other.seen.value {
        findings.add(Invariant::A1, || format!("{}, but {}", at_offset(first), at_offset(other)));
    }
}

/// The acknowledgements against each other and against a reading of the same offset.
fn check_claims(index: &Index<'_>, facts: &PartitionFacts<'_>, findings: &mut Findings) {
    let mut claims: Vec<(Offset, &Send)> =
        facts.sends.iter().filter_map(|place| Some((claim(index, *place)?, &index.history.sends[*place]))).collect();
    claims.sort_by_key(|(offset, _)| *offset);
    for pair in claims.windows(2) {
        let ((offset, first), (other_offset, other)) = (pair[0], pair[1]);
        if offset == other_offset && first.value != other.value {
            findings.add(Invariant::A1, || format!("offset {offset} holds {}, but also {}", sent(first), sent(other)));
        }
    }
    for (offset, send) in claims {
        let from = facts.readings.partition_point(|reading| reading.seen.offset < offset);
        let Some(reading) = sound(&facts.readings[from..]).filter(|reading| reading.seen.offset == offset) else {
            continue;
        };
        if reading.seen.value != Some(send.value) {
            findings.add(Invariant::A1, || format!("{}, but {}", sent(send), at_offset(reading)));
        }
    }
}

/// The offset that an acknowledgement claims for its value.
fn claim(index: &Index<'_>, place: usize) -> Option<Offset> {
    let send = &index.history.sends[place];
    let claims = match send.class {
        Class::Ok => true,
        Class::Weak => send.attempts == 1 && index.fate(place).lowest.is_some(),
        Class::Fail | Class::Info => false,
    };
    send.offset.filter(|_| claims)
}
