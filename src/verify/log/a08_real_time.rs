//! A8, real-time append order: broken by a value whose writing began after some offset of its partition had been
//! acknowledged or read, and which stands at or below that offset; or by a value that a leader acknowledged with acks=0
//! or 1, whose writing began when a later leader had been known for longer than a session (rule R20).
//!
//! Source: linearizability of the log, as Jepsen checks it with realtime edges. Not judged in a run that allowed loss.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Class, Send};
use crate::verify::index::{Evidence, Index, PartitionFacts, sent};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        for place in &facts.sends {
            check_send(index, facts, *place, findings);
            check_session(index, facts, &index.history.sends[*place], findings);
        }
    }
}

fn check_send(index: &Index<'_>, facts: &PartitionFacts<'_>, place: usize, findings: &mut Findings) {
    let send = &index.history.sends[place];
    let Some(known) = facts.floor.before(send.invoked) else { return };
    let Some(lowest) = lowest_place(index, place) else { return };
    if lowest < known.end {
        findings.add(Invariant::A8, || format!("{} stands at offset {lowest}, but {known}", sent(send)));
    }
}

fn check_session(index: &Index<'_>, facts: &PartitionFacts<'_>, send: &Send, findings: &mut Findings) {
    let Some((_, epoch)) = send.answered_by.filter(|_| send.class == Class::Weak) else { return };
    let bound = index.expectations.bounds.session;
    let is_later = |evidence: &&Evidence<'_>| {
        evidence.epoch.is_some_and(|later| later > epoch) && evidence.at.plus(bound) < send.invoked
    };
    if let Some(known) = facts.floor.evidence.iter().find(is_later) {
        findings.add(Invariant::A8, || format!("{}, though in a later epoch {known}", sent(send)));
    }
}

/// The lowest offset at which it is promised or seen to stand.
fn lowest_place(index: &Index<'_>, place: usize) -> Option<Offset> {
    let (send, seen) = (&index.history.sends[place], index.fate(place).lowest);
    let told = send.offset.filter(|_| send.class == Class::Ok);
    told.into_iter().chain(seen).min()
}
