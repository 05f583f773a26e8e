//! A7g, idempotent gap: broken by a value of an idempotent session that is not in the log in the end, though one that
//! the same session sent later is, and no epoch began in between.
//!
//! Source: KIP-98: a broker takes the sequences of a session without a hole. A refused value uses no sequence, and one
//! sent with acks=1 may be lost; neither is a hole. Values that might have been removed legally do not count either, by
//! compaction either.
//! Not judged in a run that allowed loss.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Class, Send};
use crate::verify::index::{Index, Keys, PartitionFacts, sent};
use crate::verify::report::Findings;

use super::a07_order::sessions;

/// Judges every partition that was scanned.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    let session_of = |place: &usize| index.history.sends[*place].session.map(|(session, _)| session);
    for facts in index.partitions.iter().filter(|facts| facts.lasting_scan().is_some()) {
        for session in sessions(index, facts).chunk_by(|a, b| session_of(a) == session_of(b)) {
            check_session(index, facts, session, findings);
        }
    }
}

fn check_session(index: &Index<'_>, facts: &PartitionFacts<'_>, places: &[usize], findings: &mut Findings) {
    let removed = facts.start_at_most_ever();
    // Above everything of the session that came before; what is missing could only stand from here on.
    let mut next = Offset::ZERO;
    let mut missing: Option<&Send> = None;
    for place in places.iter().copied() {
        let send = &index.history.sends[place];
        let Some(offset) = index.place_of(place) else {
            let may_lack = |keys: &Keys<'_>| keys.may_lack_value(send.value, index.history.ended_at);
            let is_compacted = facts.keys.as_ref().is_some_and(may_lack);
            if send.class == Class::Info && next >= removed && !is_compacted {
                missing = missing.or(Some(send));
            }
            continue;
        };
        if let Some(missing) = missing.take()
            && index.fate(place).scanned.is_some()
        {
            findings.add(Invariant::A7g, || {
                format!("{} stands at {offset}, but not what was sent before it: {}", sent(send), sent(missing))
            });
        }
        next = next.max(offset.plus(1));
    }
}
