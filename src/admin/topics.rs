//! `/v1/topics` and `/v1/topics/{name}`: what topics there are, where their partitions stand, and their end.
//!
//! Asked by operators and their tools. Invariant: a page or a topic is told from one image of this node; a page never
//! holds more than `PAGE_TOPICS_MAX` topics.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::State;
use super::error::{Kind, Problem};
use super::extract::{DryRun, InPath, InQuery, NoParameter};
use crate::broker::NoController;
use crate::machines::controller::{DeleteTopics, TopicReference};
use crate::machines::metadata::{ConfigResource, Image, Partition, Recovery, Topic};
use crate::model::{LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex};

/// How many topics one page holds unless the request says otherwise.
const PAGE_TOPICS: usize = 100;
/// How many it holds at most.
const PAGE_TOPICS_MAX: usize = 1_000;

/// Which part of the list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<usize>,
    /// The last name of the page before.
    after: Option<String>,
}

/// A page of topics, by name.
#[derive(Debug, Serialize)]
pub(super) struct TopicsView {
    topics: Vec<TopicView>,
    /// What to pass as `after` for the next page; null on the last one.
    next: Option<String>,
}

/// A topic in the list.
#[derive(Debug, Serialize)]
pub(super) struct TopicView {
    name: String,
    topic_id: String,
    is_internal: bool,
    partition_count: i32,
    replication_factor: usize,
}

/// A topic and its partitions.
#[derive(Debug, Serialize)]
pub(super) struct TopicDetailView {
    #[serde(flatten)]
    topic: TopicView,
    /// What is set for this topic itself.
    configs: BTreeMap<String, String>,
    partitions: Vec<PartitionView>,
}

/// A partition.
#[derive(Debug, Serialize)]
struct PartitionView {
    partition: PartitionIndex,
    leader: Option<NodeId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    replicas: Vec<NodeId>,
    isr: Vec<NodeId>,
    elr: Vec<NodeId>,
    last_known_elr: Vec<NodeId>,
    adding: Vec<NodeId>,
    removing: Vec<NodeId>,
    is_recovering: bool,
}

/// A topic that is gone, or would be.
#[derive(Debug, Serialize)]
pub(super) struct DeletedTopicView {
    name: String,
    topic_id: String,
    dry_run: bool,
}

/// `GET /v1/topics`.
pub(super) async fn list(
    Shared(state): Shared<State>,
    InQuery(page): InQuery<Page>,
) -> Result<Json<TopicsView>, Problem> {
    page_of(&state.cluster.image(), &page).map(Json)
}

/// `GET /v1/topics/{name}`.
pub(super) async fn describe(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    _: InQuery<NoParameter>,
) -> Result<Json<TopicDetailView>, Problem> {
    let image = state.cluster.image();
    let topic = image.topic_named(&name).ok_or_else(|| Problem::no_such_topic(&name))?;
    Ok(Json(detail(&image, topic)))
}

/// `DELETE /v1/topics/{name}`.
pub(super) async fn delete(
    Shared(state): Shared<State>,
    InPath(name): InPath<String>,
    InQuery(DryRun { dry_run }): InQuery<DryRun>,
) -> Result<Json<DeletedTopicView>, Problem> {
    if dry_run {
        let image = state.cluster.image();
        let topic = image.topic_named(&name).ok_or_else(|| Problem::no_such_topic(&name))?;
        return Ok(Json(DeletedTopicView { name, topic_id: topic.id.to_string(), dry_run }));
    }
    let request = DeleteTopics { topics: vec![TopicReference::Name(name.clone())], settled: Vec::new() };
    let outcomes = state.delete_topics(request).await?;
    let (_, outcome) = outcomes.into_iter().next().ok_or(NoController)?;
    let gone = outcome?;
    info!(topic = %gone.name, id = %gone.id, "topic deleted over http");
    Ok(Json(DeletedTopicView { name, topic_id: gone.id.to_string(), dry_run }))
}

