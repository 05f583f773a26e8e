//! The same choices for the same seed.
//!
//! Invariant: nothing of the machine flows in; whoever draws in the same order draws the same.

use std::time::Duration;

use crate::env::Seed;

/// A seeded generator (splitmix64). Cheap, and good enough to choose by.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The choices of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far from each other.
        let mut chance = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        chance.number();
        chance
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another generator, whose draws do not change this one's.
    pub fn fork(&mut self) -> Self {
        Self::new(self.number())
    }

    /// A number below a bound, which is more than zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a usize fits in 64 bits");
        usize::try_from(self.number() % bound).expect("below a usize")
    }

    /// Whether one of so many cases.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// Whether, with so many percent.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A span of time, both bounds included.
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let width = u64::try_from(most.saturating_sub(least).as_nanos()).expect("a short span");
        least + Duration::from_nanos(self.number() % (width + 1))
    }

    /// A span in milliseconds, both bounds included.
    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.span(Duration::from_millis(least), Duration::from_millis(most))
    }

    /// Sixteen bytes for an identifier.
    pub fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number().to_be_bytes());
        bytes[8..].copy_from_slice(&self.number().to_be_bytes());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes
    }
}

/// The identifiers of one start of one simulated process.
#[derive(Clone, Copy, Debug)]
pub struct FixedSeed(pub u64);

impl Seed for FixedSeed {
    fn uuid(&self) -> [u8; 16] {
        Chance::new(self.0).uuid()
    }

    fn number(&self) -> u64 {
        Chance::new(self.0).number()
    }
}
