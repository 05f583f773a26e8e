//! F3, stuck operation: broken by an operation of a client or an administrator that is open for longer than the bound.
//!
//! Source: the clients' request timeouts. A client that dies ends its operations then, with `Info`; so what is open at
//! the end has a client that waits. While the faults are on, a write may wait for as long as the metadata say that nobody
//! leads its partition, or that fewer than the minimum are in sync: that may take an operator, and a producer with a
//! session tries until then.

use std::time::Duration;

use crate::model::Instant;
use crate::verify::Invariant;
use crate::verify::history::Send;
use crate::verify::index::{Index, read_by, sent};
use crate::verify::report::Findings;

/// Judges every operation.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    let (history, bound) = (index.history, index.expectations.bounds.operation);
    let too_long =
        |invoked: Instant, returned: Option<Instant>| returned.unwrap_or(history.ended_at).since(invoked) > bound;
    let unserved = |send: &&Send| too_long(send.invoked, send.returned) && open_for(index, send) > bound;
    for send in history.sends.iter().filter(unserved) {
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

/// How long a write was open, without the time in which it had to wait.
fn open_for(index: &Index<'_>, send: &Send) -> Duration {
    let history = index.history;
    let returned = send.returned.unwrap_or(history.ended_at);
    let open = returned.since(send.invoked);
    let (Some(facts), Some(healed)) = (index.partition(send.partition), history.healed_at) else { return open };
    let until = returned.min(healed);
    let mut waited = Duration::ZERO;
    for (at, committed) in facts.states.iter().enumerate() {
        let end = facts.states.get(at + 1).map_or(until, |next| next.at.min(until));
        if committed.state.leader.is_none() || committed.state.isr.len() < committed.state.isr_min {
            waited += end.since(committed.at.max(send.invoked));
        }
    }
    open.saturating_sub(waited)
}
