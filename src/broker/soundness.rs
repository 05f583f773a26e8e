//! Checks what is sent of logs: a batch that is not what was written leaves the broker at most in part, and the
//! partition's shard is told to look at it. The shard judges: a leader that has just lost its place may truncate what
//! is being read.
//!
//! Called by `reads`. Invariant: every byte for a consumer passes here before it is sent, and every byte for a follower
//! but those that were written so recently that their places are still in memory; what the system does not give is told
//! of whoever asked for it.

use std::io;
use std::sync::Arc;

use tracing::debug;

use super::shards::Shards;
use crate::model::PartitionId;
use crate::partition::Event;
use crate::records::{Damage, IntactCheck};
use crate::storage::{Place, ReadPlan, Slice};
use crate::threads;
use crate::transport::RangeCheck;

/// Watches over one range of a log while it is read.
#[derive(Clone, Debug)]
pub(super) struct Soundness {
    check: IntactCheck,
    slice: Slice,
    /// How many bytes of it the check has taken.
    taken: usize,
    partition: PartitionId,
    generation: u64,
    place: Place,
    shards: Arc<Shards>,
}

impl Soundness {
    /// Of the batches of a plan that is not empty, as they were promised in that generation of the log.
    pub(super) fn new(shards: &Arc<Shards>, partition: PartitionId, generation: u64, plan: &ReadPlan) -> Self {
        let check = IntactCheck::new(plan.expected.clone());
        let slice = plan.slice.clone().expect("the plan is not empty");
        Self { check, slice, taken: 0, partition, generation, place: plan.place, shards: Arc::clone(shards) }
    }

    /// Reads what was not given once more, one batch after the other, to learn which of them it is. If none is this
    /// time, the shard says that somebody was refused.
    fn look_again(mut self) {
        let taken = u64::try_from(self.taken).expect("a slice is smaller than a file");
        let looked = self.slice.look(taken, &mut self.check);
        self.tell(looked.err().unwrap_or(self.check.here()));
    }

    /// Has the shard look at it, which tells people what is really damaged.
    fn tell(&self, damage: Damage) {
        self.shards.tell(self.partition, inspection(self.partition, self.generation, self.place, damage));
    }
}

/// What a shard is told of damage in a plan of its own that began at `place`.
pub(crate) fn inspection(partition: PartitionId, generation: u64, place: Place, damage: Damage) -> Event {
    Event::Inspect { partition, generation, place: place.of_damage(&damage) }
}

impl RangeCheck for Soundness {
    fn check(&mut self, piece: &[u8], is_last: bool) -> io::Result<()> {
        self.taken += piece.len();
        let fed = self.check.feed(piece);
        let judged = if is_last { fed.and_then(|()| self.check.finish()) } else { fed };
        judged.map_err(|damage| {
            debug!(partition = %self.partition, segment = %self.place.segment, %damage, "records are not sent");
            self.tell(damage);
            io::Error::new(io::ErrorKind::InvalidData, damage)
        })
    }

    fn failed(&mut self, cause: &io::Error) {
        debug!(partition = %self.partition, segment = %self.place.segment, %cause, "records cannot be read");
        let again = self.clone();
        // It waits for a disk.
        drop(threads::blocking(move || again.look_again()));
    }
}
