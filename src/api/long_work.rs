//! Work that takes long, away from the threads that serve the network.
//!
//! Called by `produce`: a batch of a few kilobytes may decompress to a hundred megabytes before it is refused (rule
//! B8). Two of those at once would hold every thread of a small node: no good client would be answered meanwhile, and
//! no heartbeat sent. Invariant: no more is done at once than there are processors, for each may hold many megabytes;
//! what waits for its turn holds no thread.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// What bounds such work.
#[derive(Debug)]
pub(super) struct LongWork {
    permits: Semaphore,
}

impl Default for LongWork {
    fn default() -> Self {
        Self { permits: Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)) }
    }
}

impl LongWork {
    /// Runs `work` in its turn, where it is, after the other tasks of this thread were given to another.
    pub(super) async fn apart<T>(&self, work: impl FnOnce() -> T) -> T {
        // Waited for as a task: who waits in a thread takes it from all others. Held until the work is done.
        let _permit = self.permits.acquire().await.expect("it is never closed");
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
            // Tests, and whoever has no other thread to give them to.
            RuntimeFlavor::CurrentThread | _ => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn long_work_does_not_hold_up_the_tasks_of_its_thread() {
        let (tell, told) = mpsc::channel();
        let work =
            tokio::spawn(
                async move { LongWork::default().apart(move || told.recv_timeout(Duration::from_secs(20))).await },
            );
        let other = tokio::spawn(async move { tell.send(5) });
        assert_eq!(work.await.expect("no panic"), Ok(5));
        other.await.expect("no panic").expect("it was waited for");
    }

    #[test]
    fn who_waits_for_a_turn_holds_no_thread() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).build();
        let runtime = runtime.expect("a runtime");
        let work = Arc::new(LongWork { permits: Semaphore::new(1) });
        let (tell, told) = mpsc::channel();
        let first = Arc::clone(&work);
        let first = runtime.spawn(async move { first.apart(move || told.recv_timeout(Duration::from_secs(20))).await });
        let waiting = (0..8).map(|_| Arc::clone(&work));
        let waiting: Vec<_> = waiting.map(|work| runtime.spawn(async move { work.apart(|| ()).await })).collect();
        let other = runtime.spawn(async move { tell.send(5) });
        assert_eq!(runtime.block_on(first).expect("no panic"), Ok(5));
        for task in waiting {
            runtime.block_on(task).expect("no panic");
        }
        runtime.block_on(other).expect("no panic").expect("it was waited for");
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_does_its_work_itself() {
        assert_eq!(LongWork::default().apart(|| 5).await, 5);
    }
}
