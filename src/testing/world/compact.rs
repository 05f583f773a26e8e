//! The keys of a run whose topics are compacted, and the thread of one node that compacts them, a piece at a time.
//!
//! Invariant: what compaction leaves to chance is drawn from a chance of its own, so that the runs of all other seeds are
//! what they were before there was any.

use super::knobs::CompactionKnobs;
use super::{Happening, Life, World};
use crate::model::NodeId;
use crate::partition::{CompactionJob, CompactionOutcome, Event};
use crate::storage::{Compaction, CompactionError, CompactionStep, TakenOver};
use crate::testing::Chance;
use crate::verify::history::{KeyId, Keyed};

/// How much is remembered of keys: little, so that some rounds end early.
const KEYS_BYTES_MAX: usize = 4 << 10;
/// How much is read and written at once.
const PIECE_BYTES: u64 = 4 << 10;

/// What producers write to, and how long the threads take.
#[derive(Debug)]
pub(super) struct Keys {
    chance: Chance,
}

impl Keys {
    pub(super) fn new(seed: u64) -> Self {
        Self { chance: Chance::new(seed ^ 0x000c_0a7a_c700) }
    }

    /// The key of the next record, and whether it deletes that.
    pub(super) fn pick(&mut self, knobs: &CompactionKnobs) -> Keyed {
        let key = u32::try_from(self.chance.below(knobs.keys)).expect("a few keys");
        Keyed { key: KeyId(key), is_tombstone: self.chance.percent(knobs.tombstones) }
    }
}

/// A round that is under way.
#[derive(Debug)]
pub(super) struct Compacting {
    compaction: Compaction,
    generation: u64,
    /// Whether the shard has yet to say what becomes of a segment.
    waits: bool,
}

impl World {
    /// A shard wants a log compacted.
    pub(super) fn compact(&mut self, node: NodeId, job: CompactionJob) {
        let compaction = Compaction::new(job.order, KEYS_BYTES_MAX);
        let round = Compacting { compaction, generation: job.generation, waits: false };
        self.go_on(node, round);
    }

    /// What was made was taken over, or not.
    pub(super) fn compaction_goes_on(&mut self, node: NodeId, taken: TakenOver) {
        let Some(mut round) = self.running(node).and_then(|process| process.compaction.take()) else { return };
        match taken {
            TakenOver::Yes(structure) => {
                round.compaction.resume(structure);
                round.waits = false;
                self.go_on(node, round);
            }
            TakenOver::No => self.end_round(node, round, CompactionOutcome::Overtaken),
        }
    }

    /// The next piece is due after a while.
    fn go_on(&mut self, node: NodeId, round: Compacting) {
        let (least, most) = self.knobs.compaction.as_ref().map_or_else(Default::default, |knobs| knobs.piece);
        let span = self.keys.chance.span(least, most);
        let Some(process) = self.running(node) else { return };
        process.compaction = Some(round);
        let life = Life { node, life: process.life };
        self.after(span, Happening::Compact(life));
    }

    /// A piece is read and written.
    pub(super) fn compact_on(&mut self, life: Life) {
        let node = life.node;
        let Some(process) = self.process(life) else { return };
        let Some(mut round) = process.compaction.take_if(|round| !round.waits) else { return };
        match round.compaction.step(PIECE_BYTES) {
            Ok(CompactionStep::Worked(_)) => self.go_on(node, round),
            Ok(CompactionStep::Made(made)) => {
                round.waits = true;
                process.compaction = Some(round);
                self.tell(node, Event::CompactionMade(made));
            }
            Ok(CompactionStep::Done(done)) => self.end_round(node, round, CompactionOutcome::Done(done)),
            Err(CompactionError::Gone) => self.end_round(node, round, CompactionOutcome::Overtaken),
            Err(error) => {
                if let CompactionError::Damaged(place) = error {
                    let (partition, generation) = (round.compaction.partition(), round.generation);
                    self.tell(node, Event::Inspect { partition, generation, place });
                }
                self.end_round(node, round, CompactionOutcome::Failed);
            }
        }
    }

    fn end_round(&mut self, node: NodeId, round: Compacting, outcome: CompactionOutcome) {
        let partition = round.compaction.partition();
        // What is left is removed by the next round, or the next start.
        let _ = round.compaction.discard();
        self.tell(node, Event::CompactionEnded { partition, outcome });
    }
}
