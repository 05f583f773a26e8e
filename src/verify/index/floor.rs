//! Up to where a partition was known to be committed, by time and by leader epoch.
//!
//! Read by the invariants that ask whether an answer was behind. Invariant: only promises and observations count: an
//! offset acknowledged with acks=all, or a record that a consumer was given.

use std::collections::BTreeMap;
use std::fmt;

use super::told::{read_by, sent};
use crate::model::{Instant, LeaderEpoch, Offset};
use crate::verify::history::{Poll, Send};

/// Shows that everything below an offset is committed.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'h> {
    /// When somebody knew.
    pub(crate) at: Instant,
    /// The leader epoch that the one who told it knew.
    pub(crate) epoch: Option<LeaderEpoch>,
    /// One past the committed offset.
    pub(crate) end: Offset,
    pub(super) witness: Witness<'h>,
}

#[derive(Clone, Copy)]
pub(super) enum Witness<'h> {
    Acknowledged(&'h Send),
    Read(&'h Poll),
}

impl fmt::Display for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.end.plus(-1);
        match self.witness {
            Witness::Acknowledged(send) => write!(f, "offset {offset} was acknowledged: {}", sent(send)),
            Witness::Read(poll) => write!(f, "offset {offset} was read by {}", read_by(poll)),
        }
    }
}

/// All evidence of one partition.
#[derive(Default)]
pub(crate) struct Floor<'h> {
    /// By time.
    pub(crate) evidence: Vec<Evidence<'h>>,
    /// Those that raised the end, by time and by end.
    steps: Vec<Evidence<'h>>,
}

impl<'h> Floor<'h> {
    pub(super) fn new(mut evidence: Vec<Evidence<'h>>) -> Self {
        evidence.sort_by_key(|e| e.at);
        let mut steps: Vec<Evidence<'h>> = Vec::new();
        for fact in &evidence {
            if steps.last().is_none_or(|last| last.end < fact.end) {
                steps.push(*fact);
            }
        }
        Self { evidence, steps }
    }

    /// The highest that was known before a moment.
    pub(crate) fn before(&self, moment: Instant) -> Option<&Evidence<'h>> {
        let count = self.steps.partition_point(|step| step.at < moment);
        count.checked_sub(1).map(|last| &self.steps[last])
    }

    /// All of it, to be taken in by rising moments.
    pub(crate) fn sweep(&self) -> Sweep<'_, 'h> {
        Sweep { rest: &self.evidence, floor: EpochFloor::default() }
    }

    /// The first that was known to reach beyond an offset.
    pub(crate) fn first_beyond(&self, end: Offset) -> Option<&Evidence<'h>> {
        self.steps.get(self.steps.partition_point(|step| step.end <= end))
    }
}

/// Takes evidence in by rising moments.
pub(crate) struct Sweep<'a, 'h> {
    rest: &'a [Evidence<'h>],
    floor: EpochFloor<'h>,
}

impl<'h> Sweep<'_, 'h> {
    /// The highest that was known before a moment, as told by nodes that knew no epoch above this one. Moments rise
    /// from call to call.
    pub(crate) fn known(&mut self, moment: Instant, epoch: LeaderEpoch) -> Option<&Evidence<'h>> {
        while let Some((next, rest)) = self.rest.split_first().filter(|(next, _)| next.at < moment) {
            self.floor.add(*next);
            self.rest = rest;
        }
        self.floor.up_to(epoch)
    }
}

/// The highest known end by leader epoch, of what was put in so far.
///
/// Keeps only what a later epoch raised, so that one look-up answers "by anybody who knew no newer epoch".
#[derive(Default)]
pub(crate) struct EpochFloor<'h> {
    steps: BTreeMap<LeaderEpoch, Evidence<'h>>,
}

impl<'h> EpochFloor<'h> {
    /// Puts evidence in; without an epoch it says nothing here.
    pub(crate) fn add(&mut self, fact: Evidence<'h>) {
        let Some(epoch) = fact.epoch else { return };
        if self.up_to(epoch).is_some_and(|known| known.end >= fact.end) {
            return;
        }
        while let Some((later, known)) = self.steps.range(epoch..).next() {
            if known.end > fact.end {
                break;
            }
            let later = *later;
            self.steps.remove(&later);
        }
        self.steps.insert(epoch, fact);
    }

    /// The highest that was told by nodes that knew no epoch above this one.
    pub(crate) fn up_to(&self, epoch: LeaderEpoch) -> Option<&Evidence<'h>> {
        self.steps.range(..=epoch).next_back().map(|(_, fact)| fact)
    }
}
