//! The invariants of what consumers see (catalogue B): order, watermarks, and that what was read stays.
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod b01_order_within;
mod b02_order_between;
mod b03_skip;
mod b04_watermark_regress;
mod b05_end_regress;
mod b06_watermark_order;
mod b07_out_of_range;
mod b08_stale;
mod b09_instability;
mod b10_bytes;
mod b11_deletion;
mod b12_compaction;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    b01_order_within::check,
    b02_order_between::check,
    b03_skip::check,
    b04_watermark_regress::check,
    b05_end_regress::check,
    b06_watermark_order::check,
    b07_out_of_range::check,
    b08_stale::check,
    b09_instability::check,
    b10_bytes::check,
    b11_deletion::check,
    b12_compaction::check,
];
