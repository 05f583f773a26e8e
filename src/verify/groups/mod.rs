//! The invariants of groups (catalogue C).
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod c01_register;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[c01_register::check];
