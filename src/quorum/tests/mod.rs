//! Tests of the whole room.

mod cluster;
mod conformance;
mod logs;
mod world;
