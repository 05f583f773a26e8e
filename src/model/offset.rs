//! Offsets of records in a partition's log.

use super::number;

number! {
    /// The place of a record in its partition, from 0. Ranges are half open: an `end` is one past the last.
    Offset(i64)
}

impl Offset {
    /// The first place of every log.
    pub const ZERO: Self = Self::new(0);

    /// The offset `count` records further on.
    ///
    /// # Panics
    /// When it would pass 2^63-1: at a million records a second that takes 292,000 years.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self::new(self.get().checked_add(count).expect("an offset stays below 2^63"))
    }

    /// How many offsets lie from `start` to here; negative when this one is the smaller.
    #[must_use]
    pub fn since(self, start: Self) -> i64 {
        self.get() - start.get()
    }
}
