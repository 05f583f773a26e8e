//! `/v1/brokers` and `/v1/brokers/{node_id}`: who is registered, and what each keeps.
//!
//! Asked by operators and their tools. Invariant: all of an answer comes from one image of this node.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;

use super::State;
use super::error::{Kind, Problem};
use super::extract::{InPath, InQuery, NoParameter};
use crate::machines::metadata::{Broker, BrokerState, Image, Listener};
use crate::model::{BootNumber, BrokerEpoch, NodeId};

/// All brokers.
#[derive(Debug, Serialize)]
pub(super) struct BrokersView {
    brokers: Vec<BrokerView>,
}

/// One broker.
#[derive(Debug, Serialize)]
pub(super) struct BrokerView {
    node_id: NodeId,
    state: &'static str,
    broker_epoch: BrokerEpoch,
    boot: BootNumber,
    rack: Option<String>,
    listeners: Vec<ListenerView>,
    directories: Vec<String>,
    /// Partitions that it leads.
    leaders: usize,
    /// Partitions of which it keeps a copy.
    replicas: usize,
    /// Partitions in whose ISR it is.
    in_sync: usize,
}

/// Where it is reached.
#[derive(Debug, Serialize)]
struct ListenerView {
    name: String,
    host: String,
    port: u16,
}

/// `GET /v1/brokers`.
pub(super) async fn list(Shared(state): Shared<State>, _: InQuery<NoParameter>) -> Json<BrokersView> {
    let image = state.cluster.image();
    Json(BrokersView { brokers: image.brokers().iter().map(|broker| view(&image, broker)).collect() })
}

/// `GET /v1/brokers/{node_id}`.
pub(super) async fn describe(
    Shared(state): Shared<State>,
    InPath(node): InPath<NodeId>,
    _: InQuery<NoParameter>,
) -> Result<Json<BrokerView>, Problem> {
    let image = state.cluster.image();
    let broker = image.broker(node).ok_or_else(|| no_such_broker(node))?;
    Ok(Json(view(&image, broker)))
}

fn no_such_broker(node: NodeId) -> Problem {
    Problem::new(Kind::NoSuchBroker, format!("no broker {node} is registered"))
}

fn view(image: &Image, broker: &Broker) -> BrokerView {
    let topics = image.topics();
    let listener = |l: &Listener| ListenerView { name: l.name.clone(), host: l.host.clone(), port: l.port };
    BrokerView {
        node_id: broker.node,
        state: state(broker.state),
        broker_epoch: broker.broker_epoch,
        boot: broker.boot,
        rack: broker.rack.clone(),
        listeners: broker.listeners.iter().map(listener).collect(),
        directories: broker.directories.iter().map(ToString::to_string).collect(),
        leaders: topics.led_by(broker.node).count(),
        replicas: topics.replicas_of(broker.node).count(),
        in_sync: topics.in_isr_of(broker.node).count(),
    }
}

fn state(state: BrokerState) -> &'static str {
    match state {
        BrokerState::Fenced => "fenced",
        BrokerState::Active => "active",
        BrokerState::ShuttingDown => "shutting_down",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::sample;

    fn shown(node: i32) -> serde_json::Value {
        let image = sample::image();
        let broker = image.broker(NodeId::new(node)).expect("the sample has it");
        serde_json::to_value(view(&image, broker)).expect("a view is JSON")
    }

    #[test]
    fn a_broker_is_told_in_its_documented_shape() {
        let expected = json!({
            "node_id": 1, "state": "active", "broker_epoch": 1, "boot": 5, "rack": "rack-1",
            "listeners": [{ "name": "PLAINTEXT", "host": "host-1", "port": 9092 }],
            "directories": ["ZGlyZWN0b3J5LTAwMDAwMQ"],
            "leaders": 2, "replicas": 3, "in_sync": 3,
        });
        assert_eq!(shown(1), expected);
    }

    #[test]
    fn a_fenced_broker_is_in_no_isr() {
        let fenced = shown(3);
        assert_eq!((&fenced["state"], &fenced["in_sync"]), (&json!("fenced"), &json!(0)));
    }
}
