//! Partitions and brokers as clients see them: by the listener that they came in on.
//!
//! Called by Metadata and DescribeTopicPartitions. Invariant: no address of one listener is told on another.

use crate::machines::metadata::{Broker, Image, Partition};
use crate::model::NodeId;
use crate::protocol::ErrorCode;

/// What a client is told of a partition.
pub(super) struct PartitionView {
    pub(super) error_code: ErrorCode,
    pub(super) leader_id: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
    pub(super) offline: Vec<i32>,
}

/// How much of what is missing a version can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// Version 0: replicas that are gone are left out, with an error.
    ReplicaErrors,
    /// Up to version 5: a leader that lacks the listener counts as no leader.
    NoListenerErrors,
    /// All of it.
    Everything,
}

/// A partition, seen through a listener.
pub(super) fn view(image: &Image, state: &Partition, listener: &str, tells: Tells) -> PartitionView {
    let reachable = |node: &NodeId| image.broker(*node).is_some_and(|broker| is_reachable(broker, listener));
    let offline = ids(state.replicas.iter().filter(|node| !reachable(node)));
    let shown = |nodes: &[NodeId]| ids(nodes.iter().filter(|node| tells != Tells::ReplicaErrors || reachable(node)));
    let (replicas, isr) = (shown(&state.replicas), shown(&state.isr));
    let leader = state.leader.and_then(|leader| image.broker(leader));
    let (error_code, leader_id) = match leader {
        None => (ErrorCode::LeaderNotAvailable, -1),
        Some(leader) if leader.listener(listener).is_none() && tells == Tells::Everything => {
            (ErrorCode::ListenerNotFound, -1)
        }
        Some(leader) if leader.listener(listener).is_none() => (ErrorCode::LeaderNotAvailable, -1),
        Some(leader) if replicas.len() < state.replicas.len() || isr.len() < state.isr.len() => {
            (ErrorCode::ReplicaNotAvailable, leader.node.get())
        }
        Some(leader) => (ErrorCode::None, leader.node.get()),
    };
    PartitionView { error_code, leader_id, replicas, isr, offline }
}

fn is_reachable(broker: &Broker, listener: &str) -> bool {
    !broker.is_fenced() && broker.listener(listener).is_some()
}

/// Node ids as numbers.
pub(super) fn ids<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> Vec<i32> {
    nodes.map(|node| node.get()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::metadata::{BrokerRegistered, Listener, Record};
    use crate::model::{BootNumber, BrokerEpoch, LogIndex};

    /// Broker 1 with both listeners, broker 2 with the inner one only, broker 3 fenced.
    fn image() -> Image {
        let mut image = Image::default();
        for (node, listeners) in [(1, &["OUT", "IN"][..]), (2, &["IN"]), (3, &["OUT", "IN"])] {
            let listener = |name: &&str| Listener { name: (*name).to_owned(), host: "h".to_owned(), port: 9 };
            let (id, epoch) = (NodeId::new(node), BrokerEpoch::new(i64::from(node)));
            let registered = BrokerRegistered {
                node: id,
                boot: BootNumber::new(1),
                broker_epoch: Some(epoch),
                directories: Vec::new(),
                listeners: listeners.iter().map(listener).collect(),
                rack: None,
            };
            let index = LogIndex::new(node.unsigned_abs().into());
            image.replay(index, &Record::BrokerRegistered(registered));
            if node != 3 {
                image.replay(index, &Record::BrokerUnfenced { node: id, broker_epoch: epoch });
            }
        }
        image
    }

    fn partition(leader: Option<i32>) -> Partition {
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId::new).collect();
        Partition { leader: leader.map(NodeId::new), ..Partition::new(nodes(&[1, 2, 3]), nodes(&[1, 2])) }
    }

    fn seen(leader: Option<i32>, tells: Tells) -> (ErrorCode, i32, Vec<i32>, Vec<i32>) {
        let view = view(&image(), &partition(leader), "OUT", tells);
        (view.error_code, view.leader_id, view.replicas, view.offline)
    }

    #[test]
    fn a_leader_is_named_only_where_it_can_be_reached() {
        let all = vec![1, 2, 3];
        let gone = vec![2, 3];
        assert_eq!(seen(Some(1), Tells::Everything), (ErrorCode::None, 1, all.clone(), gone.clone()));
        assert_eq!(seen(Some(2), Tells::Everything), (ErrorCode::ListenerNotFound, -1, all.clone(), gone.clone()));
        assert_eq!(
            seen(Some(2), Tells::NoListenerErrors),
            (ErrorCode::LeaderNotAvailable, -1, all.clone(), gone.clone())
        );
        assert_eq!(seen(None, Tells::Everything), (ErrorCode::LeaderNotAvailable, -1, all, gone));
    }

    #[test]
    fn the_oldest_clients_are_told_of_reachable_replicas_only() {
        let gone = vec![2, 3];
        assert_eq!(seen(Some(1), Tells::ReplicaErrors), (ErrorCode::ReplicaNotAvailable, 1, vec![1], gone));
    }

    #[test]
    fn a_fenced_broker_and_one_without_the_listener_are_not_reachable() {
        let image = image();
        let reachable = |listener| image.brokers().iter().filter(move |broker| is_reachable(broker, listener));
        let nodes = |listener| reachable(listener).map(|broker| broker.node.get()).collect::<Vec<_>>();
        assert_eq!(nodes("OUT"), [1]);
        assert_eq!(nodes("IN"), [1, 2]);
    }
}
