//! Looks at the whole cluster after every turn of a shard, as nobody in it can: who claims what, what is committed, and
//! whether the safety properties of KIP-966 hold now.
//!
//! Invariant: looking changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;

use super::consume::seen;
use super::disturb::Undo;
use super::{Happening, Life, When, World};
use crate::env::{Files as _, OpenMode};
use crate::machines::metadata::Image;
use crate::machines::replication::Ticket;
use crate::model::{Instant, LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, TopicName};
use crate::partition::{
    ConsumerIsolation, Effect, Event, PartitionDescription, ReadEvent, ReadRequest, Reader, Reply, RoleDescription,
};
use crate::records::split;
use crate::testing::evidence;
use crate::verify::history::{MetadataFact, NodeEventKind, PartitionState, Seen};
use crate::verify::{PartitionView, ReplicaView, RoleView, Violation, check_live};

/// The ticket of its questions: those of the world begin with 1.
pub(super) const OBSERVER: Ticket = Ticket(0);

/// What was seen of a partition on a node.
#[derive(Clone, Copy, Debug, Default)]
struct Glance {
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    leads: bool,
}

/// Who led a partition.
#[derive(Clone, Copy, Debug, Default)]
struct Leaders {
    now: Option<NodeId>,
    before: Option<NodeId>,
    epoch: LeaderEpoch,
}

/// One replica, as the judge is shown it.
struct Look<'a> {
    node: NodeId,
    is_running: bool,
    found: &'a PartitionDescription,
    maximal_isr: Vec<NodeId>,
}

impl Look<'_> {
    fn view(&self) -> ReplicaView<'_> {
        let role = match &self.found.role {
            RoleDescription::Leader { isr, .. } => RoleView::Leader { isr, maximal_isr: &self.maximal_isr },
            RoleDescription::Follower { .. } => RoleView::Follower,
            RoleDescription::Idle | RoleDescription::Offline => RoleView::Idle,
        };
        ReplicaView {
            node: self.node,
            is_running: self.is_running,
            role,
            leader_epoch: self.found.leader_epoch,
            high_watermark: self.found.high_watermark,
            flushed_end: self.found.flushed_end,
            end: self.found.end,
        }
    }
}

/// A partition's new state, in a line of the trace.
fn told(state: &PartitionState) -> String {
    let ids = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let PartitionState { partition, isr, elr, leader, leader_epoch, partition_epoch, .. } = state;
    let leader = leader.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    let (isr, elr) = (ids(isr), ids(elr));
    format!("STATE {partition} led by {leader} isr [{isr}] elr [{elr}] epochs {leader_epoch}/{partition_epoch}")
}

/// See the file's comment.
#[derive(Debug, Default)]
pub(super) struct Observer {
    glances: BTreeMap<(NodeId, PartitionId), Glance>,
    descriptions: BTreeMap<(NodeId, PartitionId), PartitionDescription>,
    /// Up to where a leader's high watermark has come.
    committed: BTreeMap<PartitionId, Offset>,
    leaders: BTreeMap<PartitionId, Leaders>,
    elections: usize,
    /// Who was elected last.
    pub(super) elected: Option<NodeId>,
    /// When, after the healing, a produce was first acknowledged.
    pub(super) acknowledged: BTreeMap<PartitionId, Instant>,
    /// When, after the healing, a consumer had read to the end.
    pub(super) read: BTreeMap<PartitionId, Instant>,
    /// Producers make nothing new.
    pub(super) is_quiet: bool,
    /// The node on which records may be destroyed.
    pub(super) sick: Option<NodeId>,
    /// Copies that may be the last and lack something, and that were started again all the same.
    pub(super) tried: BTreeSet<(NodeId, PartitionId)>,
    /// The nodes of which reads have failed.
    pub(super) unread: BTreeSet<NodeId>,
    /// How the faults that are on end.
    pub(super) undo: BTreeMap<usize, Vec<Undo>>,
    pub(super) violations: Vec<Violation>,
}

impl Observer {
    /// Whether there is no need to go on.
    pub(super) fn has_failed(&self) -> bool {
        !self.violations.is_empty()
    }

