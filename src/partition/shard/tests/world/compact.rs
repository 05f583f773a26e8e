//! The thread that compacts, and a topic whose records have keys.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Node, World, bytes_of, consumer, id};
use crate::machines::replication::{Acks, Ticket};
use crate::model::Offset;
use crate::partition::{CompactionOutcome, Event, ReadRefusal};
use crate::records::{Builder, Codec, Draft, OUTPUT_BYTES_MAX, split};
use crate::storage::{Cleanup, CompactionOptions, CompactionStep, LogOptions, TakenOver};

/// Where a value stands, and its key.
pub(in super::super) type Found = (i64, String, Option<String>);

impl World {
    /// From the next election on the topic has small segments, and may be compacted.
    pub(in super::super) fn set_compacted(&mut self, compact: bool, was_compacted: bool) {
        self.log_options = LogOptions {
            segment_bytes: 400,
            derived_interval_bytes: 300,
            retention_span: None,
            cleanup: Cleanup { delete: true, compact },
            compaction: CompactionOptions {
                dirty_ratio_min_millionths: 300_000,
                delete_retention: Duration::from_secs(1000),
                ..CompactionOptions::default()
            },
            was_compacted,
            ..LogOptions::default()
        };
    }

    /// From the next election on nothing is derived of the log before it rests.
    pub(in super::super) fn set_derived_at_rest(&mut self) {
        self.log_options.derived_interval_bytes = 1 << 30;
    }

    /// A record with a key; a tombstone if it has no value.
    pub(in super::super) fn put(&mut self, node: i32, key: &str, value: Option<&str>) -> Ticket {
        let mut builder = Builder::new(Codec::None);
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        builder.push(Draft { key, value, ..Draft::default() }).expect("a small record");
        self.append_batch(node, builder.build().expect("a small batch"), Acks::All, None)
    }

    /// All records, as a consumer of this node gets them, read from one answer on to the next.
    pub(in super::super) fn records(&mut self, node: i32) -> Result<Vec<Found>, ReadRefusal> {
        let end = self.describe(node).high_watermark;
        let (mut all, mut from) = (Vec::new(), self.describe(node).start);
        while from < end {
            let (answer, _) = self.read(node, consumer(), from.get(), None, None, None);
            let answer = answer?;
            for batch in split(bytes_of(&answer)) {
                for record in batch.expect("whole batches").records(OUTPUT_BYTES_MAX).expect("readable records") {
                    let record = record.expect("a readable record");
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("letters");
                    let key = text(&record.key.expect("a key"));
                    all.push((record.offset.get(), key, record.value.as_deref().map(text)));
                }
            }
            let next = answer.plan.map_or(Offset::ZERO, |plan| plan.next);
            assert!(next > from, "a reader at {from} gets on");
            from = next;
        }
        Ok(all)
    }

    /// Where the last value of each key stands.
    pub(in super::super) fn last_values(&mut self, node: i32) -> BTreeMap<String, (i64, String)> {
        let mut last = BTreeMap::new();
        for (offset, key, value) in self.records(node).expect("the node serves") {
            match value {
                Some(value) => last.insert(key, (offset, value)),
                None => last.remove(&key),
            };
        }
        last
    }

    /// Time for all nodes to look for what is dirty, some times.
    pub(in super::super) fn let_compact(&mut self) {
        for _ in 0..4 {
            self.attest();
            self.wait_ms(15_000);
        }
    }
}

impl Node {
    /// What the thread that compacts does, up to where it waits for the shard.
    pub(super) fn compact(&mut self) {
        let Some(round) = &mut self.round else { return };
        let event = loop {
            match round.step(1 << 20).expect("the disk is well") {
                CompactionStep::Worked(_) => {}
                CompactionStep::Made(made) => break Event::CompactionMade(made),
                CompactionStep::Done(done) => {
                    break Event::CompactionEnded { partition: id(), outcome: CompactionOutcome::Done(done) };
                }
            }
        };
        self.inbox.push(event);
    }

    pub(super) fn go_on(&mut self, taken: TakenOver) {
        match (taken, &mut self.round) {
            (TakenOver::Yes(structure), Some(round)) => {
                round.resume(structure);
                self.compact();
            }
            (TakenOver::No | TakenOver::Yes(_), _) => {
                self.round = None;
                let (partition, outcome) = (id(), CompactionOutcome::Overtaken);
                self.inbox.push(Event::CompactionEnded { partition, outcome });
            }
        }
    }
}
