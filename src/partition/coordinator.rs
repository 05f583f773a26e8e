//! The coordinator of the groups of one partition of `__consumer_offsets`, on the replica that leads it.
//!
//! Part of `Replica`. It reads the log up to where its epoch begins, a part at a time, and then decides; what the machine
//! (`machines/group`) decides is replayed at once, written as one batch at the end of the turn, and told when it is
//! committed. A reply that writes nothing waits, moreover, for proof that nobody else leads (rule S6).
//! Invariant: nothing is answered before all that an earlier coordinator may have acknowledged is known to be committed
//! (rule R18), and nobody is told what could still be lost.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::machines::group::{
    self, Call, Decision, Groups, Present, Record, RecordFault, Refusal, Soft, TOPIC_ID_HEADER, Waiter,
};
use crate::machines::replication::{Acks, Ticket};
use crate::model::{Instant, Now, Offset, TopicName};
use crate::probe::{Mutant, planted};
use crate::records::{self, Batch, Builder, Codec, Damage, Draft, IntactCheck, RecordHeader, split};
use crate::storage::{FirstBatch, Log, ReadPlan};

use super::effect::{Effect, Reply};
use super::event::FlushMode;
use super::parked::Parked;
use super::replica::{Replica, Role, Turn};

/// How much of the log is read in one go; others of the shard get their turn in between.
const READ_BYTES: usize = 1 << 20;
/// What a batch of the log may hold when it is unpacked: tools of other makers may have compressed it.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// Decisions are written in batches of about this size at most.
const WRITE_BYTES: usize = 512 << 10;
/// How long a decision may take to be committed.
const COMMIT_WAIT: Duration = Duration::from_secs(5);
/// After how long what cannot be done now is tried again: reading what is damaged, deciding what is due with too few in
/// sync.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How many things that are due are decided in one turn.
const DUE_PER_TURN_MAX: usize = 1_000;

/// The groups of one partition.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    groups: Groups,
    stage: Stage,
    /// Decided and replayed, to be written at the end of the turn.
    unwritten: Vec<Record>,
    /// Decided in this turn.
    answers: Vec<Answer>,
    /// Not before this is anything tried that failed.
    rest_until: Instant,
    /// Records of the log that say nothing that is understood, and why the first of them does not.
    misread: Option<Misread>,
}

#[derive(Debug)]
enum Stage {
    /// It reads the log, from here.
    Reading(Offset),
    /// It has read all that there was before it led.
    Serving(Box<Soft>),
}

/// An answer on its way.
#[derive(Debug)]
struct Answer {
    ticket: Ticket,
    reply: group::Reply,
    /// Whether it was decided together with facts, whose commit is proof enough of the leadership.
    is_fact: bool,
}

#[derive(Debug)]
struct Misread {
    count: u64,
    first: String,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Reading(Offset::ZERO)
    }
}

impl Coordinator {
    fn serving(&mut self) -> Option<(&Groups, &mut Soft)> {
        match &mut self.stage {
            Stage::Reading(_) => None,
            Stage::Serving(soft) => Some((&self.groups, soft)),
        }
    }

    /// Makes a decision true for those that follow it.
    fn take(&mut self, decision: Decision) {
        let is_fact = !decision.records.is_empty();
        for record in decision.records {
            self.groups.replay(&record);
            self.unwritten.push(record);
        }
        let answers = decision.replies.into_iter();
        self.answers.extend(answers.map(|(waiter, reply)| Answer { ticket: Ticket(waiter.0), reply, is_fact }));
    }

    /// When it wants a tick.
    fn deadline(&self) -> Option<Instant> {
        let wanted = match &self.stage {
            Stage::Reading(_) => Some(Instant::ZERO),
            Stage::Serving(soft) => soft.next_deadline(),
        };
        wanted.map(|at| at.max(self.rest_until))
    }

