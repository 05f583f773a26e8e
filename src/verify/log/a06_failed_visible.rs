//! A6, failed write visible: broken by a value of which every attempt was refused before anything was written, and
//! which somebody reads, in the run or in the final scan.
//!
//! Source: Adya's G1a, for produces. Which errors are such refusals, the recorder knows.

use crate::verify::Invariant;
use crate::verify::history::Class;
use crate::verify::index::{Index, sent};
use crate::verify::report::Findings;

/// Judges every write.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for (place, send) in index.history.sends.iter().enumerate().filter(|(_, send)| send.class == Class::Fail) {
        if let Some(offset) = index.fate(place).lowest {
            findings.add(Invariant::A6, || format!("{}, but it stands at offset {offset}", sent(send)));
        }
    }
}
