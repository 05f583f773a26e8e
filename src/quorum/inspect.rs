//! The metadata log as it lies on a disk, for a judge who comes when its process is gone.
//!
//! Called by the simulation of whole nodes. Invariant: reads with the code that recovers the log, and tells nothing of
//! what is committed: the tail may never have been.

use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;

use super::disk_log::DiskLog;
use super::entry_log::EntryLog as _;
use super::log_store::{LogStoreError, decode_entry};
use crate::env::{Clock, Files};
use crate::machines::metadata::Proposal;
use crate::model::{LogIndex, Term};

/// What is read at a time.
const READ_BYTES: usize = 1 << 20;

/// One entry of the metadata log.
#[derive(Clone, Debug)]
pub struct WrittenEntry {
    /// Its index.
    pub index: LogIndex,
    /// The term it was proposed in.
    pub term: Term,
    /// What it proposes; `None` of a blank or a change of membership.
    pub proposal: Option<Arc<Proposal>>,
}

/// All entries of the log below a quorum's directory.
///
/// # Errors
/// When the log cannot be opened, or an entry is not what was written.
pub fn written_entries(
    files: Arc<dyn Files>,
    dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Vec<WrittenEntry>, LogStoreError> {
    let mut log = DiskLog::open(files, &dir.join("log"), clock)?;
    let mut entries = Vec::new();
    let mut next = log.start();
    while next < log.end() {
        for frame in log.read(next, log.end(), READ_BYTES)? {
            let entry = decode_entry(next, &frame)?;
            let proposal = match entry.payload {
                EntryPayload::Normal(payload) => Some(payload.0),
                EntryPayload::Blank | EntryPayload::Membership(_) => None,
            };
            let term = Term::new(entry.log_id.leader_id.term);
            entries.push(WrittenEntry { index: LogIndex::new(next), term, proposal });
            next += 1;
        }
    }
    Ok(entries)
}
