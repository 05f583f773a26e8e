//! For each invariant, edits of legal histories that break it: each must be flagged, in many histories.
//!
//! An edit may break other invariants too; only its own is asked for.

mod log;
mod reads;
mod compaction;
mod cluster;
mod health;

use super::legal::assert_clean;
use super::model::{Options, run, run_with};
use super::random::{Random, mixed};
use crate::model::{Instant, Offset, PartitionId};
use crate::verify::history::{AdministrationKind, Class, FinalScan, Poll, PollOutcome, Seen, Send};
use crate::verify::{Expectations, History, Invariant, check};

/// How many histories an edit must find its place in.
const INSTANCES: usize = 50;

/// How many it may look at for that.
const SEEDS_MAX: u64 = 5000;

/// Changes a history; `None` when it finds no place for that.
type Edit = fn(&mut History, &mut Random) -> Option<()>;

/// The edit is flagged as a breach of the invariant, in legal histories of any kind.
fn flags(invariant: Invariant, edit: Edit) {
    flags_among(invariant, run, edit);
}

/// The same, among histories of some kind.
fn flags_among(invariant: Invariant, legal: impl Fn(u64) -> (History, Expectations), edit: Edit) {
    let mut instances = 0;
    for seed in 0..SEEDS_MAX {
        let (mut history, expectations) = legal(seed);
        let before = history.clone();
        if edit(&mut history, &mut Random::new(mixed(seed ^ 0x5eed))).is_none() {
            continue;
        }
        assert_clean(seed, &before, &expectations);
        let report = check(&history, &expectations);
        assert!(report.flags(invariant), "seed {seed}: {invariant} is not flagged:\n{report}");
        instances += 1;
        if instances == INSTANCES {
            return;
        }
    }
    panic!("{invariant}: only {instances} histories of {SEEDS_MAX} had a place for the edit");
}

/// Legal histories of a cluster whose leaders have leases.
fn with_leases(seed: u64) -> (History, Expectations) {
    run_with(seed, Options { strict: true, ..Options::any(&mut Random::new(seed)) })
}

/// A place in the sends for which something holds.
fn some_send(history: &History, random: &mut Random, wanted: impl Fn(&Send) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..history.sends.len()).filter(|at| wanted(&history.sends[*at])).collect();
    random.pick(&places).copied()
}

/// A place in the polls for which something holds.
fn some_poll(history: &History, random: &mut Random, wanted: impl Fn(&Poll) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..history.polls.len()).filter(|at| wanted(&history.polls[*at])).collect();
    random.pick(&places).copied()
}

/// The records that a poll brought.
pub(super) fn records(poll: &Poll) -> &[Seen] {
    match &poll.outcome {
        PollOutcome::Records { records, .. } => records,
        PollOutcome::OutOfRange | PollOutcome::Corrupt => &[],
    }
}

fn records_mut(poll: &mut Poll) -> &mut Vec<Seen> {
    match &mut poll.outcome {
        PollOutcome::Records { records, .. } => records,
        PollOutcome::OutOfRange | PollOutcome::Corrupt => panic!("a poll without records was chosen"),
    }
}

fn scan_of(history: &History, partition: PartitionId) -> Option<&FinalScan> {
    history.scans.iter().find(|scan| scan.partition == partition)
}

fn scan_of_mut(history: &mut History, partition: PartitionId) -> Option<&mut FinalScan> {
    history.scans.iter_mut().find(|scan| scan.partition == partition)
}

/// The offset at which a value stands in the end.
fn scanned(history: &History, send: &Send) -> Option<Offset> {
    let records = &scan_of(history, send.partition)?.records;
    records.iter().find(|seen| seen.value == Some(send.value)).map(|seen| seen.offset)
}

/// Below this, something may have been removed from a partition.
fn removed(history: &History, partition: PartitionId) -> Offset {
    let told = history.polls.iter().filter(|poll| poll.partition == partition).filter_map(|poll| match poll.outcome {
        PollOutcome::Records { log_start, .. } => Some(log_start),
        PollOutcome::OutOfRange | PollOutcome::Corrupt => None,
    });
    let dumped = history.replicas.iter().filter(|dump| dump.partition == partition).map(|dump| dump.log_start);
    let looked_up = history.offset_lookups.iter().filter(|l| l.partition == partition);
    let earliest = looked_up.filter(|l| l.query == crate::verify::history::OffsetQuery::Earliest);
    let deleted = history.administrations.iter().filter(|a| a.class != Class::Fail).filter_map(|a| match a.what {
        AdministrationKind::DeleteRecords { partition: of, before } => (of == partition).then_some(before),
        AdministrationKind::CreateTopic { .. }
        | AdministrationKind::DeleteTopic { .. }
        | AdministrationKind::CreatePartitions { .. } => None,
    });
    told.chain(dumped).chain(earliest.filter_map(|l| l.answer)).chain(deleted).max().unwrap_or(Offset::ZERO)
}

/// Whether a value was promised at an offset that stands, and that nothing may have removed.
fn is_kept(history: &History, send: &Send) -> bool {
    let removed = removed(history, send.partition);
    send.class == Class::Ok && scanned(history, send).is_some_and(|at| at >= removed && send.offset == Some(at))
}

/// Takes a value out of all polls, leaving a hole.
fn forget_reads(history: &mut History, send: &Send) {
    for poll in &mut history.polls {
        if let PollOutcome::Records { records, .. } = &mut poll.outcome {
            records.retain(|seen| seen.value != Some(send.value));
        }
    }
}

/// Takes a value out of a final scan, leaving a hole.
fn forget_scanned(history: &mut History, send: &Send) {
    if let Some(scan) = scan_of_mut(history, send.partition) {
        scan.records.retain(|seen| seen.value != Some(send.value));
    }
}

/// A promise of an offset, or a record that was given: when, by whoever knew which epoch, up to where.
fn evidence(history: &History, partition: PartitionId) -> Vec<(Instant, crate::model::LeaderEpoch, Offset)> {
    let promised = |send: &&Send| send.class == Class::Ok && send.partition == partition;
    let sends = history.sends.iter().filter(promised);
    let mut known: Vec<_> =
        sends.filter_map(|send| Some((send.returned?, send.answered_by?.1, send.offset?))).collect();
    for poll in history.polls.iter().filter(|poll| poll.partition == partition) {
        known.extend(records(poll).last().map(|seen| (poll.returned, poll.leader_epoch, seen.offset)));
    }
    known
}
