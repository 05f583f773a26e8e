//! The shard: owns partitions, takes events in, hands effects out. No thread, no channel.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Instant, NodeId, Now};
use crate::storage::DataDir;

use super::effect::Effect;
use super::event::Event;

/// What a shard is made of.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// This broker.
    pub node: NodeId,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention_interval: Duration,
    /// Produces that may wait on one partition.
    pub waiters_max: usize,
    /// Reads that may wait on this shard.
    pub watches_max: usize,
}

/// Owns some of the partitions of one data directory.
#[derive(Debug)]
pub struct Shard {
    options: ShardOptions,
    directory: Arc<DataDir>,
}

impl Shard {
    /// An empty one.
    #[must_use]
    pub fn new(directory: Arc<DataDir>, options: ShardOptions) -> Self {
        Self { options, directory }
    }

    /// Takes every event of `inbox`, in order, and adds what follows to `outbox`: at most one `Effect::Flush`, last.
    pub fn turn(&mut self, now: Now, inbox: &mut Vec<Event>, outbox: &mut Vec<Effect>) {
        let _ = (now, inbox.drain(..), outbox, &self.options, &self.directory);
    }

    /// When it wants a `Tick` at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }
}
