//! Fetches from leaders what this broker follows: one task and one connection per leader.
//!
//! The shards say from where (`Notice::FetchFrom`, a level per partition); the fetched batches go back to them as
//! `Event::Fetched`. A follower's position is its flushed end, so the next fetch *is* the durability ack (ADR 7).
//! Invariant: a partition is asked for at one position at a time, of one leader; what was fetched for another position
//! is dropped here or by the shard (rule R5).

mod leader;
pub(crate) mod positions;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Inner;
use super::vital::spawn_vital;
use crate::model::{NodeId, PartitionId};
use crate::partition::FetchPosition;
use leader::LeaderTask;
pub use leader::REPLICA_CLIENT_ID;
pub use request::FetchOptions;

/// What a leader's task is told.
#[derive(Clone, Copy, Debug)]
enum Command {
    /// Fetch from here.
    From(FetchPosition),
    /// Fetch this partition no more.
    Stop(PartitionId),
}

/// Whom each partition is fetched from, and the tasks that do it.
#[derive(Debug)]
pub(super) struct Fetchers {
    inner: Arc<Inner>,
    leaders: BTreeMap<NodeId, mpsc::UnboundedSender<Command>>,
    assigned: BTreeMap<PartitionId, NodeId>,
}

impl Fetchers {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, leaders: BTreeMap::new(), assigned: BTreeMap::new() }
    }

    /// A shard wants this position fetched.
    pub(super) fn fetch_from(&mut self, position: FetchPosition) {
        let before = self.assigned.insert(position.partition, position.leader);
        if let Some(other) = before.filter(|leader| *leader != position.leader) {
            self.tell(other, Command::Stop(position.partition));
        }
        self.tell(position.leader, Command::From(position));
    }

    /// A shard wants this partition fetched no more.
    pub(super) fn stop(&mut self, partition: PartitionId) {
        if let Some(leader) = self.assigned.remove(&partition) {
            self.tell(leader, Command::Stop(partition));
        }
    }

    fn tell(&mut self, leader: NodeId, command: Command) {
        let inner = &self.inner;
        let sender = self.leaders.entry(leader).or_insert_with(|| {
            // Bounded by the shards: one position per partition is under way.
            let (sender, receiver) = mpsc::unbounded_channel();
            spawn_vital("fetcher", LeaderTask::new(Arc::clone(inner), leader, receiver).run());
            sender
        });
        // The task ends only with the process's runtime.
        let _ = sender.send(command);
    }
}
