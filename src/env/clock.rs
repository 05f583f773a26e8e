//! The two clocks.

use crate::model::{Instant, Now, Timestamp};

/// Reads both clocks at once.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present.
    fn now(&self) -> Now;
}

/// The machine's clocks. Monotonic time starts at the making of this value.
#[derive(Debug)]
pub struct SystemClock {
    zero: std::time::Instant,
}

impl SystemClock {
    /// A clock whose moment zero is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "env is where the clock is read")]
    #[expect(clippy::new_without_default, reason = "a default that reads the clock would hide it")]
    pub fn new() -> Self {
        Self { zero: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "env is where the clock is read")]
    fn now(&self) -> Now {
        let elapsed = std::time::Instant::now().saturating_duration_since(self.zero);
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Now {
            // One second past zero, so that a deadline in the past can be told from "never".
            instant: Instant::ZERO.plus(std::time::Duration::from_secs(1)).plus(elapsed),
            timestamp: Timestamp::new(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}
