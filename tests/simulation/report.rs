//! What all runs add up to.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::probe::Mark;
use ottla::verify::Validity;

use super::Verdict;

/// Of so many runs one may be invalid: a few plans are so mild that nobody is elected, or so hard that little is written;
/// one in twenty-five are.
const INVALID_ONE_IN: u64 = 12;

/// In so many runs every branch that has a mark is taken, but for those below.
const RUNS_THAT_MARK: u64 = 400;

/// What five hundred seeds may miss.
const MAY_BE_MISSED: &[Mark] = &[
    // Never seen: a log that is shorter than attested is not opened (`AttestedLost`).
    Mark::EndBelowAttested,
    // Some in twenty thousand seeds: a leader serves its own epoch only (`FetchFenced`).
    Mark::HigherEpochRefused,
    Mark::AnswerBeforeImage,
    // Some hundred in twenty thousand seeds.
    Mark::RecreatedTopic,
    Mark::FormerFlush,
    Mark::RefusedAfterResending,
    Mark::SetAside,
    Mark::ProposalWithdrawn,
    // Within a millisecond of one run in four; `tests/crash` and unit tests have their states.
    Mark::SwapFinished,
    Mark::CompactionOvertaken,
];

/// See the file's comment.
#[derive(Debug, Default)]
pub(super) struct Sum {
    runs: u64,
    events: u64,
    simulated: Duration,
    acknowledged: u64,
    read: u64,
    /// The longest that a recovery took, and with which seed.
    recovery: (Duration, u64),
    /// With what there was too little of.
    invalid: BTreeMap<u64, Vec<String>>,
    failed: BTreeMap<u64, Vec<String>>,
    differing: Vec<u64>,
    marks: BTreeMap<Mark, u64>,
}

impl Sum {
    pub(super) fn add(&mut self, seed: u64, verdict: &Verdict, marks: BTreeMap<Mark, u64>, repeats: bool) {
        self.runs += 1;
        for (mark, count) in marks {
            *self.marks.entry(mark).or_default() += count;
        }
        if !repeats {
            self.differing.push(seed);
        }
        let findings = verdict.findings();
        let is_clean = findings.is_empty();
        if !is_clean {
            self.failed.insert(seed, findings);
        }
        let Verdict::Ended(outcome) = verdict else { return };
        for line in &outcome.lines {
            println!("{line}");
        }
        self.events += outcome.events;
        self.simulated += outcome.simulated;
        self.acknowledged += outcome.report.statistics.acknowledged;
        self.read += outcome.report.statistics.read;
        self.recovery = self.recovery.max((outcome.report.statistics.recovery_longest, seed));
        if let Validity::Vacuous(missing) = &outcome.report.validity
            && is_clean
        {
            self.invalid.insert(seed, missing.clone());
        }
    }

    pub(super) fn first_failed(&self) -> Option<u64> {
        self.failed.keys().next().copied()
    }

    pub(super) fn is_well(&self) -> bool {
        let invalid = u64::try_from(self.invalid.len()).unwrap_or(u64::MAX);
        let is_valid = invalid <= self.runs / INVALID_ONE_IN;
        self.failed.is_empty() && self.differing.is_empty() && is_valid && self.missed().is_empty()
    }

    /// The branches that so many runs must have taken, and have not.
    fn missed(&self) -> Vec<Mark> {
        let is_missed = |mark: &Mark| !self.marks.contains_key(mark) && !MAY_BE_MISSED.contains(mark);
        let marks = Mark::ALL.iter().copied().filter(is_missed);
        if self.runs < RUNS_THAT_MARK { Vec::new() } else { marks.collect() }
    }

    /// Prints it; `options` belong to every seed.
    pub(super) fn print(&self, options: &str) {
        for (mark, count) in Mark::ALL.iter().map(|mark| (mark, self.marks.get(mark).copied().unwrap_or(0))) {
            println!("{count:>10}  {}", mark.name());
        }
        for (seed, findings) in &self.failed {
            println!("seed {seed} failed; again with: scripts/sim --seed {seed}{options}");
            findings.iter().for_each(|finding| println!("  {finding}"));
        }
        for mark in self.missed() {
            println!("never: {}", mark.name());
        }
        for seed in &self.differing {
            println!("seed {seed} went another way the second time");
        }
        for (seed, missing) in &self.invalid {
            println!("seed {seed} is invalid, as too little happened: {}", missing.join("; "));
        }
        let hours = self.simulated.as_secs_f64() / 3600.0;
        println!(
            "{} seeds: {} failed, {} invalid; {hours:.1} simulated hours, {} events, {} acknowledged, {} read; everything \
             was served and read again within {:?} (seed {})",
            self.runs,
            self.failed.len(),
            self.invalid.len(),
            self.events,
            self.acknowledged,
            self.read,
            self.recovery.0,
            self.recovery.1
        );
    }
}
