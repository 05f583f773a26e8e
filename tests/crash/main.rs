//! Every crash point of short traces, times what the disk may have kept: a start gives everything acknowledged and
//! nothing that was not appended, twice the same, in whatever state a start was cut short. A state is judged once,
//! however many ways lead to it. What is damaged at rest is reported or makes no difference. With a guard out something
//! is found (`guard.rs`).
//!
//! A few points have too many ways for every run; `CRASH_ALL=1 cargo test --release --test crash` tries those, too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod traces;
mod compaction;
mod damage;
mod guard;
mod states;
mod run;
mod step;
mod start;
mod model;
