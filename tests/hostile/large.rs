//! Requests of as many elements as there may be: lawful, and each byte of them costs many.

use std::net::Ipv4Addr;
use std::time::Duration;

use ottla::codec::ELEMENTS_MAX;
use ottla::protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use ottla::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla::protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use tokio::time::timeout;

use crate::node::Node;
use crate::wire::Client;
use crate::world::STANDING;

/// What memory may grow by for one of them.
pub(crate) const GROWTH_MAX: u64 = 64 << 20;
/// What it may grow by for very many of them at a time: `queued.max.request.bytes`.
const GROWTH_OF_ALL_MAX: u64 = 256 << 20;
/// How many clients send one at a time; together they would take gigabytes.
const CLIENTS: u8 = 40;
/// A few are taken by what stands around the array.
pub(crate) const ELEMENTS: usize = ELEMENTS_MAX - 8;
const ANSWERED_WITHIN: Duration = Duration::from_secs(200);

pub(crate) fn numbers() -> impl Iterator<Item = i32> {
    0..i32::try_from(ELEMENTS).expect("it fits")
}

fn fetch() -> FetchRequest {
    let partition = |partition| FetchPartition { partition, partition_max_bytes: 1, ..FetchPartition::default() };
    let partitions = numbers().map(partition).collect();
    let topic = FetchTopic { topic: STANDING[0].0.to_owned(), partitions, ..FetchTopic::default() };
    FetchRequest { session_epoch: 0, topics: vec![topic], ..FetchRequest::default() }
}

fn asked(partition_index: i32) -> ListOffsetsPartition {
    ListOffsetsPartition { partition_index, timestamp: -1, ..ListOffsetsPartition::default() }
}

fn list_offsets() -> ListOffsetsRequest {
    let topic = ListOffsetsTopic { name: STANDING[0].0.to_owned(), partitions: numbers().map(asked).collect() };
    ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() }
}

fn create_topics() -> CreateTopicsRequest {
    let topic = |number| CreatableTopic {
        name: format!("many-{number}"),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    CreateTopicsRequest { topics: numbers().map(topic).collect(), timeout_ms: 1000, validate_only: true }
}

fn create_partitions() -> CreatePartitionsRequest {
    let topic = |number| CreatePartitionsTopic { name: format!("many-{number}"), count: 2, assignments: None };
    CreatePartitionsRequest { topics: numbers().map(topic).collect(), timeout_ms: 1000, validate_only: false }
}

/// Half of the elements are topics, half are their configurations.
fn alter_configs() -> IncrementalAlterConfigsRequest {
    let config =
        || AlterableConfig { name: "retention.ms".to_owned(), value: Some("5".to_owned()), config_operation: 0 };
    let resource = |number| AlterConfigsResource {
        resource_type: 2,
        resource_name: format!("many-{number}"),
        configs: vec![config()],
    };
    let resources = numbers().take(ELEMENTS / 2).map(resource).collect();
    IncrementalAlterConfigsRequest { resources, validate_only: false }
}

/// A node of its own, as an allocator keeps what it once had, and its memory before the request.
pub(crate) async fn fresh() -> (Node, Client, u64) {
    let node = Node::start().await;
    crate::live::make_world(node.port).await;
    let client = Client::connect(Ipv4Addr::LOCALHOST, node.port).await.expect("the node listens");
    let baseline = node.resident();
    node.forget_peak();
    (node, client, baseline)
}

pub(crate) async fn check(node: Node, baseline: u64, what: &str, growth_max: u64) {
    let growth = node.resident_peak().saturating_sub(baseline);
    println!("{what}: memory grew by {} KiB", growth >> 10);
    assert!(growth < growth_max, "{what}: memory grew by {growth}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_the_most_elements_takes_bounded_memory() {
    let (node, mut client, baseline) = fresh().await;
    assert_eq!(client.call(2, &list_offsets()).await.expect("an answer").topics[0].partitions.len(), ELEMENTS);
    check(node, baseline, "ListOffsets", GROWTH_MAX).await;
    let (node, mut client, baseline) = fresh().await;
    assert_eq!(client.call(2, &create_topics()).await.expect("an answer").topics.len(), ELEMENTS);
    check(node, baseline, "CreateTopics", GROWTH_MAX).await;
    let (node, mut client, baseline) = fresh().await;
    assert_eq!(client.call(0, &create_partitions()).await.expect("an answer").results.len(), ELEMENTS);
    check(node, baseline, "CreatePartitions", GROWTH_MAX).await;
    let (node, mut client, baseline) = fresh().await;
    assert_eq!(client.call(0, &alter_configs()).await.expect("an answer").responses.len(), ELEMENTS / 2);
    check(node, baseline, "IncrementalAlterConfigs", GROWTH_MAX).await;
    let (node, mut client, baseline) = fresh().await;
    assert_eq!(client.call(7, &fetch()).await.expect("an answer").responses[0].partitions.len(), ELEMENTS);
    check(node, baseline, "Fetch", GROWTH_MAX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_of_the_most_elements_are_served_in_turn() {
    let (node, _, baseline) = fresh().await;
    let port = node.port;
    let clients = (0..CLIENTS).map(|number| async move {
        let mut client = Client::connect(Ipv4Addr::new(127, 0, 2, number), port).await.expect("the node listens");
        let answer = client.call(7, &fetch()).await.expect("an answer");
        assert_eq!(answer.responses[0].partitions.len(), ELEMENTS);
    });
    timeout(ANSWERED_WITHIN, futures_util::future::join_all(clients)).await.expect("each has its turn");
    check(node, baseline, "forty fetches", GROWTH_OF_ALL_MAX).await;
}

/// One partition at its end, and bytes of no meaning that make the request large.
fn long_poll(end: i64) -> FetchRequest {
    let partition = FetchPartition { fetch_offset: end, partition_max_bytes: 1, ..FetchPartition::default() };
    let topic = FetchTopic { topic: STANDING[0].0.to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    let forgotten = |n: usize| ForgottenTopic { topic: format!("{n:0>249}"), ..ForgottenTopic::default() };
    FetchRequest {
        session_epoch: -1,
        max_wait_ms: i32::MAX,
        min_bytes: i32::MAX,
        topics: vec![topic],
        forgotten_topics_data: (0..17_500).map(forgotten).collect(),
        ..FetchRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_request_does_not_wait_for_records_while_others_wait_for_it() {
    let (node, mut client, baseline) = fresh().await;
    let topics = vec![ListOffsetsTopic { name: STANDING[0].0.to_owned(), partitions: vec![asked(0)] }];
    let end = client.call(2, &ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }).await.expect("an answer");
    let end = end.topics[0].partitions[0].offset;
    let mut pollers = Vec::new();
    for number in 0..4 {
        let mut poller = Client::connect(Ipv4Addr::new(127, 0, 3, number), node.port).await.expect("the node listens");
        pollers.push(tokio::spawn(async move {
            loop {
                poller.call(7, &long_poll(end)).await.expect("an answer");
            }
        }));
    }
    let few = numbers().take(500).map(asked).collect();
    let topics = vec![ListOffsetsTopic { name: STANDING[0].0.to_owned(), partitions: few }];
    let few = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    for _ in 0..5 {
        let answer = timeout(Duration::from_secs(30), client.call(2, &few)).await.expect("it has its turn");
        assert_eq!(answer.expect("an answer").topics[0].partitions.len(), 500);
    }
    pollers.iter().for_each(tokio::task::JoinHandle::abort);
    check(node, baseline, "large long polls", GROWTH_OF_ALL_MAX).await;
}
