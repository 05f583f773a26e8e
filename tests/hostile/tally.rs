//! What was sent and what came of it: a run in which nothing happened must not pass.

use std::collections::BTreeMap;
use std::fmt;

/// A node that did what it must not, with all that it takes to look at it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: &'static str,
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
}

/// The most violations that are kept: the first ones tell.
const VIOLATIONS_MAX: usize = 8;
/// The most bytes of an attack that are shown.
const BYTES_SHOWN: usize = 600;

/// Counts of one attacker, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Requests sent, by the kind of attack.
    pub(crate) sent: BTreeMap<&'static str, u64>,
    /// Frames that were answered.
    pub(crate) answered: u64,
    /// Frames that rightly were not.
    pub(crate) silent: u64,
    /// Connections that the node rightly ended.
    pub(crate) ended: u64,
    /// Connections made.
    pub(crate) connected: u64,
    pub(crate) violations: Vec<Violation>,
    /// All violations, those that are not kept too.
    pub(crate) wrong: u64,
}

impl Tally {
    pub(crate) fn violate(&mut self, violation: Violation) {
        self.wrong += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.sent.values().sum()
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (kind, count) in other.sent {
            *self.sent.entry(kind).or_default() += count;
        }
        self.answered += other.answered;
        self.silent += other.silent;
        self.ended += other.ended;
        self.connected += other.connected;
        self.wrong += other.wrong;
        self.violations.extend(other.violations);
        self.violations.truncate(VIOLATIONS_MAX);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, silent, ended, connected, .. } = self;
        writeln!(f, "{} requests: {answered} answered, {silent} silent;", self.total())?;
        writeln!(f, "{connected} connections, {ended} ended by the node")?;
        for (kind, count) in &self.sent {
            writeln!(f, "  {count:>8} {kind}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.bytes[..self.bytes.len().min(BYTES_SHOWN)];
        let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(f, "{}: {}\n    {} bytes: {hex}", self.kind, self.what, self.bytes.len())
    }
}
