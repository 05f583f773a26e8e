//! Tests of the whole room.

mod cluster;
mod conformance;
mod golden;
mod guards;
mod logs;
mod recorder;
mod recovery;
mod sockets;
mod timing;
mod world;
