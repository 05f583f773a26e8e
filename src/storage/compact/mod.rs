//! Compaction: of each key the last value is kept (KIP-58, KIP-354, KIP-534), by rewriting closed segments (ADR 17).
//!
//! The log's owner chooses what is dirty (`choice`, `order`), a thread of its own reads it and writes segments beside
//! the log (`job`, `retention`, `sink`), and the owner takes each of them over (`swap`), or not, if the log was cut,
//! emptied or shortened meanwhile. `marker` remembers how far a log was compacted.
//!
//! Invariant: groups of segments are taken over in order, each durably before the next: an older value of a key is gone
//! from the disk before its tombstone is.

mod choice;
mod order;
mod job;
mod retention;
mod transactions;
mod key_map;
mod sink;
mod swap;
mod marker;

pub use choice::{CompactionOptions, Dirt};
pub use job::{Compaction, CompactionError, CompactionStats, CompactionStep};
pub use order::{Compacted, CompactionOrder};
pub use swap::{Replacement, Structure, TakenOver};

pub(super) use choice::is_older;
pub(super) use marker::Marker;
pub(super) use swap::{finish_swaps, is_of_compaction};

#[cfg(test)]
mod tests;
