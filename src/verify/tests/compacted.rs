//! Legal histories of compacted topics: those of the model, with keys, from which some of what may go is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::legal::{assert_clean, histories};
use super::model;
use super::random::{Random, mixed};
use crate::model::{Instant, Offset, PartitionId};
use crate::verify::history::{KeyId, Keyed, PollOutcome, Seen, Send, ValueId};
use crate::verify::{Compaction, Expectations, History};

/// What every partition held, by offset.
type Logs = BTreeMap<PartitionId, BTreeMap<Offset, Record>>;

#[derive(Clone, Copy)]
struct Record {
    key: KeyId,
    is_tombstone: bool,
    invoked: Instant,
}

/// A legal history, and what it was promised.
pub(super) fn run(seed: u64) -> (History, Expectations) {
    let mut random = Random::new(mixed(seed ^ 0x00c0_a9ac));
    let seconds = [0, 1, 20, 86_400][random.below(4)];
    run_with(seed, Duration::from_secs(seconds))
}

/// The same with tombstones that stay for so long.
pub(super) fn run_with(seed: u64, tombstones: Duration) -> (History, Expectations) {
    let mut random = Random::new(mixed(seed ^ 0xc0_a9ac));
    let (mut history, mut expectations) = model::run(seed);
    expectations.compaction = Some(Compaction { tombstones, copies_made_anew: false });
    let keys = random.between(1, 6);
    for send in &mut history.sends {
        let key = KeyId(u32::try_from(random.below(keys)).expect("there are few"));
        send.keyed = Some(Keyed { key, is_tombstone: random.chance(30) });
    }
    let logs = logs(&history);
    compact_polls(&mut history, &logs, tombstones, &mut random);
    compact_copies(&mut history, &logs, tombstones, &mut random);
    (history, expectations)
}

fn logs(history: &History) -> Logs {
    let sends: BTreeMap<ValueId, &Send> = history.sends.iter().map(|send| (send.value, send)).collect();
    let mut logs = Logs::new();
    let mut note = |partition: PartitionId, seen: &Seen| {
        let Some(send) = seen.value.and_then(|value| sends.get(&value)) else { return };
        let Keyed { key, is_tombstone } = send.keyed.expect("each has a key");
        let record = Record { key, is_tombstone, invoked: send.invoked };
        logs.entry(partition).or_default().insert(seen.offset, record);
    };
    for poll in &history.polls {
        super::mutations::records(poll).iter().for_each(|seen| note(poll.partition, seen));
    }
    for dump in &history.replicas {
        dump.batches.iter().flat_map(|batch| &batch.records).for_each(|seen| note(dump.partition, seen));
    }
    logs
}

/// The offsets below an end that somebody has taken out by a moment: replaced values, and tombstones that were due, with
/// all that they deleted.
fn taken(
    log: &BTreeMap<Offset, Record>,
    end: Offset,
    moment: Instant,
    tombstones: Duration,
    random: &mut Random,
) -> Vec<Offset> {
    let mut taken = Vec::new();
    // Of each key, whether all that is older goes.
    let mut later: BTreeMap<KeyId, bool> = BTreeMap::new();
    for (offset, record) in log.range(..end).rev() {
        let is_due = record.is_tombstone && record.invoked.plus(tombstones) <= moment;
        let goes = match later.get(&record.key) {
            Some(all) => *all || random.chance(50),
            None => is_due && random.chance(50),
        };
        let is_last_tombstone = goes && is_due && !later.contains_key(&record.key);
        *later.entry(record.key).or_default() |= is_last_tombstone;
        if goes {
            taken.push(*offset);
        }
    }
    taken.sort_unstable();
    taken
}

fn compact_polls(history: &mut History, logs: &Logs, tombstones: Duration, random: &mut Random) {
    for poll in &mut history.polls {
        let (Some(log), moment) = (logs.get(&poll.partition), poll.returned) else { continue };
        let PollOutcome::Records { records, high_watermark, .. } = &mut poll.outcome else { continue };
        let taken = taken(log, *high_watermark, moment, tombstones, random);
        records.retain(|seen| taken.binary_search(&seen.offset).is_err());
    }
}

fn compact_copies(history: &mut History, logs: &Logs, tombstones: Duration, random: &mut Random) {
    let moment = history.ended_at;
    for scan in &mut history.scans {
        let Some(log) = logs.get(&scan.partition) else { continue };
        let taken = taken(log, scan.end, moment, tombstones, random);
        scan.records.retain(|seen| taken.binary_search(&seen.offset).is_err());
    }
    for dump in &mut history.replicas {
        let Some(log) = logs.get(&dump.partition) else { continue };
        let taken = taken(log, dump.high_watermark, moment, tombstones, random);
        for batch in &mut dump.batches {
            let before = batch.records.len();
            batch.records.retain(|seen| taken.binary_search(&seen.offset).is_err());
            batch.is_thinned = batch.records.len() < before;
        }
        // The last batch stays, if need be without records.
        let last = dump.batches.last().map(|batch| batch.base);
        dump.batches.retain(|batch| !batch.records.is_empty() || Some(batch.base) == last || random.chance(20));
    }
}

#[test]
fn a_legal_history_of_compacted_topics_is_not_flagged() {
    for seed in 0..histories(1000) {
        let (history, expectations) = run(seed);
        assert_clean(seed, &history, &expectations);
    }
}
