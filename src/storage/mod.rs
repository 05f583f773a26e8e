//! A partition's log on disk, and the data directory that holds many of them. Synchronous.
//!
//! Called by `partition` (one owner per [`Log`]), by `broker` (one [`DataDir`] per `log.dirs` entry and the thread
//! that flushes its groups) and by `quorum` (a log of its own, see [`Home::alone`]).
//!
//! The files and their bytes are Kafka's, but for the flush log, which says up to where each log
//! is known to be on the disk. Three rules carry the rest:
//!
//! * **Attested.** What the flush log attests is on the disk. Invalid bytes at or above the attested end are a torn
//!   tail and are cut off; below it they are corruption, reported and never cut or served.
//! * **Recovered is not flushed** (rule S1). A log's flushed end starts at the attested end and rises only by a flush
//!   of this process.
//! * **Derived state is written behind.** Indexes, epochs and producers are written and synced as of one point of the
//!   log, every few MiB; recovery keeps them up to that point and makes the rest anew from the batches behind it. So
//!   the work of a start depends on that distance, never on the amount of data.

mod data_dir;
mod suspects;
mod home;
mod flush_log;
mod marks;
mod log;
mod append;
mod read;
mod inspect;
mod timestamps;
mod flush;
mod volatile;
mod derive;
mod truncate;
mod retain;
mod compact;
mod recover;
mod epochs;
mod rewrite;
mod resume;
mod tail;
mod producer_state;
mod producer_snapshot;
mod segment;
mod offset_index;
mod time_index;
mod scan;
mod attestation;
pub mod checkpoint;
mod handles;
mod bytes_at;
mod options;
mod plan;
mod error;

pub use append::Appended;
pub use attestation::Attested;
pub use compact::{
    Compacted, Compaction, CompactionError, CompactionOptions, CompactionOrder, CompactionStats, CompactionStep, Dirt,
    Replacement, Structure, TakenOver,
};
pub use data_dir::{DataDir, FoundPartition};
pub use error::{AppendError, Corruption, DataDirError, FlushError, LogError, OpenError, ProducerRefusal, ReadError};
pub use flush_log::{FlushLog, FlushOrder, Flushed};
pub use home::Home;
pub use inspect::FoundBatch;
pub use log::Log;
pub use options::{Cleanup, LogOptions};
pub use plan::{ReadPlan, Slice};
pub use producer_state::{Producer, ProducerBatch, Producers};
pub use read::FirstBatch;
pub use recover::Recovery;
pub use retain::Retained;
pub use segment::{DerivedAt, Place};
pub use timestamps::BatchPlace;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod against_model;