    /// Takes the facts of a part of the log.
    fn read(&mut self, batch: &Batch) {
        if batch.header().is_control() {
            return;
        }
        let records = match batch.records(BATCH_BYTES_MAX) {
            Ok(records) => records,
            Err(cause) => return self.misread(batch.base_offset(), &cause.to_string()),
        };
        for record in records {
            let read = match &record {
                Ok(record) => decode(record).map_err(|e| e.to_string()),
                Err(cause) => Err(cause.to_string()),
            };
            match read {
                Ok(Some(fact)) => self.groups.replay(&fact),
                // Of a kind that a newer broker, or another maker's, writes.
                Ok(None) => {}
                Err(cause) => self.misread(record.map_or(batch.base_offset(), |record| record.offset), &cause),
            }
        }
    }

    fn misread(&mut self, at: Offset, cause: &str) {
        let first = || Misread { count: 0, first: format!("offset {at}: {cause}") };
        self.misread.get_or_insert_with(first).count += 1;
    }
}

impl Replica {
    /// This broker begins to lead: what groups there are is read from the log.
    pub(super) fn begin_coordination(&mut self) {
        let (Some(log), Role::Leader(_)) = (&self.log, &self.role) else { return };
        if self.name.is_consumer_offsets() {
            let stage = Stage::Reading(log.start());
            self.coordinator = Some(Box::new(Coordinator { stage, ..Coordinator::default() }));
        }
    }

    /// It leads no more: whoever waits looks for its successor.
    pub(super) fn end_coordination(&mut self, out: &mut Vec<Effect>) {
        let Some(mut coordinator) = self.coordinator.take() else { return };
        let mut told: Vec<(Ticket, group::Reply)> =
            coordinator.answers.drain(..).map(|answer| (answer.ticket, answer.reply)).collect();
        if let Stage::Serving(soft) = coordinator.stage {
            told.extend(soft.abandon().into_iter().map(|(waiter, reply)| (Ticket(waiter.0), reply)));
        }
        for (ticket, reply) in told {
            out.push(answered(ticket, reply.refused(Refusal::NotCoordinator)));
        }
    }

    /// A request about groups.
    pub(super) fn on_group(&mut self, ticket: Ticket, call: Call, turn: &mut Turn<'_>) {
        if let Err(refusal) = self.may_decide(&call, turn) {
            turn.effects.push(answered(ticket, call.refused(refusal)));
            return;
        }
        let settings = settings(self.log.as_ref(), turn);
        let coordinator = self.coordinator.as_mut().expect("it may decide");
        let (groups, soft) = coordinator.serving().expect("it may decide");
        let present = Present { groups, now: turn.now, options: &settings, image: turn.image };
        let decision = group::decide(present, soft, Waiter(ticket.0), call);
        coordinator.take(decision);
    }

    /// Reads on, or decides what is due.
    pub(super) fn tick_coordinator(&mut self, turn: &mut Turn<'_>) {
        let Some(coordinator) = &self.coordinator else { return };
        if turn.now.instant < coordinator.rest_until {
            return;
        }
        match coordinator.stage {
            Stage::Reading(from) => self.read_groups(from, turn),
            Stage::Serving(_) => self.decide_due(turn),
        }
    }

    /// Topics came, went, or have other partitions. What is committed for those that are gone is forgotten.
    pub(super) fn note_topics(&mut self, changed: &BTreeSet<TopicName>, turn: &Turn<'_>) {
        let settings = settings(self.log.as_ref(), turn);
        let Some(coordinator) = &mut self.coordinator else { return };
        let Some((groups, soft)) = coordinator.serving() else { return };
        let present = Present { groups, now: turn.now, options: &settings, image: turn.image };
        group::topics_changed(present, soft, changed);
        let decision = group::forget_gone(present, |topic| changed.contains(topic));
        coordinator.take(decision);
    }

    /// When `tick_coordinator` has something to do.
    pub(super) fn coordinator_deadline(&self) -> Option<Instant> {
        self.coordinator.as_ref().and_then(|coordinator| coordinator.deadline())
    }

