//! Applies committed entries to the image and publishes it: openraft's state machine trait.
//!
//! Called by openraft's state machine worker, in the order of the log.
//! Invariants: an entry changes the image by `Image::apply` alone, so that every node accepts and drops the same
//! proposals (rule S5); apply waits for no disk; a snapshot's builder holds its own copy of the image.

use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder, Snapshot, StorageIOError};
use tokio::sync::watch;

use super::metadata_store::{State, StoreHandle};
use super::snapshot::{SnapshotDir, SnapshotError, SnapshotFile, id_of};
use super::types::{Applied, LogId, Member, Membership, Raft, RaftEntry, SnapshotMeta, StorageError};
use crate::machines::metadata::{self, Image};
use crate::model::LogIndex;
use crate::threads;

/// The state machine of one node.
#[derive(Debug)]
pub(crate) struct StateMachine {
    image: Image,
    last_applied: Option<LogId>,
    membership: Membership,
    states: watch::Sender<State>,
    images: watch::Sender<Arc<Image>>,
    store: StoreHandle,
    snapshots: SnapshotDir,
}

/// Where the state machine makes its state known.
#[derive(Debug)]
pub(crate) struct Outlets {
    /// To the metadata store.
    pub(crate) states: watch::Sender<State>,
    /// To the rest of the program.
    pub(crate) images: watch::Sender<Arc<Image>>,
    /// Wakes the metadata store.
    pub(crate) store: StoreHandle,
}

impl StateMachine {
    /// Begins with `state`.
    pub(crate) fn new(state: State, outlets: Outlets, snapshots: SnapshotDir) -> Self {
        let this = Self {
            image: (*state.image).clone(),
            last_applied: state.last_applied,
            membership: state.membership,
            states: outlets.states,
            images: outlets.images,
            store: outlets.store,
            snapshots,
        };
        this.publish();
        this
    }

    fn apply_one(&mut self, entry: &RaftEntry) -> Applied {
        let index = entry.log_id.index;
        self.last_applied = Some(entry.log_id);
        let applied = match &entry.payload {
            EntryPayload::Normal(payload) => match self.image.apply(LogIndex::new(index), &payload.0) {
                metadata::Applied::Accepted => Applied::Accepted,
                metadata::Applied::Dropped => Applied::Dropped,
            },
            EntryPayload::Blank => Applied::Nothing,
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(entry.log_id), membership.clone());
                Applied::Nothing
            }
        };
        // The first entry, 0, is the founder's membership; an image begins as if it had passed it.
        if applied == Applied::Nothing && index > 0 {
            self.image.pass(LogIndex::new(index));
        }
        applied
    }

    fn publish(&self) {
        let image = Arc::new(self.image.clone());
        let state =
            State { image: Arc::clone(&image), last_applied: self.last_applied, membership: self.membership.clone() };
        self.states.send_replace(state);
        self.images.send_replace(image);
        self.store.wake();
    }
}

impl RaftStateMachine<Raft> for StateMachine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let applied = entries.into_iter().map(|entry| self.apply_one(&entry)).collect();
        self.publish();
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            image: self.image.clone(),
            last_applied: self.last_applied,
            membership: self.membership.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Box<SnapshotFile>) -> Result<(), StorageError> {
        let snapshots = self.snapshots.clone();
        let loaded = off_thread(move || snapshots.install(&snapshot)).await;
        let loaded = loaded.map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), &e))?;
        if loaded.meta.last_log_id != meta.last_log_id {
            let error = std::io::Error::other("the snapshot's head names another log id");
            return Err(StorageIOError::write_snapshot(Some(meta.signature()), &error).into());
        }
        self.image = loaded.image;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Raft>>, StorageError> {
        let snapshots = self.snapshots.clone();
        let newest = off_thread(move || snapshots.newest()).await;
        let newest = newest.map_err(|e| StorageIOError::read_snapshot(None, &e))?;
        Ok(newest.map(|(meta, file)| Snapshot { meta, snapshot: Box::new(file) }))
    }
}

/// Writes one snapshot, beside apply.
#[derive(Debug)]
pub(crate) struct Builder {
    image: Image,
    last_applied: Option<LogId>,
    membership: Membership,
    snapshots: SnapshotDir,
}

impl RaftSnapshotBuilder<Raft> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Raft>, StorageError> {
        let mut meta = openraft::SnapshotMeta::<u64, Member> {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
            snapshot_id: String::new(),
        };
        meta.snapshot_id = id_of(&meta);
        let signature = meta.signature();
        let (snapshots, image, written) = (self.snapshots.clone(), self.image.clone(), meta.clone());
        let file = off_thread(move || snapshots.write(&written, &image)).await;
        let file = file.map_err(|e| StorageIOError::write_snapshot(Some(signature), &e))?;
        Ok(Snapshot { meta, snapshot: Box::new(file) })
    }
}

/// Runs blocking work beside the runtime's workers.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    threads::blocking(work).await.expect("snapshot work does not panic and the runtime outlives it")
}
