//! Brokers that were fenced a moment ago. Metadata goes on naming them for a while.
//!
//! librdkafka takes a broker out of service that metadata no longer names, and a partition that still belongs to it then
//! waits for its one-second timer before it is moved to the new leader (measured with 2.16: 1,017 ms instead of 7).
//! Written by `reconcile`, read by `api/metadata.rs`. Invariant: a fenced broker leads nothing, shown or not.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Instant, NodeId};

/// For how long a fenced broker is still named: clients have moved their partitions by then.
const SHOWN_FOR: Duration = Duration::from_secs(30);

/// When brokers were fenced, as this node saw it.
#[derive(Debug, Default)]
pub(super) struct Departed {
    /// Guards the table only; at most one entry per broker.
    since: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Departed {
    /// A broker was fenced.
    pub(super) fn fenced(&self, node: NodeId, now: Instant) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_insert(now);
    }

    /// It serves again, or is gone for good.
    pub(super) fn settled(&self, node: NodeId) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    /// Whether it was fenced so recently that clients are still told of it.
    pub(super) fn is_shown(&self, node: NodeId, now: Instant) -> bool {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(&node).is_some_and(|since| now.since(*since) < SHOWN_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fenced_broker_is_shown_for_a_while() {
        let (departed, node) = (Departed::default(), NodeId::new(3));
        let at = |seconds| Instant::ZERO.plus(Duration::from_secs(seconds));
        assert!(!departed.is_shown(node, at(0)));
        departed.fenced(node, at(10));
        departed.fenced(node, at(20));
        assert!(departed.is_shown(node, at(39)));
        assert!(!departed.is_shown(node, at(40)));
        departed.settled(node);
        assert!(!departed.is_shown(node, at(11)));
    }
}
