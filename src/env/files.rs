//! Files as `storage` sees them: positioned reads and writes, and every kind of sync by name.
//!
//! Invariant: nothing here retries a failed sync; after one the caller must treat the file as poisoned (style rule 26).

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

/// What a read says where the disk, or a file system that checks what it reads, cannot give back what it was given.
const MEDIA_ERRORS: [Errno; 3] = [Errno::IO, Errno::BADMSG, Errno::UCLEAN];

/// Whether a read failed for bytes that no further try will bring.
#[must_use]
pub fn is_media_error(error: &io::Error) -> bool {
    MEDIA_ERRORS.iter().any(|known| error.raw_os_error() == Some(known.raw_os_error()))
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; only reads.
    Read,
    /// It must exist; reads and writes.
    Write,
    /// It is made if it is not there; reads and writes, nothing is cut.
    Create,
}

/// An open file. Reads and writes carry their position; there is no cursor.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Send + Sync + Debug {
    /// Fills `buffer` from `position`; returns how much there was, less than the buffer only at the end of the file.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// As `read_at`, but only what needs no waiting for the disk; `None` when it would wait or cannot tell.
    ///
    /// # Errors
    /// What the system said.
    fn read_cached_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<Option<usize>>;
    /// Writes all of `parts`, one behind the other, from `position`.
    ///
    /// # Errors
    /// What the system said; part of the bytes may have been written.
    fn write_at(&self, position: u64, parts: &[&[u8]]) -> io::Result<()>;
    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the system said.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends the file (with zeros).
    ///
    /// # Errors
    /// What the system said.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file's content and length durable (`fdatasync`). Never call it again on a file that once failed.
    ///
    /// # Errors
    /// What the system said.
    fn sync_data(&self) -> io::Result<()>;
}

/// Something to make durable in one group.
#[derive(Clone, Debug)]
pub enum SyncItem {
    /// A file's content and length. The item keeps the descriptor that wrote it (rule S7).
    File(Arc<dyn File>),
    /// The entries of a directory. One that is gone was renamed because its topic was deleted: nothing of it need last.
    Directory(PathBuf),
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name, without the directory.
    pub name: String,
    /// Whether it is itself a directory.
    pub is_directory: bool,
}

/// A held lock; dropping it lets go.
pub trait FileLock: Send + Sync + Debug {}

/// A file system.
pub trait Files: Send + Sync + Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system said.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Makes a directory and those above it; one that is there is fine.
    ///
    /// # Errors
    /// What the system said.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, by name in order.
    ///
    /// # Errors
    /// What the system said.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Whether something is there.
    ///
    /// # Errors
    /// What the system said, other than that nothing is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Gives a file or directory another name, over what stands there.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// What the system said.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// What the system said.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// How many files the process may have open at once, sockets included.
    fn open_max(&self) -> usize;
    /// When the file was last written, in milliseconds since 1970.
    ///
    /// # Errors
    /// What the system said.
    fn modified(&self, path: &Path) -> io::Result<i64>;
    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// What the system said.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes all `items`, which lie below `root`, durable: few of them side by side, many by one sync of the whole
    /// file system (ADR 7). Call it once with no items before the first write below `root`: the system reports
    /// lost writes per descriptor, so the one that will be asked must be older than the writes.
    ///
    /// # Errors
    /// The first that failed; then none of the items may be taken as durable.
    fn sync_all(&self, root: &Path, items: &[SyncItem]) -> io::Result<()>;
    /// Takes the exclusive lock of a file, made if it is not there.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_say_of_bytes_that_are_lost_is_a_media_error() {
        let is = |errno: Errno| is_media_error(&io::Error::from_raw_os_error(errno.raw_os_error()));
        assert!([Errno::IO, Errno::BADMSG, Errno::UCLEAN].into_iter().all(is));
        assert!(![Errno::MFILE, Errno::NOSPC, Errno::NOENT, Errno::AGAIN].into_iter().any(is));
    }
}
