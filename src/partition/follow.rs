//! A follower's work: positions out, answers in, cuts where the logs part.
//!
//! Part of `Replica`. Invariant: a position is handed out only when the log is flushed to its end (rule S1), and each
//! answer is taken once, for the position that is out (rule R5).

use std::time::Duration;

use bytes::Bytes;

use crate::machines::replication::{Answer, FollowerStep};
use crate::model::{LeaderEpoch, NodeId, Offset};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::records::{Batch, split};
use crate::storage::{AppendError, ReadError};

use super::damage::DamagedPlaces;
use super::effect::{Breakage, Effect, FetchFault, FetchPosition, UnusableFetch};
use super::event::{FetchedOutcome, FetchedPartition, FlushMode};
use super::replica::{Replica, Role, Turn};

/// How long to rest after an answer that cannot be used: the leader's copy does not mend by itself.
const UNUSABLE_REST: Duration = Duration::from_secs(1);
/// How often it is told of one partition that its leader's answers cannot be used.
const UNUSABLE_TOLD_EVERY: Duration = Duration::from_secs(60);

/// The bytes of an answer, checked.
struct Received {
    batches: Vec<Batch>,
    /// How the rest of them was.
    rest: Soundness,
}

impl Replica {
    /// Whether this copy follows that leader in just that epoch. One that has just been opened does not, whoever led it
    /// before: it may have led itself (rule S6).
    pub(super) fn follows(&self, leader: NodeId, leader_epoch: LeaderEpoch) -> bool {
        match &self.role {
            Role::Follower(follower) => follower.epoch() == leader_epoch && follower.leader() == Some(leader),
            Role::Idle | Role::Leader(_) => false,
        }
    }

    /// Takes the leader's answer.
    pub(super) fn fetched(&mut self, fetched: FetchedPartition, turn: &mut Turn<'_>) {
        if self.position != Some(fetched.position) && !planted(Mutant::OldAnswerTaken) {
            mark(Mark::LateAnswer);
            return;
        }
        let (Some(log), Role::Follower(follower)) = (&self.log, &self.role) else { return };
        self.position = None;
        let position = fetched.position;
        if let FetchedOutcome::Contradicted = fetched.outcome {
            if planted(Mutant::ContradictionIgnored) {
                return;
            }
            let (leader, offset) = (position.leader, position.offset);
            let message =
                format!("the leader, node {leader}, holds another batch than this copy before offset {offset}");
            self.report_broken(message, Breakage::Contradicted, turn.effects);
            return;
        }
        let (answer, payload) = match fetched.outcome {
            FetchedOutcome::Records { bytes, high_watermark, log_start } => {
                (Answer::Records { high_watermark }, Some((bytes, high_watermark, log_start)))
            }
            FetchedOutcome::Diverging(theirs) => (Answer::Diverging(theirs), None),
            FetchedOutcome::Contradicted => unreachable!("such a copy has just been given up"),
            FetchedOutcome::OutOfRange { start, end } => (Answer::OutOfRange { start, end }, None),
        };
        let done = match (follower.judge(answer, log.epochs(), log.start()), payload) {
            (FollowerStep::Append { epoch_max }, Some((bytes, high_watermark, log_start))) => {
                self.take_records(bytes, epoch_max, turn).inspect(|_| self.note_leader(high_watermark, log_start))
            }
            (FollowerStep::Append { .. }, None) => unreachable!("only records are appended"),
            (FollowerStep::Truncate(to), _) => self.cut(to, turn),
            (FollowerStep::Reset(start), _) => self.start_anew(start, turn),
            // The bounds have moved meanwhile, or nothing can be done: not in a tight loop.
            (FollowerStep::Again, _) => Some(Soundness::Unfit),
        };
        match done {
            // The log is gone.
            None => {}
            Some(Soundness::Sound) => {
                self.unusable_told_at = None;
                self.hand_out_position(turn.effects);
            }
            Some(Soundness::Unfit) => self.rest(turn),
            Some(Soundness::Faulty(fault)) => {
                self.rest(turn);
                self.tell_unusable(position, fault, turn);
            }
        }
    }

