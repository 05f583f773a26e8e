//! Producers and a consumer, and what they saw.
//!
//! Every value is sent once, so one that stands at two places, or a place that held two, is a fault of the cluster.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ottla::threads;
use ottla::verify::{Invariant, Violation};
use tokio::time::sleep;

use crate::client::{Client, Record, TOPIC};
use crate::cluster::Cluster;

/// Partitions of the topic.
pub(crate) const PARTITIONS: i32 = 2;
/// Producers of a run.
pub(crate) const PRODUCERS: u64 = 2;
/// With the consumer.
pub(crate) const CLIENTS: usize = 3;
/// How long a node may take to create the topic.
const CREATE_TIMEOUT: Duration = Duration::from_secs(3);
/// After healing everything must work within this.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// An acknowledged value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) value: u64,
}

/// What the clients saw, and what the simulation tells them.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) is_created: bool,
    pub(crate) healed_at: Option<Duration>,
    /// Values by the partition that they were sent to.
    pub(crate) sent: BTreeMap<u64, i32>,
    pub(crate) acked: Vec<Ack>,
    pub(crate) refused: u64,
    /// What a reader saw at an offset.
    pub(crate) seen: BTreeMap<(i32, i64), u64>,
    /// What the last reader found.
    pub(crate) scanned: BTreeMap<(i32, i64), u64>,
    /// When the last producer had its acknowledgements after the healing.
    pub(crate) recovered_at: Option<Duration>,
    producers_done: u64,
    pub(crate) violations: Vec<Violation>,
}

pub(crate) type Shared = Rc<RefCell<Board>>;

fn now() -> Duration {
    turmoil::sim_elapsed().expect("clients run on simulated hosts")
}

impl Board {
    pub(crate) fn violate(&mut self, invariant: Invariant, message: String) {
        tracing::info!(target: "simulation", %invariant, message, "violation");
        self.violations.push(Violation { invariant, message });
    }

    fn see(&mut self, partition: i32, offset: i64, value: u64) {
        match self.seen.insert((partition, offset), value) {
            Some(before) if before != value => {
                let told = format!("offset {offset} of partition {partition} held {before:#x}, then {value:#x}");
                self.violate(Invariant::A1, told);
            }
            Some(_) | None => {}
        }
        if self.sent.get(&value) != Some(&partition) {
            let told = format!("offset {offset} of partition {partition} holds {value:#x}, never sent there");
            self.violate(Invariant::A5, told);
        }
    }

    /// One past the last offset that was acknowledged.
    fn acked_end(&self, partition: i32) -> i64 {
        let offsets = self.acked.iter().filter(|ack| ack.partition == partition).map(|ack| ack.offset + 1);
        offsets.max().unwrap_or_default()
    }

    /// Judges one replica at the end: it holds what was acknowledged, and nothing else where somebody read.
    pub(crate) fn judge_replica(&mut self, node: i32, partition: i32, records: &[Record]) {
        let held: BTreeMap<i64, u64> = records.iter().map(|record| (record.offset, record.value)).collect();
        let known = self.scanned.iter().filter(|((of, _), _)| *of == partition);
        let wrong = known.filter(|((_, offset), value)| held.get(offset) != Some(*value));
        if let Some(((_, offset), value)) = wrong.map(|(place, value)| (*place, *value)).next() {
            let found = held.get(&offset);
            let told =
                format!("node {node} holds {found:x?} at offset {offset} of partition {partition}, not {value:#x}");
            self.violate(Invariant::E1, told);
        }
    }

    /// What one producer had acknowledged later stands later.
    fn judge_order(&mut self) {
        let mut last: BTreeMap<(u64, i32), Ack> = BTreeMap::new();
        for ack in self.acked.clone() {
            if let Some(before) = last.insert((ack.value >> 32, ack.partition), ack)
                && before.offset >= ack.offset
            {
                self.violate(Invariant::A7, format!("{ack:x?} was acknowledged after {before:x?}"));
            }
        }
    }

    /// Judges the end: everything acknowledged is where it was acknowledged, nothing stands twice.
    pub(crate) fn judge(&mut self) {
        for Ack { partition, offset, value } in self.acked.clone() {
            let found = self.scanned.get(&(partition, offset)).copied();
            if found != Some(value) {
                let told =
                    format!("{value:#x} was acknowledged at {offset} of partition {partition}; there is {found:x?}");
                self.violate(Invariant::A2, told);
            }
        }
        for ((partition, offset), value) in self.seen.clone() {
            let found = self.scanned.get(&(partition, offset)).copied();
            if found != Some(value) {
                let told = format!("{value:#x} was read at {offset} of partition {partition}; there is {found:x?}");
                self.violate(Invariant::B9, told);
            }
        }
        self.judge_order();
        let mut places = BTreeSet::new();
        for ((partition, offset), value) in self.scanned.clone() {
            if !places.insert(value) {
                let told = format!("{value:#x} stands twice, also at {offset} of partition {partition}");
                self.violate(Invariant::A4, told);
            }
        }
    }
}

