//! A13, sequence continuity in the raw log: broken by a batch of an idempotent session whose first sequence is not one
//! past the last of the session's batch before it in the log, or, for its first, not the one with which the
//! session began.
//!
//! Source: KIP-98; KIP-360. The first may be any once the log's start has moved, and in a session that used acks=1,
//! whose first batches may be lost. Of a compacted log whole batches may be missing, of which each record may have been
//! taken. Not judged in a run that allowed loss.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Offset, Sequence};
use crate::verify::Invariant;
use crate::verify::history::{Class, ReplicaDump, Session};
use crate::verify::index::{Index, PartitionFacts};
use crate::verify::report::Findings;

/// Judges every replica.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        let taken = taken(index, facts);
        for dump in &facts.dumps {
            check_dump(index, facts, &taken, dump, findings);
        }
    }
}

/// The sequences of records that compaction may have taken by the end.
fn taken(index: &Index<'_>, facts: &PartitionFacts<'_>) -> Taken {
    let Some(keys) = &facts.keys else { return Taken::new() };
    let sends = facts.sends.iter().map(|place| &index.history.sends[*place]);
    let taken = sends.filter(|send| keys.may_lack_value(send.value, index.history.ended_at));
    taken.filter_map(|send| send.session.map(|(session, sequence)| (session, sequence.get()))).collect()
}

type Taken = BTreeSet<(Session, i32)>;

fn check_dump(
    index: &Index<'_>,
    facts: &PartitionFacts<'_>,
    taken: &Taken,
    dump: &ReplicaDump,
    findings: &mut Findings,
) {
    let mut next: BTreeMap<Session, Sequence> = BTreeMap::new();
    for batch in &dump.batches {
        let Some((session, first)) = batch.session else { continue };
        let count = batch.last.since(batch.base) + 1;
        let follows = first.plus(i32::try_from(count).unwrap_or(i32::MAX));
        let expected = next.insert(session, follows);
        let is_free = || facts.start_at_most_ever() > Offset::ZERO || is_weak(index, facts, session);
        let due = expected.unwrap_or_else(|| first_sent(index, facts, session));
        if are_taken(taken, session, due, first) || expected.is_none() && is_free() {
            continue;
        }
        let (partition, node, base) = (dump.partition, dump.node, batch.base);
        findings.add(Invariant::A13, || match expected {
            Some(expected) => format!(
                "{partition}: {session:?} goes on with sequence {first} at {base} in the log of node {node}, not with \
                 {expected}"
            ),
            None => {
                format!("{partition}: {session:?} begins with sequence {first} at {base} in the log of node {node}")
            }
        });
    }
}

/// Whether all that a session wrote from one sequence up to another may have been taken; so it is if there is nothing.
fn are_taken(taken: &Taken, session: Session, from: Sequence, end: Sequence) -> bool {
    let mut next = from;
    while next != end && taken.contains(&(session, next.get())) {
        next = next.plus(1);
    }
    next == end
}

/// The sequence with which a session began.
fn first_sent(index: &Index<'_>, facts: &PartitionFacts<'_>, session: Session) -> Sequence {
    let sends = facts.sends.iter().map(|place| &index.history.sends[*place]);
    let of_session =
        sends.filter_map(|send| send.session.filter(|(own, _)| *own == session).map(|(_, s)| (send.order, s)));
    of_session.min_by_key(|(order, _)| *order).map(|(_, sequence)| sequence).unwrap_or_default()
}

fn is_weak(index: &Index<'_>, facts: &PartitionFacts<'_>, session: Session) -> bool {
    let mut sends = facts.sends.iter().map(|place| &index.history.sends[*place]);
    sends.any(|send| send.class == Class::Weak && send.session.is_some_and(|(own, _)| own == session))
}
