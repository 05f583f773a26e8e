//! What a history says of one partition.
//!
//! Made by the index. Invariant: refers to the history, copies nothing but what must be sorted anew.

use super::floor::{Evidence, Floor, Witness};
use super::keys::Keys;
use super::records_of;
use super::scan::Scan;
use crate::model::{Instant, LeaderEpoch, LogIndex, Offset, PartitionId, TopicId};
use crate::verify::Retention;
use crate::verify::history::{
    Administration, AdministrationKind, Class, EpochLookup, History, MetadataFact, OffsetLookup, OffsetQuery,
    PartitionEnding, PartitionState, Poll, PollOutcome, ReplicaDump, Seen,
};

/// What became of a write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    /// The lowest offset at which anybody saw it in its partition.
    pub(crate) lowest: Option<Offset>,
    /// The highest.
    pub(crate) highest: Option<Offset>,
    /// The lowest offset at which it stands in the end.
    pub(crate) scanned: Option<Offset>,
    /// The highest.
    pub(crate) scanned_highest: Option<Offset>,
    /// Whether a consumer of the run read it.
    pub(crate) is_polled: bool,
}

impl Fate {
    pub(super) fn note(&mut self, offset: Offset, by: Reader<'_>) {
        self.lowest = Some(self.lowest.map_or(offset, |known| known.min(offset)));
        self.highest = Some(self.highest.map_or(offset, |known| known.max(offset)));
        match by {
            Reader::Poll(_) => self.is_polled = true,
            Reader::Scan => {
                self.scanned = Some(self.scanned.map_or(offset, |known| known.min(offset)));
                self.scanned_highest = Some(self.scanned_highest.map_or(offset, |known| known.max(offset)));
            }
        }
    }
}

/// One record as somebody read it.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'h> {
    /// What.
    pub(crate) seen: &'h Seen,
    /// Who.
    pub(crate) by: Reader<'h>,
}

/// Who read.
#[derive(Clone, Copy)]
pub(crate) enum Reader<'h> {
    /// A consumer of the run.
    Poll(&'h Poll),
    /// The fresh consumer at the end.
    Scan,
}

/// A wish to delete records that was not refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deletion {
    /// When.
    pub(crate) invoked: Instant,
    /// When it was promised.
    pub(crate) promised: Option<Instant>,
    /// The first offset that stays.
    pub(crate) before: Offset,
}

/// A state of a partition in the metadata.
#[derive(Clone, Copy)]
pub(crate) struct Committed<'h> {
    /// Where in the metadata log.
    pub(crate) index: LogIndex,
    /// Since when.
    pub(crate) at: Instant,
    /// What.
    pub(crate) state: &'h PartitionState,
}

/// What a history says of one partition.
pub(crate) struct PartitionFacts<'h> {
    /// Which.
    pub(crate) id: PartitionId,
    /// Its writes, as places in `history.sends`, in the order of invocation.
    pub(crate) sends: Vec<usize>,
    /// Its fetches, in the order of their return.
    pub(crate) polls: Vec<&'h Poll>,
    /// Every record that was read of it, by offset.
    pub(crate) readings: Vec<Reading<'h>>,
    /// Its ListOffsets, in the order of their return.
    pub(crate) lookups: Vec<&'h OffsetLookup>,
    /// Its OffsetForLeaderEpochs.
    pub(crate) epoch_lookups: Vec<&'h EpochLookup>,
    /// Its states in the metadata, in the order of the log.
    pub(crate) states: Vec<Committed<'h>>,
    /// Its replicas at the end.
    pub(crate) dumps: Vec<&'h ReplicaDump>,
    /// What was read of it at the end.
    pub(crate) scan: Option<Scan<'h>>,
    /// What became of it.
    pub(crate) ending: Option<&'h PartitionEnding>,
    /// Who deleted records of it.
    pub(crate) deletions: Vec<Deletion>,
    /// From when on its topic may be gone.
    pub(crate) deleted_from: Option<Instant>,
    /// Up to where it was known to be committed.
    pub(crate) floor: Floor<'h>,
    /// What compaction may have taken, if it is compacted.
    pub(crate) keys: Option<Keys<'h>>,
    /// The highest start of its log that anybody told.
    start_told: Offset,
    retention: Retention,
}

