//! A8, real-time append order: broken by a value whose writing began after some offset of its partition had been
//! acknowledged or read, and which stands at or below that offset.
//!
//! Source: linearizability of the log, as Jepsen checks it with realtime edges. Not judged in a run that allowed loss.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::Class;
use crate::verify::index::{Index, PartitionFacts, sent};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        for place in &facts.sends {
            check_send(index, facts, *place, findings);
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

/// The lowest offset at which it is promised or seen to stand.
fn lowest_place(index: &Index<'_>, place: usize) -> Option<Offset> {
    let (send, seen) = (&index.history.sends[place], index.fate(place).lowest);
    let told = send.offset.filter(|_| send.class == Class::Ok);
    told.into_iter().chain(seen).min()
}
