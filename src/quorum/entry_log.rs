//! What the quorum asks of a log on disk: bytes by index. `disk_log.rs` answers it with `storage::Log`, tests with
//! memory.
//!
//! Called by the log's owner thread only.
//! Invariants: indexes are consecutive, `start()..end()`; after an error nothing more is asked (style rule 26).

/// Why the log on disk failed.
#[derive(Debug, thiserror::Error)]
#[error("the metadata log: {0}")]
pub struct EntryLogError(#[source] pub(crate) Box<dyn std::error::Error + Send + Sync>);

/// One entry on its way to disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded<'a> {
    /// Its index.
    pub(crate) index: u64,
    /// The term of the leader that proposed it.
    pub(crate) term: u64,
    /// Its envelope.
    pub(crate) bytes: &'a [u8],
}

/// A log of entries.
pub(crate) trait EntryLog: Send {
    /// The first index there is.
    fn start(&self) -> u64;
    /// One past the last index there is.
    fn end(&self) -> u64;
    /// Writes entries behind the end. Not durable before `flush`.
    fn append(&mut self, entries: &[Encoded<'_>]) -> Result<(), EntryLogError>;
    /// Makes all that was written durable.
    fn flush(&mut self) -> Result<(), EntryLogError>;
    /// Envelopes from `from`, at least one, as many as fit into `bytes_max`, below `end`.
    fn read(&mut self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<Vec<u8>>, EntryLogError>;
    /// Cuts the log so that it ends at `end`; durable when it returns.
    fn truncate(&mut self, end: u64) -> Result<(), EntryLogError>;
    /// Lets go of what lies before `start`; beyond the end it empties the log, which then begins and ends at `start`.
    fn purge(&mut self, start: u64) -> Result<(), EntryLogError>;
    /// Nothing was asked for a while: what is owed to the disk may be paid.
    fn rest(&mut self) -> Result<(), EntryLogError>;
}
