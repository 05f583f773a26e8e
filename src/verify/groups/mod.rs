//! The invariants of groups (catalogue C).
//!
//! Called by `check`, each with the whole index. Invariant: one file per invariant, which opens with its statement.

mod told;
mod c01_register;
mod c03_zombie;
mod c04_double_owner;
mod c05_agreement;
mod c06_at_least_once;
mod c07_static;

use super::Check;

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    c01_register::check,
    c03_zombie::check,
    c04_double_owner::check,
    c05_agreement::check,
    c06_at_least_once::check,
    c07_static::check,
];
