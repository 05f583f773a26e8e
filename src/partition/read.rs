//! Reads: fetches of consumers and followers, offsets by time, ends of epochs.
//!
//! Part of `Replica`. Invariant: consumers are given nothing at or above the high watermark (R7, R18), and an offset
//! between the high watermark and the end of the log is an empty answer, never out of range.

use crate::machines::replication::{EpochEnd, FetchFault, FollowerFetch, Leader};
use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::storage::{BatchPlace, FirstBatch, Log, ReadError};

use super::effect::{ListRefusal, ReadAnswer, ReadRefusal};
use super::event::{OffsetQuery, ReadRequest, Reader};
use super::lookup::{FoundOffset, OffsetAnswer, OffsetLookup};
use super::replica::{Replica, Role, Turn};
use super::watches::{Line, Place};

/// One partition's part of a fetch, with what the parts before it have left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) reader: Reader,
    pub(super) request: ReadRequest,
    /// The smaller of the request's and what the answer has left.
    pub(super) bytes_max: usize,
    /// Whether nothing was found before it.
    pub(super) first: FirstBatch,
    /// Whether the fetch was parked before: then it is no news of the follower.
    pub(super) again: bool,
}

/// An answer, and where to wait if it is not enough.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) answer: ReadAnswer,
    pub(super) place: Place,
    /// Whether there is more already, so that waiting would be wrong.
    pub(super) more: bool,
}

impl Replica {
    /// Reads for a consumer or a follower.
    pub(super) fn read(&mut self, part: Part, turn: &mut Turn<'_>) -> Result<Found, ReadRefusal> {
        if self.log.is_none() {
            return Err(ReadRefusal::Offline);
        }
        if let Some(known) = part.request.leader_epoch {
            self.check_epoch(known)?;
        }
        match part.reader {
            Reader::Consumer { from_follower, .. } => self.read_committed(part, from_follower, turn),
            Reader::Follower { node, broker_epoch } => {
                let ReadRequest { offset, last_crc, .. } = part.request;
                let fetch = FollowerFetch { node, broker_epoch, offset, last_crc };
                // It is this copy that is damaged: the follower waits for a better one.
                let read = self.read_as_replica(part, fetch, turn);
                read.map_err(|refusal| if refusal == ReadRefusal::Damaged { ReadRefusal::Offline } else { refusal })
            }
        }
    }

    /// Finds an offset by what is asked.
    pub(super) fn list_offset(
        &mut self,
        reader: Reader,
        leader_epoch: Option<LeaderEpoch>,
        query: OffsetQuery,
        turn: &mut Turn<'_>,
    ) -> Result<OffsetAnswer, ListRefusal> {
        let leader = self.led(leader_epoch)?;
        let (high_watermark, knows_committed) = (leader.high_watermark(), leader.knows_committed());
        let log = self.log.as_mut().expect("a leader has a log");
        let (end, settled) = match reader {
            Reader::Consumer { .. } => (high_watermark, knows_committed),
            Reader::Follower { .. } => (log.end(), true),
        };
        let place = match query {
            OffsetQuery::Earliest => return Ok(earliest(log)),
            OffsetQuery::Latest if !settled => {
                mark(Mark::OffsetNotAvailable);
                return Err(ListRefusal::NotAvailable);
            }
            OffsetQuery::Latest => return Ok(latest(log, end)),
            OffsetQuery::MaxTimestamp => log.batch_of_max_timestamp(),
            OffsetQuery::Timestamp(timestamp) => log.offset_for_timestamp(timestamp, end),
        };
        match place {
            Ok(Some(place)) if self.damaged.holds(place.place) => Err(ListRefusal::Offline),
            Ok(Some(place)) if place.place.offset < end => {
                let BatchPlace { slice, place, .. } = place;
                Ok(OffsetAnswer::Look(OffsetLookup { slice, query, end, place, generation: self.generation }))
            }
            // It may be among what an earlier leader committed and this one does not yet know of (rule R18).
            Ok(_) if !settled => Err(ListRefusal::NotAvailable),
            Ok(_) => Ok(OffsetAnswer::Found(None)),
            Err(error) => {
                self.on_read_error(&error, turn);
                Err(ListRefusal::Offline)
            }
        }
    }

