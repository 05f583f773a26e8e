//! A follower of one partition: where to fetch, what to take, where to cut.
//!
//! Driven by `partition/replica.rs`, which performs each step and then calls the matching `on_…`. Invariant: the
//! position asked for is the end of a log that is flushed to its end (rule S1), and the high watermark never passes
//! what is flushed here (rule R6).

use crate::model::{EpochHistory, LeaderEpoch, NodeId, Offset, PartitionEpoch};
use crate::probe::{Mark, Mutant, mark, planted};

use super::effect::{EpochEnd, LogEnds};

/// Follows one leader in one epoch, or waits for one.
#[derive(Clone, Debug)]
pub struct Follower {
    leader: Option<NodeId>,
    epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    log: LogEnds,
    high_watermark: Offset,
    /// The last that the leader of this epoch said; `high_watermark` follows it as the flush does.
    leader_high_watermark: Offset,
}

/// A leader's answer, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records or none, and the leader's high watermark.
    Records {
        /// The leader's high watermark.
        high_watermark: Offset,
    },
    /// The logs part.
    Diverging(EpochEnd),
    /// The position is not in the leader's log, which has these bounds.
    OutOfRange {
        /// Its start.
        start: Offset,
        /// Its end.
        end: Offset,
    },
}

/// What is to be done about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerStep {
    /// Append the batches up to the first above `epoch_max`, then call `on_appended`.
    Append {
        /// The epoch of the fetch: batches above it were written by a leader not followed yet (rule R5).
        epoch_max: LeaderEpoch,
    },
    /// Cut the log to this end, durably, then call `on_truncated`; fetch again.
    Truncate(Offset),
    /// Empty the log and let it start here, durably, then call `on_reset`; fetch again.
    Reset(Offset),
    /// Nothing; fetch again.
    Again,
}

impl Follower {
    /// Starts to follow in an epoch, or to wait for a leader of it.
    #[must_use]
    pub fn new(
        leader: Option<NodeId>,
        epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        log: LogEnds,
        high_watermark: Offset,
    ) -> Self {
        assert!(log.flushed_end <= log.end, "what is flushed was written");
        let high_watermark = high_watermark.min(log.flushed_end);
        Self { leader, epoch, partition_epoch, log, high_watermark, leader_high_watermark: Offset::ZERO }
    }

    /// From where to fetch, if there is a leader and everything here is flushed: the offset *is* the flushed end
    /// (ADR 7, rule S1).
    #[must_use]
    pub fn position(&self) -> Option<(NodeId, Offset)> {
        let ready = self.log.flushed_end == self.log.end || planted(Mutant::UnflushedIsFetched);
        self.leader.filter(|_| ready).map(|leader| (leader, self.log.end))
    }

    /// Judges an answer to the present position; the owner has dropped answers to any other (rule R5).
    #[must_use]
    pub fn judge(&self, answer: Answer, history: &EpochHistory, log_start: Offset) -> FollowerStep {
        match answer {
            Answer::Records { .. } => FollowerStep::Append { epoch_max: self.epoch },
            Answer::Diverging(_) if planted(Mutant::DivergenceIgnored) => FollowerStep::Again,
            Answer::Diverging(theirs) => self.cut(theirs, history, log_start),
            Answer::OutOfRange { start, end } => {
                mark(Mark::FollowerOutOfRange);
                if end < self.log.end {
                    // No epoch could be compared, or the leader's log is older than ours: its end bounds what agrees.
                    return self.cut_or_reset(end, log_start);
                }
                if start > self.log.end { FollowerStep::Reset(start) } else { FollowerStep::Again }
            }
        }
    }

    /// Batches were appended, up to `end`; `high_watermark` is the leader's, from the same answer.
    pub fn on_appended(&mut self, end: Offset, high_watermark: Offset) {
        assert!(end >= self.log.end, "an append only adds");
        self.log.end = end;
        self.leader_high_watermark = high_watermark;
        self.raise_high_watermark();
    }

    /// The log is durable up to `end`.
    pub fn on_flushed(&mut self, end: Offset) {
        assert!(end <= self.log.end, "what is flushed was written");
        self.log.flushed_end = self.log.flushed_end.max(end);
        self.raise_high_watermark();
    }

