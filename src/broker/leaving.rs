//! Partitions that were told to go, until their shards have let go of them.
//!
//! Kept by `reconcile`. Invariant: no order for a topic leaves while a shard may still hold the log of an earlier topic
//! of that name. Both have the directory `name-index`, and belong to different shards: a turn of the old one's that had
//! begun before would make, cut and remove files in what is the new one's by then.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::shards::Shards;
use crate::model::{PartitionId, TopicName};
use crate::partition::{Event, Reply};
use crate::probe::{Mutant, planted};

/// By name, what tells that a shard has let go. Bounded by the deletions that the shards have not come to.
#[derive(Debug)]
pub(super) struct Leaving {
    shards: Arc<Shards>,
    names: BTreeMap<TopicName, Vec<oneshot::Receiver<Reply>>>,
}

impl Leaving {
    pub(super) fn new(shards: Arc<Shards>) -> Self {
        Self { shards, names: BTreeMap::new() }
    }

    /// Tells a partition to go, with its files.
    pub(super) fn stop(&mut self, name: &TopicName, partition: PartitionId) {
        self.shards.tell(partition, Event::Stop { partition, delete: true });
        // A shard answers in the order of its events: whoever has described it has stopped it.
        let gone = self.shards.must_ask(partition, |ticket| Event::Describe { ticket, partition: Some(partition) });
        self.names.entry(name.clone()).or_default().push(gone);
    }

    /// Forgets the names that are free by now.
    pub(super) fn settle(&mut self) {
        self.names.retain(|_, going| {
            going.retain_mut(|gone| matches!(gone.try_recv(), Err(TryRecvError::Empty)));
            !going.is_empty()
        });
    }

    /// Whether orders for a topic of this name have to wait.
    pub(super) fn holds(&self, name: &TopicName) -> bool {
        self.names.contains_key(name) && !planted(Mutant::NameFreeAtOnce)
    }

    /// Returns when nothing of this name is held any more: after a turn of the shards at most.
    pub(super) async fn left(&mut self, name: &TopicName) {
        for gone in self.names.remove(name).unwrap_or_default() {
            // A shard that has ended holds nothing.
            let _ = gone.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;
    use crate::model::{PartitionIndex, TopicId};

    #[test]
    fn a_name_is_free_only_when_the_shard_has_let_go_of_the_earlier_topic() {
        let (shards, inboxes) = Shards::without_threads(1);
        let partition = PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) };
        let (name, other) = (TopicName::new("orders").unwrap(), TopicName::new("others").unwrap());
        let mut leaving = Leaving::new(Arc::clone(&shards));
        for waits in [false, true] {
            leaving.stop(&name, partition);
            leaving.settle();
            assert!(leaving.holds(&name) && !leaving.holds(&other));
            let mut events = Vec::new();
            inboxes[0].take(&mut events, Duration::ZERO);
            let [Event::Stop { delete: true, .. }, Event::Describe { ticket, .. }] = events[..] else {
                panic!("{events:?}")
            };
            let answer = || shards.resolve(0, ticket, Reply::Describe(Vec::new()));
            if waits {
                let mut context = Context::from_waker(Waker::noop());
                let mut left = Box::pin(leaving.left(&name));
                assert!(left.as_mut().poll(&mut context).is_pending());
                answer();
                assert!(left.as_mut().poll(&mut context).is_ready());
            } else {
                answer();
            }
            leaving.settle();
            assert!(!leaving.holds(&name));
        }
    }
}
