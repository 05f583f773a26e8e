//! A simulated world for tests: never in a release build.
//!
//! Invariant: what a simulated part allows, some real one may do; it forgets and tears as much as is legal.

mod chance;
mod files;
pub mod evidence;
pub mod world;

pub use chance::{Chance, FixedSeed};
pub use files::{CrashPoint, Fault, FileKind, Outcomes, SimulatedFiles, Survival, Target, Times, Traffic};
