//! What all runs add up to.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::probe::Mark;
use ottla::verify::Validity;

use super::Verdict;

/// Of so many runs one may be invalid: a cluster that was never whole proves nothing, and a few plans are so hard.
const INVALID_ONE_IN: u64 = 10;

/// See the file's comment.
#[derive(Debug, Default)]
pub(super) struct Sum {
    runs: u64,
    events: u64,
    simulated: Duration,
    acknowledged: u64,
    read: u64,
    invalid: Vec<u64>,
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
        if is_clean && outcome.report.validity != Validity::Valid {
            self.invalid.push(seed);
        }
    }

    pub(super) fn first_failed(&self) -> Option<u64> {
        self.failed.keys().next().copied()
    }

    pub(super) fn is_well(&self) -> bool {
        let invalid = u64::try_from(self.invalid.len()).unwrap_or(u64::MAX);
        self.failed.is_empty() && self.differing.is_empty() && invalid <= self.runs.div_ceil(INVALID_ONE_IN)
    }

    pub(super) fn print(&self) {
        for (mark, count) in Mark::ALL.iter().map(|mark| (mark, self.marks.get(mark).copied().unwrap_or(0))) {
            println!("{count:>10}  {}", mark.name());
        }
        for (seed, findings) in &self.failed {
            println!("seed {seed} failed; again with: scripts/sim --seed {seed}");
            findings.iter().for_each(|finding| println!("  {finding}"));
        }
        for seed in &self.differing {
            println!("seed {seed} went another way the second time");
        }
        if !self.invalid.is_empty() {
            println!("invalid, as too little happened: {:?}", self.invalid);
        }
        let hours = self.simulated.as_secs_f64() / 3600.0;
        println!(
            "{} seeds: {} failed, {} invalid; {hours:.1} simulated hours, {} events, {} acknowledged, {} read",
            self.runs,
            self.failed.len(),
            self.invalid.len(),
            self.events,
            self.acknowledged,
            self.read
        );
    }
}
