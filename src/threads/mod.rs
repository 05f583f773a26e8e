//! How work gets a thread of its own, and how the process ends.
//!
//! Called by `transport`, `quorum`, `broker` and `node`. Two files offer the same: `system` for the machine, and
//! `simulated` (feature `sim`), where whole nodes share one thread and everything is a task of its host, in an order
//! that a seed repeats.
//!
//! Invariant: nobody else in the asynchronous rooms makes a thread or a runtime or ends the process, but for the data
//! plane's threads in `broker/worker.rs`, which wait in another way.

#[cfg(feature = "sim")]
mod simulated;
#[cfg(not(feature = "sim"))]
mod system;

#[cfg(feature = "sim")]
pub use simulated::{
    Apart, Death, OwnRuntime, Pace, blocking, deaths, end_process, guarded, hang, hang_threads, host_name, name_host,
    panicked, run_apart, serve, set_pace, take_time,
};
#[cfg(not(feature = "sim"))]
pub use system::{Apart, OwnRuntime, blocking, end_process, guarded, panicked, run_apart, serve};

#[cfg(all(feature = "sim", not(tokio_unstable)))]
compile_error!("the feature sim wants RUSTFLAGS=\"--cfg tokio_unstable\": else tokio's own choices have no seed");
