//! The invariants of one partition's log (catalogue A): what was written, where it stands, and that it stays.
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod a01_offset_value;
mod a02_lost;
mod a04_duplicate;
mod a05_phantom;
mod a08_real_time;
mod a09_gap;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    a01_offset_value::check,
    a02_lost::check,
    a04_duplicate::check,
    a05_phantom::check,
    a08_real_time::check,
    a09_gap::check,
];
