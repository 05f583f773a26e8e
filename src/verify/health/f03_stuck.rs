//! F3, stuck operation: broken by an operation of a client or an administrator that is open for longer than the bound.
//!
//! Source: the clients' request timeouts. A client that dies ends its operations then, with `Info`; so what is open at
//! the end has a client that waits.

use crate::model::Instant;
use crate::verify::Invariant;
use crate::verify::index::{Index, read_by, sent};
use crate::verify::report::Findings;

/// Judges every operation.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let (history, bound) = (index.history, index.expectations.bounds.operation);
    let too_long =
        |invoked: Instant, returned: Option<Instant>| returned.unwrap_or(history.ended_at).since(invoked) > bound;
    for send in history.sends.iter().filter(|send| too_long(send.invoked, send.returned)) {
        findings.add(Invariant::F3, || format!("open for more than {bound:?}: {}", sent(send)));
    }
    for poll in history.polls.iter().filter(|poll| too_long(poll.invoked, Some(poll.returned))) {
        findings
            .add(Invariant::F3, || format!("open for more than {bound:?}: {} by {}", poll.partition, read_by(poll)));
    }
    for lookup in history.offset_lookups.iter().filter(|lookup| too_long(lookup.invoked, Some(lookup.returned))) {
        findings.add(Invariant::F3, || format!("open for more than {bound:?}: {lookup:?}"));
    }
    for asked in history.administrations.iter().filter(|asked| too_long(asked.invoked, asked.returned)) {
        findings.add(Invariant::F3, || format!("open for more than {bound:?}: {asked:?}"));
    }
}
