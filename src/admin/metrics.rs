//! `/metrics`: this node's numbers in the text form that Prometheus reads.
//!
//! Invariant: asks nobody and waits for nothing, so that a node in trouble can still be looked at.

use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::State;
use crate::telemetry::Metrics;

/// `GET /metrics`.
pub(super) async fn scrape(Shared(state): Shared<State>) -> Response {
    ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], state.metrics.encode()).into_response()
}
