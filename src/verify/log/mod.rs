//! The invariants of one partition's log (catalogue A): what was written, where it stands, and that it stays.
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod a01_offset_value;
mod a02_lost;
mod a02w_lost_seen;
mod a03_unseen;
mod a04_duplicate;
mod a05_phantom;
mod a06_failed_visible;
mod a07_order;
mod a07g_session_gap;
mod a08_real_time;
mod a09_gap;
mod a10_epochs;
mod a11_timestamps;
mod a12_batches;
mod a13_sequences;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    a01_offset_value::check,
    a02_lost::check,
    a02w_lost_seen::check,
    a03_unseen::check,
    a04_duplicate::check,
    a05_phantom::check,
    a06_failed_visible::check,
    a07_order::check,
    a07g_session_gap::check,
    a08_real_time::check,
    a09_gap::check,
    a10_epochs::check,
    a11_timestamps::check,
    a12_batches::check,
    a13_sequences::check,
];