    pub(super) fn epoch_of(&self, node: NodeId, partition: PartitionId) -> LeaderEpoch {
        self.glances.get(&(node, partition)).map_or(LeaderEpoch::NONE, |glance| glance.leader_epoch)
    }

    pub(super) fn leads(&self, node: NodeId, partition: PartitionId) -> bool {
        self.glances.get(&(node, partition)).is_some_and(|glance| glance.leads)
    }

    /// What a leader's high watermark has passed is committed for good.
    fn note_committed(&mut self, description: &PartitionDescription) {
        if matches!(description.role, RoleDescription::Leader { .. }) {
            let end = self.committed.entry(description.partition).or_default();
            *end = description.high_watermark.max(*end);
        }
    }

    pub(super) fn last_leader(&self, partition: PartitionId) -> Option<NodeId> {
        self.leaders.get(&partition)?.before
    }

    pub(super) fn committed_end(&self, partition: PartitionId) -> Offset {
        self.committed.get(&partition).copied().unwrap_or(Offset::ZERO)
    }

    pub(super) fn acked(&mut self, partition: PartitionId, now: Instant) {
        self.acknowledged.entry(partition).or_insert(now);
    }

    /// Whether a replica holds everything that is committed, knows it, and holds nothing else.
    pub(super) fn is_complete(&self, node: NodeId, partition: PartitionId, end: Offset) -> bool {
        let found = self.descriptions.get(&(node, partition));
        found.is_some_and(|found| found.high_watermark == end && found.end == end && found.flushed_end == end)
    }

    /// Copies that are served no more, with the name of the directory.
    pub(super) fn given_up(&self) -> Vec<(NodeId, PartitionId, String)> {
        let found = self.descriptions.iter().filter(|(_, found)| found.role == RoleDescription::Offline);
        let name = |id: &PartitionId, found: &PartitionDescription| format!("{}-{}", found.name, id.index);
        found.map(|((node, id), found)| (*node, *id, name(id, found))).collect()
    }

    /// Every copy, and where it begins.
    pub(super) fn copies(&self) -> Vec<(NodeId, PartitionId, Offset)> {
        self.descriptions.iter().map(|((node, partition), found)| (*node, *partition, found.start)).collect()
    }

    /// The start and the readable end of a replica.
    pub(super) fn bounds(&self, node: NodeId, partition: PartitionId) -> Option<(Offset, Offset)> {
        self.descriptions.get(&(node, partition)).map(|found| (found.start, found.high_watermark))
    }

    /// The high watermarks of a node's replicas.
    pub(super) fn watermarks(&self, node: NodeId) -> Vec<(PartitionId, Offset)> {
        let of = self.descriptions.iter().filter(|((of, _), _)| *of == node);
        of.map(|((_, partition), found)| (*partition, found.high_watermark)).collect()
    }

    /// A node's process has ended: what was seen of it says nothing any more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.descriptions.retain(|(of, _), _| *of != node);
        self.glances.retain(|(of, _), _| *of != node);
    }
}

impl World {
    /// Looks at a node whose shard has just had a turn.
    pub(super) fn observe(&mut self, node: NodeId) {
        let Some(descriptions) = self.describe(node) else { return };
        let is_there = |id: &PartitionId| descriptions.iter().any(|description| description.partition == *id);
        self.observer.descriptions.retain(|(of, id), _| *of != node || is_there(id));
        self.observer.glances.retain(|(of, id), _| *of != node || is_there(id));
        for description in descriptions {
            let key = (node, description.partition);
            if self.observer.descriptions.get(&key) == Some(&description) {
                continue;
            }
            self.note_role(node, &description);
            self.observer.descriptions.insert(key, description.clone());
            self.observer.note_committed(&description);
            self.judge(description.partition);
        }
    }

    /// Looks at a node within a turn of its shard: nobody knows yet what it does there, so nothing is judged.
    pub(super) fn glance_within(&mut self, life: Life, descriptions: &[PartitionDescription]) {
        // What comes behind its end in the same turn says nothing of it.
        if self.process(life).is_none() {
            return;
        }
        for description in descriptions {
            self.note_role(life.node, description);
            self.observer.note_committed(description);
        }
    }