/// Creates the topic, then produces; after the healing until every partition has acknowledged once more.
pub(crate) async fn produce(board: Shared, number: u64, seed: u64) -> turmoil::Result {
    threads::name_host(&format!("producer-{number}"));
    let mut client = Client::of(TOPIC, seed);
    while number == 0 && !board.borrow().is_created {
        match client.create_topic(None, PARTITIONS, CREATE_TIMEOUT).await {
            Ok(()) => board.borrow_mut().is_created = true,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    while !board.borrow().is_created {
        sleep(Duration::from_millis(50)).await;
    }
    let mut next = number << 32;
    while board.borrow().healed_at.is_none() {
        let partition = i32::try_from(client.random.below(2)).expect("two partitions");
        send(&board, &mut client, partition, &mut next).await;
        sleep(client.random.span(2, 80)).await;
    }
    for partition in 0..PARTITIONS {
        while !send(&board, &mut client, partition, &mut next).await {
            if board.borrow().healed_at.is_some_and(|healed| now() > healed + RECOVERY_MAX) {
                let told = format!("partition {partition} acknowledges nothing after the healing");
                board.borrow_mut().violate(Invariant::F2, told);
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    let mut board = board.borrow_mut();
    board.producers_done += 1;
    board.recovered_at = Some(now());
    Ok(())
}

/// Sends a few values at once. Whether they were acknowledged.
async fn send(board: &Shared, client: &mut Client, partition: i32, next: &mut u64) -> bool {
    let count = 1 + u64::try_from(client.random.below(3)).expect("small");
    let values: Vec<u64> = (*next..*next + count).collect();
    *next += count;
    board.borrow_mut().sent.extend(values.iter().map(|value| (*value, partition)));
    let outcome = client.produce(partition, &values).await;
    tracing::info!(target: "simulation", partition, first = values[0], count, ?outcome, "produced");
    let mut board = board.borrow_mut();
    match outcome {
        Ok(base) => {
            let offsets = base..;
            board.acked.extend(offsets.zip(values).map(|(offset, value)| Ack { partition, offset, value }));
            true
        }
        Err(_) => {
            board.refused += 1;
            false
        }
    }
}

/// Reads all the time, and at the end everything from the beginning.
pub(crate) async fn consume(board: Shared, seed: u64) -> turmoil::Result {
    threads::name_host("consumer");
    let mut client = Client::of(TOPIC, seed);
    let mut positions = BTreeMap::new();
    while board.borrow().producers_done < PRODUCERS {
        for partition in 0..PARTITIONS {
            let position = *positions.entry(partition).or_insert(0);
            let end = read(&board, &mut client, partition, position, false).await;
            positions.insert(partition, end.unwrap_or(position));
        }
        sleep(client.random.span(5, 100)).await;
    }
    let begin = now();
    while !is_in_sync(&mut client).await {
        if now() > begin + RECOVERY_MAX {
            board.borrow_mut().violate(Invariant::F5, "not every replica is in sync again".to_owned());
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    for partition in 0..PARTITIONS {
        let end = board.borrow().acked_end(partition);
        let mut position = 0;
        // A leader that has not heard of its successor may still tell a lower end: it is not believed.
        while position < end && now() < begin + RECOVERY_MAX {
            match read(&board, &mut client, partition, position, true).await {
                Some(next) if next > position => position = next,
                Some(_) | None => {
                    client.forget_leader(partition);
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    Ok(())
}

/// Whether every replica is in sync, as every node tells.
async fn is_in_sync(client: &mut Client) -> bool {
    for node in Cluster::nodes() {
        let Ok(metadata) = client.metadata(node).await else { return false };
        let partitions: Vec<_> = metadata.topics.iter().flat_map(|topic| &topic.partitions).collect();
        let is_full = |isr: &[i32]| Cluster::nodes().all(|replica| isr.contains(&replica));
        if partitions.is_empty() || !partitions.iter().all(|partition| is_full(&partition.isr_nodes)) {
            return false;
        }
    }
    true
}

/// Reads once. Gives the next position.
async fn read(board: &Shared, client: &mut Client, partition: i32, from: i64, is_last: bool) -> Option<i64> {
    let outcome = client.fetch(partition, from).await;
    let mut board = board.borrow_mut();
    let records = match outcome {
        Ok(read) => read,
        Err(cause) => {
            let told = || format!("partition {partition} at {from}: {cause}");
            if cause.contains("CORRUPT") {
                board.violate(Invariant::A12, told());
            }
            if cause.contains("OffsetOutOfRange") {
                board.violate(Invariant::B7, told());
            }
            return None;
        }
    };
    let mut next = from;
    for record in records {
        if record.offset != next {
            board.violate(Invariant::B3, format!("partition {partition}: offset {} follows {next}", record.offset));
        }
        next = record.offset + 1;
        board.see(partition, record.offset, record.value);
        if is_last {
            board.scanned.insert((partition, record.offset), record.value);
        }
    }
    Some(next)
}
