//! A leader's writes: produce, flush, trimming, the answers of the controller.
//!
//! Part of `Replica`. Invariant: a produce is refused before anything is written, or parked after it was.

use crate::machines::replication::{Acks, IsrOutcome, NotEnough, Ticket};
use crate::model::{Instant, LeaderEpoch, NodeId, Offset, PartitionEpoch, Timestamp};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::records::{Batch, TimestampType};
use crate::storage::{AppendError, Appended, Flushed, ProducerRefusal};

use super::effect::{Acked, AppendRefusal, Effect, Reply, TrimRefusal};
use super::event::FlushMode;
use super::parked::Parked;
use super::replica::{Replica, Role, Turn};

/// A produce of one batch.
#[derive(Debug)]
pub(super) struct Produce {
    pub(super) ticket: Ticket,
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) batch: Batch,
    pub(super) acks: Acks,
    pub(super) deadline: Instant,
}

impl Replica {
    /// Writes a batch and parks its ticket, or refuses it.
    pub(super) fn append(&mut self, produce: Produce, turn: &mut Turn<'_>) {
        let ticket = produce.ticket;
        if let Err(refusal) = self.try_append(produce, turn) {
            turn.effects.push(Effect::Reply { ticket, reply: Reply::Append(Err(refusal)) });
        }
    }

    fn try_append(&mut self, produce: Produce, turn: &mut Turn<'_>) -> Result<(), AppendRefusal> {
        let Some(log) = &mut self.log else { return Err(AppendRefusal::Offline) };
        let Role::Leader(leader) = &mut self.role else { return Err(AppendRefusal::NotLeader) };
        let current = leader.epoch();
        if let Some(known) = produce.leader_epoch.filter(|known| *known != current) {
            let fenced = known < current;
            return Err(if fenced {
                AppendRefusal::FencedEpoch { current }
            } else {
                AppendRefusal::UnknownEpoch { current }
            });
        }
        if let Err(NotEnough { isr, isr_min }) = leader.may_append(produce.acks) {
            mark(Mark::TooFewInSync);
            if planted(Mutant::RefusedAfterAppend) && log.append(&produce.batch, current, turn.now).is_ok() {
                leader.on_append(log.end());
                self.dirty = true;
            }
            return Err(AppendRefusal::NotEnoughReplicas { isr, isr_min });
        }
        if leader.waiting() >= turn.options.waiters_max {
            return Err(AppendRefusal::Busy);
        }
        let appended = match log.append(&produce.batch, current, turn.now) {
            Ok(appended) => appended,
            Err(error) => return Err(self.refuse(&error, turn)),
        };
        let log_start = log.start();
        let (base_offset, end, append_time) = match appended {
            Appended::New { base, end } => {
                leader.on_append(end);
                self.dirty = true;
                self.written_at = turn.now.instant;
                self.at_rest = false;
                (base, end, append_time(&produce.batch))
            }
            // The retry of a batch that may not be committed yet waits like the first (rule S2).
            Appended::Duplicate { base, end, timestamp } => {
                if leader.high_watermark() < end {
                    mark(Mark::DuplicateParked);
                }
                (base, if planted(Mutant::DuplicateAnsweredAtOnce) { Offset::ZERO } else { end }, timestamp)
            }
        };
        let acked = Acked { base_offset, append_time, log_start };
        self.parked.insert(produce.ticket, Parked::Append(acked));
        let mut effects = Vec::new();
        if self.flush == FlushMode::Kafka {
            leader.on_flushed(log.end(), turn.now.instant, &mut effects);
        }
        leader.park(produce.ticket, produce.acks, end, produce.deadline, &mut effects);
        self.deliver(effects, turn.effects);
        Ok(())
    }

    pub(super) fn refuse(&mut self, error: &AppendError, turn: &mut Turn<'_>) -> AppendRefusal {
        match error {
            AppendError::Producer(refusal) => match *refusal {
                ProducerRefusal::OutOfOrder { producer, .. } => AppendRefusal::OutOfOrderSequence { producer },
                ProducerRefusal::Fenced { producer, given, .. } => {
                    AppendRefusal::ProducerFenced { producer, epoch: given }
                }
                ProducerRefusal::InTransaction { producer } => AppendRefusal::TransactionState { producer },
                ProducerRefusal::CoordinatorFenced { .. } => AppendRefusal::Marker,
            },
            AppendError::TooLarge { .. } => AppendRefusal::TooLarge,
            AppendError::Control { .. } => AppendRefusal::Marker,
            // A leader gives offsets and epoch itself.
            AppendError::StaleEpoch { .. } | AppendError::NotContiguous { .. } => AppendRefusal::NotLeader,
            AppendError::Log(error) => {
                self.on_write_error(error, turn);
                AppendRefusal::Offline
            }
        }
    }

    /// A flush came back.
    pub(super) fn flushed(&mut self, flushed: &Flushed, turn: &mut Turn<'_>) {
        let Some(log) = &mut self.log else { return };
        log.flush_done(flushed);
        let end = log.flushed_end();
        let mut effects = Vec::new();
        match &mut self.role {
            Role::Idle => {}
            Role::Leader(leader) => leader.on_flushed(end, turn.now.instant, &mut effects),
            Role::Follower(follower) => {
                follower.on_flushed(end);
                self.hand_out_position(turn.effects);
            }
        }
        self.deliver(effects, turn.effects);
        self.settle_flush_mode(turn);
    }

    /// The controller answered a proposal.
    pub(super) fn isr_answer(&mut self, base: (LeaderEpoch, PartitionEpoch), outcome: IsrOutcome, turn: &mut Turn<'_>) {
        let mut effects = Vec::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_isr_answer(base, outcome, turn.now.instant, &mut effects);
        }
        self.deliver(effects, turn.effects);
    }

    /// A member of the ISR follows this leader (rule S6).
    pub(super) fn vouched(&mut self, asked: (LeaderEpoch, u64), node: NodeId, turn: &mut Turn<'_>) {
        let mut effects = Vec::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_vouched(asked, node, turn.now.instant, &mut effects);
        }
        self.deliver(effects, turn.effects);
    }

    /// Moves the start of the log, at most to the high watermark.
    pub(super) fn trim(&mut self, before: Option<Offset>) -> Result<Offset, TrimRefusal> {
        let high_watermark = self.high_watermark();
        let Some(log) = &mut self.log else { return Err(TrimRefusal::Offline) };
        if !matches!(self.role, Role::Leader(_)) {
            return Err(TrimRefusal::NotLeader);
        }
        let to = before.unwrap_or(high_watermark);
        if to > high_watermark {
            return Err(TrimRefusal::OutOfRange { high_watermark });
        }
        if planted(Mutant::TrimForgotten) {
            return Ok(to);
        }
        if to > log.start() && log.advance_start(to) {
            self.dirty = true;
            self.generation += 1;
        }
        Ok(log.start())
    }
}

fn append_time(batch: &Batch) -> Timestamp {
    match batch.header().timestamp_type() {
        TimestampType::Create => Timestamp::NONE,
        TimestampType::LogAppend => batch.header().max_timestamp,
    }
}
