//! What the judge found.
//!
//! Filled by the invariants through `Findings`, read by whoever made the run. Invariant: of each invariant at most
//! `KEPT_MAX` violations are kept with their messages, and all are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Invariant;

/// How many violations of one invariant are kept with their messages; more are only counted.
pub const KEPT_MAX: u64 = 8;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was wrong, in the order of the invariants; the first of each kind.
    pub violations: Vec<Violation>,
    /// How often each invariant was broken.
    pub counts: BTreeMap<Invariant, u64>,
    /// Whether the run proves anything.
    pub validity: Validity,
    /// What happened in the run.
    pub statistics: Statistics,
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it breaks.
    pub invariant: Invariant,
    /// The facts that contradict each other: offsets, values, nodes, times.
    pub message: String,
}

/// Whether a run proves anything (F7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// There was enough to judge.
    Valid,
    /// There was not: what was missing.
    Vacuous(Vec<String>),
}

/// What happened in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Values that a producer tried to write.
    pub sends: u64,
    /// Those that were promised.
    pub acknowledged: u64,
    /// Those of them that returned while a fault was on.
    pub acknowledged_during_faults: u64,
    /// Those that were answered without a promise of durability.
    pub weak: u64,
    /// Those that are gone, legally.
    pub weak_lost: u64,
    /// Fetches.
    pub polls: u64,
    /// Records that were read.
    pub read: u64,
    /// Those of them that were read in a later leader epoch than the partition's first.
    pub read_after_failover: u64,
    /// Elections.
    pub leader_changes: u64,
    /// Faults.
    pub faults: u64,
    /// The fewest operations that were open during one fault.
    pub overlap_least: u64,
    /// Partitions whose end was read.
    pub scans: u64,
    /// Answers that were behind what others had seen.
    pub stale: u64,
    /// The longest that one was behind.
    pub stale_longest: Duration,
    /// The longest, after the healing, until a partition took a write, or had been read to its end.
    pub recovery_longest: Duration,
}

impl Report {
    /// Whether the run proves something, and nothing bad.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.validity == Validity::Valid
    }

    /// Whether this invariant was broken.
    #[must_use]
    pub fn flags(&self, invariant: Invariant) -> bool {
        if invariant == Invariant::F7 {
            return self.validity != Validity::Valid;
        }
        self.counts.contains_key(&invariant)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        for (invariant, count) in self.counts.iter().filter(|(_, count)| **count > KEPT_MAX) {
            writeln!(f, "{invariant}: {} more", *count - KEPT_MAX)?;
        }
        if let Validity::Vacuous(missing) = &self.validity {
            writeln!(f, "{}: {}", Invariant::F7, missing.join("; "))?;
        }
        write!(f, "{:?}", self.statistics)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.message)
    }
}

/// Where the invariants put what they find.
#[derive(Debug, Default)]
pub(super) struct Findings {
    violations: Vec<Violation>,
    counts: BTreeMap<Invariant, u64>,
    /// Filled on the way by whoever sees it.
    pub(super) statistics: Statistics,
}

impl Findings {
    /// Notes a violation; the message is made only when it is kept.
    pub(super) fn add(&mut self, invariant: Invariant, message: impl FnOnce() -> String) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= KEPT_MAX {
            self.violations.push(Violation { invariant, message: message() });
        }
    }

    /// All of it.
    pub(super) fn into_report(self, validity: Validity) -> Report {
        let Self { mut violations, counts, statistics } = self;
        violations.sort_by_key(|violation| violation.invariant);
        Report { violations, counts, validity, statistics }
    }
}
