//! `/v1/cluster`: the cluster at a glance.
//!
//! Invariant: told from this node's own image and quorum; figures that only the quorum's leader has are null elsewhere.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;

use super::State;
use super::extract::{InQuery, NoParameter};
use crate::broker::{Leadership, MemberState, QuorumDescription};
use crate::machines::metadata::{BrokerState, Image};
use crate::model::{LogIndex, NodeId, Term, Timestamp};

/// The cluster.
#[derive(Debug, Serialize)]
pub(super) struct ClusterView {
    /// Null until the cluster is formed and this node has heard of it.
    cluster_id: Option<String>,
    node: NodeView,
    controller: ControllerView,
    metadata: MetadataView,
    voters: Vec<MemberView>,
    observers: Vec<MemberView>,
    features: BTreeMap<String, u16>,
    counts: CountsView,
}

/// The node that answers.
#[derive(Debug, Serialize)]
struct NodeView {
    node_id: NodeId,
    is_broker: bool,
    version: &'static str,
}

/// Who decides, as this node knows it.
#[derive(Debug, Serialize)]
struct ControllerView {
    node_id: Option<NodeId>,
    term: Term,
}

/// How far this node's copy of the metadata log reaches.
#[derive(Debug, Serialize)]
struct MetadataView {
    applied: LogIndex,
    accepted: LogIndex,
    high_watermark: LogIndex,
    log_start: LogIndex,
    log_end: LogIndex,
}

/// A member of the metadata quorum.
#[derive(Debug, Serialize)]
struct MemberView {
    node_id: NodeId,
    directory_id: String,
    address: String,
    log_end: Option<LogIndex>,
    last_fetch_ms: Option<Timestamp>,
    last_caught_up_ms: Option<Timestamp>,
}

/// How much of what there is.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct CountsView {
    brokers: usize,
    active_brokers: usize,
    fenced_brokers: usize,
    shutting_down_brokers: usize,
    topics: usize,
    partitions: usize,
    leaderless_partitions: usize,
    under_replicated_partitions: usize,
}

/// `GET /v1/cluster`.
pub(super) async fn describe(Shared(state): Shared<State>, _: InQuery<NoParameter>) -> Json<ClusterView> {
    let cluster = &state.cluster;
    let node =
        NodeView { node_id: cluster.node, is_broker: state.broker.is_some(), version: env!("CARGO_PKG_VERSION") };
    Json(view(node, cluster.leadership(), &cluster.image(), &cluster.describe_quorum()))
}

fn view(node: NodeView, leadership: Leadership, image: &Image, quorum: &QuorumDescription) -> ClusterView {
    ClusterView {
        cluster_id: image.cluster().map(|id| id.to_string()),
        node,
        controller: ControllerView { node_id: leadership.leader, term: leadership.term },
        metadata: MetadataView {
            applied: image.last_applied(),
            accepted: image.last_accepted(),
            high_watermark: quorum.high_watermark,
            log_start: quorum.log_start,
            log_end: quorum.log_end,
        },
        voters: members(&quorum.voters),
        observers: members(&quorum.observers),
        features: image.features().map(|(name, level)| (name.to_owned(), level)).collect(),
        counts: counts(image),
    }
}

fn members(states: &[MemberState]) -> Vec<MemberView> {
    let member = |state: &MemberState| MemberView {
        node_id: state.node,
        directory_id: state.directory.to_string(),
        address: state.address.clone(),
        log_end: state.log_end,
        last_fetch_ms: state.last_fetch,
        last_caught_up_ms: state.last_caught_up,
    };
    states.iter().map(member).collect()
}

fn counts(image: &Image) -> CountsView {
    let topics = image.topics();
    let mut counts = CountsView {
        brokers: image.brokers().len(),
        topics: topics.topic_count(),
        partitions: topics.partition_count(),
        leaderless_partitions: topics.leaderless().count(),
        under_replicated_partitions: topics.partitions().filter(|(_, p)| p.isr.len() < p.replicas.len()).count(),
        ..CountsView::default()
    };
    for broker in image.brokers().iter() {
        match broker.state {
            BrokerState::Active => counts.active_brokers += 1,
            BrokerState::Fenced => counts.fenced_brokers += 1,
            BrokerState::ShuttingDown => counts.shutting_down_brokers += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::sample;
    use crate::model::DirectoryId;

    fn node() -> NodeView {
        NodeView { node_id: NodeId::new(1), is_broker: true, version: "1.2.3" }
    }

    fn quorum(voters: Vec<MemberState>) -> QuorumDescription {
        QuorumDescription {
            leader: Some(NodeId::new(1)),
            term: Term::new(7),
            high_watermark: LogIndex::new(11),
            log_end: LogIndex::new(12),
            log_start: LogIndex::new(1),
            voters,
            observers: Vec::new(),
        }
    }

    #[test]
    fn the_cluster_is_told_in_its_documented_shape() {
        let voter = MemberState {
            node: NodeId::new(1),
            directory: DirectoryId::new(*b"directory-000001"),
            address: "host-1:9093".to_owned(),
            log_end: Some(LogIndex::new(12)),
            last_fetch: Some(Timestamp::new(1000)),
            last_caught_up: None,
        };
        let leadership = Leadership { term: Term::new(7), leader: Some(NodeId::new(1)), active: true };
        let view = view(node(), leadership, &sample::image(), &quorum(vec![voter]));
        let shown = serde_json::to_value(view).expect("a view is JSON");
        let expected = json!({
            "cluster_id": "Y2x1c3Rlci0wMDAwMDAwMQ",
            "node": { "node_id": 1, "is_broker": true, "version": "1.2.3" },
            "controller": { "node_id": 1, "term": 7 },
            "metadata": { "applied": 1, "accepted": 1, "log_start": 1, "log_end": 12, "high_watermark": 11 },
            "voters": [{
                "node_id": 1, "directory_id": "ZGlyZWN0b3J5LTAwMDAwMQ", "address": "host-1:9093", "log_end": 12,
                "last_fetch_ms": 1000, "last_caught_up_ms": null,
            }],
            "observers": [],
            "features": { "ottla.version": 1 },
            "counts": {
                "brokers": 3, "active_brokers": 2, "fenced_brokers": 1, "shutting_down_brokers": 0,
                "topics": 2, "partitions": 3, "leaderless_partitions": 0, "under_replicated_partitions": 2,
            },
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_node_that_knows_no_controller_says_null() {
        let view = view(node(), Leadership::default(), &Image::default(), &quorum(Vec::new()));
        let shown = serde_json::to_value(view).expect("a view is JSON");
        assert_eq!(shown["controller"], json!({ "node_id": null, "term": 0 }));
        assert_eq!(shown["cluster_id"], json!(null));
        assert_eq!(shown["voters"], json!([]));
    }
}
