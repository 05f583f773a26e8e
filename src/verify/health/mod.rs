//! The invariants of liveness and health (catalogue F).
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod f01_availability;
mod f02_recovery;
mod f03_stuck;
mod f04_crash;
mod f05_full_health;
mod f07_vacuity;

use super::Check;

pub(super) use f07_vacuity::judge as judge_validity;

/// All of them, but vacuity: that is no violation.
pub(super) const CHECKS: &[Check] =
    &[f01_availability::check, f02_recovery::check, f03_stuck::check, f04_crash::check, f05_full_health::check];