    /// Where an epoch ends in this leader's log.
    pub(super) fn epoch_end(
        &self,
        leader_epoch: Option<LeaderEpoch>,
        epoch: LeaderEpoch,
    ) -> Result<Option<EpochEnd>, ListRefusal> {
        self.led(leader_epoch)?;
        let log = self.log.as_ref().expect("a leader has a log");
        Ok(log.epochs().end_of(epoch, log.end()).map(|found| EpochEnd { epoch: found.epoch, end: found.start }))
    }

    fn read_committed(&mut self, part: Part, from_follower: bool, turn: &mut Turn<'_>) -> Result<Found, ReadRefusal> {
        // Beyond its own end a follower cannot tell what is committed, but what the leader said is (KIP-392).
        let known_end = match &self.role {
            Role::Leader(leader) if planted(Mutant::OutOfRangeAboveWatermark) => leader.high_watermark(),
            Role::Leader(_) => self.ends().end,
            Role::Follower(follower) if from_follower => self.ends().end.max(follower.leader_high_watermark()),
            Role::Follower(_) | Role::Idle => return Err(ReadRefusal::NotLeader),
        };
        let start = self.log.as_ref().map_or(Offset::ZERO, Log::start);
        let offset = part.request.offset;
        if offset < start || offset > known_end {
            return Err(ReadRefusal::OutOfRange { start, end: known_end });
        }
        let reads_all = planted(Mutant::ConsumersReadToEnd);
        let end = if reads_all { self.ends().end } else { self.high_watermark() };
        self.plan(part, Line::HighWatermark, end, turn)
    }

    fn read_as_replica(&mut self, part: Part, fetch: FollowerFetch, turn: &mut Turn<'_>) -> Result<Found, ReadRefusal> {
        let (Some(log), Role::Leader(leader)) = (&self.log, &self.role) else {
            return Err(ReadRefusal::NotLeader);
        };
        let current = leader.epoch();
        leader.check_fetch(&fetch).map_err(|fault| match fault {
            FetchFault::NotReplica => ReadRefusal::UnknownEpoch { current },
            FetchFault::StaleBroker => ReadRefusal::NotLeader,
        })?;
        // A follower always knows whom it follows (rule R3).
        if part.request.leader_epoch.is_none() {
            return Err(ReadRefusal::NotLeader);
        }
        let (start, end) = (log.start(), log.end());
        let out_of_range = ReadRefusal::OutOfRange { start, end };
        // Below the start first, then where the logs part.
        if fetch.offset < start {
            mark(Mark::FetchBelowStart);
            return Err(out_of_range);
        }
        if let Some(last) = part.request.last_fetched_epoch
            && !planted(Mutant::LeaderSeesNoDivergence)
        {
            let found = log.epochs().end_of(last, end).ok_or(out_of_range)?;
            if found.epoch < last || found.start < fetch.offset {
                mark(Mark::LogsPart);
                // A log that ends in an epoch before all that are known here may have parted from this one below its start:
                // then nothing of it agrees.
                let is_older = log.epochs().entries().first().is_some_and(|first| first.epoch > last);
                let epoch = if is_older && !planted(Mutant::OldTailKept) { LeaderEpoch::NONE } else { found.epoch };
                return Ok(self.diverging(part, EpochEnd { epoch, end: found.start }));
            }
        }
        if fetch.offset > end {
            return Err(out_of_range);
        }
        if !part.again {
            self.check_last_batch(&fetch, turn)?;
            let mut effects = Vec::new();
            if let Role::Leader(leader) = &mut self.role {
                leader.on_fetch(&fetch, turn.now.instant, &mut effects);
            }
            self.deliver(effects, turn.effects);
        }
        // To the end of the log, before the leader's own flush (ADR 7).
        self.plan(part, Line::LogEnd, end, turn)
    }

    fn diverging(&self, part: Part, diverging: EpochEnd) -> Found {
        let answer = ReadAnswer { diverging: Some(diverging), ..self.empty_answer() };
        Found { answer, place: self.place(part, Line::LogEnd, Offset::ZERO), more: true }
    }

