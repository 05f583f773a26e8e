//! F7, vacuity: a run with too few acknowledgements during faults, no election, no read after one, or faults that hit
//! nothing, is invalid, not passed.
//!
//! Source: Jepsen's stats checker. What is too few, the expectations say. A fault without a duration, as a kill or a
//! flipped bit, is felt from then on: it counts until the faults are over.

use crate::model::{Instant, LeaderEpoch};
use crate::verify::Validity;
use crate::verify::history::{Class, FaultSpan, History, MetadataFact};
use crate::verify::index::{Index, PartitionFacts, records_of};
use crate::verify::report::{Findings, Statistics};

/// Counts what happened, and says whether it was enough.
pub(crate) fn judge(index: &Index<'_>, findings: &mut Findings) -> Validity {
    let statistics = &mut findings.statistics;
    count_sends(index, statistics);
    count_reads(index, statistics);
    statistics.leader_changes = leader_changes(index);
    count_faults(index, statistics);

    let least = &index.expectations.activity;
    let rows = [
        ("acknowledged during faults", statistics.acknowledged_during_faults, least.acknowledged_during_faults),
        ("leader changes", statistics.leader_changes, least.leader_changes),
        ("read after failover", statistics.read_after_failover, least.read_after_failover),
        ("operations that one of the faults hit", statistics.overlap_least, least.overlap_per_fault),
    ];
    let missing: Vec<String> = rows
        .into_iter()
        .filter(|(_, count, least)| count < least)
        .map(|(what, count, least)| format!("{what}: {count}, of at least {least}"))
        .collect();
    if missing.is_empty() { Validity::Valid } else { Validity::Vacuous(missing) }
}

fn count_sends(index: &Index<'_>, statistics: &mut Statistics) {
    let faults = Spans::of(index.history);
    for (place, send) in index.history.sends.iter().enumerate() {
        statistics.sends += 1;
        match send.class {
            Class::Ok => {
                statistics.acknowledged += 1;
                statistics.acknowledged_during_faults += u64::from(send.returned.is_some_and(|at| faults.cover(at)));
            }
            Class::Weak => {
                statistics.weak += 1;
                statistics.weak_lost += u64::from(index.fate(place).lowest.is_none());
            }
            Class::Fail | Class::Info => {}
        }
    }
}

fn count_reads(index: &Index<'_>, statistics: &mut Statistics) {
    for facts in &index.partitions {
        let first = first_epoch(facts);
        for poll in &facts.polls {
            let count = records_of(&poll.outcome).len() as u64;
            statistics.polls += 1;
            statistics.read += count;
            if first.is_some_and(|first| poll.leader_epoch > first) {
                statistics.read_after_failover += count;
            }
        }
        statistics.scans += u64::from(facts.scan.is_some());
    }
}

fn first_epoch(facts: &PartitionFacts<'_>) -> Option<LeaderEpoch> {
    let told = facts.polls.iter().map(|poll| poll.leader_epoch);
    let committed = facts.states.first().map(|first| first.state.leader_epoch);
    committed.or_else(|| told.min())
}

/// Elections of somebody, after the first of each partition.
fn leader_changes(index: &Index<'_>) -> u64 {
    if index.history.metadata.is_empty() {
        return index.partitions.iter().map(epochs_seen).sum();
    }
    let mut count = 0;
    let entries = index.history.metadata.iter().filter(|entry| entry.accepted);
    let mut epochs = vec![None; index.partitions.len()];
    for fact in entries.flat_map(|entry| &entry.facts) {
        let MetadataFact::Partition(state) = fact else { continue };
        let Ok(at) = index.partitions.binary_search_by_key(&state.partition, |facts| facts.id) else { continue };
        let before = epochs[at].replace(state.leader_epoch);
        let is_later = before.is_some_and(|before| before < state.leader_epoch);
        count += u64::from(is_later && state.leader.is_some());
    }
    count
}

fn epochs_seen(facts: &PartitionFacts<'_>) -> u64 {
    let mut epochs: Vec<LeaderEpoch> = facts.polls.iter().map(|poll| poll.leader_epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    (epochs.len() as u64).saturating_sub(1)
}

fn count_faults(index: &Index<'_>, statistics: &mut Statistics) {
    let history = index.history;
    let mut begins: Vec<Instant> = history.sends.iter().map(|send| send.invoked).collect();
    begins.extend(history.polls.iter().map(|poll| poll.invoked));
    let open_end = history.ended_at;
    let mut ends: Vec<Instant> = history.sends.iter().map(|send| send.returned.unwrap_or(open_end)).collect();
    ends.extend(history.polls.iter().map(|poll| poll.returned));
    begins.sort_unstable();
    ends.sort_unstable();
    // Open within a span: begun before its end, and not ended before its begin.
    let overlap = |fault: &FaultSpan| {
        let begun = begins.partition_point(|begin| *begin <= fault.end);
        let ended = ends.partition_point(|end| *end < fault.begin);
        begun.saturating_sub(ended) as u64
    };
    statistics.faults = history.faults.len() as u64;
    statistics.overlap_least = history.faults.iter().map(overlap).min().unwrap_or(0);
}

/// The time that faults cover, without overlaps.
struct Spans(Vec<(Instant, Instant)>);

impl Spans {
    fn of(history: &History) -> Self {
        let mut all: Vec<(Instant, Instant)> =
            history.faults.iter().map(|fault| (fault.begin, fault.felt_until(history.healed_at))).collect();
        all.sort_unstable();
        let mut merged: Vec<(Instant, Instant)> = Vec::new();
        for (begin, end) in all {
            match merged.last_mut() {
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                Some(_) | None => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    fn cover(&self, moment: Instant) -> bool {
        let after = self.0.partition_point(|(begin, _)| *begin <= moment);
        after.checked_sub(1).is_some_and(|at| moment <= self.0[at].1)
    }
}
