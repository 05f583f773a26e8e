//! A7, producer order: broken by two values of one idempotent session for one partition, both in the log, of which the
//! later sent does not stand above the earlier; or the same of a plain producer that waited for the answer to the
//! earlier.
//!
//! Source: Jepsen's "nonmonotonic send"; KIP-98. A plain producer's earlier value must have been acknowledged with
//! acks=all: else a copy of it may still be on its way. Of a run that may lose records, only the end is judged.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Class, Send};
use crate::verify::index::{Index, PartitionFacts, sent};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        for session in sessions(index, facts).chunk_by(|a, b| session_of(index, *a) == session_of(index, *b)) {
            check_session(index, session, findings);
        }
        if !index.loss_is_allowed() {
            for client in plain(index, facts).chunk_by(|a, b| send(index, *a).client == send(index, *b).client) {
                check_plain(index, client, findings);
            }
        }
    }
}

fn send<'h>(index: &Index<'h>, place: usize) -> &'h Send {
    &index.history.sends[place]
}

fn session_of(index: &Index<'_>, place: usize) -> Option<crate::verify::history::Session> {
    send(index, place).session.map(|(session, _)| session)
}

/// The writes of idempotent producers to a partition, by session and in their order.
pub(super) fn sessions(index: &Index<'_>, facts: &PartitionFacts<'_>) -> Vec<usize> {
    let mut places: Vec<usize> = facts.sends.iter().copied().filter(|at| send(index, *at).session.is_some()).collect();
    places.sort_by_key(|place| (session_of(index, *place), send(index, *place).order));
    places
}

fn plain(index: &Index<'_>, facts: &PartitionFacts<'_>) -> Vec<usize> {
    let mut places: Vec<usize> = facts.sends.iter().copied().filter(|at| send(index, *at).session.is_none()).collect();
    places.sort_by_key(|place| (send(index, *place).client, send(index, *place).order));
    places
}

fn check_session(index: &Index<'_>, places: &[usize], findings: &mut Findings) {
    let mut highest: Option<(Offset, usize)> = None;
    for place in places.iter().copied().filter(|place| index.is_proven(*place)) {
        let Some(offset) = index.place_of(place) else { continue };
        judge(index, highest, (offset, place), findings);
        if highest.is_none_or(|(known, _)| known < offset) {
            highest = Some((offset, place));
        }
    }
}

fn check_plain(index: &Index<'_>, places: &[usize], findings: &mut Findings) {
    let mut highest: Option<(Offset, usize)> = None;
    for place in places.iter().copied() {
        let own = send(index, place);
        let told = own.offset.filter(|_| own.class == Class::Ok);
        if let Some(lowest) = told.into_iter().chain(index.fate(place).lowest).min() {
            judge(index, highest, (lowest, place), findings);
        }
        if let Some(offset) = told.filter(|_| own.alone)
            && highest.is_none_or(|(known, _)| known < offset)
        {
            highest = Some((offset, place));
        }
    }
}

fn judge(index: &Index<'_>, before: Option<(Offset, usize)>, later: (Offset, usize), findings: &mut Findings) {
    let Some((earlier_offset, earlier)) = before else { return };
    let (offset, place) = later;
    if offset <= earlier_offset {
        let (first, second) = (send(index, earlier), send(index, place));
        findings.add(Invariant::A7, || {
            format!("{} stands at {offset}; before it was sent {}, at {earlier_offset}", sent(second), sent(first))
        });
    }
}
