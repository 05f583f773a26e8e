//! B4, high watermark regress: broken by two answers that a client had, one after the other, from one node in one life
//! of its and one leader epoch, of which the later tells a lower high watermark.
//!
//! Source: rule R7, "monotone within the epoch". Not judged in a run that allowed loss: there, a follower may have to
//! give up committed records after it has learnt of the epoch.

use crate::verify::Invariant;
use crate::verify::history::PollOutcome;
use crate::verify::index::{Index, read_by};
use crate::verify::report::Findings;

/// Judges every partition.
pub(super) fn check(index: &Index<'_>, findings: &mut Findings) {
    if index.loss_is_allowed() {
        return;
    }
    for facts in &index.partitions {
        let answered = |poll: &_| matches!(poll, PollOutcome::Records { .. });
        let polls = facts.polls.iter().copied().filter(|poll| answered(&poll.outcome));
        for (before, poll) in index.successions(polls).filter(|(a, b)| a.leader_epoch == b.leader_epoch) {
            let (
                PollOutcome::Records { high_watermark: earlier, .. },
                PollOutcome::Records { high_watermark: later, .. },
            ) = (&before.outcome, &poll.outcome)
            else {
                continue;
            };
            if later < earlier {
                findings.add(Invariant::B4, || {
                    let (after, before) = (read_by(poll), read_by(before));
                    format!("{}: high watermark {earlier} for {before}; then {later} for {after}", facts.id)
                });
            }
        }
    }
}
