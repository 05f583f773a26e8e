//! The end of a run: what the disks hold and what was committed, shown to the judge with everything that was written
//! down.
//!
//! Invariant: whatever is judged of a random plan, `ottla::verify` judges; here stands only what it is promised.

use std::sync::Arc;
use std::time::Duration;

use ottla::machines::metadata::{Applied, Image};
use ottla::model::{Instant, LogIndex};
use ottla::quorum::{WrittenEntry, written_entries};
use ottla::storage::DataDir;
use ottla::testing::evidence;
use ottla::verify::history::{Class, History, MetadataEntry, NodeEventKind, PartitionEnding};
use ottla::verify::{Activity, Bounds, Expectations, Invariant, Report, Violation, check};

use crate::board::{Board, Shared};
use crate::client::TOPIC;
use crate::cluster::{Cluster, Failed, ISR_MIN, data_dir};
use crate::scenario::Scenario;
use crate::stage::Stop;
use crate::workload::{PARTITIONS, RECOVERY_MAX};
use crate::world::SimulatedClock;

/// The longest that a client's operation takes: it may have to dial and to look for a leader first.
const OPERATION_MAX: Duration = Duration::from_secs(30);
/// Threads that hang do not heed the metadata.
const REACTION_MAX: Duration = Duration::from_secs(20);

/// Judges a run, which may have gone no further than something.
pub(crate) fn judge(cluster: &mut Cluster, board: &Shared, scenario: Option<&Scenario>, stop: Option<Stop>) -> Report {
    let ended_at = cluster.sim.elapsed();
    let gathered = if stop.is_none() { gather(cluster, board) } else { Ok(()) };
    let mut board = board.borrow_mut();
    board.finish(ended_at);
    let mut report = check(&board.history, &expectations(scenario));
    for stop in stop.into_iter().chain(gathered.err()) {
        match stop {
            Stop::Broken(violation) => add(&mut report, violation),
            Stop::Failed(Failed(message)) if !report.flags(Invariant::F4) => {
                add(&mut report, Violation { invariant: Invariant::F4, message });
            }
            Stop::Failed(_) => {}
        }
    }
    report
}

fn add(report: &mut Report, violation: Violation) {
    *report.counts.entry(violation.invariant).or_default() += 1;
    report.violations.insert(0, violation);
}

/// What a run is promised.
fn expectations(scenario: Option<&Scenario>) -> Expectations {
    let unavailable = scenario.and_then(|scenario| scenario.unavailable_max);
    let bounds = Bounds {
        unavailable: unavailable.unwrap_or(Bounds::default().unavailable),
        recovery: RECOVERY_MAX,
        operation: OPERATION_MAX,
        reaction: REACTION_MAX,
        ..Bounds::default()
    };
    // A scenario is no proof by what happens in it, but by what falls without its guard.
    let acknowledged_during_faults = u64::from(scenario.is_none());
    let activity = Activity { acknowledged_during_faults, ..Activity::NONE };
    Expectations { bounds, activity, ..Expectations::default() }
}

/// The evidence at the end.
fn gather(cluster: &mut Cluster, board: &Shared) -> Result<(), Stop> {
    let replicas = cluster.read_disks()?;
    let mut board = board.borrow_mut();
    board.history.replicas = replicas;
    board.history.node_events.sort_by_key(|event| event.at);
    let applied = applied(&board.history);
    let entries = committed(cluster, applied.last().map_or(LogIndex::new(0), |(_, index)| *index))?;
    let (metadata, image) = replay(&entries, &applied);
    board.history.metadata = metadata;
    let endings = endings(&board, &image);
    board.history.endings = endings;
    look_is_whole(&board.history)
}

