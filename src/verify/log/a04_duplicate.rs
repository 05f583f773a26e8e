//! A4, duplicate: broken by a value that stands at two offsets, by its acknowledgement, by reads and by the final scan,
//! if its producer is idempotent, or sent it once only.
//!
//! Source: Jepsen's "duplicates"; KIP-98. In a run that may lose records, only the final scan is judged: a lost copy
//! may be written again elsewhere.

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{Class, Send};
use crate::verify::index::{Index, sent};
use crate::verify::report::Findings;

/// Judges every write.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (place, send) in index.history.sends.iter().enumerate() {
        if send.may_stand_twice() {
            continue;
        }
        if let Some((first, second)) = two_places(index, place, send) {
            findings.add(Invariant::A4, || format!("{} stands at offset {first} and at offset {second}", sent(send)));
        }
    }
}

fn two_places(index: &Index<'_>, place: usize, send: &Send) -> Option<(Offset, Offset)> {
    let fate = index.fate(place);
    let (lowest, highest) = match index.loss_is_allowed() {
        true => (fate.scanned?, fate.scanned_highest?),
        false => (fate.lowest?, fate.highest?),
    };
    if lowest != highest {
        return Some((lowest, highest));
    }
    let told = send.offset.filter(|_| is_binding(send) && !index.loss_is_allowed())?;
    (told != lowest).then_some((told, lowest))
}

/// Whether the offset that was told is that of the one copy there may be: with acks=1 a first copy may have been lost.
fn is_binding(send: &Send) -> bool {
    match send.class {
        Class::Ok => true,
        Class::Weak => send.attempts == 1,
        Class::Fail | Class::Info => false,
    }
}
