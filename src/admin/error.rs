//! Why a request is refused: every refusal as a problem document (RFC 9457).
//!
//! Invariant: each refusal of the domain is mapped here, once and without a wildcard arm; the kinds and their statuses
//! are listed in `docs/HTTP.md`, which this file's tests compare.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::broker::{GroupsError, NoController};
use crate::machines::controller::{DeleteRefusal, TopicRefusal};

/// What `Kind::slug` is appended to.
const TYPE_PREFIX: &str = "urn:ottla:problem:";
/// In seconds: what is refused for now may be asked again after that.
const RETRY_PAUSE: HeaderValue = HeaderValue::from_static("1");

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
}

/// The kinds of problem: each a stable name, a title and a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NoSuchRoute,
    WrongMethod,
    MalformedRequest,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyTimeout,
    NoSuchBroker,
    NoSuchTopic,
    TopicExists,
    TopicNameCollides,
    InvalidTopicName,
    InvalidConfig,
    InvalidPartitions,
    InvalidReplicationFactor,
    InvalidAssignment,
    TopicNamedTwice,
    TooFewBrokers,
    TooManyPartitions,
    WaitingForBrokers,
    NoActiveBroker,
    NoController,
    NoSuchGroup,
    GroupNotEmpty,
    NoCoordinator,
}

