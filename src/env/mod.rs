//! The world: clock, files and randomness, as traits with their real implementations.
//!
//! Called by `storage`, `quorum` and `node`. Nothing pure sees it: machines get `Now` and identifiers as arguments.
//! Invariant: this is the only room that reads a clock, names `std::fs` or asks the system for random bytes, so that
//! `testing` can put a simulated world in its place.

mod clock;
mod files;
mod seed;
mod system_files;

pub use clock::{Clock, SystemClock};
pub use files::{Entry, File, FileLock, Files, OpenMode, SyncItem, is_media_error};
pub use seed::{Seed, SystemSeed};
pub use system_files::SystemFiles;
