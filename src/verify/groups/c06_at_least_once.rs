//! C6, at least once: broken by a position that a coordinator tells, or that a member commits, and that covers records which
//! nobody had processed when the commit was sent, or the position was told.
//!
//! Source: Kafka's promise to consumers that commit behind their work: "at least once". A member goes on where a coordinator
//! says, so that a position that is too high, of whatever origin, skips what nobody processes. Not judged in a run
//! that allowed loss.

use std::collections::BTreeMap;

use crate::model::{GroupId, Instant, Offset, PartitionId};
use crate::verify::Invariant;
use crate::verify::history::{History, MemberAnswer, MemberRequest};
use crate::verify::index::Index;
use crate::verify::report::Findings;

/// Judges every partition of every group.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for ((group, partition), mut events) in events(index.history) {
        events.sort_unstable();
        let mut covered = Covered::default();
        for (at, event) in events {
            match event {
                Event::Processed { from, end } => covered.add(from, end),
                Event::Claimed(position) if position > covered.end => {
                    let end = covered.end;
                    findings.add(Invariant::C6, || {
                        format!(
                            "{group}: {position} stood for {partition} at {at}, and only up to {end} all was processed"
                        )
                    });
                }
                Event::Claimed(_) => {}
            }
        }
    }
}

/// Of one moment what was processed comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Processed { from: Offset, end: Offset },
    Claimed(Offset),
}

fn events(history: &History) -> BTreeMap<(&GroupId, PartitionId), Vec<(Instant, Event)>> {
    let mut events: BTreeMap<(&GroupId, PartitionId), Vec<(Instant, Event)>> = BTreeMap::new();
    for done in &history.processed {
        let event = Event::Processed { from: done.from, end: done.end };
        events.entry((&done.group, done.partition)).or_default().push((done.at, event));
    }
    for call in &history.member_calls {
        let mut claim = |at: Instant, positions: &[(PartitionId, Offset)]| {
            for (partition, position) in positions {
                events.entry((&call.group, *partition)).or_default().push((at, Event::Claimed(*position)));
            }
        };
        if let MemberRequest::Commit(positions) = &call.request
            && call.answer != MemberAnswer::Refused
        {
            claim(call.invoked, positions);
        }
        if let (Some(at), MemberAnswer::Positions(positions)) = (call.returned, &call.answer) {
            claim(at, positions);
        }
    }
    events
}

/// What was processed: all up to `end`, and pieces behind it.
#[derive(Debug, Default)]
struct Covered {
    end: Offset,
    pieces: BTreeMap<Offset, Offset>,
}

impl Covered {
    fn add(&mut self, from: Offset, end: Offset) {
        let piece = self.pieces.entry(from).or_insert(end);
        *piece = end.max(*piece);
        while let Some(first) = self.pieces.first_entry().filter(|first| *first.key() <= self.end) {
            self.end = self.end.max(first.remove());
        }
    }
}
