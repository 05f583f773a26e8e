//! The open files of a data directory's logs: a bounded number, least recently used out first.
//!
//! Called by `log` and its siblings. Invariant: a file with unflushed writes is held by its log as well (rule S7), so
//! that putting it out of here never closes the descriptor that wrote it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::env::{File, Files, OpenMode};
use crate::model::Offset;

use super::segment::Suffix;

/// How many files stay open per data directory at most.
const HANDLES_MAX: usize = 2048;
/// Which part of the descriptors they take at most. Half of all are for connections, and logs that are written to hold
/// files of their own.
const HANDLES_SHARE: usize = 8;

/// Which file: the number of its log in this process, the base offset of its segment, its kind.
pub(super) type HandleKey = (u64, Offset, Suffix);

/// See the file's comment.
#[derive(Debug)]
pub(super) struct Handles {
    files: Arc<dyn Files>,
    capacity: usize,
    logs: AtomicU64,
    /// Guards the cache. Never held while a file is opened or used. Shards of one directory share it.
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    tick: u64,
    open: BTreeMap<HandleKey, (u64, Arc<dyn File>)>,
    /// The same files by when they were last asked for.
    order: BTreeMap<u64, HandleKey>,
}

impl Handles {
    pub(super) fn new(files: Arc<dyn Files>) -> Self {
        let capacity = (files.open_max() / HANDLES_SHARE).clamp(1, HANDLES_MAX);
        Self::bounded(files, capacity)
    }

    fn bounded(files: Arc<dyn Files>, capacity: usize) -> Self {
        assert!(capacity > 0, "a cache of no files would close what is being used");
        Self { files, capacity, logs: AtomicU64::new(0), cache: Mutex::default() }
    }

    /// A number for a log, not given to another.
    pub(super) fn log_number(&self) -> u64 {
        self.logs.fetch_add(1, Ordering::Relaxed)
    }

    /// The open file, opened for reading and writing if it is not.
    pub(super) fn get(&self, key: HandleKey, directory: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.lock().touch(key) {
            return Ok(file);
        }
        let file = self.files.open(&directory.join(key.2.file_name(key.1)), mode)?;
        self.lock().insert(key, file.clone(), self.capacity);
        Ok(file)
    }

    /// Closes one file.
    pub(super) fn forget(&self, key: HandleKey) {
        self.lock().remove(key);
    }

    /// Closes all files of a log.
    pub(super) fn forget_log(&self, number: u64) {
        let mut cache = self.lock();
        let first = (number, Offset::new(i64::MIN), Suffix::Log);
        let next = (number + 1, Offset::new(i64::MIN), Suffix::Log);
        let keys: Vec<HandleKey> = cache.open.range(first..next).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| cache.remove(key));
    }

    /// How many files are open.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // Nothing in here panics half way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn touch(&mut self, key: HandleKey) -> Option<Arc<dyn File>> {
        let (last, file) = self.open.get_mut(&key)?;
        self.tick += 1;
        self.order.remove(last);
        self.order.insert(self.tick, key);
        *last = self.tick;
        Some(file.clone())
    }

    fn insert(&mut self, key: HandleKey, file: Arc<dyn File>, capacity: usize) {
        self.remove(key);
        while self.open.len() >= capacity {
            let (_, oldest) = self.order.pop_first().expect("each open file has its place in the order");
            self.open.remove(&oldest);
        }
        self.tick += 1;
        self.order.insert(self.tick, key);
        self.open.insert(key, (self.tick, file));
    }

    fn remove(&mut self, key: HandleKey) {
        if let Some((tick, _)) = self.open.remove(&key) {
            self.order.remove(&tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemFiles;

    #[test]
    fn the_least_recently_used_file_is_closed_at_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let handles = Handles::bounded(Arc::new(SystemFiles::default()), 2);
        let number = handles.log_number();
        let get = |base| handles.get((number, Offset::new(base), Suffix::Log), dir.path(), OpenMode::Create).unwrap();
        let (first, second) = (get(0), get(1));
        assert!(Arc::ptr_eq(&first, &get(0)));
        get(2);
        assert_eq!(handles.count(), 2);
        assert!(Arc::ptr_eq(&first, &get(0)));
        assert!(!Arc::ptr_eq(&second, &get(1)));
        handles.forget_log(number);
        assert_eq!(handles.count(), 0);
    }
}
