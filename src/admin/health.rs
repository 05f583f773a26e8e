//! `/health/live` and `/health/ready`: whether to restart this node, and whether to send it clients.
//!
//! Asked by container health checks, load balancers and `ottla dev`. Invariant: "ready" is never said by a node whose
//! own image does not show its broker unfenced under the epoch of this very life.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::State;
use crate::machines::metadata::{BrokerState, Image};
use crate::model::{BrokerEpoch, NodeId};

/// What both answer with.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Health {
    status: &'static str,
    /// Why it is not ready; empty when it is.
    reasons: Vec<Reason>,
}

/// One thing that is missing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Reason {
    reason: &'static str,
    detail: String,
}

/// `GET /health/live`: whoever reads the answer knows it.
pub(super) async fn live() -> Response {
    Json(Health { status: "live", reasons: Vec::new() }).into_response()
}

/// `GET /health/ready`: 200 when this node is of use to clients, else 503 and why not.
pub(super) async fn ready(Shared(state): Shared<State>) -> Response {
    let own = state.broker.as_ref().map(|broker| OwnBroker {
        node: broker.node(),
        epoch: broker.epoch(),
        is_unfenced: broker.life().unfenced,
    });
    let reasons = missing(&state.cluster.image(), state.cluster.leadership().leader, own.as_ref());
    if reasons.is_empty() {
        return Json(Health { status: "ready", reasons }).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "unready", reasons })).into_response()
}

/// What this node's broker says of itself.
struct OwnBroker {
    node: NodeId,
    /// The epoch of this life's registration.
    epoch: Option<BrokerEpoch>,
    /// What the controller answered to the last heartbeat.
    is_unfenced: bool,
}

fn missing(image: &Image, controller: Option<NodeId>, own: Option<&OwnBroker>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if controller.is_none() {
        reasons.push(Reason { reason: "no-controller", detail: "no active controller is known".to_owned() });
    }
    if image.cluster().is_none() {
        let detail = "the metadata of the cluster has not been received".to_owned();
        reasons.push(Reason { reason: "no-cluster", detail });
    }
    reasons.extend(own.and_then(|own| missing_of_broker(image, own)));
    reasons
}

fn missing_of_broker(image: &Image, own: &OwnBroker) -> Option<Reason> {
    let registered = image.broker(own.node).filter(|broker| Some(broker.broker_epoch) == own.epoch);
    let Some(broker) = registered else {
        let detail = "this start of the broker is not registered yet: it recovers or waits for a controller".to_owned();
        return Some(Reason { reason: "not-registered", detail });
    };
    match broker.state {
        BrokerState::Active if own.is_unfenced => None,
        BrokerState::Active | BrokerState::Fenced => {
            let detail = "the controller has fenced the broker until it has caught up".to_owned();
            Some(Reason { reason: "fenced", detail })
        }
        BrokerState::ShuttingDown => {
            Some(Reason { reason: "shutting-down", detail: "the broker is shutting down".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::sample;
    use crate::machines::metadata::Record;

    const NODE: NodeId = NodeId::new(1);

    fn reasons(image: &Image, controller: Option<NodeId>, own: Option<OwnBroker>) -> Vec<&'static str> {
        missing(image, controller, own.as_ref()).into_iter().map(|r| r.reason).collect()
    }

    fn own(epoch: i64, is_unfenced: bool) -> Option<OwnBroker> {
        Some(OwnBroker { node: NODE, epoch: Some(BrokerEpoch::new(epoch)), is_unfenced })
    }

    #[test]
    fn a_node_that_knows_nothing_is_not_ready() {
        assert_eq!(reasons(&Image::default(), None, None), ["no-controller", "no-cluster"]);
        let starting = Some(OwnBroker { node: NODE, epoch: None, is_unfenced: false });
        assert_eq!(reasons(&Image::default(), Some(NODE), starting), ["no-cluster", "not-registered"]);
    }

    #[test]
    fn a_controller_without_a_broker_is_ready_once_the_cluster_is_formed() {
        assert!(reasons(&sample::image(), Some(NODE), None).is_empty());
    }

    #[test]
    fn a_broker_is_ready_only_when_controller_and_image_call_it_unfenced() {
        let image = sample::image();
        let epoch = image.broker(NODE).expect("the sample has it").broker_epoch.get();
        assert!(reasons(&image, Some(NODE), own(epoch, true)).is_empty());
        assert_eq!(reasons(&image, Some(NODE), own(epoch, false)), ["fenced"]);
        let fence = Record::BrokerFenced { node: NODE, broker_epoch: BrokerEpoch::new(epoch) };
        assert_eq!(reasons(&image.with(&[fence]), Some(NODE), own(epoch, true)), ["fenced"]);
        let stop = Record::BrokerShuttingDown { node: NODE, broker_epoch: BrokerEpoch::new(epoch) };
        assert_eq!(reasons(&image.with(&[stop]), Some(NODE), own(epoch, true)), ["shutting-down"]);
    }

    #[test]
    fn an_earlier_life_in_the_image_does_not_make_a_broker_ready() {
        let image = sample::image();
        let epoch = image.broker(NODE).expect("the sample has it").broker_epoch.get();
        assert_eq!(reasons(&image, Some(NODE), own(epoch + 1, true)), ["not-registered"]);
    }
}
