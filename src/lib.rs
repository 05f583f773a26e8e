//! Ottla: a clustered log broker that speaks the Apache Kafka protocol, without an external coordinator.
//!
//! The modules stand in the order of their dependencies: each may use those above it, none those below
//! (ARCHITECTURE.md; `tests/architecture` holds the exact list and enforces it).

// Pure: no I/O, no clock, no async, no lock.
pub mod probe;
pub mod codec;
pub mod model;
pub mod records;
pub mod machines;
pub mod protocol;

// Synchronous I/O: files only, through `env`; no async.
pub mod env;
pub mod storage;
pub mod partition;

// Asynchronous: sockets, openraft, tasks.
pub mod threads;
pub mod telemetry;
pub mod transport;
pub mod quorum;
pub mod broker;

// Skins: translate, call, translate back.
pub mod api;
pub mod admin;

// Assembly: imported by nobody else.
pub mod node;
pub mod cli;

// Beside: the judge of a run, and a simulated world for tests.
#[cfg(any(test, feature = "testing"))]
pub mod verify;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