fn page_of(image: &Image, page: &Page) -> Result<TopicsView, Problem> {
    let limit = page.limit.unwrap_or(PAGE_TOPICS);
    if limit == 0 || limit > PAGE_TOPICS_MAX {
        let detail = format!("limit is {limit}; it must be between 1 and {PAGE_TOPICS_MAX}");
        return Err(Problem::new(Kind::MalformedRequest, detail));
    }
    let is_before = |topic: &&Topic| page.after.as_deref().is_some_and(|after| topic.name.as_str() <= after);
    let mut rest = image.topics().topics().skip_while(is_before);
    let topics: Vec<TopicView> = rest.by_ref().take(limit).map(summary).collect();
    let next = rest.next().and_then(|_| topics.last()).map(|topic| topic.name.clone());
    Ok(TopicsView { topics, next })
}

fn summary(topic: &Topic) -> TopicView {
    TopicView {
        name: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        is_internal: topic.name.is_internal(),
        partition_count: topic.partition_count,
        replication_factor: topic.replication_factor,
    }
}

fn detail(image: &Image, topic: &Topic) -> TopicDetailView {
    let configs = image.configs().overrides(&ConfigResource::Topic(topic.id));
    let partitions = image.topics().partitions_of(topic.id);
    TopicDetailView {
        topic: summary(topic),
        configs: configs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        partitions: partitions.map(|(id, partition)| partition_view(id.index, partition)).collect(),
    }
}

fn partition_view(index: PartitionIndex, partition: &Partition) -> PartitionView {
    PartitionView {
        partition: index,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        elr: partition.elr.clone(),
        last_known_elr: partition.last_known_elr.clone(),
        adding: partition.adding.clone(),
        removing: partition.removing.clone(),
        is_recovering: partition.recovery == Recovery::Recovering,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::sample;

    #[test]
    fn a_topic_is_told_in_its_documented_shape() {
        let image = sample::image();
        let topic = image.topic_named("orders").expect("the sample has it");
        let partition = |partition: i32, leader: i32, replicas: &[i32], isr: &[i32]| {
            json!({
                "partition": partition, "leader": leader, "leader_epoch": 0, "partition_epoch": 0,
                "replicas": replicas, "isr": isr, "elr": [], "last_known_elr": [], "adding": [], "removing": [],
                "is_recovering": false,
            })
        };
        let expected = json!({
            "name": "orders", "topic_id": "b3JkZXJzLXRvcGljLTAwMQ", "is_internal": false,
            "partition_count": 2, "replication_factor": 3,
            "configs": { "retention.ms": "1000" },
            "partitions": [partition(0, 1, &[1, 2, 3], &[1, 2]), partition(1, 2, &[2, 3, 1], &[2, 1])],
        });
        assert_eq!(serde_json::to_value(detail(&image, topic)).expect("a view is JSON"), expected);
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let image = sample::image();
        let names = |view: &TopicsView| view.topics.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        let first = page_of(&image, &Page { limit: Some(1), after: None }).expect("the limit is valid");
        assert_eq!((names(&first), &first.next), (vec!["clicks".to_owned()], &Some("clicks".to_owned())));
        let second = page_of(&image, &Page { limit: Some(1), after: first.next }).expect("the limit is valid");
        assert_eq!((names(&second), &second.next), (vec!["orders".to_owned()], &None));
        let beyond = page_of(&image, &Page { limit: None, after: Some("zebra".to_owned()) }).expect("it is valid");
        assert!(beyond.topics.is_empty() && beyond.next.is_none());
    }

    #[test]
    fn a_page_without_a_size_or_without_a_bound_is_refused() {
        for limit in [0, PAGE_TOPICS_MAX + 1] {
            assert!(page_of(&sample::image(), &Page { limit: Some(limit), after: None }).is_err());
        }
    }
}