impl Kind {
    /// The last part of the problem's type.
    fn slug(self) -> &'static str {
        self.entry().0
    }

    fn title(self) -> &'static str {
        self.entry().1
    }

    fn status(self) -> StatusCode {
        self.entry().2
    }

    fn entry(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::NoSuchRoute => ("no-such-route", "There is nothing at this path", StatusCode::NOT_FOUND),
            Self::WrongMethod => ("wrong-method", "The path does not take this method", StatusCode::METHOD_NOT_ALLOWED),
            Self::MalformedRequest => ("malformed-request", "The request cannot be read", StatusCode::BAD_REQUEST),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "The body is not JSON", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::BodyTooLarge => ("body-too-large", "The body is too large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::BodyTimeout => ("body-timeout", "The body did not arrive in time", StatusCode::REQUEST_TIMEOUT),
            Self::NoSuchBroker => ("no-such-broker", "The broker is not registered", StatusCode::NOT_FOUND),
            Self::NoSuchTopic => ("no-such-topic", "The topic does not exist", StatusCode::NOT_FOUND),
            Self::TopicExists => ("topic-exists", "The topic exists already", StatusCode::CONFLICT),
            Self::TopicNameCollides => {
                ("topic-name-collides", "The name collides with another topic's", StatusCode::CONFLICT)
            }
            Self::InvalidTopicName => ("invalid-topic-name", "The name breaks a rule", StatusCode::BAD_REQUEST),
            Self::InvalidConfig => ("invalid-config", "A configuration is not valid", StatusCode::BAD_REQUEST),
            Self::InvalidPartitions => {
                ("invalid-partitions", "The number of partitions is not valid", StatusCode::BAD_REQUEST)
            }
            Self::InvalidReplicationFactor => {
                ("invalid-replication-factor", "The replication factor is not valid", StatusCode::BAD_REQUEST)
            }
            Self::InvalidAssignment => {
                ("invalid-assignment", "The assignment of replicas is not valid", StatusCode::BAD_REQUEST)
            }
            Self::TopicNamedTwice => {
                ("topic-named-twice", "The request names the topic twice", StatusCode::BAD_REQUEST)
            }
            Self::TooFewBrokers => {
                ("too-few-brokers", "There are fewer brokers than replicas asked for", StatusCode::CONFLICT)
            }
            Self::TooManyPartitions => {
                ("too-many-partitions", "The request asks for too many partitions", StatusCode::BAD_REQUEST)
            }
            Self::WaitingForBrokers => {
                ("waiting-for-brokers", "Not all brokers have registered yet", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::NoActiveBroker => ("no-active-broker", "No broker is active", StatusCode::SERVICE_UNAVAILABLE),
            Self::NoSuchGroup => ("no-such-group", "The group does not exist", StatusCode::NOT_FOUND),
            Self::GroupNotEmpty => ("group-not-empty", "The group has members", StatusCode::CONFLICT),
            Self::NoCoordinator => {
                ("no-coordinator", "No coordinator answers for the group", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::NoController => ("no-controller", "No controller answered in time", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// The document on the wire.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// A request whose path, query or body the extractors of axum refuse.
    pub(super) fn unreadable(status: StatusCode, detail: String) -> Self {
        let kind = match status {
            StatusCode::PAYLOAD_TOO_LARGE => Kind::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
            _ => Kind::MalformedRequest,
        };
        Self::new(kind, detail)
    }

    pub(super) fn no_such_topic(name: &str) -> Self {
        Self::new(Kind::NoSuchTopic, format!("there is no topic '{name}'"))
    }
}

impl Problem {
    /// What a coordinator refuses, or why there is none.
    pub(super) fn of_group(group: &str, cause: GroupsError) -> Self {
        let kind = match cause {
            GroupsError::NoSuchGroup => Kind::NoSuchGroup,
            GroupsError::NotEmpty => Kind::GroupNotEmpty,
            GroupsError::NoCoordinator { .. }
            | GroupsError::NoAnswer { .. }
            | GroupsError::Loading
            | GroupsError::Unavailable => Kind::NoCoordinator,
        };
        Self::new(kind, format!("group '{group}': {cause}"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let document = Document {
            kind: format!("{TYPE_PREFIX}{}", self.kind.slug()),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: self.detail,
        };
        let mut response = (status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_PAUSE);
        }
        response
    }
}

impl From<TopicRefusal> for Problem {
    fn from(refusal: TopicRefusal) -> Self {
        let kind = match &refusal {
            TopicRefusal::Name(_) => Kind::InvalidTopicName,
            TopicRefusal::Twice => Kind::TopicNamedTwice,
            TopicRefusal::AlreadyExists { .. } => Kind::TopicExists,
            TopicRefusal::Collides { .. } => Kind::TopicNameCollides,
            TopicRefusal::Config(_) => Kind::InvalidConfig,
            TopicRefusal::Partitions { .. } => Kind::InvalidPartitions,
            TopicRefusal::Replicas { .. } => Kind::InvalidReplicationFactor,
            TopicRefusal::TooFewBrokers { .. } => Kind::TooFewBrokers,
            TopicRefusal::WaitingForBrokers { .. } => Kind::WaitingForBrokers,
            TopicRefusal::NobodyActive => Kind::NoActiveBroker,
            TopicRefusal::AssignedAndCounted | TopicRefusal::Assignment { .. } => Kind::InvalidAssignment,
            TopicRefusal::TooManyPartitions { .. } | TopicRefusal::TooLarge { .. } => Kind::TooManyPartitions,
        };
        Self::new(kind, refusal.to_string())
    }
}

impl From<DeleteRefusal> for Problem {
    fn from(refusal: DeleteRefusal) -> Self {
        let kind = match refusal {
            DeleteRefusal::UnknownName | DeleteRefusal::UnknownId => Kind::NoSuchTopic,
            DeleteRefusal::Twice | DeleteRefusal::ByNameAndId(_) => Kind::TopicNamedTwice,
        };
        Self::new(kind, refusal.to_string())
    }
}

impl From<NoController> for Problem {
    fn from(cause: NoController) -> Self {
        let detail = format!("{cause}; whether the request took effect is unknown: look before you repeat it");
        Self::new(Kind::NoController, detail)
    }
}

/// What no route answers.
pub(super) async fn no_such_route(uri: Uri) -> Problem {
    Problem::new(Kind::NoSuchRoute, format!("there is nothing at '{}'", uri.path()))
}

/// What a route does not answer under this method; the `Allow` header says which it takes.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(Kind::WrongMethod, format!("'{}' does not take {method}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicName;

    const ALL: [Kind; 24] = [
        Kind::NoSuchRoute,
        Kind::WrongMethod,
        Kind::MalformedRequest,
        Kind::UnsupportedMediaType,
        Kind::BodyTooLarge,
        Kind::BodyTimeout,
        Kind::NoSuchBroker,
        Kind::NoSuchTopic,
        Kind::TopicExists,
        Kind::TopicNameCollides,
        Kind::InvalidTopicName,
        Kind::InvalidConfig,
        Kind::InvalidPartitions,
        Kind::InvalidReplicationFactor,
        Kind::InvalidAssignment,
        Kind::TopicNamedTwice,
        Kind::TooFewBrokers,
        Kind::TooManyPartitions,
        Kind::WaitingForBrokers,
        Kind::NoActiveBroker,
        Kind::NoController,
        Kind::NoSuchGroup,
        Kind::GroupNotEmpty,
        Kind::NoCoordinator,
    ];

    #[test]
    fn every_kind_is_documented_with_its_status() {
        let page = include_str!("../../docs/HTTP.md");
        for kind in ALL {
            let row = format!("| `{}` | {} |", kind.slug(), kind.status().as_u16());
            assert!(page.contains(&row), "docs/HTTP.md lacks the row {row}");
        }
        let documented = page.lines().filter(|line| line.starts_with("| `") && line.contains("` | 4")).count()
            + page.lines().filter(|line| line.starts_with("| `") && line.contains("` | 5")).count();
        assert_eq!(documented, ALL.len(), "docs/HTTP.md lists problems that there are not");
    }

    #[test]
    fn a_refusal_keeps_its_reason() {
        let name = TopicName::new("orders").expect("the name is valid");
        let problem = Problem::from(TopicRefusal::AlreadyExists { name });
        assert_eq!(problem, Problem::new(Kind::TopicExists, "topic 'orders' already exists"));
    }

    #[test]
    fn what_may_be_asked_again_says_so() {
        for (problem, pause) in [
            (Problem::from(NoController), Some("1")),
            (Problem::from(TopicRefusal::NobodyActive), Some("1")),
            (Problem::from(TopicRefusal::Twice), None),
            (Problem::of_group("g", GroupsError::Loading), Some("1")),
            (Problem::of_group("g", GroupsError::NotEmpty), None),
        ] {
            let response = problem.into_response();
            assert_eq!(response.headers().get(RETRY_AFTER).map(|v| v.to_str().expect("it is text")), pause);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }
}