impl<'h> PartitionFacts<'h> {
    fn new(id: PartitionId, retention: Retention) -> Self {
        Self {
            id,
            sends: Vec::new(),
            polls: Vec::new(),
            readings: Vec::new(),
            lookups: Vec::new(),
            epoch_lookups: Vec::new(),
            states: Vec::new(),
            dumps: Vec::new(),
            scan: None,
            ending: None,
            deletions: Vec::new(),
            deleted_from: None,
            floor: Floor::default(),
            keys: None,
            start_told: Offset::ZERO,
            retention,
        }
    }

    /// The highest offset at which the log may legally have started at a moment: nothing below it must be there.
    pub(crate) fn start_at_most(&self, moment: Instant) -> Offset {
        let deleted = self.deletions.iter().filter(|d| d.invoked <= moment).map(|d| d.before).max();
        let aged = match self.retention {
            Retention::Unlimited => Offset::ZERO,
            Retention::Limited => self.start_told,
        };
        deleted.unwrap_or(Offset::ZERO).max(aged)
    }

    /// The same at the end of the run.
    pub(crate) fn start_at_most_ever(&self) -> Offset {
        self.start_at_most(Instant::from_nanos(u64::MAX))
    }

    /// Whether compaction may have taken, by a moment, what stood at an offset.
    pub(crate) fn may_lack(&self, offset: Offset, moment: Instant) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.may_lack(offset, moment))
    }

    /// The end of the run, when there is one and the topic was not deleted.
    pub(crate) fn lasting_scan(&self) -> Option<&Scan<'h>> {
        self.scan.as_ref().filter(|_| self.deleted_from.is_none())
    }

    /// What the partition's replicas hold at the end; what others hold of it is E11's.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &'h ReplicaDump> {
        let belongs = |dump: &&ReplicaDump| self.ending.is_none_or(|ending| ending.state.replicas.contains(&dump.node));
        self.dumps.iter().copied().filter(belongs)
    }

    /// The newest leader epoch that the metadata held, or that anybody told, by a moment.
    pub(crate) fn epoch_by(&self, moment: Instant) -> Option<LeaderEpoch> {
        let committed = self.states.iter().filter(|c| c.at <= moment).map(|c| c.state.leader_epoch);
        let told = self.floor.evidence.iter().take_while(|e| e.at <= moment).filter_map(|e| e.epoch);
        committed.chain(told).max()
    }

    fn hear_start(&mut self, start: Offset) {
        self.start_told = self.start_told.max(start);
    }
}

/// Sorts a history by partition.
pub(super) fn by_partition(history: &History, retention: Retention) -> Vec<PartitionFacts<'_>> {
    let mut all = Partitions::new(history, retention);
    for (place, send) in history.sends.iter().enumerate() {
        all.of(send.partition).sends.push(place);
    }
    for poll in &history.polls {
        all.take_poll(poll);
    }
    for lookup in &history.offset_lookups {
        all.take_lookup(lookup);
    }
    for lookup in &history.epoch_lookups {
        all.of(lookup.partition).epoch_lookups.push(lookup);
    }
    for entry in history.metadata.iter().filter(|entry| entry.accepted) {
        for fact in &entry.facts {
            if let MetadataFact::Partition(state) = fact {
                let committed = Committed { index: entry.index, at: entry.committed_at, state };
                all.of(state.partition).states.push(committed);
            }
        }
    }
    all.take_end(history);
    all.take_administrations(history);
    all.finish(history)
}

struct Partitions<'h> {
    facts: Vec<PartitionFacts<'h>>,
}

impl<'h> Partitions<'h> {
    fn new(history: &'h History, retention: Retention) -> Self {
        let mut ids = mentioned(history);
        ids.sort_unstable();
        ids.dedup();
        Self { facts: ids.into_iter().map(|id| PartitionFacts::new(id, retention)).collect() }
    }

