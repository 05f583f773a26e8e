//! What one run does: its set-up, its faults and their moments. A plan is a value: it can be shrunk, printed and run
//! again.

use std::time::Duration;

use super::fault::Fault;
use super::knobs::{CompactionKnobs, Knobs};
use super::record::Traces;
use super::script::Script;
use crate::model::TopicName;
use crate::testing::Chance;

/// Only what is closed is compacted: where that is what a run is about, segments are small.
const SEGMENT_BYTES_COMPACTED: u32 = 512;

/// See the file's comment.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// The set-up.
    pub knobs: Knobs,
    /// The faults.
    pub steps: Vec<Step>,
    /// How long the faults go on.
    pub span: Duration,
    /// Whether the run is told as it goes.
    pub traces: Traces,
}

/// One fault and its moment.
#[derive(Clone, Debug)]
pub struct Step {
    /// When it begins.
    pub when: When,
    /// What it is.
    pub fault: Fault,
}

/// When a fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after the begin of the run.
    At(Duration),
    /// So long after a leader was elected that comes at this place, counted from the begin of the run.
    Election {
        /// Which election.
        number: usize,
        /// How long after it.
        after: Duration,
    },
}

impl Plan {
    /// Leaves out every step but those at these places.
    pub fn keep(&mut self, places: &[usize]) {
        let mut at = 0;
        self.steps.retain(|_| {
            at += 1;
            places.contains(&(at - 1))
        });
    }

    /// The plan of a seed: every third is scripted, each script in its turn; the others are random.
    #[must_use]
    pub fn of(seed: u64, span: Duration) -> Self {
        let plan = Self::without_groups(seed, span);
        if has_groups(seed) { plan.with_groups() } else { plan }
    }

    /// The same with clients that commit offsets, and with groups.
    #[must_use]
    pub fn with_groups(mut self) -> Self {
        if self.knobs.committers > 0 {
            return self;
        }
        self.knobs.committers = 3;
        self.knobs.members = 8;
        self.knobs.topics.push((TopicName::CONSUMER_OFFSETS.to_owned(), 4, 3));
        self
    }

    /// The same with topics that are compacted: a chance of its own says how.
    #[must_use]
    pub fn with_compaction(mut self) -> Self {
        let knobs = &mut self.knobs;
        knobs.compaction = Some(CompactionKnobs::of(Chance::new(self.seed ^ 0x000c_0a7a)));
        (knobs.plain_producers, knobs.padding_max) = (0, 0);
        knobs.segment_bytes = knobs.segment_bytes.min(SEGMENT_BYTES_COMPACTED);
        self
    }

    fn without_groups(seed: u64, span: Duration) -> Self {
        if !seed.is_multiple_of(3) {
            return Self::random(seed, span);
        }
        let turn = usize::try_from(seed / 3 % 1000).expect("a small number");
        if has_groups(seed) && turn.is_multiple_of(2) {
            let script = Script::WITH_GROUPS[turn / 2 % Script::WITH_GROUPS.len()];
            return script.plan(seed, span);
        }
        let count = u64::try_from(Script::ALL.len()).expect("a few scripts");
        let script = usize::try_from(seed / 3 % count).expect("a few scripts");
        Script::ALL[script].plan(seed, span)
    }

    /// A random plan of a seed: a random set-up and a random mix of faults, with quiet windows in between.
    #[must_use]
    pub fn random(seed: u64, span: Duration) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed);
        let knobs = Knobs::of(&mut chance);
        let mut steps = Vec::new();
        let calm = chance.millis(1500, 3000);
        let mut at = calm;
        // Some runs have few faults, some one after the other.
        let (least, most) = *chance.pick(&[(200, 1500), (1000, 6000), (3000, 12_000)]);
        let kinds = Fault::some_kinds(&mut chance);
        while at < span {
            let fault = Fault::random(&kinds, &mut chance);
            steps.push(Step { when: When::At(at), fault });
            // A quarter of the time is quiet.
            at += if chance.one_in(6) { chance.millis(4000, 9000) } else { chance.millis(least, most) };
        }
        Self { seed, knobs, steps, span, traces: Traces::Digest }
    }
}

/// Whether a seed's cluster has groups: those of the second billion, the fourth and so on. The runs of all others are what
/// they were before there were groups.
fn has_groups(seed: u64) -> bool {
    seed / 1_000_000_000 % 2 == 1
}
