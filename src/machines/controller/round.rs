//! One round of the controller: what is due and what waits, decided together for one proposal.
//!
//! Called by the controller's host, which proposes the records, and tells who waits once they are accepted. Invariant:
//! each decision of a round sees the ones before it; what does not fit into the proposal waits for the next round.

use std::collections::VecDeque;

use crate::machines::metadata::{Image, Record};
use crate::model::{LogIndex, Now};
use crate::probe::{Mark, Mutant, mark, planted};

use super::{Decision, Effect, Event, Reply, Soft, decide, tick};

/// Events decided for one proposal.
pub const EVENTS_PER_ROUND_MAX: usize = 512;

/// An event, and who waits for its reply.
#[derive(Debug)]
pub struct Asked<T> {
    /// What is asked.
    pub event: Event,
    /// Who asks.
    pub to: T,
}

/// What one round adds up to.
#[derive(Debug)]
pub struct Round<T> {
    /// To be proposed as one entry, on the image that the round was decided on.
    pub records: Vec<Record>,
    /// To be done now.
    pub effects: Vec<Effect>,
    owed: Vec<Owed<T>>,
    /// The image with the records.
    image: Image,
    bytes: usize,
    bytes_max: usize,
}

/// An answer that waits for the round's records.
#[derive(Debug)]
struct Owed<T> {
    to: T,
    reply: Reply,
    rest: Option<Box<Event>>,
}

impl<T> Round<T> {
    /// Decides what is due and what waits, in at most `bytes_max` bytes of records. What is due comes first: the dead
    /// are fenced before anything else, however much is asked for.
    #[must_use]
    pub fn decide(
        image: &Image,
        soft: &mut Soft,
        now: Now,
        waiting: &mut VecDeque<Asked<T>>,
        bytes_max: usize,
    ) -> Self {
        let (records, effects, owed) = (Vec::new(), Vec::new(), Vec::new());
        let mut round = Self { records, effects, owed, image: image.clone(), bytes: 0, bytes_max };
        round.decide_due(soft, now);
        for _ in 0..EVENTS_PER_ROUND_MAX {
            let Some(asked) = waiting.pop_front() else { break };
            let Decision { records, reply, rest, effects } = decide(&round.image, soft, now, asked.event.clone());
            if round.take(records).is_err() {
                // It goes first in the next round, decided anew.
                waiting.push_front(asked);
                break;
            }
            round.effects.extend(effects);
            round.owed.push(Owed { to: asked.to, reply, rest });
        }
        round
    }

    /// The replies that may leave, once the records were accepted at that index, or when there are none. What has a
    /// rest waits again.
    pub fn settle(self, accepted: Option<LogIndex>, waiting: &mut VecDeque<Asked<T>>) -> Vec<(T, Reply)> {
        let mut replies = Vec::with_capacity(self.owed.len());
        for Owed { to, reply, rest } in self.owed {
            match rest {
                Some(rest) => waiting.push_back(Asked { event: *rest, to }),
                None => replies.push((to, accepted.map_or(reply.clone(), |index| reply.at(index)))),
            }
        }
        replies
    }

    /// Who waits, when the outcome of the records is not known.
    pub fn into_askers(self) -> impl Iterator<Item = T> {
        self.owed.into_iter().map(|owed| owed.to)
    }

    /// What does not fit into one proposal is owed again at the next tick (rule S10).
    fn decide_due(&mut self, soft: &mut Soft, now: Now) {
        let decision = tick(&self.image, soft, now, self.bytes_max);
        self.effects.extend(decision.effects);
        self.take(decision.records).expect("the first decision of a round fits");
    }

    /// Takes a decision in; gives it back when the proposal would become too large.
    fn take(&mut self, records: Vec<Record>) -> Result<(), Vec<Record>> {
        let bytes: usize = records.iter().map(Record::size_max).sum();
        let is_full = self.bytes + bytes > self.bytes_max && !planted(Mutant::ProposalUnbounded);
        if !self.records.is_empty() && is_full {
            mark(Mark::RoundFull);
            return Err(records);
        }
        self.image.assume(&records);
        self.bytes += bytes;
        self.records.extend(records);
        Ok(())
    }
}