    /// What there is from the asked offset to `end`, which `line` tells.
    fn plan(&mut self, part: Part, line: Line, end: Offset, turn: &mut Turn<'_>) -> Result<Found, ReadRefusal> {
        let offset = part.request.offset;
        let mut answer = self.empty_answer();
        let place = self.place(part, line, end);
        let wanted = part.bytes_max > 0 || part.first == FirstBatch::Whole;
        if offset >= end || !wanted {
            return Ok(Found { answer, place, more: offset < end });
        }
        self.look_again(offset, turn);
        if self.damaged.begins_at(offset) && !planted(Mutant::DamageServed) {
            mark(Mark::DamageWithheld);
            return Err(ReadRefusal::Damaged);
        }
        let log = self.log.as_mut().expect("reading began with a log");
        let mut plan = match log.read(offset, end, part.bytes_max, part.first) {
            Ok(plan) => plan,
            Err(error) => return Err(self.on_read_error(&error, turn)),
        };
        if !planted(Mutant::DamageServed) {
            self.damaged.keep_sound(&mut plan)?;
        }
        assert!(plan.next <= end, "a plan ends below the readable end");
        let more = plan.is_empty() || plan.next < end;
        answer.plan = (!plan.is_empty()).then_some(plan);
        Ok(Found { answer, place, more })
    }

    fn empty_answer(&self) -> ReadAnswer {
        let high_watermark = self.high_watermark();
        ReadAnswer {
            high_watermark,
            // No transaction is open as long as the log keeps none; then this is the first undecided offset.
            last_stable: high_watermark,
            log_start: self.log.as_ref().map_or(Offset::ZERO, Log::start),
            plan: None,
            diverging: None,
            aborted: Vec::new(),
            generation: self.generation,
        }
    }

    fn place(&self, part: Part, line: Line, end: Offset) -> Place {
        Place { partition: self.id, line, offset: end.max(part.request.offset) }
    }

    fn check_epoch(&self, known: LeaderEpoch) -> Result<(), ReadRefusal> {
        let current = self.leader_epoch;
        if planted(Mutant::FetchEpochUnchecked) {
            return Ok(());
        }
        match known.cmp(&current) {
            std::cmp::Ordering::Less => {
                mark(Mark::FetchFenced);
                Err(ReadRefusal::FencedEpoch { current })
            }
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => {
                mark(Mark::FetchUnknownEpoch);
                Err(ReadRefusal::UnknownEpoch { current })
            }
        }
    }

    fn led(&self, known: Option<LeaderEpoch>) -> Result<&Leader, ListRefusal> {
        if self.log.is_none() {
            return Err(ListRefusal::Offline);
        }
        let current = self.leader_epoch;
        if let Some(known) = known.filter(|known| *known != current) {
            let fenced = known < current;
            return Err(if fenced {
                ListRefusal::FencedEpoch { current }
            } else {
                ListRefusal::UnknownEpoch { current }
            });
        }
        match &self.role {
            Role::Leader(leader) => Ok(leader),
            Role::Follower(_) | Role::Idle => Err(ListRefusal::NotLeader),
        }
    }

    pub(super) fn on_read_error(&mut self, error: &ReadError, turn: &mut Turn<'_>) -> ReadRefusal {
        match error {
            ReadError::OutOfRange { start, end, .. } => ReadRefusal::OutOfRange { start: *start, end: *end },
            ReadError::Corrupt(corruption) => self.on_suspicion(corruption, turn),
            // Nothing was written; it is asked again.
            ReadError::Log(cause) => {
                self.tell_unreadable(cause.to_string(), turn);
                ReadRefusal::Offline
            }
        }
    }
}

fn earliest(log: &Log) -> OffsetAnswer {
    let offset = log.start();
    let leader_epoch = log.epochs().epoch_at(offset);
    OffsetAnswer::Found(Some(FoundOffset { offset, timestamp: Timestamp::NONE, leader_epoch }))
}

fn latest(log: &Log, end: Offset) -> OffsetAnswer {
    let leader_epoch = log.epochs().latest().map(|latest| latest.epoch);
    OffsetAnswer::Found(Some(FoundOffset { offset: end, timestamp: Timestamp::NONE, leader_epoch }))
}
