//! The invariants of replicas, metadata and administration (catalogue E).
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod e01_divergence;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[e01_divergence::check];
