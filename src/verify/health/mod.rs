//! The invariants of liveness and health (catalogue F).
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod f07_vacuity;

use super::Check;

pub(super) use f07_vacuity::judge as judge_validity;

/// All of them, but vacuity: that is no violation.
pub(super) const CHECKS: &[Check] = &[];
