//! An owner behind an inbox, on a thread of its own; in a simulation a task of its host.
//!
//! Called by `shards` and `flusher`. Invariant: nobody else calls the owner's `turn`, one is over before the next
//! begins, and a panic in it ends the process (rule S11).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::inbox::{Inbox, Taken};
use super::vital::Vital;
use crate::model::Now;
#[cfg(not(feature = "sim"))]
use crate::probe;
use crate::threads;

/// What takes turns with what came meanwhile.
pub(super) trait Worker<T>: Send + 'static {
    /// What it is, for who must be told that it panicked.
    const PART: &'static str;

    /// How long it can do without a turn when nothing comes.
    fn patience(&self) -> Duration;

    /// A turn with `entries` begins: notes it where others see how long it takes. Gives the present.
    fn begin(&self, entries: &[T]) -> Now;

    /// Takes all of `entries`. After `Taken::Closed` there is no more.
    fn turn(&mut self, now: Now, entries: &mut Vec<T>, taken: Taken);
}

/// A worker to wait for at the end.
pub(super) struct Running {
    part: &'static str,
    #[cfg(not(feature = "sim"))]
    thread: std::thread::JoinHandle<()>,
    #[cfg(feature = "sim")]
    task: tokio::task::JoinHandle<()>,
}

#[cfg(not(feature = "sim"))]
pub(super) fn start<T, W>(name: &str, inbox: Arc<Inbox<T>>, mut worker: W) -> io::Result<Running>
where
    T: Send + 'static,
    W: Worker<T>,
{
    let inherit = probe::inheritance();
    let run = move || {
        inherit();
        let _vital = Vital(W::PART);
        let mut entries = Vec::new();
        let mut taken = Taken::Open;
        while taken == Taken::Open {
            taken = inbox.take(&mut entries, worker.patience());
            let now = worker.begin(&entries);
            worker.turn(now, &mut entries, taken);
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(Running { part: W::PART, thread })
}

#[cfg(feature = "sim")]
pub(super) fn start<T, W>(name: &str, inbox: Arc<Inbox<T>>, mut worker: W) -> io::Result<Running>
where
    T: Send + 'static,
    W: Worker<T>,
{
    let name = name.to_owned();
    let run = async move {
        let _vital = Vital(W::PART);
        let mut entries = Vec::new();
        let mut taken = Taken::Open;
        while taken == Taken::Open {
            // Whether it was filled or patience has run out: the turn sees which.
            let _ = tokio::time::timeout(worker.patience(), inbox.filled()).await;
            taken = inbox.take(&mut entries, Duration::ZERO);
            let now = worker.begin(&entries);
            threads::take_time(&name).await;
            worker.turn(now, &mut entries, taken);
        }
    };
    Ok(Running { part: W::PART, task: tokio::spawn(threads::guarded(run)) })
}

impl Running {
    /// Waits until it has ended, without holding a thread of the runtime.
    pub(super) async fn ended(self) {
        #[cfg(not(feature = "sim"))]
        let is_well = matches!(threads::blocking(move || self.thread.join()).await, Ok(Ok(())));
        #[cfg(feature = "sim")]
        let is_well = self.task.await.is_ok();
        if !is_well {
            tracing::error!(part = self.part, "a thread of the data plane ended by a panic");
        }
    }
}
