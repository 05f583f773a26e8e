//! Tests of the whole room.

mod cluster;
mod conformance;
mod memory_log;
mod world;
