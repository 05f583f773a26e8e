//! HTTP on every node: health, metrics, and the cluster as resources under `/v1`.
//!
//! `node` makes a [`State`] and hands it to [`Server::start`]. Any node answers: what is read comes from this node's
//! own image, what needs the controller is forwarded by [`Cluster`], what only a coordinator knows is asked by [`ClusterGroups`]. `docs/HTTP.md` describes each resource.
//! Invariant: holds no state and decides nothing; the only room that names axum; every refusal is a problem document.

mod server;
mod health;
mod metrics;
mod cluster;
mod brokers;
mod topics;
mod new_topic;
mod groups;
mod extract;
mod error;
#[cfg(test)]
mod sample;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;

pub use server::Server;

use crate::broker::{Broker, Cluster, ClusterGroups, CreatedTopics, DeletedTopics, NoController};
use crate::machines::controller::{CreateTopics, DeleteTopics};
use crate::telemetry::Metrics;

/// The largest body that is read; a larger one is refused with 413.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a request may look for the active controller before it is answered with 503.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the handlers ask. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    cluster: Cluster,
    broker: Option<Broker>,
    metrics: Arc<Metrics>,
}

impl State {
    /// What this node knows of the cluster, its broker if it is one, and its numbers.
    #[must_use]
    pub fn new(cluster: Cluster, broker: Option<Broker>, metrics: Arc<Metrics>) -> Self {
        Self { cluster, broker, metrics }
    }

    /// The groups of the whole cluster.
    fn groups(&self) -> ClusterGroups {
        ClusterGroups::new(self.cluster.clone(), self.broker.clone())
    }

    /// Creates topics. On a broker it returns once its clients see them.
    async fn create_topics(&self, request: CreateTopics) -> Result<CreatedTopics, NoController> {
        match &self.broker {
            Some(broker) => broker.create_topics(request, CONTROLLER_TIMEOUT).await,
            None => self.cluster.create_topics(request, CONTROLLER_TIMEOUT).await,
        }
    }

    /// Deletes topics. On a broker it returns once its clients see them no more.
    async fn delete_topics(&self, request: DeleteTopics) -> Result<DeletedTopics, NoController> {
        match &self.broker {
            Some(broker) => broker.delete_topics(request, CONTROLLER_TIMEOUT).await,
            None => self.cluster.delete_topics(request, CONTROLLER_TIMEOUT).await,
        }
    }
}

/// Every route.
fn routes(state: State) -> Router {
    let table = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .route("/v1/cluster", get(cluster::describe))
        .route("/v1/brokers", get(brokers::list))
        .route("/v1/brokers/{node_id}", get(brokers::describe))
        .route("/v1/topics", get(topics::list).post(new_topic::create))
        .route("/v1/topics/{name}", get(topics::describe).delete(topics::delete))
        .route("/v1/groups", get(groups::list))
        .route("/v1/groups/{group}", get(groups::describe).delete(groups::delete));
    framed(table).with_state(state)
}

/// What holds for all routes: bodies are bounded, and what no route answers is refused with a problem document.
fn framed<S: Clone + Send + Sync + 'static>(table: Router<S>) -> Router<S> {
    table
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}
