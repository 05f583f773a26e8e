//! What must be done now and then in the data directory: removing what was deleted.
//!
//! Invariant: while the broker runs, a deleted partition's files outlive the deletion by `log.segment.delete.delay.ms`
//! at least, and by twice that at most: the second look removes what the first one has found.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Inner;
use super::settings::file_delete_delay;
use crate::storage::DataDir;
use crate::threads;

/// A delay of zero shall not look without end.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Looks until the broker's runtime ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut looks = tokio::time::interval(file_delete_delay(&inner.cluster.defaults).max(INTERVAL_MIN));
    let mut found = BTreeSet::new();
    loop {
        looks.tick().await;
        let (directory, before) = (Arc::clone(&inner.directory), std::mem::take(&mut found));
        match threads::blocking(move || look(&directory, &before)).await {
            Ok(Ok(now)) => found = now,
            Ok(Err(cause)) => warn!(%cause, "deleted logs cannot be removed"),
            Err(cause) => warn!(%cause, "the removal of deleted logs ended by a panic"),
        }
    }
}

/// Removes what was there at the look before. Says what is there now.
fn look(directory: &DataDir, before: &BTreeSet<String>) -> io::Result<BTreeSet<String>> {
    let mut found = directory.deleted()?;
    let due: BTreeSet<String> = found.intersection(before).cloned().collect();
    directory.remove_deleted(&due)?;
    if !due.is_empty() {
        info!(count = due.len(), "removed deleted logs");
    }
    found.retain(|name| !due.contains(name));
    Ok(found)
}