    /// Writes what was decided in this turn; who asked is told once it is committed.
    pub(super) fn settle_decisions(&mut self, turn: &mut Turn<'_>) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let records = std::mem::take(&mut coordinator.unwritten);
        if !records.is_empty() && !self.write_facts(&records, turn) {
            return;
        }
        let Some(coordinator) = &mut self.coordinator else { return };
        let answers = std::mem::take(&mut coordinator.answers);
        let (Some(log), Role::Leader(leader)) = (&self.log, &mut self.role) else { return };
        let (end, deadline) = (log.end(), turn.now.instant.plus(COMMIT_WAIT));
        let mut effects = Vec::new();
        if self.flush == FlushMode::Kafka {
            leader.on_flushed(end, turn.now.instant, &mut effects);
        }
        for Answer { ticket, reply, is_fact } in answers {
            if reply.is_light() || planted(Mutant::DecisionToldAtOnce) {
                turn.effects.push(answered(ticket, reply));
                continue;
            }
            self.parked.insert(ticket, Parked::Group(Box::new(reply)));
            if is_fact || planted(Mutant::ReadsUnproven) {
                leader.park(ticket, Acks::All, end, deadline, &mut effects);
            } else {
                leader.confirm(ticket, end, deadline, turn.now.instant, &mut effects);
            }
        }
        self.deliver(effects, turn.effects);
    }

    fn may_decide(&self, call: &Call, turn: &Turn<'_>) -> Result<(), Refusal> {
        let (Role::Leader(leader), Some(coordinator)) = (&self.role, &self.coordinator) else {
            return Err(Refusal::NotCoordinator);
        };
        let is_settled = leader.knows_committed() || planted(Mutant::CoordinatorUnsettled);
        if matches!(coordinator.stage, Stage::Reading(_)) || !is_settled {
            return Err(Refusal::Loading);
        }
        let is_full = leader.waiting() + coordinator.answers.len() >= turn.options.waiters_max;
        if is_full || call.may_write() && leader.may_append(Acks::All).is_err() {
            return Err(Refusal::Unavailable);
        }
        Ok(())
    }

    fn decide_due(&mut self, turn: &mut Turn<'_>) {
        let settings = settings(self.log.as_ref(), turn);
        let (Role::Leader(leader), Some(coordinator)) = (&self.role, &mut self.coordinator) else { return };
        if leader.may_append(Acks::All).is_err() || !leader.knows_committed() {
            coordinator.rest_until = turn.now.instant.plus(RETRY_AFTER);
            return;
        }
        for _ in 0..DUE_PER_TURN_MAX {
            let Some((groups, soft)) = coordinator.serving() else { return };
            let present = Present { groups, now: turn.now, options: &settings, image: turn.image };
            let Some(decision) = group::tick(present, soft) else { return };
            coordinator.take(decision);
        }
    }

    /// Reads a part of the log, up to where the epoch began.
    fn read_groups(&mut self, from: Offset, turn: &mut Turn<'_>) {
        let watermark = self.high_watermark();
        let (Some(log), Some(coordinator)) = (&self.log, &mut self.coordinator) else { return };
        let from = from.max(log.start());
        let end = if planted(Mutant::GroupsReadToWatermark) { watermark.max(from) } else { log.end() };
        let planned = log.read(from, end, READ_BYTES, FirstBatch::Whole);
        let plan = match planned {
            Ok(plan) => plan,
            Err(error) => {
                coordinator.rest_until = turn.now.instant.plus(RETRY_AFTER);
                self.on_read_error(&error, turn);
                return;
            }
        };
        if plan.is_empty() {
            self.begin_serving(turn);
            return;
        }
        let next = plan.next;
        match read_batches(&plan) {
            Ok(batches) => {
                batches.iter().for_each(|batch| coordinator.read(batch));
                coordinator.stage = Stage::Reading(next);
            }
            Err(damage) => {
                coordinator.rest_until = turn.now.instant.plus(RETRY_AFTER);
                self.inspect(self.generation, plan.place.of_damage(&damage), turn);
            }
        }
    }

