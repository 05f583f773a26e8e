//! Where logs live: a directory with its flush log and its open files, shared by the logs in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::env::Files;

use super::error::FlushError;
use super::flush_log::{FlushLog, Found};
use super::handles::Handles;

/// See the file's comment. A [`super::DataDir`] has one; the quorum makes its own.
#[derive(Debug)]
pub struct Home {
    pub(super) files: Arc<dyn Files>,
    pub(super) root: PathBuf,
    pub(super) flush_log: FlushLog,
    pub(super) handles: Handles,
    /// Held while a partition's directory is claimed or given up: topics of one name, one deleted and one just created,
    /// are different partitions of different shards, and share the directory's name.
    pub(super) names: Mutex<()>,
    /// Whether there was no flush log at open, or none that can be believed: the directory is new, or the log is lost.
    pub(super) flush_log_was_lost: bool,
}

impl Home {
    /// The home of a single log, whose files stand in `root` itself beside a flush log of their own.
    ///
    /// # Errors
    /// What the system said.
    pub fn alone(files: Arc<dyn Files>, root: &Path) -> Result<Arc<Self>, FlushError> {
        let failure = |source| FlushError::Io { root: root.to_owned(), source };
        make_durable_directory(&*files, root).map_err(failure)?;
        Ok(Arc::new(Self::open(files, root)?.0))
    }

    pub(super) fn open(files: Arc<dyn Files>, root: &Path) -> Result<(Self, Found), FlushError> {
        let (flush_log, found) = FlushLog::open(files.clone(), root)?;
        let handles = Handles::new(files.clone());
        let flush_log_was_lost = found != Found::Statements;
        Ok((
            Self { files, root: root.to_owned(), flush_log, handles, names: Mutex::default(), flush_log_was_lost },
            found,
        ))
    }

    /// The flush log, for the thread that flushes.
    #[must_use]
    pub fn flush_log(&self) -> &FlushLog {
        &self.flush_log
    }
}

/// Makes a directory and its entry in the one above durable; one that is there may have been made just before a crash.
pub(super) fn make_durable_directory(files: &dyn Files, path: &Path) -> io::Result<()> {
    files.create_dir_all(path)?;
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => files.sync_dir(Path::new(".")),
        Some(parent) => files.sync_dir(parent),
        None => Ok(()),
    }
}
