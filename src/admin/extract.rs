//! Reads paths, queries and bodies, and says in a problem document why one cannot be read.
//!
//! Invariant: a body is read within its time and its bytes, whatever the client does.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{Kind, Problem};

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The parameters in the path.
pub(super) struct InPath<T>(pub(super) T);

/// The parameters behind the question mark.
pub(super) struct InQuery<T>(pub(super) T);

/// The body, as JSON. It must be declared as such: a web page elsewhere cannot do that without being asked first.
pub(super) struct InBody<T>(pub(super) T);

/// `?dry_run=true`: say what would happen, and do nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRun {
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// No parameter behind the question mark: one that is not known is refused wherever it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameter {}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(value)| Self(value)).map_err(|cause| Problem::unreadable(cause.status(), cause.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::from_request_parts(parts, state).await;
        read.map(|Query(value)| Self(value)).map_err(|cause| Problem::unreadable(cause.status(), cause.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequest<S> for InBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = tokio::time::timeout(BODY_TIMEOUT, Json::from_request(request, state)).await;
        let Ok(read) = read else {
            return Err(Problem::new(Kind::BodyTimeout, format!("the body took more than {BODY_TIMEOUT:?}")));
        };
        read.map(|Json(value)| Self(value)).map_err(|cause| Problem::unreadable(cause.status(), cause.body_text()))
    }
}