/// Whether every partition was scanned and every replica dumped: the judge takes what nobody looked at for right.
fn look_is_whole(history: &History) -> Result<(), Stop> {
    let wanted = usize::try_from(PARTITIONS).expect("a few partitions");
    let partitions = history.endings.iter().map(|ending| ending.state.partition);
    for partition in partitions.clone() {
        let scans = history.scans.iter().filter(|scan| scan.partition == partition).count();
        let dumps = history.replicas.iter().filter(|dump| dump.partition == partition).count();
        if scans != 1 || dumps != Cluster::nodes().count() {
            let message = format!("{partition}: {scans} scans and {dumps} replicas could be read at the end");
            return Err(Violation { invariant: Invariant::F2, message }.into());
        }
    }
    if partitions.count() != wanted {
        let message = format!("{} of {wanted} partitions are in the metadata at the end", history.endings.len());
        return Err(Violation { invariant: Invariant::E7, message }.into());
    }
    Ok(())
}

/// When somebody had first applied the metadata log up to an index; both rise.
fn applied(history: &History) -> Vec<(Instant, LogIndex)> {
    let mut applied: Vec<(Instant, LogIndex)> = Vec::new();
    for event in &history.node_events {
        if let NodeEventKind::Applied { index, .. } = event.what
            && applied.last().is_none_or(|(_, last)| *last < index)
        {
            applied.push((event.at, index));
        }
    }
    applied
}

/// The metadata log up to what somebody has applied, from a disk that holds all of it.
fn committed(cluster: &Cluster, last: LogIndex) -> Result<Vec<WrittenEntry>, Failed> {
    for node in Cluster::nodes() {
        let directory = data_dir(node).join(DataDir::METADATA_DIRECTORY);
        let clock = Arc::new(SimulatedClock { wall_error_ms: 0 });
        let written = written_entries(cluster.disk(node), &directory, clock);
        let mut entries = written.map_err(|error| Failed(format!("the metadata log of node {node}: {error}")))?;
        entries.retain(|entry| entry.index <= last);
        if entries.last().is_some_and(|entry| entry.index == last) {
            return Ok(entries);
        }
    }
    Err(Failed(format!("no metadata log on any disk reaches {last}, which was applied")))
}

/// What the log says, entry by entry. An entry counts as committed from when somebody had applied it.
fn replay(entries: &[WrittenEntry], applied: &[(Instant, LogIndex)]) -> (Vec<MetadataEntry>, Image) {
    let mut image = Image::default();
    let mut metadata = Vec::new();
    for WrittenEntry { index, term, proposal } in entries {
        let (index, term) = (*index, *term);
        let first = applied.partition_point(|(_, applied)| *applied < index);
        let Some((committed_at, _)) = applied.get(first).copied() else { break };
        let before = image.clone();
        let accepted = proposal.as_ref().filter(|proposal| image.apply(index, proposal) == Applied::Accepted);
        let facts = accepted.map(|proposal| evidence::facts(index, &proposal.records, &before, ISR_MIN));
        let (accepted, facts) = (facts.is_some(), facts.unwrap_or_default());
        metadata.push(MetadataEntry { index, term, committed_at, accepted, facts });
    }
    (metadata, image)
}

/// What became of the partitions that every run writes to.
fn endings(board: &Board, image: &Image) -> Vec<PartitionEnding> {
    let Some(healed) = board.healed_at.map(crate::board::moment) else { return Vec::new() };
    let topics = image.topics();
    let Some(topic) = topics.topics().find(|topic| topic.name.as_str() == TOPIC) else { return Vec::new() };
    let own = topics.partitions().filter(|(partition, _)| partition.topic == topic.id);
    let ending = own.map(|(partition, of)| {
        let later = board.history.sends.iter().filter(|send| send.partition == partition && send.invoked >= healed);
        PartitionEnding {
            state: evidence::partition_state(partition, of, ISR_MIN),
            acknowledged_at: later.filter(|send| send.class == Class::Ok).filter_map(|send| send.returned).min(),
            read_at: board.read_at.get(&partition).copied(),
        }
    });
    ending.collect()
}