    /// The fetcher is told as well: it would wait for a flush that does not come, and ask again meanwhile.
    fn rest(&mut self, turn: &mut Turn<'_>) {
        self.stop_fetching(turn.effects);
        self.resume_at = Some(turn.now.instant.plus(UNUSABLE_REST));
    }

    fn tell_unusable(&mut self, position: FetchPosition, fault: FetchFault, turn: &mut Turn<'_>) {
        let now = turn.now.instant;
        if self.unusable_told_at.is_some_and(|told| now.since(told) < UNUSABLE_TOLD_EVERY) {
            return;
        }
        self.unusable_told_at = Some(now);
        turn.effects.push(Effect::Unusable(UnusableFetch { name: self.name.clone(), position, fault }));
    }

    /// Tells the fetcher where to go on, if the log is flushed to its end and nothing is out yet.
    pub(super) fn hand_out_position(&mut self, out: &mut Vec<Effect>) {
        let (Some(log), Role::Follower(follower)) = (&self.log, &self.role) else { return };
        if self.position.is_some() || self.resume_at.is_some() {
            return;
        }
        let Some((leader, offset)) = follower.position() else { return };
        assert_eq!(offset, log.end(), "the machine knows the end of the log");
        let last_crc = match log.batch_before(offset) {
            // One that compaction has written anew may differ from the leader's.
            Ok(last) => last.filter(|batch| !batch.is_thinned).map(|batch| batch.crc),
            Err(ReadError::Corrupt(corruption)) => {
                self.report_broken(corruption.to_string(), Breakage::Unreadable, out);
                return;
            }
            // Then this once nothing is compared.
            Err(ReadError::OutOfRange { .. } | ReadError::Log(_)) => None,
        };
        self.positions += 1;
        let position = FetchPosition {
            partition: self.id,
            leader,
            leader_epoch: follower.epoch(),
            number: self.positions,
            offset,
            last_fetched_epoch: last_epoch(log.start(), offset, log.epochs()),
            last_crc,
            log_start: log.start(),
        };
        self.position = Some(position);
        self.is_fetching = true;
        out.push(Effect::FetchFrom(position));
    }

    /// The fetcher has nothing to do here any more.
    pub(super) fn stop_fetching(&mut self, out: &mut Vec<Effect>) {
        self.resume_at = None;
        self.position = None;
        // Also while what was fetched is being flushed: the fetcher waits for the next position then.
        if std::mem::take(&mut self.is_fetching) {
            out.push(Effect::StopFetching(self.id));
        }
    }

    fn take_records(&mut self, bytes: Bytes, epoch_max: LeaderEpoch, turn: &mut Turn<'_>) -> Option<Soundness> {
        let log = self.log.as_ref()?;
        let (end, is_empty, gaps_end) = (log.end(), log.start() == log.end(), log.gaps_taken_to());
        let received = receive(bytes, End { end, is_empty, gaps_end }, epoch_max);
        if received.batches.is_empty() {
            return Some(received.rest);
        }
        let log = self.log.as_mut()?;
        let appended = log.append_fetched(&received.batches, turn.now);
        self.dirty = true;
        self.written_at = turn.now.instant;
        self.at_rest = false;
        match appended {
            Ok(()) => Some(Soundness::Sound),
            Err(AppendError::Log(error)) => {
                self.on_write_error(&error, turn);
                None
            }
            // What stands before the batch that does not fit was taken.
            Err(
                refusal @ (AppendError::Producer(_)
                | AppendError::TooLarge { .. }
                | AppendError::StaleEpoch { .. }
                | AppendError::NotContiguous { .. }
                | AppendError::Control { .. }),
            ) if log.end() == end => Some(Soundness::Faulty(FetchFault::Refused(refusal))),
            Err(_) => Some(Soundness::Sound),
        }
    }

    fn note_leader(&mut self, high_watermark: Offset, log_start: Offset) {
        let (Some(log), Role::Follower(follower)) = (&mut self.log, &mut self.role) else { return };
        follower.on_appended(log.end(), high_watermark);
        if self.flush == FlushMode::Kafka {
            follower.on_flushed(log.end());
        }
        let start = log_start.min(follower.high_watermark());
        if start > log.start() && log.advance_start(start) {
            self.dirty = true;
        }
    }

