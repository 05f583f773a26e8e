//! Producers and a consumer, and who looks at everything at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::model::{Offset, PartitionId};
use ottla::threads;
use ottla::verify::history::{FinalScan, PollOutcome, Seen};
use tokio::time::sleep;

use crate::board::{Shared, now};
use crate::client::{Client, TOPIC, Trouble};
use crate::cluster::Cluster;
use crate::world::elapsed;

/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 2;
/// Producers of a run.
pub(crate) const PRODUCERS: u32 = 2;
/// With the consumer.
pub(crate) const CLIENTS: usize = 3;
/// The consumer's number.
const CONSUMER: u32 = 10;
/// How long a node may take to create the topic.
const CREATE_TIMEOUT: Duration = Duration::from_secs(3);
/// After healing everything must work within this; then the end is looked at.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(15);
/// How long that may take.
pub(crate) const LOOK_MAX: Duration = Duration::from_secs(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Creates the topic, then produces; after the healing until every partition has acknowledged once more.
pub(crate) async fn produce(board: Shared, number: u32, seed: u64) -> turmoil::Result {
    threads::name_host(&format!("producer-{number}"));
    let mut client = Client::of(&board, number, TOPIC, seed);
    while number == 0 && !board.borrow().is_created {
        match client.create_topic(None, PARTITIONS, CREATE_TIMEOUT).await {
            Ok(()) => board.borrow_mut().is_created = true,
            Err(_) => sleep(PAUSE).await,
        }
    }
    while !board.borrow().is_created {
        sleep(PAUSE / 2).await;
    }
    while board.borrow().healed_at.is_none() {
        let partition = i32::try_from(client.random.below(2)).expect("two partitions");
        // What came of it is written down.
        let _ = send(&mut client, partition).await;
        sleep(client.random.span(2, 80)).await;
    }
    for partition in 0..PARTITIONS {
        while send(&mut client, partition).await.is_err() && !is_over(&board, RECOVERY_MAX) {
            sleep(PAUSE).await;
        }
    }
    let mut board = board.borrow_mut();
    board.producers_done += 1;
    board.recovered_at = Some(elapsed());
    Ok(())
}

/// Whether so much time has passed since the healing.
fn is_over(board: &Shared, span: Duration) -> bool {
    board.borrow().healed_at.is_some_and(|healed| elapsed() > healed + span)
}

/// Sends a few values at once.
async fn send(client: &mut Client, partition: i32) -> Result<Offset, Trouble> {
    let count = 1 + u64::try_from(client.random.below(3)).expect("small");
    client.produce(partition, count).await
}

/// Reads all the time, waits until all is well again, and then looks at everything.
pub(crate) async fn consume(board: Shared, seed: u64) -> turmoil::Result {
    threads::name_host("consumer");
    let mut client = Client::of(&board, CONSUMER, TOPIC, seed);
    let mut positions: BTreeMap<i32, Offset> = (0..PARTITIONS).map(|partition| (partition, Offset::ZERO)).collect();
    while !is_over(&board, RECOVERY_MAX) {
        for (partition, position) in &mut positions {
            if let Ok(PollOutcome::Records { next, high_watermark, .. }) =
                client.poll(None, *partition, *position).await
            {
                *position = next;
                note_read(&board, &client, *partition, next, high_watermark);
            }
        }
        sleep(client.random.span(5, 100)).await;
    }
    for topic in topics(&board, &mut client).await {
        let mut client = Client::of(&board, CONSUMER + 1, &topic, seed);
        while !is_over(&board, RECOVERY_MAX + LOOK_MAX) && look_at(&board, &mut client).await.is_none() {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// After the healing, and once the producers are done, the end of a partition stays where it is.
fn note_read(board: &Shared, client: &Client, partition: i32, next: Offset, high_watermark: Offset) {
    let mut board = board.borrow_mut();
    let Some(partition) = client.partition(partition) else { return };
    let is_end = next == high_watermark && next >= board.acked_end(partition);
    if board.producers_done == u64::from(PRODUCERS) && is_end {
        board.read_at.entry(partition).or_insert(now());
    }
}

async fn topics(board: &Shared, client: &mut Client) -> Vec<String> {
    while !is_over(board, RECOVERY_MAX + LOOK_MAX) {
        if let Ok(topics) = client.topics().await {
            return topics;
        }
        sleep(PAUSE).await;
    }
    Vec::new()
}

/// Reads every replica of a topic's partitions from the begin, as consumers of followers do, and once more the leader's
/// as a fresh consumer. `None` when somebody did not answer: then it is done anew.
async fn look_at(board: &Shared, client: &mut Client) -> Option<()> {
    let metadata = client.metadata(1).await.ok()?;
    for index in metadata.topics.iter().flat_map(|topic| &topic.partitions).map(|told| told.partition_index) {
        let partition = client.partition(index)?;
        for node in Cluster::nodes() {
            let (_, watermark) = read_all(client, Some(node), index).await?;
            board.borrow_mut().watermarks.insert((node, partition), watermark);
        }
        let (records, end) = read_all(client, None, index).await?;
        note_scan(board, partition, records, end);
    }
    Some(())
}

fn note_scan(board: &Shared, partition: PartitionId, records: Vec<Seen>, end: Offset) {
    let log_start = records.first().map_or(end, |first| first.offset);
    let scans = &mut board.borrow_mut().history.scans;
    scans.retain(|scan| scan.partition != partition);
    scans.push(FinalScan { partition, log_start, end, records });
}

/// Everything that a node, or else the leader, lets consumers read of a partition, and up to where that is.
async fn read_all(client: &mut Client, node: Option<i32>, partition: i32) -> Option<(Vec<Seen>, Offset)> {
    client.begin_anew();
    let mut all = Vec::new();
    let mut position = Offset::ZERO;
    loop {
        let read = client.poll(node, partition, position).await.ok()?;
        let PollOutcome::Records { records, next, high_watermark, .. } = read else { return None };
        all.extend(records);
        if next == position {
            return Some((all, high_watermark));
        }
        position = next;
    }
}