    fn of(&mut self, id: PartitionId) -> &mut PartitionFacts<'h> {
        let at = self.facts.binary_search_by_key(&id, |facts| facts.id).expect("every id in the history was collected");
        &mut self.facts[at]
    }

    fn take_poll(&mut self, poll: &'h Poll) {
        let facts = self.of(poll.partition);
        facts.polls.push(poll);
        if let PollOutcome::Records { log_start, .. } = poll.outcome {
            facts.hear_start(log_start);
        }
        facts.readings.extend(records_of(&poll.outcome).iter().map(|seen| Reading { seen, by: Reader::Poll(poll) }));
    }

    fn take_lookup(&mut self, lookup: &'h OffsetLookup) {
        let facts = self.of(lookup.partition);
        facts.lookups.push(lookup);
        if lookup.query == OffsetQuery::Earliest {
            facts.hear_start(lookup.answer.unwrap_or(Offset::ZERO));
        }
    }

    fn take_end(&mut self, history: &'h History) {
        for dump in &history.replicas {
            let facts = self.of(dump.partition);
            facts.hear_start(dump.log_start);
            facts.dumps.push(dump);
        }
        for scan in &history.scans {
            let facts = self.of(scan.partition);
            facts.hear_start(scan.log_start);
            facts.readings.extend(scan.records.iter().map(|seen| Reading { seen, by: Reader::Scan }));
            facts.scan.get_or_insert_with(|| Scan::new(scan));
        }
        for ending in &history.endings {
            self.of(ending.state.partition).ending = Some(ending);
        }
    }

    fn take_administrations(&mut self, history: &'h History) {
        for administration in history.administrations.iter().filter(|a| may_have_happened(history, a)) {
            match administration.what {
                AdministrationKind::CreateTopic { .. } | AdministrationKind::CreatePartitions { .. } => {}
                AdministrationKind::DeleteTopic { topic } => {
                    for facts in self.facts.iter_mut().filter(|facts| facts.id.topic == topic) {
                        let before = facts.deleted_from.unwrap_or(administration.invoked);
                        facts.deleted_from = Some(before.min(administration.invoked));
                    }
                }
                AdministrationKind::DeleteRecords { partition, before } => {
                    let promised = administration.returned.filter(|_| administration.class == Class::Ok);
                    let invoked = administration.invoked;
                    self.of(partition).deletions.push(Deletion { invoked, promised, before });
                }
            }
        }
    }

    fn finish(mut self, history: &'h History) -> Vec<PartitionFacts<'h>> {
        for facts in &mut self.facts {
            facts.readings.sort_by_key(|reading| reading.seen.offset);
            facts.floor = Floor::new(evidence(history, facts));
        }
        self.facts
    }
}

/// Whether an administrator's wish took effect, as far as the history tells: it was promised, or nobody knows and the
/// metadata do not say otherwise.
fn may_have_happened(history: &History, administration: &Administration) -> bool {
    let is_in_metadata = |gone: TopicId| {
        let mut facts = history.metadata.iter().filter(|entry| entry.accepted).flat_map(|entry| &entry.facts);
        facts.any(|fact| matches!(fact, MetadataFact::TopicDeleted { topic } if *topic == gone))
    };
    match (administration.class, &administration.what) {
        (Class::Fail, _) => false,
        (Class::Info, AdministrationKind::DeleteTopic { topic }) => {
            history.metadata.is_empty() || is_in_metadata(*topic)
        }
        (Class::Ok | Class::Weak | Class::Info, _) => true,
    }
}

/// Every partition that a history names.
fn mentioned(history: &History) -> Vec<PartitionId> {
    let mut ids: Vec<PartitionId> = history.sends.iter().map(|send| send.partition).collect();
    ids.extend(history.polls.iter().map(|poll| poll.partition));
    ids.extend(history.offset_lookups.iter().map(|lookup| lookup.partition));
    ids.extend(history.epoch_lookups.iter().map(|lookup| lookup.partition));
    ids.extend(history.replicas.iter().map(|dump| dump.partition));
    ids.extend(history.scans.iter().map(|scan| scan.partition));
    ids.extend(history.endings.iter().map(|ending| ending.state.partition));
    for administration in &history.administrations {
        if let AdministrationKind::DeleteRecords { partition, .. } = administration.what {
            ids.push(partition);
        }
    }
    for fact in history.metadata.iter().flat_map(|entry| &entry.facts) {
        if let MetadataFact::Partition(state) = fact {
            ids.push(state.partition);
        }
    }
    ids
}

/// What shows that offsets of a partition were committed.
fn evidence<'h>(history: &'h History, facts: &PartitionFacts<'h>) -> Vec<Evidence<'h>> {
    let mut evidence = Vec::new();
    for place in &facts.sends {
        let send = &history.sends[*place];
        if let (Class::Ok, Some(offset), Some(at)) = (send.class, send.offset, send.returned) {
            let epoch = send.answered_by.map(|(_, epoch)| epoch);
            evidence.push(Evidence { at, epoch, end: offset.plus(1), witness: Witness::Acknowledged(send) });
        }
    }
    for poll in &facts.polls {
        if let Some(last) = records_of(&poll.outcome).iter().map(|seen| seen.offset).max() {
            let (at, epoch) = (poll.returned, Some(poll.leader_epoch));
            evidence.push(Evidence { at, epoch, end: last.plus(1), witness: Witness::Read(poll) });
        }
    }
    evidence
}
