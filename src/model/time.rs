//! Time as a value: nobody below `env` reads a clock.
//!
//! Invariant: monotonic and wall-clock time are two types, so that one cannot be taken for the other.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number;

/// A point in monotonic time, in nanoseconds since some moment of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The earliest point.
    pub const ZERO: Self = Self(0);

    /// Makes one from nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the process's moment zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `span` later; saturates.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

number! {
    /// Wall-clock time in milliseconds since 1970; -1 means "none" in records.
    Timestamp(i64)
}

impl Timestamp {
    /// "No timestamp" in a record.
    pub const NONE: Self = Self::new(-1);

    /// The time `span` later; saturates.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self::new(self.get().saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time `span` earlier; saturates.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self::new(self.get().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// The two clocks, read once at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For deadlines and ages.
    pub instant: Instant,
    /// For records, retention and people. May jump; no safety rests on it.
    pub timestamp: Timestamp,
}

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}
