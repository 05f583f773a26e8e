//! What must be done now and then in the data directory: removing what was deleted.
//!
//! Invariant: a deleted log's directory outlives its deletion by at least one interval, so that a reader that was given
//! its file is not in the way of the removal, and at most by two.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Inner;

/// Between two looks; Kafka's `file.delete.delay.ms`.
const INTERVAL: Duration = Duration::from_secs(60);

/// Looks until the broker's runtime ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut looks = tokio::time::interval(INTERVAL);
    loop {
        looks.tick().await;
        let directory = Arc::clone(&inner.directory);
        match tokio::task::spawn_blocking(move || directory.remove_deleted()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => info!(count, "removed deleted logs"),
            Ok(Err(cause)) => warn!(%cause, "deleted logs cannot be removed"),
            Err(cause) => warn!(%cause, "the removal of deleted logs ended by a panic"),
        }
    }
}
