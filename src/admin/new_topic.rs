//! `POST /v1/topics`: creates one topic, or says with `?dry_run=true` what would come of it.
//!
//! Asked by operators and their tools. Invariant: a field that is not understood is refused, never passed over: a topic
//! is not made otherwise than it was meant.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::State;
use super::error::{Kind, Problem};
use super::extract::{DryRun, InBody, InQuery};
use crate::broker::NoController;
use crate::machines::controller::{CreateTopics, CreatedTopic, ManualAssignment, NewTopic, ReplicationFactor};
use crate::model::{NodeId, TopicId};

/// The topic that is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    name: String,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    /// The replicas of each partition, partition 0 first, the preferred leader first.
    #[serde(default)]
    assignments: Vec<Vec<NodeId>>,
    #[serde(default)]
    configs: BTreeMap<String, ConfigValue>,
}

/// A configuration's value; numbers and booleans may be written as such.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ConfigValue {
    Text(String),
    Number(serde_json::Number),
    Flag(bool),
}

/// The topic that was made, or would be.
#[derive(Debug, Serialize)]
struct CreatedTopicView {
    name: String,
    /// Null after a dry run.
    topic_id: Option<String>,
    partition_count: i32,
    replication_factor: i16,
    dry_run: bool,
}

/// `POST /v1/topics`: 201 with the topic's place, or 200 after a dry run.
pub(super) async fn create(
    Shared(state): Shared<State>,
    InQuery(DryRun { dry_run }): InQuery<DryRun>,
    InBody(wanted): InBody<Wanted>,
) -> Result<Response, Problem> {
    let seed = &state.cluster.seed;
    let name = wanted.name.clone();
    let request = CreateTopics {
        topics: vec![new_topic(wanted, TopicId::new(seed.uuid()))?],
        validate_only: dry_run,
        seed: seed.number(),
        settled: Vec::new(),
    };
    let outcomes = state.create_topics(request).await?;
    let (_, outcome) = outcomes.into_iter().next().ok_or(NoController)?;
    let created = outcome?;
    if !dry_run {
        info!(topic = %name, id = %created.id, partitions = created.partitions, "topic created over http");
    }
    Ok(answer(name, created, dry_run))
}

fn answer(name: String, created: CreatedTopic, dry_run: bool) -> Response {
    let place = format!("/v1/topics/{name}");
    let view = CreatedTopicView {
        name,
        topic_id: (!dry_run).then(|| created.id.to_string()),
        partition_count: created.partitions,
        replication_factor: created.replication_factor,
        dry_run,
    };
    if dry_run {
        return Json(view).into_response();
    }
    (StatusCode::CREATED, [(LOCATION, place)], Json(view)).into_response()
}

fn new_topic(wanted: Wanted, id: TopicId) -> Result<NewTopic, Problem> {
    let assignment = |(index, replicas): (i32, Vec<NodeId>)| ManualAssignment { index, replicas };
    let configs = wanted.configs.into_iter().map(|(name, value)| (name, Some(text(value))));
    if wanted.partitions == Some(-1) || wanted.replication_factor == Some(-1) {
        // Kafka's wire says "the default" so; here a field is left out.
        let detail = "leave out partitions or replication_factor to get the default; -1 is no number of them";
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    Ok(NewTopic {
        id,
        name: wanted.name,
        partitions: wanted.partitions,
        replication_factor: wanted.replication_factor.map_or(ReplicationFactor::Default, ReplicationFactor::Asked),
        assignments: (0..).zip(wanted.assignments).map(assignment).collect(),
        configs: configs.collect(),
    })
}

fn text(value: ConfigValue) -> String {
    match value {
        ConfigValue::Text(text) => text,
        ConfigValue::Number(number) => number.to_string(),
        ConfigValue::Flag(flag) => flag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<NewTopic, String> {
        let wanted: Wanted = serde_json::from_str(body).map_err(|cause| cause.to_string())?;
        new_topic(wanted, TopicId::new([7; 16])).map_err(|problem| format!("{problem:?}"))
    }

    #[test]
    fn a_name_alone_takes_every_default() {
        let topic = read(r#"{"name": "orders"}"#).expect("a name is enough");
        let expected = NewTopic {
            id: TopicId::new([7; 16]),
            name: "orders".to_owned(),
            partitions: None,
            replication_factor: ReplicationFactor::Default,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        assert_eq!(topic, expected);
    }

    #[test]
    fn what_is_said_is_asked_for() {
        let body = r#"{"name": "t", "partitions": 6, "replication_factor": 2, "assignments": [[1, 2], [2, 1]],
                       "configs": {"retention.ms": 1000, "cleanup.policy": "compact", "preallocate": false}}"#;
        let topic = read(body).expect("every field is valid");
        assert_eq!((topic.partitions, topic.replication_factor), (Some(6), ReplicationFactor::Asked(2)));
        let second = ManualAssignment { index: 1, replicas: vec![NodeId::new(2), NodeId::new(1)] };
        assert_eq!(topic.assignments[1], second);
        let configs: Vec<_> = topic.configs.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        let expected =
            [("cleanup.policy", Some("compact")), ("preallocate", Some("false")), ("retention.ms", Some("1000"))];
        assert_eq!(configs, expected);
    }

    #[test]
    fn a_misspelt_field_is_refused_by_its_name() {
        let cause = read(r#"{"name": "t", "partition": 6}"#).expect_err("there is no such field");
        assert!(cause.contains("unknown field `partition`"), "{cause}");
    }
}
