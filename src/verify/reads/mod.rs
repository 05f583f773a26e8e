//! The invariants of what consumers see (catalogue B): order, watermarks, and that what was read stays.
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod b05_end_regress;
mod b08_stale;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[b05_end_regress::check, b08_stale::check];
