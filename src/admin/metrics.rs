//! `/metrics`: this node's numbers in the text form that Prometheus reads.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Admin;
use crate::telemetry::Metrics;

/// `GET /metrics`.
pub(super) async fn scrape(State(admin): State<Admin>) -> Response {
    ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], admin.metrics.encode()).into_response()
}
