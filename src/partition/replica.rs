//! One partition's copy on this broker: its log, its role, and who waits on it.
//!
//! Used by `shard.rs` only, which hands it every event of the partition; `append.rs`, `follow.rs` and `read.rs` hold
//! the rest of its verbs. Invariant: what the role machine was told is what the log has done: told after the write, and of
//! a flush only after the sync.

use std::collections::BTreeMap;

use crate::machines::metadata::Image;
use crate::machines::replication::{Ending, Follower, Leader, LeaderEffect, Leadership, LogEnds, Ticket};
use crate::model::{Instant, LeaderEpoch, Now, Offset, PartitionEpoch, PartitionId, TopicName};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::storage::{FlushOrder, Log, LogError, LogOptions, Retained};

use super::coordinator::Coordinator;
use super::damage::DamagedPlaces;
use super::effect::{
    Breakage, BrokenPartition, Effect, FatalCause, FetchPosition, FollowersAsked, PartitionDescription,
    PartitionProposal, RoleDescription,
};
use super::event::{FlushMode, FollowOrder, LeadOrder};
use super::parked::Parked;
use super::shard::ShardOptions;

/// What every verb of a turn needs.
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) options: &'a ShardOptions,
    pub(super) image: &'a Image,
    pub(super) effects: &'a mut Vec<Effect>,
}

/// What this broker is for a partition.
#[derive(Debug)]
pub(super) enum Role {
    /// Opened, without an order yet: it neither leads nor follows.
    Idle,
    Leader(Box<Leader>),
    Follower(Follower),
}

/// What readers look at; when it changes, their watches may fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Changes with role, epoch, truncation, trimming and failure: every watch fires.
    pub(super) generation: u64,
    pub(super) high_watermark: Offset,
    pub(super) end: Offset,
}

/// One partition's copy.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: PartitionId,
    pub(super) name: TopicName,
    /// `None` when it cannot be served (rule S3).
    pub(super) log: Option<Log>,
    pub(super) role: Role,
    /// The mode in force.
    pub(super) flush: FlushMode,
    /// The mode of the last order. Kafka's comes into force once the disk says so (rule S3).
    pub(super) flush_wanted: Option<FlushMode>,
    /// The epochs of the last order.
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) partition_epoch: PartitionEpoch,
    /// What to say when what is parked ends well.
    pub(super) parked: BTreeMap<Ticket, Parked>,
    /// Of the groups of this partition, while it leads one of `__consumer_offsets`.
    pub(super) coordinator: Option<Box<Coordinator>>,
    /// What consumers are not given.
    pub(super) damaged: DamagedPlaces,
    /// The position handed to the fetcher and not answered yet.
    pub(super) position: Option<FetchPosition>,
    /// Whether the fetcher was given a position since it was last told to stop.
    pub(super) is_fetching: bool,
    /// How many positions were handed out.
    pub(super) positions: u64,
    /// After an unusable answer: when to fetch again.
    pub(super) resume_at: Option<Instant>,
    /// When it was last told that the leader's answers cannot be used; `None` since one could.
    pub(super) unusable_told_at: Option<Instant>,
    /// When it was last told that the system refuses to read.
    pub(super) unreadable_told_at: Option<Instant>,
    pub(super) generation: u64,
    /// Whether something was written that no flush was asked for.
    pub(super) dirty: bool,
    /// When it was last written, for closing idle logs.
    pub(super) written_at: Instant,
    /// Whether it was put to rest since it was last written.
    pub(super) at_rest: bool,
    /// When retention is due.
    pub(super) retain_at: Instant,
    /// When it may be compacted again.
    pub(super) compact_at: Instant,
}

impl Replica {
    /// A copy without an order. A recovered tail is not flushed: a flush is asked for at once (rule S1).
    pub(super) fn new(id: PartitionId, name: TopicName, log: Option<Log>, turn: &Turn<'_>) -> Self {
        let now = turn.now.instant;
        Self {
            id,
            name,
            log,
            role: Role::Idle,
            flush: FlushMode::Durable,
            flush_wanted: None,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch::new(-1),
            parked: BTreeMap::new(),
            coordinator: None,
            damaged: DamagedPlaces::default(),
            position: None,
            is_fetching: false,
            positions: 0,
            resume_at: None,
            unusable_told_at: None,
            unreadable_told_at: None,
            generation: 0,
            dirty: true,
            written_at: now,
            at_rest: false,
            retain_at: now.plus(turn.options.retention_interval),
            compact_at: Instant::ZERO,
        }
    }

