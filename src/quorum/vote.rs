//! Small files of the quorum: the vote, the purge point, and the commit hint. Each is one envelope.
//!
//! Called by the log's owner thread, which serialises them with the log's writes, and by `start`.
//! Invariants: a vote is durable before it is told to anyone; a vote that cannot be read is an error, never "no vote",
//! because a lost vote may be given twice.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::envelope::{self, EnvelopeError, Kind};
use super::types::{LogId, Vote};
use crate::env::{File, Files, OpenMode};
use crate::probe::{Mutant, planted};

/// Why a small file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SmallFileError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there, but not what it should be.
    #[error(
        "{}: {reason}. The node may have voted and forgotten it: it must not vote again under this identity. Move the \
         quorum's directory aside and start with an empty one; the quorum takes the node in anew", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A file that is replaced whole: written beside, synced, renamed, the directory synced.
#[derive(Debug)]
struct SmallFile {
    files: Arc<dyn Files>,
    dir: PathBuf,
    name: &'static str,
    kind: Kind,
}

impl SmallFile {
    fn path(&self) -> PathBuf {
        self.dir.join(self.name)
    }

    fn io(&self) -> impl Fn(io::Error) -> SmallFileError {
        let path = self.path();
        move |source| SmallFileError::Io { path: path.clone(), source }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, SmallFileError> {
        let path = self.path();
        if !self.files.exists(&path).map_err(self.io())? {
            return Ok(None);
        }
        let bytes = read_all(&*self.files, &path).map_err(self.io())?;
        let unreadable = |e: EnvelopeError| SmallFileError::Unreadable { path, reason: e.to_string() };
        envelope::decode(self.kind, &bytes).map(Some).map_err(unreadable)
    }

    /// Durable when it returns; then, or after a crash, the file holds the old value or the new one.
    fn replace<T: Serialize>(&self, value: &T) -> Result<(), SmallFileError> {
        let bytes = envelope::encode(self.kind, value).expect("a vote or log id is far below the limit of its kind");
        write_durably(&*self.files, &self.dir, self.name, &bytes).map_err(self.io())
    }
}

/// Reads a whole file.
pub(crate) fn read_all(files: &dyn Files, path: &Path) -> io::Result<Vec<u8>> {
    let file = files.open(path, OpenMode::Read)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes `name` in `dir` so that it is there whole and durable, or not at all.
pub(crate) fn write_durably(files: &dyn Files, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.tmp"));
    let file = files.open(&beside, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_at(0, &[bytes])?;
    if !planted(Mutant::SmallFilesUnsynced) {
        file.sync_data()?;
    }
    files.rename(&beside, &dir.join(name))?;
    files.sync_dir(dir)
}

/// The vote, the purge point and the commit hint of one node.
#[derive(Debug)]
pub(crate) struct SmallFiles {
    vote: SmallFile,
    purged: SmallFile,
    committed: Committed,
}

impl SmallFiles {
    /// The files in `dir`, which exists.
    pub(crate) fn open(files: &Arc<dyn Files>, dir: &Path) -> Result<Self, SmallFileError> {
        let small = |name, kind| SmallFile { files: Arc::clone(files), dir: dir.to_owned(), name, kind };
        let path = dir.join("committed");
        let file = files.open(&path, OpenMode::Create).map_err(|source| SmallFileError::Io { path, source })?;
        Ok(Self {
            vote: small("vote", Kind::Vote),
            purged: small("purged", Kind::Purged),
            committed: Committed { file },
        })
    }

    /// The vote, synced once more before it counts: what was renamed just before a crash may be in the cache only
    /// (rule S1).
    pub(crate) fn read_vote(&self) -> Result<Option<Vote>, SmallFileError> {
        let vote = self.vote.read()?;
        if vote.is_some() && !planted(Mutant::RecoveredQuorumCounts) {
            let file = self.vote.files.open(&self.vote.path(), OpenMode::Write).map_err(self.vote.io())?;
            file.sync_data().map_err(self.vote.io())?;
            self.vote.files.sync_dir(&self.vote.dir).map_err(self.vote.io())?;
        }
        Ok(vote)
    }

    /// Makes the vote durable.
    pub(crate) fn save_vote(&self, vote: &Vote) -> Result<(), SmallFileError> {
        self.vote.replace(vote)
    }

    /// The last purged entry.
    pub(crate) fn read_purged(&self) -> Result<Option<LogId>, SmallFileError> {
        self.purged.read()
    }

    /// Makes the purge point durable; before the entries go.
    pub(crate) fn save_purged(&self, purged: &LogId) -> Result<(), SmallFileError> {
        self.purged.replace(purged)
    }

    /// The last entry known to be committed, if the hint survived.
    pub(crate) fn read_committed(&self) -> Option<LogId> {
        self.committed.read()
    }

    /// Notes a commit, without a sync: losing it costs a replay when the leader speaks, nothing else (trap 13).
    pub(crate) fn save_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        self.committed.write(committed)
    }
}

/// The commit hint: one file, overwritten in place.
#[derive(Debug)]
struct Committed {
    file: Arc<dyn File>,
}

impl Committed {
    /// A torn or foreign hint is no hint.
    fn read(&self) -> Option<LogId> {
        let mut bytes = [0; 128];
        let read = self.file.read_at(0, &mut bytes).ok()?;
        envelope::decode_front::<Option<LogId>>(Kind::Committed, &bytes[..read]).ok()?.0
    }

    fn write(&self, committed: Option<LogId>) -> io::Result<()> {
        let bytes = envelope::encode(Kind::Committed, &committed).expect("a log id is far below the limit of its kind");
        self.file.write_at(0, &[&bytes])
    }
}
