//! The thread that compacts, of one node: it takes no time, and its disk is the node's.
//!
//! No two records of a run have the same key, so that the judge need not know what may go: all of it is written anew, and
//! taken over among all the faults, and must be there still.

use super::World;
use crate::model::NodeId;
use crate::partition::{CompactionJob, CompactionOutcome, Event};
use crate::storage::{Compaction, CompactionError, CompactionStep, TakenOver};

/// How much is remembered of keys: little, so that some rounds end early.
const KEYS_BYTES_MAX: usize = 4 << 10;

/// A round that is under way.
#[derive(Debug)]
pub(super) struct Compacting {
    compaction: Compaction,
    generation: u64,
}

impl World {
    /// A shard wants a log compacted.
    pub(super) fn compact(&mut self, node: NodeId, job: CompactionJob) {
        let round = Compacting {
            compaction: Compaction::new(job.order, KEYS_BYTES_MAX).taking_unchanged(),
            generation: job.generation,
        };
        self.go_on(node, round);
    }

    /// What was made was taken over, or not.
    pub(super) fn compaction_goes_on(&mut self, node: NodeId, taken: TakenOver) {
        let Some(mut round) = self.running(node).and_then(|process| process.compaction.take()) else { return };
        match taken {
            TakenOver::Yes(structure) => {
                round.compaction.resume(structure);
                self.go_on(node, round);
            }
            TakenOver::No => self.end_round(node, round, CompactionOutcome::Overtaken),
        }
    }

    fn go_on(&mut self, node: NodeId, mut round: Compacting) {
        loop {
            match round.compaction.step(u64::MAX) {
                Ok(CompactionStep::Worked(_)) => {}
                Ok(CompactionStep::Made(made)) => {
                    if let Some(process) = self.running(node) {
                        process.compaction = Some(round);
                    }
                    return self.tell(node, Event::CompactionMade(made));
                }
                Ok(CompactionStep::Done(done)) => {
                    return self.end_round(node, round, CompactionOutcome::Done(done));
                }
                Err(CompactionError::Gone) => return self.end_round(node, round, CompactionOutcome::Overtaken),
                Err(error) => {
                    if let CompactionError::Damaged(place) = error {
                        let (partition, generation) = (round.compaction.partition(), round.generation);
                        self.tell(node, Event::Inspect { partition, generation, place });
                    }
                    return self.end_round(node, round, CompactionOutcome::Failed);
                }
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
