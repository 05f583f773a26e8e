//! openraft's own conformance suite, on our log store and state machine.

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::sync::watch;

use super::logs::Forgiving;
use crate::env::{Clock, Files, SystemClock, SystemFiles};
use crate::quorum::disk_log::DiskLog;
use crate::quorum::log_store::LogStore;
use crate::quorum::metadata_store::{MetadataStore, State};
use crate::quorum::snapshot::SnapshotDir;
use crate::quorum::state_machine::{Outlets, StateMachine};
use crate::quorum::types::{Raft, StorageError};
use crate::quorum::vote::SmallFiles;

struct Builder;

impl StoreBuilder<Raft, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let files: Arc<dyn Files> = Arc::new(SystemFiles::default());
        let small = SmallFiles::open(&files, dir.path()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log = DiskLog::open(Arc::clone(&files), &dir.path().join("log"), clock).unwrap();
        let (log, bounds) = LogStore::start(Box::new(Forgiving(log)), small).unwrap();
        let snapshots = SnapshotDir::open(Arc::clone(&files), dir.path().join("snapshots")).unwrap();
        let store = MetadataStore::open(&files, dir.path(), bounds, None).unwrap();
        let state = store.state().clone();
        let (states, published) = watch::channel(State::default());
        let store = store.start(published);
        let outlets = Outlets { states, images: watch::channel(Arc::default()).0, store: store.clone() };
        Ok((dir, log.with_store(store), StateMachine::new(state, outlets, snapshots)))
    }
}

#[test]
fn the_store_passes_openrafts_conformance_suite() {
    Suite::test_all(Builder).unwrap();
}