    fn begin_serving(&mut self, turn: &mut Turn<'_>) {
        let settings = settings(self.log.as_ref(), turn);
        let Some(coordinator) = &mut self.coordinator else { return };
        let present = Present { groups: &coordinator.groups, now: turn.now, options: &settings, image: turn.image };
        let soft = Soft::restored(present);
        // Topics that went before it led, or while it read.
        let decision = group::forget_gone(present, |_| true);
        coordinator.stage = Stage::Serving(Box::new(soft));
        coordinator.take(decision);
        if let Some(Misread { count, first }) = coordinator.misread.take() {
            self.tell_unreadable(format!("{count} records say nothing about groups; {first}"), turn);
        }
    }

    /// Appends facts; `false` when the log failed, with all that follows from it.
    fn write_facts(&mut self, records: &[Record], turn: &mut Turn<'_>) -> bool {
        let (Some(log), Role::Leader(leader)) = (&mut self.log, &mut self.role) else { return false };
        for batch in batches(records, turn.now, WRITE_BYTES.min(room(log))) {
            match log.append(&batch, leader.epoch(), turn.now) {
                Ok(_) => leader.on_append(log.end()),
                Err(error) => {
                    // What was decided is replayed already, and is no fact: all of it is forgotten, and read again if this
                    // copy still leads.
                    let refusal = self.refuse(&error, turn);
                    self.end_coordination(turn.effects);
                    self.begin_coordination();
                    self.tell_unreadable(format!("what was decided about groups cannot be written: {refusal}"), turn);
                    return false;
                }
            }
        }
        self.note_written(turn.now.instant);
        true
    }
}

/// An answer to a request about groups.
pub(super) fn answered(ticket: Ticket, reply: group::Reply) -> Effect {
    Effect::Reply { ticket, reply: Reply::Group(reply) }
}

fn read_batches(plan: &ReadPlan) -> Result<Vec<Batch>, Damage> {
    let mut check = IntactCheck::new(plan.expected.clone());
    let Ok(bytes) = plan.read() else {
        // Which of the batches it is that cannot be read, or none now.
        let looked = plan.slice.as_ref().map_or(Ok(()), |slice| slice.look(0, &mut check));
        return Err(looked.err().unwrap_or(check.here()));
    };
    check.feed(&bytes)?;
    check.finish()?;
    Ok(split(bytes).map(|batch| batch.expect("what is intact is a batch")).collect())
}

/// The fact that a record of the log says.
fn decode(record: &records::Record) -> Result<Option<Record>, RecordFault> {
    let header = record.headers.iter().find(|header| header.key == TOPIC_ID_HEADER);
    Record::decode(record.key.as_ref(), record.value.as_ref(), header.and_then(|header| header.value.as_ref()))
}

/// What is set for groups; a record is never larger than the log takes, however small its segments are.
fn settings(log: Option<&Log>, turn: &Turn<'_>) -> group::Options {
    let set = turn.options.groups.clone();
    group::Options { group_bytes_max: set.group_bytes_max.min(log.map_or(usize::MAX, room)), ..set }
}

/// What records may take of a segment, which has to hold all of their batch.
fn room(log: &Log) -> usize {
    usize::try_from(log.options().segment_bytes).unwrap_or(usize::MAX) / 2
}

/// Facts as they are written: in batches of about so many bytes at most, but for a record that is larger.
fn batches(records: &[Record], now: Now, bytes_max: usize) -> Vec<Batch> {
    let mut made = Vec::new();
    let mut builder = Builder::new(Codec::None);
    for record in records {
        let encoded = record.encode();
        let size = encoded.key.len() + encoded.value.as_ref().map_or(0, Bytes::len);
        if builder.count() > 0 && builder.size() + size > bytes_max {
            let full = std::mem::replace(&mut builder, Builder::new(Codec::None));
            made.push(full.build().expect("it holds a record"));
        }
        let key = Bytes::from_static(TOPIC_ID_HEADER);
        let header = encoded.topic_id.map(|id| RecordHeader { key, value: Some(id) });
        let draft = Draft {
            timestamp: now.timestamp,
            key: Some(&encoded.key),
            value: encoded.value.as_deref(),
            headers: header.as_slice(),
        };
        builder.push(draft).expect("the machine bounds what one record holds");
    }
    if builder.count() > 0 {
        made.push(builder.build().expect("it holds a record"));
    }
    made
}
