//! What a broker cannot go on without.
//!
//! Called where the broker starts its threads and tasks. Invariant (rule S11): a panic in one of them ends the process,
//! which is noticed within milliseconds; a broker without its shard, flusher or heartbeat would keep its sessions and
//! its leaderships and serve neither.

use std::thread;

use crate::threads;

/// Ends the process if it is dropped by a panic.
#[derive(Debug)]
pub(super) struct Vital(pub(super) &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            threads::panicked(self.0);
        }
    }
}

/// Runs a task without which the process ends.
pub(super) fn spawn_vital(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(threads::guarded(async move {
        let _vital = Vital(name);
        task.await;
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the child, to what panics there.
    const PART: &str = "OTTLA_TEST_VITAL";

    /// Runs this test once more in a process of its own. `None` in that process.
    fn run_again(test: &str, part: &str) -> Option<std::process::ExitStatus> {
        if std::env::var_os(PART).is_some() {
            return None;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        Some(child.args([name.as_str(), "--exact"]).env(PART, part).output().unwrap().status)
    }

    fn is_aborted(status: std::process::ExitStatus) -> bool {
        use std::os::unix::process::ExitStatusExt;
        const SIGABRT: i32 = 6;
        status.signal() == Some(SIGABRT)
    }

    #[test]
    fn a_vital_thread_that_panics_ends_the_process() {
        if let Some(status) = run_again("a_vital_thread_that_panics_ends_the_process", "thread") {
            return assert!(is_aborted(status), "{status}");
        }
        let ended = thread::spawn(|| {
            let _vital = Vital("test");
            panic!("of the test");
        });
        assert!(ended.join().is_err());
    }

    #[test]
    fn a_vital_task_that_panics_ends_the_process() {
        if let Some(status) = run_again("a_vital_task_that_panics_ends_the_process", "task") {
            return assert!(is_aborted(status), "{status}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            spawn_vital("test", async { panic!("of the test") });
            tokio::task::yield_now().await;
        });
    }

    #[test]
    fn a_vital_part_may_end() {
        drop(Vital("test"));
    }
}