    fn describe(&mut self, node: NodeId) -> Option<Vec<PartitionDescription>> {
        let asked = Event::Describe { ticket: OBSERVER, partition: None };
        let Some(Reply::Describe(all)) = self.ask_shard(node, asked) else { return None };
        Some(all)
    }

    /// Asks a node's shard something beside its own turns; what else comes of that is carried out.
    fn ask_shard(&mut self, node: NodeId, event: Event) -> Option<Reply> {
        let now = self.now;
        let process = self.running(node)?;
        let mut effects = Vec::new();
        process.shard.turn(process.now(now), &mut vec![event], &mut effects);
        let mut answer = None;
        for effect in effects {
            if let Effect::Reply { ticket: OBSERVER, reply } = effect {
                answer = Some(reply);
            } else {
                self.carry_out(node, effect);
            }
        }
        answer
    }

    /// Who leads from when on, and which epochs a node goes by.
    fn note_role(&mut self, node: NodeId, description: &PartitionDescription) {
        let partition = description.partition;
        let leads = matches!(description.role, RoleDescription::Leader { .. });
        let (leader_epoch, partition_epoch) = (description.leader_epoch, description.partition_epoch);
        let glance = self.observer.glances.entry((node, partition)).or_default();
        let before = std::mem::replace(glance, Glance { leader_epoch, partition_epoch, leads });
        if leads && (!before.leads || before.leader_epoch != leader_epoch) {
            let what = NodeEventKind::Leads { partition, epoch: leader_epoch, end: description.end };
            self.record.node(self.now, node, what);
        }
        if before.partition_epoch != partition_epoch && partition_epoch.get() >= 0 {
            let what = NodeEventKind::Told { partition, leader_epoch, partition_epoch };
            self.record.node(self.now, node, what);
        }
    }

    /// The committed records of a partition on a node, from an offset on.
    pub(super) fn peek(&mut self, node: NodeId, partition: PartitionId, from: Offset) -> Vec<Seen> {
        let mut all = Vec::new();
        let mut offset = from;
        while let Some((next, bytes)) = self.glimpse(node, partition, offset) {
            all.extend(seen(bytes).into_iter().filter(|seen| seen.offset >= offset));
            offset = next;
        }
        all
    }

    /// Reads a copy from an offset on for its own sake: damage is told to its shard.
    pub(super) fn look_over(&mut self, node: NodeId, partition: PartitionId, from: Offset) {
        let mut offset = from;
        while let Some((next, _)) = self.glimpse(node, partition, offset) {
            offset = next;
        }
        self.record.say(self.now, &format!("looked over {partition} of {node} from {from} to {offset}"));
    }

    /// Some committed batches from an offset on, checked as those for consumers are; and where they end.
    fn glimpse(&mut self, node: NodeId, partition: PartitionId, offset: Offset) -> Option<(Offset, Bytes)> {
        let reader = Reader::Consumer { isolation: ConsumerIsolation::ReadUncommitted, from_follower: true };
        let (leader_epoch, last_fetched_epoch, last_crc, bytes_max) = (None, None, None, 1 << 20);
        let read = ReadRequest { partition, offset, leader_epoch, last_fetched_epoch, last_crc, bytes_max };
        let (ticket, watch) = (OBSERVER, None);
        let (bytes_min, whole_first, again) = (1, true, true);
        let reads = vec![read];
        let event = ReadEvent { ticket, reader, reads, bytes_max, bytes_min, whole_first, watch, again };
        let Some(Reply::Read { mut reads, .. }) = self.ask_shard(node, Event::Read(event)) else { return None };
        let reply = reads.pop()?;
        let piece = self.collect(node, reader, reply).ok()?;
        // A reader goes on behind what it has got, wherever the plan ends.
        let next = split(piece.bytes.clone()).filter_map(Result::ok).last()?.next_offset();
        (next > offset).then_some((next, piece.bytes))
    }

