//! The invariants of replicas, metadata and administration (catalogue E).
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod e01_divergence;
mod e02_leader_completeness;
mod e03_two_leaders;
mod e04_metadata_log;
mod e05_convergence;
mod e06_view_regress;
mod e07_administration;
mod e09_isr;
mod e10_too_few;
mod e11_placement;
mod e12_recovery;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    e01_divergence::check,
    e02_leader_completeness::check,
    e03_two_leaders::check,
    e04_metadata_log::check,
    e05_convergence::check,
    e06_view_regress::check,
    e07_administration::check,
    e09_isr::check,
    e10_too_few::check,
    e11_placement::check,
    e12_recovery::check,
];