    /// This broker leads.
    pub(super) fn lead(&mut self, order: LeadOrder, turn: &mut Turn<'_>) {
        if !self.take_level(order.leader_epoch, order.partition_epoch) {
            return;
        }
        self.configure(order.options, order.flush, turn);
        let ends = self.ends();
        let high_watermark = self.high_watermark();
        let Some(log) = &mut self.log else { return };
        let now = turn.now.instant;
        let leadership = leadership(&order);
        let mut effects = Vec::new();
        match &mut self.role {
            Role::Leader(leader) => {
                if order.leader_epoch > leader.epoch() {
                    if !planted(Mutant::SecondEpochUnwritten) {
                        log.begin_epoch(order.leader_epoch);
                    }
                    self.dirty = true;
                    self.generation += 1;
                }
                leader.on_order(&leadership, now, &mut effects);
            }
            Role::Follower(follower) if follower.epoch() >= order.leader_epoch => return,
            Role::Idle | Role::Follower(_) => {
                // Recorded with the next group flush, before any record of the epoch can be acknowledged (rule R2).
                log.begin_epoch(order.leader_epoch);
                let lag_max = turn.options.lag_max;
                let own = turn.options.node;
                let leader = Leader::take_over(own, lag_max, &leadership, ends, high_watermark, now, &mut effects);
                self.role = Role::Leader(Box::new(leader));
                self.dirty = true;
                self.generation += 1;
                self.stop_fetching(turn.effects);
                self.begin_coordination();
            }
        }
        self.deliver(effects, turn.effects);
    }

    /// Another broker leads, or nobody.
    pub(super) fn follow(&mut self, order: FollowOrder, turn: &mut Turn<'_>) {
        if !self.take_level(order.leader_epoch, order.partition_epoch) {
            return;
        }
        if order.leader.is_some() && self.is_ahead_of(order.leader_epoch, turn.effects) {
            return;
        }
        self.configure(order.options, order.flush, turn);
        let high_watermark = self.high_watermark();
        match &mut self.role {
            Role::Leader(leader) if leader.epoch() >= order.leader_epoch => return,
            Role::Follower(follower) if follower.epoch() == order.leader_epoch && follower.leader() == order.leader => {
                follower.set_partition_epoch(order.partition_epoch);
                return;
            }
            Role::Leader(_) | Role::Follower(_) | Role::Idle => {}
        }
        self.resign(Ending::NotLeader, turn.effects);
        self.stop_fetching(turn.effects);
        self.generation += 1;
        if self.log.is_none() {
            return;
        }
        if planted(Mutant::CutsToWatermark) {
            _ = self.cut(high_watermark, turn);
        }
        let (ends, epochs) = (self.ends(), (order.leader_epoch, order.partition_epoch));
        self.role = Role::Follower(Follower::new(order.leader, epochs.0, epochs.1, ends, high_watermark));
        self.resume_at = None;
        self.unusable_told_at = None;
        self.hand_out_position(turn.effects);
    }

    /// The topic's configuration.
    pub(super) fn configure(&mut self, options: LogOptions, flush: FlushMode, turn: &mut Turn<'_>) {
        let Some(log) = &mut self.log else { return };
        log.set_options(options);
        self.flush_wanted = Some(flush);
        self.settle_flush_mode(turn);
    }

