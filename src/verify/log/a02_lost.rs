//! A2, lost acknowledged write: broken by a value that was acknowledged with acks=all and does not stand in the final
//! scan at its offset, though neither retention nor a deletion nor compaction can have taken it.
//!
//! Source: Jepsen's "lost write"; the promise of acks=all. An acknowledgement that names no offset (a duplicate) must
//! stand anywhere, unless something was legally removed. Not judged in a run that allowed loss.

use crate::model::{Instant, Offset};
use crate::verify::Invariant;
use crate::verify::history::{Class, Send};
use crate::verify::index::{Index, PartitionFacts, Scan, sent};
use crate::verify::report::Findings;

/// Judges every partition that was scanned.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        let Some(scan) = facts.lasting_scan() else { continue };
        for place in &facts.sends {
            let send = &index.history.sends[*place];
            if send.class == Class::Ok {
                check_send(index, facts, scan, *place, findings);
            }
        }
    }
}

fn check_send(index: &Index<'_>, facts: &PartitionFacts<'_>, scan: &Scan<'_>, place: usize, findings: &mut Findings) {
    let send = &index.history.sends[place];
    let may_start = facts.start_at_most_ever();
    let ended_at = index.history.ended_at;
    let is_compacted = || facts.keys.as_ref().is_some_and(|keys| keys.may_lack_value(send.value, ended_at));
    let lost = match send.offset {
        Some(offset) => {
            offset >= may_start && !scan.holds(offset, send.value) && !is_replaced(facts, scan, offset, ended_at)
        }
        None => may_start == Offset::ZERO && index.fate(place).scanned.is_none() && !is_compacted(),
    };
    if lost {
        findings.add(Invariant::A2, || format!("{}, but in the end {}", sent(send), instead(scan, send)));
    }
}

/// Whether nothing stands there, as compaction may have taken what did.
fn is_replaced(facts: &PartitionFacts<'_>, scan: &Scan<'_>, offset: Offset, moment: Instant) -> bool {
    scan.at(offset).is_empty() && facts.may_lack(offset, moment)
}

/// What stands in its place.
fn instead(scan: &Scan<'_>, send: &Send) -> String {
    let (start, end) = (scan.start, scan.end);
    match send.offset.map(|offset| scan.at(offset)) {
        Some([other, ..]) => match other.value {
            Some(value) => format!("value {} of epoch {} stands there", value.0, other.epoch),
            None => format!("something unsound of epoch {} stands there", other.epoch),
        },
        Some([]) | None => format!("it is not among the {} records from {start} to {end}", scan.records.len()),
    }
}
