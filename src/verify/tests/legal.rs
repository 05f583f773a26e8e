//! Legal histories, of which none may be flagged.

use super::model::{Options, run, run_with};
use super::random::Random;
use crate::verify::{Expectations, History, check};

/// How many histories of each kind; `VERIFY_HISTORIES` asks for another number.
pub(super) fn histories(default: u64) -> u64 {
    std::env::var("VERIFY_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(super) fn assert_clean(seed: u64, history: &History, expectations: &Expectations) {
    let report = check(history, expectations);
    assert!(report.is_clean(), "seed {seed}: a legal history is flagged:\n{report}");
}

#[test]
fn a_legal_history_is_not_flagged() {
    for seed in 0..histories(2000) {
        let (history, expectations) = run(seed);
        assert_clean(seed, &history, &expectations);
    }
}

#[test]
fn a_legal_history_with_leases_is_not_flagged() {
    for seed in 0..histories(1000) {
        let options = Options { strict: true, ..Options::any(&mut Random::new(seed)) };
        let (history, expectations) = run_with(seed, options);
        assert_clean(seed, &history, &expectations);
    }
}

#[test]
fn what_an_unclean_election_lost_is_not_flagged_in_a_run_that_allowed_it() {
    for seed in 0..histories(1000) {
        let options = Options { unclean: true, ..Options::any(&mut Random::new(seed)) };
        let (history, expectations) = run_with(seed, options);
        assert_clean(seed, &history, &expectations);
    }
}