    /// Brings the wanted mode into force, if it may be. Without an order nothing is settled: what a former life has
    /// lost is not told to the controller before (rule S3).
    pub(super) fn settle_flush_mode(&mut self, turn: &mut Turn<'_>) {
        let (Some(log), Some(flush)) = (&mut self.log, self.flush_wanted) else { return };
        let is_settled = match flush {
            FlushMode::Durable => {
                log.count_flushed();
                true
            }
            FlushMode::Kafka => self.flush == FlushMode::Kafka || log.count_unflushed(),
        };
        if self.flush == flush || !is_settled {
            return;
        }
        self.flush = flush;
        // What was only in the page cache is to be flushed now; a follower counts from what really is.
        self.dirty = true;
        let ends = self.ends();
        let high_watermark = self.high_watermark();
        if let Role::Follower(follower) = &self.role {
            let (leader, epochs) = (follower.leader(), (follower.epoch(), follower.partition_epoch()));
            self.role = Role::Follower(Follower::new(leader, epochs.0, epochs.1, ends, high_watermark));
            self.position = None;
        }
        let mut effects = Vec::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_flushed(ends.flushed_end, turn.now.instant, &mut effects);
        }
        self.deliver(effects, turn.effects);
    }

    /// `min.insync.replicas` changed.
    pub(super) fn set_isr_min(&mut self, isr_min: usize, turn: &mut Turn<'_>) {
        let mut effects = Vec::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.set_isr_min(isr_min, turn.now.instant, &mut effects);
        }
        self.deliver(effects, turn.effects);
    }

    /// Time passed.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        self.settle_flush_mode(turn);
        let mut effects = Vec::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_tick(now, &mut effects);
        }
        self.deliver(effects, turn.effects);
        self.tick_coordinator(turn);
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
            self.hand_out_position(turn.effects);
        }
    }

    /// Deletes old segments.
    pub(super) fn retain(&mut self, turn: &mut Turn<'_>) {
        self.retain_at = turn.now.instant.plus(turn.options.retention_interval);
        let high_watermark = self.high_watermark();
        let Some(log) = &mut self.log else { return };
        let before = log.start();
        let retained = log.retain(turn.now, high_watermark);
        if log.start() != before {
            self.generation += 1;
        }
        self.dirty = true;
        match retained {
            Ok(Retained { unread: Some(error), .. }) => {
                self.on_read_error(&error, turn);
            }
            Ok(_) => {}
            Err(error) => self.on_write_error(&error, turn),
        }
    }

    /// When `tick` has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let leader = match &self.role {
            Role::Leader(leader) => leader.deadline(),
            Role::Follower(_) | Role::Idle => None,
        };
        [leader, self.resume_at, self.coordinator_deadline()].into_iter().flatten().min()
    }

    /// What is to be flushed now. In Kafka's mode that is left to the sweep.
    pub(super) fn take_flush(&mut self, pace: FlushPace) -> Option<FlushOrder> {
        if !self.dirty || (self.flush == FlushMode::Kafka && pace == FlushPace::Turn) {
            return None;
        }
        self.dirty = false;
        self.log.as_mut()?.pending_flush()
    }

    /// Ends whatever waits.
    pub(super) fn resign(&mut self, ending: Ending, out: &mut Vec<Effect>) {
        self.end_coordination(out);
        let mut effects = Vec::new();
        if let Role::Leader(leader) = &mut self.role {
            if leader.waiting() > 0 {
                mark(Mark::ProduceOutlivedLeader);
            }
            let ending = if planted(Mutant::ResignAcknowledges) { Ending::Done } else { ending };
            leader.resign(ending, &mut effects);
        }
        self.deliver(effects, out);
        assert!(self.parked.is_empty(), "whatever is parked was known to the leader");
    }

    /// The broker stops: this copy neither leads nor follows any more, so nothing counts before it is flushed. One that
    /// never had an order knows nothing of what a former life has lost, and leaves the mark of it.
    pub(super) fn retire(&mut self, out: &mut Vec<Effect>) {
        self.resign(Ending::NotLeader, out);
        self.stop_fetching(out);
        self.role = Role::Idle;
        self.generation += 1;
        if let (Some(log), Some(wanted)) = (&mut self.log, &mut self.flush_wanted) {
            *wanted = FlushMode::Durable;
            log.count_flushed();
        }
    }

    /// The log is not to be trusted or not readable: nothing is served any more (rule S3).
    pub(super) fn give_up(&mut self, out: &mut Vec<Effect>) {
        self.resign(Ending::Offline, out);
        self.stop_fetching(out);
        self.role = Role::Idle;
        self.generation += 1;
        self.log = None;
    }

    /// As `give_up`, and named to the broker.
    pub(super) fn report_broken(&mut self, message: String, breakage: Breakage, out: &mut Vec<Effect>) {
        mark(Mark::CopyGivenUp);
        self.give_up(out);
        out.push(Effect::Broken(BrokenPartition { partition: self.id, name: self.name.clone(), message, breakage }));
    }

    /// A write failed: the directory is given up, though the log may be as it was. A disk that is full or ill is so for
    /// every partition on it, and a broker that stays would keep its leaderships and serve none of them. Only when
    /// what stands in the files is not what was written did the disk do as told: then this copy alone is broken.
    pub(super) fn on_write_error(&mut self, error: &LogError, turn: &mut Turn<'_>) {
        if self.log.is_none() {
            return;
        }
        if error.is_damage() {
            self.report_broken(error.to_string(), Breakage::Unreadable, turn.effects);
            return;
        }
        self.give_up(turn.effects);
        turn.effects
            .push(Effect::Fatal { cause: FatalCause::Write { partition: self.id, message: error.to_string() } });
    }

    pub(super) fn marks(&self) -> Marks {
        Marks { generation: self.generation, high_watermark: self.high_watermark(), end: self.ends().end }
    }

    /// Where the log ends; in Kafka's mode what is written counts as flushed.
    pub(super) fn ends(&self) -> LogEnds {
        let Some(log) = &self.log else { return LogEnds { end: Offset::ZERO, flushed_end: Offset::ZERO } };
        let flushed_end = match self.flush {
            // What is below the start is deleted, and needs no flush.
            FlushMode::Durable => log.flushed_end().max(log.start()),
            FlushMode::Kafka => log.end(),
        };
        assert!(flushed_end <= log.end(), "what is flushed was written");
        LogEnds { end: log.end(), flushed_end }
    }

    pub(super) fn high_watermark(&self) -> Offset {
        match &self.role {
            Role::Leader(leader) => leader.high_watermark(),
            Role::Follower(follower) => follower.high_watermark(),
            // What was deleted had been committed.
            Role::Idle => self.log.as_ref().map_or(Offset::ZERO, Log::start).min(self.ends().flushed_end),
        }
    }

    /// Carries out what the leader decided, in its order.
    pub(super) fn deliver(&mut self, effects: Vec<LeaderEffect>, out: &mut Vec<Effect>) {
        for effect in effects {
            match effect {
                // Readers are woken by the shard, which compares the marks.
                LeaderEffect::HighWatermark(_) => {}
                LeaderEffect::Complete(ticket, ending) => {
                    let parked = self.parked.remove(&ticket).expect("an answer is parked before it ends");
                    out.push(parked.ended(ticket, ending));
                }
                LeaderEffect::Ask(round) => {
                    let (partition, leader_epoch) = (self.id, self.leader_epoch);
                    out.push(Effect::AskFollowers(FollowersAsked { partition, leader_epoch, round }));
                }
                LeaderEffect::Propose(proposal) => {
                    out.push(Effect::ProposeIsr(PartitionProposal { partition: self.id, proposal }));
                }
            }
        }
    }

    pub(super) fn describe(&self) -> PartitionDescription {
        let role = match &self.role {
            Role::Idle if self.log.is_none() => RoleDescription::Offline,
            Role::Idle => RoleDescription::Idle,
            Role::Leader(leader) => RoleDescription::Leader {
                isr: leader.isr(),
                pending: leader.pending(),
                waiting: leader.waiting(),
                followers: leader.followers(),
            },
            Role::Follower(follower) => RoleDescription::Follower { leader: follower.leader() },
        };
        PartitionDescription {
            partition: self.id,
            name: self.name.clone(),
            role,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            start: self.log.as_ref().map_or(Offset::ZERO, Log::start),
            high_watermark: self.high_watermark(),
            flushed_end: self.ends().flushed_end,
            end: self.ends().end,
            size_bytes: self.log.as_ref().map_or(0, Log::size_bytes),
        }
    }

    /// Whether the log has an epoch that no leader has had yet, and somebody leads. No CRC covers the epoch of a batch, and
    /// no leader would have such a position in its log: the copy is given up.
    fn is_ahead_of(&mut self, leader_epoch: LeaderEpoch, out: &mut Vec<Effect>) -> bool {
        let Some(latest) = self.log.as_ref().and_then(|log| log.epochs().latest()) else { return false };
        let is_ahead = latest.epoch > leader_epoch && !planted(Mutant::FutureEpochKept);
        if is_ahead {
            let (theirs, start) = (latest.epoch, latest.start);
            let message =
                format!("it has epoch {theirs} from offset {start} on, and the partition is in {leader_epoch}");
            self.report_broken(message, Breakage::Unreadable, out);
        }
        is_ahead
    }

    /// Whether an order is not below what is known; then its epochs are known. Orders are levels: an equal one may
    /// bring news of registrations or options.
    fn take_level(&mut self, leader_epoch: LeaderEpoch, partition_epoch: PartitionEpoch) -> bool {
        if let Role::Leader(leader) = &self.role {
            // An accepted proposal is news that the image has yet to bring.
            self.partition_epoch = self.partition_epoch.max(leader.partition_epoch());
        }
        let takes_older = planted(Mutant::OlderImageTaken) && matches!(self.role, Role::Leader(_));
        if leader_epoch < self.leader_epoch || partition_epoch < self.partition_epoch && !takes_older {
            return false;
        }
        self.leader_epoch = leader_epoch;
        self.partition_epoch = partition_epoch;
        true
    }
}

/// How soon a flush is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushPace {
    /// At the end of every turn.
    Turn,
    /// Now and then.
    Sweep,
}

fn leadership(order: &LeadOrder) -> Leadership {
    Leadership {
        leader_epoch: order.leader_epoch,
        partition_epoch: order.partition_epoch,
        isr: order.isr.clone(),
        replicas: order.replicas.clone(),
        isr_min: order.isr_min,
        recovering: order.recovering,
    }
}
