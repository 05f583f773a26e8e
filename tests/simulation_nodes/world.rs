//! A host's clock, chance and disk, all from the run's seed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ottla::env::{Clock, Seed};
use ottla::model::{Instant, Now, Timestamp};
use ottla::threads;

/// When runs begin: 2025-01-01, in milliseconds.
const EPOCH_MS: i64 = 1_735_689_600_000;

/// A stream of numbers that a seed repeats (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).expect("small")).expect("small")
    }

    /// A span between two.
    pub(crate) fn span(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        Duration::from_millis(least_ms + self.next() % (most_ms - least_ms + 1))
    }
}

/// The randomness of one host, over all its lives.
#[derive(Debug)]
pub(crate) struct SimulatedSeed {
    /// Held for one number.
    random: Mutex<Random>,
}

impl SimulatedSeed {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Mutex::new(Random::new(seed)) }
    }
}

impl Seed for SimulatedSeed {
    fn uuid(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number().to_be_bytes());
        bytes[8..].copy_from_slice(&self.number().to_be_bytes());
        // As `SystemSeed`: version 4, and no '-' in front.
        bytes[0] &= 0x7f;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        bytes
    }

    fn number(&self) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// The simulation's time; zero where there is none, which is not on a host: turmoil would look at the machine's clock.
pub(crate) fn elapsed() -> Duration {
    if threads::host_name().is_empty() { Duration::ZERO } else { turmoil::sim_elapsed().unwrap_or_default() }
}

/// The simulation's time on a wall clock that is wrong by so much.
pub(crate) fn wall(error_ms: i64) -> Timestamp {
    let millis = i64::try_from(elapsed().as_millis()).expect("runs are short");
    Timestamp::new(EPOCH_MS + millis + error_ms)
}

/// The simulation's time, seen with a host's own error of the wall clock.
#[derive(Debug)]
pub(crate) struct SimulatedClock {
    pub(crate) wall_error_ms: i64,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Now {
        let instant = Instant::ZERO.plus(Duration::from_secs(1)).plus(elapsed());
        Now { instant, timestamp: wall(self.wall_error_ms) }
    }
}
