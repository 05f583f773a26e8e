//! What a log may hold after a crash.

use ottla::model::{LeaderEpoch, Offset, TopicId};
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
    /// Whose log is looked for.
    pub(crate) topic: TopicId,
    /// Which starts have sent something already; the next has a higher number.
    pub(crate) boot: u64,
    /// Each a content of which the recovered log may be a prefix, with the least end and the start it then has.
    pub(crate) allowed: Vec<Allowed>,
}

#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    pub(crate) content: Content,
    /// What was acknowledged as durable.
    pub(crate) acked: Offset,
    /// What was acknowledged from the page cache: if it is not there the log is named as volatile.
    pub(crate) cached: Offset,
    pub(crate) start_min: Offset,
    pub(crate) start_max: Offset,
    /// Whether the marker of an orderly stop may be found.
    pub(crate) may_be_clean: bool,
}

/// What was found at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) boot: u64,
    pub(crate) is_clean: bool,
    pub(crate) is_volatile: bool,
    /// Whether the directory says which life of the broker it belongs to.
    pub(crate) vouches: bool,
    pub(crate) log: SeenLog,
}

/// What was found in a recovered log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenLog {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) flushed: Offset,
    pub(crate) batches: Vec<Batch>,
    pub(crate) producers: Producers,
    pub(crate) epochs: Vec<Option<LeaderEpoch>>,
}

impl Phase {
    /// Why this may not be found; nothing when it may.
    pub(crate) fn judge(&self, seen: &Seen) -> Result<(), String> {
        if seen.boot <= self.boot {
            return Err(format!("it is start {}, and {} has sent something already", seen.boot, self.boot));
        }
        if !seen.vouches {
            return Err("the directory does not know whose it is any more".into());
        }
        let objections: Vec<String> = self.allowed.iter().filter_map(|allowed| allowed.objection(seen)).collect();
        if objections.len() < self.allowed.len() { Ok(()) } else { Err(format!("{objections:?}")) }
    }
}

impl Allowed {
    /// Why the log is not one of these; `None` when it is.
    fn objection(&self, seen: &Seen) -> Option<String> {
        let log = &seen.log;
        if log.end < self.acked {
            return Some(format!("it ends at {}, {} was acknowledged", log.end, self.acked));
        }
        if log.end < self.cached && !seen.is_volatile {
            return Some(format!("it ends at {}, {} was acknowledged, and it is not named", log.end, self.cached));
        }
        if log.flushed > log.end {
            return Some(format!("flushed to {} but ends at {}", log.flushed, log.end));
        }
        if seen.is_clean && !(self.may_be_clean && log.flushed == self.content.end()) {
            return Some(format!("the last stop counts as orderly, flushed to {}", log.flushed));
        }
        if log.start < self.start_min || log.start > self.start_max {
            return Some(format!("it starts at {}, not in {}..={}", log.start, self.start_min, self.start_max));
        }
        self.objection_to_batches(log)
    }

    fn objection_to_batches(&self, log: &SeenLog) -> Option<String> {
        let expected: Vec<&Batch> =
            self.content.batches.iter().filter(|b| b.next_offset() > log.start && b.next_offset() <= log.end).collect();
        if log.batches.iter().ne(expected) {
            return Some(format!("its {} batches are not those appended", log.batches.len()));
        }
        if log.end != self.content.origin && !self.content.batches.iter().any(|b| b.next_offset() == log.end) {
            return Some(format!("it ends at {}, where no batch ends", log.end));
        }
        if log.producers != self.content.producers(log.end) {
            return Some(format!("its producers are {:?}", log.producers));
        }
        let wrong =
            log.batches.iter().zip(&log.epochs).find(|(b, epoch)| self.content.epoch_at(b.base_offset()) != **epoch);
        wrong.map(|(b, epoch)| format!("epoch at {} is {epoch:?}", b.base_offset()))
    }
}