    /// The properties of KIP-966, as they must hold at every moment.
    fn judge(&mut self, partition: PartitionId) {
        let image = self.quorum.image();
        let Some(of) = image.partition(partition) else { return };
        let state = evidence::partition_state(partition, of, self.knobs.isr_min);
        let seen: Vec<_> = state.replicas.iter().filter_map(|node| self.look_at(&image, *node, partition)).collect();
        let replicas: Vec<ReplicaView<'_>> = seen.iter().map(Look::view).collect();
        let committed = self.observer.committed_end(partition);
        let view = PartitionView { state: &state, last_known: &of.last_known_elr, committed, replicas: &replicas };
        let violations = check_live(&view);
        if !violations.is_empty() {
            let told = format!("{violations:?} in {view:?}");
            self.record.say(self.now, &told);
            self.observer.violations.extend(violations);
        }
    }

    /// One replica, if its process runs.
    fn look_at(&self, image: &Image, node: NodeId, partition: PartitionId) -> Option<Look<'_>> {
        let found = self.observer.descriptions.get(&(node, partition))?;
        let process = self.machines[&node].process.as_ref()?;
        // What a life lacks that is not registered yet is no claim of its.
        let registered = image.broker(node).filter(|broker| !broker.is_fenced()).map(|broker| broker.broker_epoch);
        let is_running = registered.is_some() && registered == process.epoch;
        let mut maximal_isr = Vec::new();
        if let RoleDescription::Leader { isr, pending, .. } = &found.role {
            maximal_isr.clone_from(isr);
            maximal_isr.extend(pending.iter().flatten().filter(|node| !isr.contains(node)));
        }
        (found.role != RoleDescription::Offline).then_some(Look { node, is_running, found, maximal_isr })
    }

    /// The metadata has changed: whoever waits for an election hears of it, and every partition is judged anew.
    pub(super) fn note_elections(&mut self, facts: &[MetadataFact]) {
        let mut changed = BTreeSet::new();
        for fact in facts {
            let MetadataFact::Partition(state) = fact else { continue };
            self.record.say(self.now, &told(state));
            changed.insert(state.partition);
            let leaders = self.observer.leaders.entry(state.partition).or_default();
            if leaders.now != state.leader {
                (leaders.before, leaders.now) = (leaders.now.or(leaders.before), state.leader);
            }
            if state.leader_epoch > leaders.epoch && state.leader.is_some() {
                leaders.epoch = state.leader_epoch;
                self.observer.elections += 1;
                self.observer.elected = state.leader;
                self.on_election();
            }
        }
        for partition in changed {
            self.judge(partition);
        }
    }

    fn on_election(&mut self) {
        let number = self.observer.elections;
        let due: Vec<(usize, std::time::Duration)> = self
            .plan
            .steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| match step.when {
                When::Election { number: wanted, after } if wanted == number => Some((at, after)),
                When::Election { .. } | When::At(_) => None,
            })
            .collect();
        for (at, after) in due {
            self.after(after, Happening::Step(at));
        }
    }

    /// Where the batches of a log end that stand whole and in order in its files, as an outsider reads them who knows
    /// nothing of indexes, snapshots or flush logs. What lies below the log's start is of no consequence.
    pub(super) fn raw_end(
        &self,
        node: NodeId,
        name: &TopicName,
        partition: PartitionId,
        start: Offset,
    ) -> Option<Offset> {
        let files = &self.machines[&node].files;
        let directory = Path::new(super::process::DATA).join(format!("{name}-{}", partition.index));
        let mut segments: Vec<String> = files.list(&directory).ok()?.into_iter().map(|entry| entry.name).collect();
        segments.retain(|name| name.ends_with(".log"));
        segments.sort_unstable();
        let is_at_most =
            |name: &String| name.trim_end_matches(".log").parse().is_ok_and(|base: i64| base <= start.get());
        let first = segments.partition_point(is_at_most).saturating_sub(1);
        segments.drain(..first);
        let mut end = None;
        for segment in segments {
            let file = files.open(&directory.join(segment), OpenMode::Read).ok()?;
            let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
            file.read_at(0, &mut bytes).ok()?;
            for batch in split(bytes.into()).map_while(Result::ok) {
                let may_lack = self.knobs.compaction.is_some();
                let continues = |end: Offset| end == batch.base_offset() || may_lack && end < batch.base_offset();
                if !end.is_none_or(continues) || !batch.crc_is_valid() {
                    return end;
                }
                end = Some(batch.next_offset());
            }
        }
        end
    }
}