    /// The log was cut.
    pub fn on_truncated(&mut self, log: LogEnds) {
        assert!(log.end <= self.log.end, "a cut adds nothing");
        self.log = log;
        if !planted(Mutant::WatermarkSurvivesCut) {
            self.high_watermark = self.high_watermark.min(log.flushed_end);
        }
        self.leader_high_watermark = self.high_watermark;
    }

    /// The log was emptied and starts elsewhere; below its start everything is committed.
    pub fn on_reset(&mut self, log: LogEnds) {
        self.log = log;
        self.high_watermark = log.end.min(log.flushed_end);
        self.leader_high_watermark = self.high_watermark;
    }

    /// The leader.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether another copy is in use. While nobody leads, this may be the only one there is.
    #[must_use]
    pub fn is_replaceable(&self) -> bool {
        self.leader.is_some()
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The partition epoch of the last order.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Takes a later partition epoch of the same leadership.
    pub fn set_partition_epoch(&mut self, epoch: PartitionEpoch) {
        assert!(epoch >= self.partition_epoch, "older orders are ignored before");
        self.partition_epoch = epoch;
    }

    /// Committed, and flushed here.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// What the leader said is committed, though it may not be here yet.
    #[must_use]
    pub fn leader_high_watermark(&self) -> Offset {
        self.leader_high_watermark.max(self.high_watermark)
    }

    fn raise_high_watermark(&mut self) {
        let is_bounded = !planted(Mutant::FollowerWatermarkUnbounded);
        let bound = if is_bounded { self.log.flushed_end } else { self.leader_high_watermark };
        let known = self.leader_high_watermark.min(bound);
        self.high_watermark = self.high_watermark.max(known);
    }

    /// Where the logs part, by epochs only, never by the high watermark (rules R3, R4): where the leader's epoch ends
    /// in either log. If that epoch is not known here, the next smaller one is what may agree, and is compared next.
    /// Of a log that ends in none of the epochs that the leader knows, which begin at its start, what is committed alone
    /// is known to agree below that start.
    fn cut(&self, theirs: EpochEnd, history: &EpochHistory, log_start: Offset) -> FollowerStep {
        if theirs.epoch == LeaderEpoch::NONE {
            let agrees = self.high_watermark >= theirs.end;
            return if agrees { self.cut_or_reset(theirs.end, log_start) } else { FollowerStep::Reset(theirs.end) };
        }
        let ours = history.end_of(theirs.epoch, self.log.end);
        let end = match ours {
            Some(found) if found.epoch == theirs.epoch => found.start.min(theirs.end),
            Some(found) => found.start,
            None => theirs.end,
        };
        self.cut_or_reset(end.min(self.log.end), log_start)
    }

    fn cut_or_reset(&self, end: Offset, log_start: Offset) -> FollowerStep {
        if end < log_start {
            return FollowerStep::Reset(end);
        }
        FollowerStep::Truncate(end)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::EpochStart;

    use super::*;

    fn history(entries: &[(i32, i64)]) -> EpochHistory {
        let entries = entries
            .iter()
            .map(|&(epoch, start)| EpochStart { epoch: LeaderEpoch::new(epoch), start: Offset::new(start) });
        EpochHistory::from_entries(entries.collect()).expect("the test's entries rise")
    }

    fn follower(end: i64, flushed_end: i64, high_watermark: i64) -> Follower {
        let log = LogEnds { end: Offset::new(end), flushed_end: Offset::new(flushed_end) };
        let epochs = (LeaderEpoch::new(9), PartitionEpoch::new(1));
        Follower::new(Some(NodeId::new(2)), epochs.0, epochs.1, log, Offset::new(high_watermark))
    }

    /// A log of these epochs that ends at 100 and starts at 10 hears that the leader's `epoch` ends at `end`.
    fn check_cut(entries: &[(i32, i64)], (epoch, end): (i32, i64), expected: FollowerStep) {
        let theirs = EpochEnd { epoch: LeaderEpoch::new(epoch), end: Offset::new(end) };
        let step = follower(100, 100, 40).judge(Answer::Diverging(theirs), &history(entries), Offset::new(10));
        assert_eq!(step, expected);
    }

    fn check_out_of_range((start, end): (i64, i64), expected: FollowerStep) {
        let answer = Answer::OutOfRange { start: Offset::new(start), end: Offset::new(end) };
        assert_eq!(follower(100, 100, 40).judge(answer, &history(&[(1, 10)]), Offset::new(10)), expected);
    }

    #[test]
    fn a_log_that_ends_in_no_epoch_of_the_leader_is_kept_only_if_it_is_committed_up_to_its_start() {
        check_cut(&[(1, 10)], (-1, 41), FollowerStep::Reset(Offset::new(41)));
        check_cut(&[(1, 10)], (-1, 40), FollowerStep::Truncate(Offset::new(40)));
    }

    #[test]
    fn the_log_is_cut_where_the_epochs_part_and_never_at_the_high_watermark() {
        // The leader's epoch ends before ours.
        check_cut(&[(1, 10), (3, 50)], (3, 80), FollowerStep::Truncate(Offset::new(80)));
        // Ours ends before the leader's: a later epoch of ours is unknown there.
        check_cut(&[(1, 10), (3, 50), (4, 70)], (3, 80), FollowerStep::Truncate(Offset::new(70)));
        // The leader's epoch is unknown here: what the next smaller one holds may agree, and is compared next.
        check_cut(&[(1, 10), (4, 70)], (3, 80), FollowerStep::Truncate(Offset::new(70)));
        // Older than anything here: nothing agrees.
        check_cut(&[(4, 10)], (3, 30), FollowerStep::Truncate(Offset::new(10)));
        check_cut(&[(4, 10)], (3, 5), FollowerStep::Reset(Offset::new(5)));
        // No epoch is known here.
        check_cut(&[], (3, 80), FollowerStep::Truncate(Offset::new(80)));
        check_cut(&[], (3, 180), FollowerStep::Truncate(Offset::new(100)));
    }

    #[test]
    fn an_offset_out_of_the_leaders_range_starts_anew_or_cuts() {
        check_out_of_range((150, 200), FollowerStep::Reset(Offset::new(150)));
        check_out_of_range((0, 60), FollowerStep::Truncate(Offset::new(60)));
        check_out_of_range((0, 5), FollowerStep::Reset(Offset::new(5)));
        check_out_of_range((50, 200), FollowerStep::Again);
    }

    #[test]
    fn nothing_is_fetched_until_the_log_is_flushed_to_its_end() {
        let mut follower = follower(100, 80, 40);
        assert_eq!(follower.position(), None);
        follower.on_flushed(Offset::new(100));
        assert_eq!(follower.position(), Some((NodeId::new(2), Offset::new(100))));
        follower.on_appended(Offset::new(110), Offset::new(105));
        assert_eq!(follower.position(), None);
    }

    #[test]
    fn the_high_watermark_follows_the_leaders_as_far_as_the_flush_and_never_falls() {
        let mut follower = follower(100, 100, 40);
        follower.on_appended(Offset::new(110), Offset::new(105));
        assert_eq!(follower.high_watermark(), Offset::new(100));
        follower.on_flushed(Offset::new(110));
        assert_eq!(follower.high_watermark(), Offset::new(105));
        follower.on_appended(Offset::new(110), Offset::new(90));
        assert_eq!(follower.high_watermark(), Offset::new(105));
        assert_eq!(follower.leader_high_watermark(), Offset::new(105));
    }

    #[test]
    fn after_a_cut_the_high_watermark_is_at_most_what_is_left() {
        let mut follower = follower(100, 100, 90);
        follower.on_truncated(LogEnds { end: Offset::new(80), flushed_end: Offset::new(80) });
        assert_eq!((follower.high_watermark(), follower.leader_high_watermark()), (Offset::new(80), Offset::new(80)));
    }

    #[test]
    fn a_log_that_begins_anew_is_committed_up_to_its_start() {
        let mut follower = follower(100, 100, 40);
        follower.on_reset(LogEnds { end: Offset::new(150), flushed_end: Offset::new(150) });
        assert_eq!((follower.high_watermark(), follower.leader_high_watermark()), (Offset::new(150), Offset::new(150)));
    }

    #[test]
    fn batches_above_the_epoch_of_the_fetch_are_not_taken() {
        let answer = Answer::Records { high_watermark: Offset::new(50) };
        let step = follower(100, 100, 40).judge(answer, &history(&[(1, 10)]), Offset::new(10));
        assert_eq!(step, FollowerStep::Append { epoch_max: LeaderEpoch::new(9) });
    }
}
