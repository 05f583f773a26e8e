//! Threads of the machine.

use std::io;
use std::ops::ControlFlow;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::probe;

/// Runs work that may wait for the disk, on one of the runtime's threads for that.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Gives what comes in `inbox` to `carry_out`, one by one, on a thread of its own; until it breaks, or all senders have
/// gone.
pub fn serve<T: Send + 'static>(
    name: &str,
    mut inbox: mpsc::Receiver<T>,
    mut carry_out: impl FnMut(T) -> ControlFlow<()> + Send + 'static,
) {
    let inherit = probe::inheritance();
    let run = move || {
        inherit();
        while let Some(order) = inbox.blocking_recv() {
            if carry_out(order).is_break() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.expect("the system has room for one more thread at start");
}

/// A runtime with threads of its own. Dropped from whatever thread, without waiting.
#[derive(Debug)]
pub struct OwnRuntime {
    runtime: Option<Runtime>,
}

impl OwnRuntime {
    /// A runtime of `count` threads, and at most `blocking_max` more for work that waits.
    #[must_use]
    pub fn new(name: &str, count: usize, blocking_max: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(count.max(1))
            .max_blocking_threads(blocking_max)
            .thread_name(name)
            .on_thread_start(probe::inheritance())
            .enable_all()
            .build();
        Self { runtime: Some(runtime.expect("the system has room for a runtime's threads at start")) }
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("the runtime is there until the drop").handle()
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A future on a thread of its own.
#[derive(Debug)]
pub struct Apart {
    thread: std::thread::JoinHandle<()>,
}

/// Makes a future and runs it on a thread of its own, with a runtime of its own; `make` is called within that.
///
/// # Errors
/// When the system gives no thread or event queue, or what `make` says.
pub fn run_apart<F, E>(name: &str, blocking_max: usize, make: impl FnOnce() -> Result<F, E>) -> Result<Apart, E>
where
    F: Future<Output = ()> + Send + 'static,
    E: From<io::Error>,
{
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(blocking_max).build()?;
    let future = {
        let _on_runtime = runtime.enter();
        make()?
    };
    let inherit = probe::inheritance();
    let run = move || {
        inherit();
        runtime.block_on(future);
        // A name lookup may hang for many seconds; nobody waits for it any more.
        runtime.shutdown_background();
    };
    Ok(Apart { thread: std::thread::Builder::new().name(name.to_owned()).spawn(run)? })
}

impl Apart {
    /// Waits until it has ended. On the thread itself, which may be the last that held it, there is nothing to wait for.
    pub fn join(self) {
        if self.thread.thread().id() == std::thread::current().id() {
            return;
        }
        // A panic of the thread has been printed by the panic hook; there is nothing left to do for it.
        let _ = self.thread.join();
    }
}

/// Ends the process.
pub fn end_process(why: &str) -> ! {
    tracing::error!(why, "aborting");
    std::process::abort();
}

/// A part without which the process must not go on has panicked.
pub fn panicked(part: &str) {
    tracing::error!(part, "a vital part of the broker panicked: the process ends");
    std::process::abort();
}

/// A future whose `end_process` ends no more than its own process.
pub fn guarded<F: Future<Output = ()>>(future: F) -> F {
    future
}
