//! The applied image, materialised in sled, so that a node with very many partitions need not replay history.
//! The only file that names sled.
//!
//! Fed by the state machine; opened by `start`; asked to become durable before the log is purged.
//! Invariants: nothing here is needed for safety: a store that does not open, does not verify, or knows what the log
//! does not, is set aside and the image rebuilt from snapshot and log; what it holds is the image of one log id,
//! because records and position are one atomic batch.

use std::any::Any;
use std::io;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::envelope::{self, EnvelopeError, Kind};
use super::store_key;
use super::types::{LogId, Membership};
use crate::env::{Files, OpenMode};
use crate::machines::metadata::{Image, Record, SnapshotHeader};
use crate::threads;

/// sled's own default is 1 GiB.
const CACHE_BYTES: u64 = 16 << 20;
/// Above 128 KiB sled writes a value to a file that it never syncs.
const VALUE_BYTES_MAX: usize = 100 * 1024;
/// A batch larger than this is written in parts, the position taken away before and put back behind.
const BATCH_CHANGES_MAX: usize = 2_000;
const ORDERS_MAX: usize = 16;
const DIR: &str = "store";
const ASIDE: &str = "store.aside";

/// An applied state: what the state machine publishes, what the store holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) image: Arc<Image>,
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: Membership,
}

/// What makes the stored records an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    last_applied: LogId,
    membership: Membership,
    header: SnapshotHeader,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("sled panicked: {0}")]
    Panicked(String),
    #[error("key {key:?}: {error}")]
    Value { key: Vec<u8>, error: EnvelopeError },
    #[error("a value of {bytes} bytes")]
    ValueTooLong { bytes: usize },
    #[error("a large write was not finished")]
    Unfinished,
    #[error("its entry {index} is not in the log, which holds {start} to {end}")]
    BesideLog { index: u64, start: u64, end: u64 },
    #[error("{0}")]
    Io(#[from] io::Error),
}

enum Order {
    Write,
    MakeDurable(oneshot::Sender<()>),
}

/// The way to the store's thread.
#[derive(Clone, Debug)]
pub(crate) struct StoreHandle {
    orders: mpsc::Sender<Order>,
}

impl StoreHandle {
    /// Tells the thread that a newer state is published. It takes the newest whenever it gets there; a full queue
    /// means that it will come by anyway.
    pub(crate) fn wake(&self) {
        let _ = self.orders.try_send(Order::Write);
    }

    /// Returns when the newest published state is on the disk, or the store has failed and will be rebuilt.
    pub(crate) async fn make_durable(&self) {
        let (answer, done) = oneshot::channel();
        if self.orders.send(Order::MakeDurable(answer)).await.is_ok() {
            let _ = done.await;
        }
    }
}

/// What the log holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogBounds {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// An open store.
pub(crate) struct MetadataStore {
    /// None in a simulation.
    disk: Option<Disk>,
    stored: State,
}

struct Disk {
    db: sled::Db,
    file: Arc<dyn crate::env::File>,
}

impl MetadataStore {
    /// Opens the store in `dir`/store and reads its image. One that cannot be used is set aside and begun anew.
    /// `trusted` is the index of the newest snapshot, which may lie beyond the log when a crash fell between its
    /// installation and the purge.
    pub(crate) fn open(
        files: &Arc<dyn Files>,
        dir: &Path,
        log: LogBounds,
        trusted: Option<u64>,
    ) -> Result<Self, StoreError> {
        if cfg!(feature = "sim") {
            // sled brings files and threads of its own, which no simulation sees. Without it every start rebuilds the
            // image from snapshot and log, as when the store was set aside.
            return Ok(Self { disk: None, stored: State::default() });
        }
        let path = dir.join(DIR);
        match Self::open_at(files, &path).and_then(|store| store.checked(log, trusted)) {
            Ok(store) => Ok(store),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "metadata store is set aside and rebuilt");
                set_aside(&**files, dir)?;
                Self::open_at(files, &path)
            }
        }
    }

    fn open_at(files: &Arc<dyn Files>, path: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = unpanicked(|| config.open())??;
        let file = files.open(&path.join("db"), OpenMode::Write)?;
        files.sync_dir(path)?;
        let stored = unpanicked(|| load(&db))??;
        Ok(Self { disk: Some(Disk { db, file }), stored })
    }

    fn checked(self, log: LogBounds, trusted: Option<u64>) -> Result<Self, StoreError> {
        let Some(last) = self.stored.last_applied else { return Ok(self) };
        let known = last.index < log.end || trusted.is_some_and(|trusted| last.index <= trusted);
        if !known || last.index + 1 < log.start {
            return Err(StoreError::BesideLog { index: last.index, start: log.start, end: log.end });
        }
        Ok(self)
    }

    /// The state that was stored.
    pub(crate) fn state(&self) -> &State {
        &self.stored
    }

    /// Starts the thread, which writes what is published. It ends with the last handle.
    pub(crate) fn start(mut self, mut published: watch::Receiver<State>) -> StoreHandle {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let mut failed = false;
        threads::serve("quorum-store", inbox, move |order| {
            if !failed {
                let newest = published.borrow_and_update().clone();
                let outcome = self.carry_out(newest, matches!(order, Order::MakeDurable(_)));
                if let Err(error) = outcome {
                    tracing::error!(%error, "metadata store failed; it is rebuilt at the next start");
                    failed = true;
                }
            }
            if let Order::MakeDurable(answer) = order {
                let _ = answer.send(());
            }
            ControlFlow::Continue(())
        });
        StoreHandle { orders }
    }

    fn carry_out(&mut self, newest: State, durable: bool) -> Result<(), StoreError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        if let Some(last_applied) = newest.last_applied
            && newest.last_applied != self.stored.last_applied
        {
            unpanicked(|| disk.write(&self.stored, &newest, last_applied))??;
            self.stored = newest;
        }
        if durable {
            // sled's flush is sync_file_range on Linux, no fsync.
            unpanicked(|| disk.db.flush())??;
            disk.file.sync_data()?;
        }
        Ok(())
    }
}

