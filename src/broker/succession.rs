//! Gives an election that is about to happen its moment before clients are told who leads.
//!
//! A client whose connection to a leader broke asks another broker for metadata within a millisecond, before the
//! controller has fenced anybody; told the old leader once more, librdkafka asks again only after a second (measured
//! with 2.16). So a broker that sees itself that a leader is gone waits, for a bounded time, until the image knows.
//! Called by `api/metadata.rs`. Invariant: what is told is always the image's answer, only not a doomed one too early.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Broker;
use crate::machines::metadata::Image;
use crate::model::{NodeId, TopicId};

/// A process that is being killed loses its connections one after the other: those of its clients before ours, perhaps.
const NOTICE_PAUSE: Duration = Duration::from_millis(3);
/// The longest wait: the failover of a controller that died with the leader is within it.
const SUCCESSION_WAIT: Duration = Duration::from_millis(1_500);
/// How long a cluster that starts is waited for.
const START_WAIT: Duration = Duration::from_secs(2);

impl Broker {
    /// Waits a moment for a broker to name, if this one knows none that serves: while a cluster starts, librdkafka would
    /// take "no brokers, no controller" for an answer and not ask again for half a minute.
    pub async fn await_any_broker(&self) {
        let mut reconciled = self.inner.reconciled.subscribe();
        let serves = reconciled.wait_for(|image| image.brokers().iter().any(|broker| !broker.is_fenced()));
        // None of them serving is the answer then.
        let _ = timeout_at(Instant::now() + START_WAIT, serves).await;
    }

    /// Returns when no leader of these topics is known to have just gone, or after a bounded wait.
    pub async fn await_succession(&self, topics: &[TopicId]) {
        let mut reconciled = self.inner.reconciled.subscribe();
        if !self.has_other_leaders(&reconciled.borrow_and_update(), topics) {
            return;
        }
        sleep(NOTICE_PAUSE).await;
        let deadline = Instant::now() + SUCCESSION_WAIT;
        let mut reach = self.inner.reach.changes();
        loop {
            let lost = reach.borrow_and_update().just_lost(self.now().instant);
            if lost.is_disjoint(&leaders(&reconciled.borrow_and_update(), topics)) {
                return;
            }
            let changed = async {
                tokio::select! {
                    changed = reconciled.changed() => changed.is_ok(),
                    changed = reach.changed() => changed.is_ok(),
                }
            };
            if timeout_at(deadline, changed).await != Ok(true) {
                return;
            }
        }
    }

    fn has_other_leaders(&self, image: &Image, topics: &[TopicId]) -> bool {
        leaders(image, topics).iter().any(|leader| *leader != self.inner.node)
    }
}

fn leaders(image: &Image, topics: &[TopicId]) -> BTreeSet<NodeId> {
    topics.iter().flat_map(|topic| image.topics().partitions_of(*topic)).filter_map(|(_, p)| p.leader).collect()
}
