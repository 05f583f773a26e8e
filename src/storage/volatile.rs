//! Appends that count before they are flushed (`flush.mode=kafka`), and that this is known after a crash.
//!
//! Called by `partition` when it learns of the mode, and after flushes. Invariant: between the first append that counts
//! unflushed and a flush of the whole log, the mark of this log is on the disk: a start that finds it cannot vouch for
//! the log, whatever the mode is by then (rule S3).

use super::log::Log;
use crate::probe::{Mutant, planted};

impl Log {
    /// Appends are to count before they are flushed. Whether they may by now: the flush log says so on the disk first,
    /// with its next group. Until then they count when they are flushed.
    pub fn count_unflushed(&mut self) -> bool {
        if !self.is_volatile {
            self.home.flush_log.mark_volatile(self.id);
            self.is_volatile = true;
        }
        self.durable_from = None;
        self.home.flush_log.is_known_volatile(self.id) || planted(Mutant::VolatileUnmarked)
    }

    /// Appends count when they are flushed, from here on: the mark goes when everything before them is.
    pub fn count_flushed(&mut self) {
        if !self.is_volatile {
            return;
        }
        // The end as it was then: under load the flushed end never meets the present one.
        let from = self.durable_from.map_or(self.end, |from| from.min(self.end));
        self.durable_from = Some(from);
        if self.flushed >= from {
            self.home.flush_log.settle_volatile(self.id);
            self.is_volatile = false;
        }
    }
}
