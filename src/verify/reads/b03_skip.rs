//! B3, poll skip: broken by two offsets that a consumer is given one after the other within an incarnation, in one poll
//! or in two, or by a position that jumps, while the final scan holds a record in between.
//!
//! Source: Jepsen's "poll-skip" and "int-poll-skip". Of a compacted partition another replica may have what the one that was
//! read had rightly removed. Both isolation levels see the same while there are no
//! transactions.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::Offset;
use crate::verify::Invariant;
use crate::verify::history::{ClientId, Poll, PollOutcome};
use crate::verify::index::{Index, PartitionFacts, Scan, read_by};
use crate::verify::report::Findings;

/// Judges every partition that was scanned.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    for facts in &index.partitions {
        if let Some(scan) = facts.lasting_scan() {
            check_partition(facts, scan, findings);
        }
    }
}

fn check_partition(facts: &PartitionFacts<'_>, scan: &Scan<'_>, findings: &mut Findings) {
    let mut positions: BTreeMap<(ClientId, u32), Offset> = BTreeMap::new();
    for poll in facts.polls.iter().copied() {
        let PollOutcome::Records { records, next, .. } = &poll.outcome else { continue };
        let key = (poll.client, poll.incarnation);
        let mut position = positions.get(&key).copied().unwrap_or(poll.position);
        judge(facts, scan, position..poll.position, poll, findings);
        position = poll.position;
        for seen in records {
            judge(facts, scan, position..seen.offset, poll, findings);
            position = position.max(seen.offset.plus(1));
        }
        judge(facts, scan, position..*next, poll, findings);
        positions.insert(key, *next);
    }
}

fn judge(facts: &PartitionFacts<'_>, scan: &Scan<'_>, passed: Range<Offset>, poll: &Poll, findings: &mut Findings) {
    let Range { start: from, end: to } = passed;
    if from >= to {
        return;
    }
    let mut standing = scan.range(from, to).iter();
    if let Some(skipped) = standing.find(|seen| !facts.may_lack(seen.offset, poll.returned)) {
        let (partition, offset) = (poll.partition, skipped.offset);
        findings.add(Invariant::B3, || {
            format!("{partition}: {from} to {to} skipped by {}; in the end, {offset} holds a record", read_by(poll))
        });
    }
}
