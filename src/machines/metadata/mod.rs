//! Facts about the cluster: the records of the metadata log and the image that replaying them gives.
//!
//! Contract: the active controller decides on an [`Image`] and proposes [`Record`]s; every node replays the accepted
//! proposals in the order of the log and so holds the same image. [`Image::apply`] is the only way in which a
//! proposal changes an image, and it accepts one only when that was decided on the proposal accepted last (rule S5).
//! Replay is total: it decides nothing, refuses nothing and never fails, for what one node cannot replay none can.

mod record;
mod partition;
mod image;
mod topics;
mod brokers;
mod configs;
mod producers;
mod delta;
mod snapshot;

pub use brokers::{Broker, BrokerState, Brokers, LastActive};
pub use configs::Configs;
pub use delta::{Change, Delta};
pub use image::{Applied, Image, Proposal};
pub use partition::{Partition, PartitionFlaw, Recovery};
pub use producers::Producers;
pub use record::{BrokerRegistered, ConfigResource, Listener, Record};
pub use snapshot::{SnapshotHeader, snapshot};
pub use topics::{Topic, Topics};

#[cfg(test)]
mod tests;
