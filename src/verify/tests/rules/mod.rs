//! Single rules of the invariants: each is broken by a history, and holds in the legal one that is nearest to it.
//!
//! The mutations ask for an invariant as a whole, in any legal history; here every rule within one has its own.

mod log;
mod reads;
mod compaction;
mod metadata;
mod administration;
mod health;
