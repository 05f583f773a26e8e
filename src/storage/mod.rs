//! A partition's log on disk, and the data directory that holds many of them. Synchronous.
//!
//! Called by `partition` (one owner per [`Log`]), by `broker` (one [`DataDir`] per `log.dirs` entry and the thread
//! that flushes its groups) and by `quorum` (a log of its own, see [`Home::alone`]).
//!
//! The files and their bytes are Kafka's (kafka-compat 4.1), but for the flush log, which says up to where each log
//! is known to be on the disk. Three rules carry the rest:
//!
//! * **Attested.** What the flush log attests is on the disk. Invalid bytes at or above the attested end are a torn
//!   tail and are cut off; below it they are corruption, reported and never cut or served (reliability 4.9 rule 9).
//! * **Recovered is not flushed** (rule S1). A log's flushed end starts at the attested end and rises only by a flush
//!   of this process.
//! * **Derived state is written behind.** Indexes, epochs and producers are written and synced as of one point of the
//!   log, every few MiB; recovery keeps them up to that point and makes the rest anew from the batches behind it. So
//!   the work of a start depends on that distance, never on the amount of data.

mod options;
mod plan;
mod error;

pub use error::{AppendError, Corruption, DataDirError, FlushError, LogError, OpenError, ProducerRefusal, ReadError};
pub use options::{Cleanup, LogOptions};
pub use plan::{ReadPlan, Slice};

// PLANNED PUBLIC SIGNATURES of ottla::storage (the code follows; this comment goes when it is there)
//
// pub struct Home;                     // where logs live: files, root directory, flush log, handle cache. Shared by Arc.
// impl Home { pub fn alone(files: Arc<dyn Files>, root: &Path) -> Result<Arc<Home>, FlushError>;   // one log of its own, in `root` itself (quorum)
//             pub fn flush_log(&self) -> &FlushLog; }
// impl DataDir { open / directory_id / cluster_id / set_cluster_id / boot / previous_broker_epoch / set_broker_epoch / was_clean / mark_clean /
//                partitions / attested as in CONTRACTS; pub fn home(&self) -> &Arc<Home>; pub fn flush_log(&self) -> &FlushLog; }
// impl Log {
//   pub fn open(dir: &DataDir, name: &TopicName, id: PartitionId, options: LogOptions, now: Now) -> Result<(Log, Recovery), OpenError>;
//   pub fn open_at(home: &Arc<Home>, options: LogOptions, now: Now) -> Result<(Log, Recovery), OpenError>;       // quorum: the home's only log
//   pub fn start/end/flushed_end/epochs/size_bytes/segment_count/is_poisoned/options/producers(&self)
//   pub fn set_options(&mut self, LogOptions);
//   pub fn begin_epoch(&mut self, epoch: LeaderEpoch);
//   pub fn append(&mut self, batch: &Batch, epoch: LeaderEpoch, now: Now) -> Result<Appended, AppendError>;
//        // enum Appended { New { base: Offset, end: Offset }, Duplicate { base: Offset, end: Offset, timestamp: Timestamp } }
//   pub fn append_fetched(&mut self, batches: &[Batch], now: Now) -> Result<(), AppendError>;   // CRCs are the caller's business
//   pub fn read(&mut self, from: Offset, end: Offset, bytes_max: usize, first: FirstBatch) -> Result<ReadPlan, ReadError>;
//        // enum FirstBatch { Whole, WithinBound }  (style rule 7: no bool argument)
//   pub fn truncate(&mut self, to: Offset) -> Result<Offset, LogError>;      // durable; returns the new end: at most `to`, a batch boundary
//   pub fn reset(&mut self, start: Offset) -> Result<(), LogError>;          // durable
//   pub fn advance_start(&mut self, to: Offset) -> bool;                     // durable with the next flush
//   pub fn retain(&mut self, now: Now, high_watermark: Offset) -> Result<Retained, LogError>;
//   pub fn offset_for_timestamp(&mut self, timestamp: Timestamp, end: Offset) -> Result<Option<BatchPlace>, ReadError>;  // the batch to look into: slice, base, next
//   pub fn batch_of_max_timestamp(&mut self, end: Offset) -> Result<Option<BatchPlace>, ReadError>;
//   pub fn pending_flush(&mut self) -> Option<FlushOrder>;                   // None: nothing to do
//   pub fn flush_done(&mut self, flushed: &Flushed);                         // DEVIATION: the whole Flushed, not only the end: it carries the log's
//                                                                            // incarnation, so that a flush from before a truncation cannot count (ABA)
//   pub fn flush_failed(&mut self);                                          // poisons
//   pub fn flush_now(&mut self, now: Now) -> Result<Offset, LogError>;       // pending_flush + FlushLog::flush + flush_done (quorum)
//   pub fn rest(&mut self) -> Option<FlushOrder>;                            // the log is idle or the node stops: write the derived state and close files;
//                                                                            // call again after flush_done until None
//   pub fn delete(self, now) -> Result<(), LogError>;                        // rename to …-delete; DataDir::sweep unlinks later
// }
// pub struct Flushed { pub partition: PartitionId, pub end: Offset, .. }
// pub struct FlushLog (cheap Clone);      // any thread
// impl FlushLog { pub fn flush(&self, orders: Vec<FlushOrder>, now: Now) -> Result<Vec<Flushed>, FlushError>;
//                 pub fn attest(&self, now: Now) -> Result<(), FlushError>;  pub fn attest_due(&self) -> Option<Instant>;   // idle: attest when this has passed
//                 pub fn attested(&self, PartitionId) -> Option<Attested>; }
// pub mod checkpoint fns: write_small/read_small (CRC'd), write_offsets/read_offsets (Kafka's text)
