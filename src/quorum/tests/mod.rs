//! Tests of the whole room.

mod cluster;
mod conformance;
mod golden;
mod logs;
mod recovery;
mod sockets;
mod timing;
mod world;
