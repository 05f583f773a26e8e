//! A11, timestamp index: broken by a ListOffsets of a timestamp whose answer is not the first visible offset with that
//! timestamp or a later one.
//!
//! Source: KIP-79. Judged against the final scan: what was visible then stands below what was answered. "None" is
//! wrong when the right answer had been acknowledged or read before, as in B5. What compaction may have taken by
//! then is passed over, and what it may have taken since may have been the answer. Not judged in a run that allowed loss.

use crate::model::{Instant, Timestamp};
use crate::verify::Invariant;
use crate::verify::history::{OffsetLookup, OffsetQuery, Seen};
use crate::verify::index::{Index, PartitionFacts, Scan};
use crate::verify::report::Findings;

/// Judges every partition that was scanned.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        if let Some(scan) = facts.lasting_scan() {
            check_partition(facts, scan, index.history.ended_at, findings);
        }
    }
}

fn check_partition(facts: &PartitionFacts<'_>, scan: &Scan<'_>, moment: Instant, findings: &mut Findings) {
    let asked = |lookup: &&OffsetLookup| match lookup.query {
        OffsetQuery::Timestamp(timestamp) => Some(timestamp),
        OffsetQuery::Earliest | OffsetQuery::Latest => None,
    };
    let mut lookups: Vec<(&OffsetLookup, Timestamp)> =
        facts.lookups.iter().filter_map(|lookup| Some((*lookup, asked(lookup)?))).collect();
    if lookups.is_empty() {
        return;
    }
    lookups.sort_by_key(|(lookup, _)| lookup.invoked);
    let newest = newest_so_far(scan);
    let mut sweep = facts.floor.sweep();
    for (lookup, timestamp) in lookups {
        // What may have been removed by then is passed over, and may also be the answer.
        let removed = facts.start_at_most(lookup.returned);
        let from = newest.partition_point(|newest| *newest < timestamp).max(scan.count_below(removed));
        let is_there = |seen: &&&Seen| seen.timestamp >= timestamp && !facts.may_lack(seen.offset, lookup.returned);
        let expected = scan.records[from..].iter().find(is_there).copied();
        let known = sweep.known(lookup.invoked, lookup.leader_epoch).map(|known| known.end);
        let is_wrong = match lookup.answer {
            Some(answer) => {
                let is_not_older = scan.at(answer).iter().any(|seen| seen.timestamp >= timestamp);
                let is_gone = scan.at(answer).is_empty() && facts.may_lack(answer, moment);
                expected.is_some_and(|expected| expected.offset < answer)
                    || (answer >= scan.start && !is_not_older && !is_gone)
            }
            None => expected.is_some_and(|expected| known.is_some_and(|end| end > expected.offset)),
        };
        if is_wrong {
            findings.add(Invariant::A11, || message(lookup, timestamp, expected));
        }
    }
}

/// For each record, the newest timestamp up to it.
fn newest_so_far(scan: &Scan<'_>) -> Vec<Timestamp> {
    let mut newest = Timestamp::new(i64::MIN);
    let mut rising = |seen: &&Seen| {
        newest = newest.max(seen.timestamp);
        newest
    };
    scan.records.iter().map(&mut rising).collect()
}

fn message(lookup: &OffsetLookup, timestamp: Timestamp, expected: Option<&Seen>) -> String {
    let OffsetLookup { partition, node, leader_epoch, invoked, answer, .. } = lookup;
    let told = answer.map_or("none".to_owned(), |answer| answer.to_string());
    let expected = expected.map_or("none".to_owned(), |seen| format!("{} of {}", seen.offset, seen.timestamp));
    format!(
        "{partition}: node {node} in epoch {leader_epoch}, asked at {invoked} for timestamp {timestamp}, told offset \
         {told}; the first that is not older is {expected}"
    )
}
