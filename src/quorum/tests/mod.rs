//! Tests of the whole room.

mod conformance;
mod memory_log;
