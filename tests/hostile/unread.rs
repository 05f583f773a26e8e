//! Clients that ask for everything and read nothing: Kafka sends files without holding them, so the
//! answers to such clients must not be held here either.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Buf;
use ottla::model::Timestamp;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::protocol::{ErrorCode, encode_request};
use ottla::records::{Builder, Codec, Draft};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{interval, timeout};

use crate::batches::MADE_AT;
use crate::node::Node;
use crate::wire::Client;
use crate::world::STANDING;

/// What each client asks for.
const STORED_BATCHES: usize = 24;
const BATCH_BYTES: usize = 1_000_000;
/// How many ask.
const CLIENTS: usize = 60;
/// What memory may grow by; the answers together are twenty times as much.
const GROWTH_MAX: u64 = 64 << 20;

fn everything() -> FetchRequest {
    let read = FetchPartition { partition_max_bytes: i32::MAX, ..FetchPartition::default() };
    let topic = FetchTopic { topic: STANDING[0].0.to_owned(), partitions: vec![read], ..FetchTopic::default() };
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() }
}

/// Writes to the first standing topic.
pub(crate) async fn store(client: &mut Client, batches: usize) {
    let value = vec![b'x'; BATCH_BYTES];
    for _ in 0..batches {
        let mut builder = Builder::new(Codec::None);
        let draft = Draft { timestamp: Timestamp::new(MADE_AT), value: Some(&value), ..Draft::default() };
        builder.push(draft).expect("it fits");
        let records = builder.build().expect("it fits").bytes().clone();
        let data = PartitionProduceData { index: 0, records: Some(records) };
        let name = STANDING[0].0.to_owned();
        let topic = TopicProduceData { name, partition_data: vec![data], ..TopicProduceData::default() };
        let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        let response = client.call(9, &request).await.expect("an answer");
        assert_eq!(response.responses[0].partition_responses[0].error_code, ErrorCode::None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_take_no_memory_and_nothing_from_others() {
    let node = Node::start().await;
    crate::live::make_world(node.port).await;
    let mut good = Client::connect(Ipv4Addr::LOCALHOST, node.port).await.expect("the node listens");
    store(&mut good, STORED_BATCHES).await;
    let warm = good.call(12, &everything()).await.expect("an answer");
    assert!(warm.responses[0].partitions[0].records.as_ref().is_some_and(|records| records.size() >= BATCH_BYTES));
    let baseline = node.resident();
    node.forget_peak();

    let mut silent = Vec::new();
    let mut request = encode_request(12, 1, "silent", &everything());
    let request = request.copy_to_bytes(request.remaining());
    for number in 0..CLIENTS {
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number).expect("few"));
        let mut stream = Client::connect(from, node.port).await.expect("the node listens").into_stream();
        stream.write_all(&request).await.expect("sent");
        silent.push(stream);
    }
    // The node has begun with all of them once it has sent them something.
    for stream in &silent {
        timeout(Duration::from_secs(60), stream.readable())
            .await
            .expect("each is answered in time")
            .expect("it is open");
    }
    let mut polls = interval(Duration::from_millis(20));
    for _ in 0..20 {
        polls.tick().await;
        let answer = timeout(Duration::from_secs(20), good.call(12, &everything())).await.expect("no stall");
        let records = answer.expect("an answer").responses[0].partitions[0].records.clone();
        assert!(records.is_some_and(|records| records.size() >= BATCH_BYTES), "at least a batch, as ever");
    }
    let growth = node.resident_peak().saturating_sub(baseline);
    println!("{CLIENTS} clients read nothing: memory grew by {} KiB", growth >> 10);
    assert!(growth < GROWTH_MAX, "memory grew by {growth}");
    drop(silent);
    node.stop().await;
}