    pub(super) fn cut(&mut self, to: Offset, turn: &mut Turn<'_>) -> Option<Soundness> {
        if let Err(error) = self.log.as_mut()?.truncate(to) {
            self.on_write_error(&error, turn);
            return None;
        }
        mark(Mark::TruncateDivergent);
        self.damaged = DamagedPlaces::default();
        self.dirty = true;
        self.generation += 1;
        let ends = self.ends();
        assert!(ends.end <= to, "the log was cut");
        if let Role::Follower(follower) = &mut self.role {
            follower.on_truncated(ends);
        }
        Some(Soundness::Sound)
    }

    fn start_anew(&mut self, start: Offset, turn: &mut Turn<'_>) -> Option<Soundness> {
        if let Err(error) = self.log.as_mut()?.reset(start) {
            self.on_write_error(&error, turn);
            return None;
        }
        mark(Mark::FollowerReset);
        self.damaged = DamagedPlaces::default();
        self.dirty = true;
        self.generation += 1;
        let ends = self.ends();
        assert_eq!(ends.end, start, "the log starts anew");
        if let Role::Follower(follower) = &mut self.role {
            follower.on_reset(ends);
        }
        Some(Soundness::Sound)
    }
}

/// Whether an answer brought the log on.
#[derive(Debug)]
pub(super) enum Soundness {
    Sound,
    /// It did not, and nothing is wrong with it.
    Unfit,
    Faulty(FetchFault),
}

/// Where a copy ends, and whether it holds anything.
#[derive(Clone, Copy, Debug)]
struct End {
    end: Offset,
    is_empty: bool,
    /// Up to where what continues it may leave offsets out.
    gaps_end: Offset,
}

/// The batches that continue a log, or hold the start of an empty one, up to the first that is damaged or of an epoch
/// above `epoch_max`: such a one was written by a leader that is not followed yet (rule R5).
fn receive(bytes: Bytes, log: End, epoch_max: LeaderEpoch) -> Received {
    let mut batches = Vec::new();
    let (size, mut next) = (bytes.len(), log.end);
    for batch in split(bytes) {
        let may_cover = log.is_empty && batches.is_empty();
        let fault = match batch {
            Err(error) => Soundness::Faulty(error.into()),
            Ok(batch) => match judge(&batch, End { end: next, is_empty: may_cover, ..log }, epoch_max) {
                Soundness::Sound => {
                    next = batch.next_offset();
                    batches.push(batch);
                    continue;
                }
                fault @ (Soundness::Unfit | Soundness::Faulty(_)) => fault,
            },
        };
        return Received { batches, rest: fault };
    }
    // Leaders send whole batches, the first of them whatever its size.
    let is_partial = size > 0 && batches.is_empty();
    let rest = if is_partial { Soundness::Faulty(FetchFault::Partial { size }) } else { Soundness::Sound };
    Received { batches, rest }
}

fn judge(batch: &Batch, log: End, epoch_max: LeaderEpoch) -> Soundness {
    let (base, end) = (batch.base_offset(), log.end);
    let covers = log.is_empty && base < end && batch.next_offset() > end;
    let continues = batch.header().continues(end, log.gaps_end) || covers;
    if !continues {
        return Soundness::Faulty(FetchFault::NotContiguous { base, end });
    }
    if !batch.crc_is_valid() && !planted(Mutant::FetchedUnchecked) {
        return Soundness::Faulty(FetchFault::Checksum { base });
    }
    if batch.header().leader_epoch > epoch_max && !planted(Mutant::HigherEpochTaken) {
        mark(Mark::HigherEpochRefused);
        return Soundness::Unfit;
    }
    Soundness::Sound
}

/// The epoch of the last record; kept over empty answers, as it is read from the log (rule R5).
fn last_epoch(start: Offset, end: Offset, history: &crate::model::EpochHistory) -> Option<LeaderEpoch> {
    if end == start || planted(Mutant::LastEpochForgotten) {
        return None;
    }
    history.epoch_at(end.plus(-1))
}