impl Disk {
    fn write(&self, stored: &State, newest: &State, last_applied: LogId) -> Result<(), StoreError> {
        let changes = store_key::changes(&stored.image, &newest.image);
        let position = Position {
            last_applied,
            membership: newest.membership.clone(),
            header: SnapshotHeader {
                last_applied: newest.image.last_applied(),
                last_accepted: newest.image.last_accepted(),
            },
        };
        let in_parts = changes.len() > BATCH_CHANGES_MAX;
        if in_parts {
            self.db.insert(store_key::UNFINISHED, &[])?;
        }
        let mut batch = sled::Batch::default();
        for (at, (key, records)) in changes.into_iter().enumerate() {
            match records {
                Some(records) => batch.insert(key.clone(), value(&key, &records)?),
                None => batch.remove(key),
            }
            if in_parts && at % BATCH_CHANGES_MAX == BATCH_CHANGES_MAX - 1 {
                self.db.apply_batch(std::mem::take(&mut batch))?;
            }
        }
        let frame = envelope::encode(Kind::StoredPosition, &position);
        let frame = frame.map_err(|error| StoreError::Value { key: store_key::POSITION.to_vec(), error })?;
        batch.insert(store_key::POSITION, frame);
        batch.remove(store_key::UNFINISHED);
        self.db.apply_batch(batch)?;
        Ok(())
    }
}

fn value(key: &[u8], records: &[Record]) -> Result<Vec<u8>, StoreError> {
    let frame = envelope::encode(Kind::StoredRecord, &records);
    let frame = frame.map_err(|error| StoreError::Value { key: key.to_vec(), error })?;
    if frame.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLong { bytes: frame.len() });
    }
    Ok(frame)
}

/// Reads the whole store: every value's CRC is checked.
fn load(db: &sled::Db) -> Result<State, StoreError> {
    let broken = |key: &[u8]| {
        let key = key.to_vec();
        move |error| StoreError::Value { key, error }
    };
    if db.contains_key(store_key::UNFINISHED)? {
        return Err(StoreError::Unfinished);
    }
    let Some(position) = db.get(store_key::POSITION)? else { return Ok(State::default()) };
    let position: Position = envelope::decode(Kind::StoredPosition, &position).map_err(broken(store_key::POSITION))?;
    let mut records: Vec<Record> = Vec::new();
    for item in db.range(store_key::FIRST_RECORD..) {
        let (key, frame) = item?;
        let some: Vec<Record> = envelope::decode(Kind::StoredRecord, &frame).map_err(broken(&key))?;
        records.extend(some);
    }
    Ok(State {
        image: Arc::new(Image::from_snapshot(position.header, records)),
        last_applied: Some(position.last_applied),
        membership: position.membership,
    })
}

/// Gives the store's directory another name; what was set aside before goes.
fn set_aside(files: &dyn Files, dir: &Path) -> io::Result<()> {
    let aside: PathBuf = dir.join(ASIDE);
    if files.exists(&aside)? {
        files.remove_dir_all(&aside)?;
    }
    if files.exists(&dir.join(DIR))? {
        files.rename(&dir.join(DIR), &aside)?;
    }
    files.sync_dir(dir)
}

/// sled asserts where others return errors: a panic of its is an error of the store.
fn unpanicked<T>(work: impl FnOnce() -> T) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        StoreError::Panicked(text.unwrap_or_else(|| "without words".to_owned()))
    })
}
