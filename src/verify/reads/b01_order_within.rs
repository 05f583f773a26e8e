//! B1, non-monotonic poll, internal: broken by a poll in which an offset is not above the one before it, or the first
//! is below the position that was asked for.
//!
//! Source: Jepsen's "int-nonmonotonic-poll".

use crate::verify::Invariant;
use crate::verify::index::{Index, read_by, records_of};
use crate::verify::report::Findings;

/// Judges every poll.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for poll in &index.history.polls {
        let records = records_of(&poll.outcome);
        if let Some(first) = records.first().filter(|first| first.offset < poll.position) {
            findings
                .add(Invariant::B1, || format!("{}: offset {} for {}", poll.partition, first.offset, read_by(poll)));
        }
        if let Some(pair) = records.windows(2).find(|pair| pair[0].offset >= pair[1].offset) {
            let (earlier, later) = (pair[0].offset, pair[1].offset);
            findings.add(Invariant::B1, || {
                format!("{}: offset {later} after {earlier} for {}", poll.partition, read_by(poll))
            });
        }
    }
}
