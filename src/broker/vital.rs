//! What a broker cannot go on without.
//!
//! Called where the broker starts its threads and tasks. Invariant (rule S11): a panic in one of them ends the process,
//! which is noticed within milliseconds; a broker without its shard, flusher or heartbeat would keep its sessions and
//! its leaderships and serve neither.

use std::thread;

use tracing::error;

/// Ends the process if it is dropped by a panic.
#[derive(Debug)]
pub(super) struct Vital(pub(super) &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(part = self.0, "a vital part of the broker panicked: the process ends");
            std::process::abort();
        }
    }
}

/// Runs a task without which the process ends.
pub(super) fn spawn_vital(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        let _vital = Vital(name);
        task.await;
    });
}
