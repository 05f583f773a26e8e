//! What a log may hold after a crash.

use ottla::model::{LeaderEpoch, Offset};
use ottla::records::Batch;
use ottla::storage::Producers;

/// A log as it should be: all of its batches since it was last emptied, purged ones included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) origin: Offset,
    pub(crate) batches: Vec<Batch>,
}

impl Content {
    pub(crate) fn end(&self) -> Offset {
        self.batches.last().map_or(self.origin, Batch::next_offset)
    }

    pub(crate) fn producers(&self, end: Offset) -> Producers {
        let mut producers = Producers::default();
        self.batches.iter().filter(|b| b.base_offset() < end).for_each(|b| producers.apply(b.header()));
        producers
    }

    pub(crate) fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let batch = self.batches.iter().find(|b| b.next_offset() > offset)?;
        Some(batch.header().leader_epoch)
    }
}

/// What holds from one crash point on.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// The first crash point it holds for.
    pub(crate) since: usize,
    /// Each a content of which the recovered log may be a prefix, with the least end and the start it then has.
    pub(crate) allowed: Vec<Allowed>,
}

#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    pub(crate) content: Content,
    /// What was acknowledged.
    pub(crate) acked: Offset,
    pub(crate) start_min: Offset,
    pub(crate) start_max: Offset,
}

/// What was found in a recovered log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) flushed: Offset,
    pub(crate) batches: Vec<Batch>,
    pub(crate) producers: Producers,
    pub(crate) epochs: Vec<Option<LeaderEpoch>>,
}

impl Allowed {
    /// Why the log is not one of these; `None` when it is.
    pub(crate) fn objection(&self, seen: &Seen) -> Option<String> {
        if seen.end < self.acked {
            return Some(format!("it ends at {}, {} was acknowledged", seen.end, self.acked));
        }
        if seen.flushed > seen.end {
            return Some(format!("flushed to {} but ends at {}", seen.flushed, seen.end));
        }
        if seen.start < self.start_min || seen.start > self.start_max {
            return Some(format!("it starts at {}, not in {}..={}", seen.start, self.start_min, self.start_max));
        }
        let expected: Vec<&Batch> = self
            .content
            .batches
            .iter()
            .filter(|b| b.next_offset() > seen.start && b.next_offset() <= seen.end)
            .collect();
        if seen.batches.iter().ne(expected) {
            return Some(format!("its {} batches are not those appended", seen.batches.len()));
        }
        if seen.end != self.content.origin && !self.content.batches.iter().any(|b| b.next_offset() == seen.end) {
            return Some(format!("it ends at {}, where no batch ends", seen.end));
        }
        if seen.producers != self.content.producers(seen.end) {
            return Some(format!("its producers are {:?}", seen.producers));
        }
        let wrong =
            seen.batches.iter().zip(&seen.epochs).find(|(b, epoch)| self.content.epoch_at(b.base_offset()) != **epoch);
        wrong.map(|(b, epoch)| format!("epoch at {} is {epoch:?}", b.base_offset()))
    }
}
