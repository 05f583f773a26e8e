//! What the judge is shown of a run: values that name themselves, disks as dumps, the metadata log as facts.
//!
//! Called by simulations at a run's end. Invariant: reads disks with the storage's own code, and adds nothing to what
//! it finds.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::FixedSeed;
use crate::env::Files;
use crate::machines::metadata::{Image, Partition, Record};
use crate::model::{LogIndex, NodeId, Now, Offset, PartitionId, PartitionIndex, Timestamp, TopicId};
use crate::records::{Batch, OUTPUT_BYTES_MAX, Record as Row, RecordHeader, split};
use crate::storage::{DataDir, DataDirError, FirstBatch, Log, LogOptions};
use crate::verify::history::{
    DumpedBatch, KeyId, Keyed, MetadataFact, PartitionState, ReplicaDump, Seen, Session, ValueId,
};

/// What is read of a log at a time.
const READ_BYTES: usize = 1 << 20;

/// The bytes of a value: what it is, and where it was sent.
#[must_use]
pub fn encode_value(value: ValueId, partition: PartitionId) -> Vec<u8> {
    let mut bytes = value.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(&partition.topic.get());
    bytes.extend_from_slice(&partition.index.get().to_be_bytes());
    bytes
}

/// Which value these bytes are, and where it was sent.
fn decode_value(bytes: &[u8]) -> Option<(ValueId, PartitionId)> {
    let value = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let topic = TopicId::new(bytes.get(8..24)?.try_into().ok()?);
    let index = i32::from_be_bytes(bytes.get(24..28)?.try_into().ok()?);
    Some((ValueId(value), PartitionId { topic, index: PartitionIndex::new(index) }))
}

/// A digest of a record's content (FNV-1a).
#[must_use]
pub fn digest(value: &[u8], timestamp: Timestamp) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64 ^ timestamp.get().unsigned_abs();
    for byte in value {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    sum
}

/// The bytes of a key.
#[must_use]
pub fn encode_key(key: KeyId) -> [u8; 4] {
    key.0.to_be_bytes()
}

/// The header that says of a record without a value what a value would.
#[must_use]
pub fn name_header(name: &[u8]) -> RecordHeader {
    RecordHeader { key: Bytes::from_static(b"name"), value: Some(Bytes::copy_from_slice(name)) }
}

/// A digest of a record's content where records have keys; `name` is its value, or that of its header.
#[must_use]
pub fn keyed_digest(keyed: Keyed, name: &[u8], timestamp: Timestamp) -> u64 {
    digest(&[name, &encode_key(keyed.key)[..], &[u8::from(keyed.is_tombstone)][..]].concat(), timestamp)
}

/// The records of one batch, as somebody reads them.
#[must_use]
pub fn seen(batch: &Batch) -> Vec<Seen> {
    let epoch = batch.header().leader_epoch;
    let Ok(records) = batch.records(OUTPUT_BYTES_MAX) else { return Vec::new() };
    let is_valid = batch.crc_is_valid();
    let seen = records.filter_map(Result::ok).map(|record| {
        let named = || record.headers.first().and_then(|header| header.value.as_deref());
        let bytes = record.value.as_deref().or_else(named).unwrap_or_default();
        let decoded = decode_value(bytes).filter(|_| is_valid);
        Seen {
            offset: record.offset,
            value: decoded.map(|(value, _)| value),
            wrote_to: decoded.map(|(_, partition)| partition),
            epoch,
            digest: match keyed(&record) {
                Some(keyed) => keyed_digest(keyed, bytes, record.timestamp),
                None => digest(bytes, record.timestamp),
            },
            timestamp: record.timestamp,
        }
    });
    seen.collect()
}

fn keyed(record: &Row) -> Option<Keyed> {
    let key = KeyId(u32::from_be_bytes(record.key.as_deref()?.try_into().ok()?));
    Some(Keyed { key, is_tombstone: record.value.is_none() })
}

/// What a node whose process is gone holds of the partitions whose high watermarks it told.
///
/// # Errors
/// When the directory cannot be opened. A log that cannot be is left out: the judge misses it.
pub fn dumps(
    files: Arc<dyn Files>,
    root: &Path,
    node: NodeId,
    watermarks: &[(PartitionId, Offset)],
) -> Result<Vec<ReplicaDump>, DataDirError> {
    let directory = Arc::new(DataDir::open(files, root, node, &FixedSeed(1), Timestamp::new(0))?);
    let mut dumps = Vec::new();
    for (partition, high_watermark) in watermarks.iter().copied() {
        let found = directory.partitions().iter().find(|found| found.id == partition);
        let Some(found) = found else {
            if high_watermark == Offset::ZERO {
                dumps.push(unwritten(node, partition));
            }
            continue;
        };
        let opened = Log::open(&directory, &found.name, found.id, LogOptions::default(), Now::default());
        let Ok((mut log, _)) = opened else { continue };
        let epochs = log.epochs().entries().iter().map(|entry| (entry.epoch, entry.start)).collect();
        let (log_start, end) = (log.start(), log.end());
        let mut batches = batches(&mut log);
        let is_internal = found.name.is_internal();
        if is_internal {
            // No value of the run is in there: what it says is judged by what coordinators tell.
            batches.iter_mut().for_each(|batch| batch.records.clear());
        }
        dumps.push(ReplicaDump { node, partition, log_start, high_watermark, end, epochs, batches, is_internal });
    }
    Ok(dumps)
}

/// What was never written has no files.
fn unwritten(node: NodeId, partition: PartitionId) -> ReplicaDump {
    let (log_start, high_watermark, end) = (Offset::ZERO, Offset::ZERO, Offset::ZERO);
    ReplicaDump {
        node,
        partition,
        log_start,
        high_watermark,
        end,
        epochs: Vec::new(),
        batches: Vec::new(),
        is_internal: false,
    }
}

fn batches(log: &mut Log) -> Vec<DumpedBatch> {
    let mut all = Vec::new();
    let mut offset = log.start();
    while offset < log.end() {
        let Ok(plan) = log.read(offset, log.end(), READ_BYTES, FirstBatch::Whole) else { break };
        let Ok(bytes) = plan.read() else { break };
        all.extend(split(bytes).filter_map(Result::ok).map(|batch| dumped(&batch)));
        if plan.next <= offset {
            break;
        }
        offset = plan.next;
    }
    all
}

fn dumped(batch: &Batch) -> DumpedBatch {
    let header = batch.header();
    let session = header.has_producer().then(|| {
        let session = Session { producer: header.producer_id, epoch: header.producer_epoch };
        (session, header.base_sequence)
    });
    let records = seen(batch);
    let (count, is_thinned) = (i64::from(header.record_count), header.is_thinned());
    let is_whole = is_thinned || batch.last_offset().since(batch.base_offset()) + 1 == count;
    DumpedBatch {
        base: batch.base_offset(),
        last: batch.last_offset(),
        epoch: header.leader_epoch,
        session,
        is_sound: batch.crc_is_valid() && is_whole && i64::try_from(records.len()) == Ok(count),
        is_thinned,
        digest: digest(batch.bytes(), Timestamp::NONE),
        records,
    }
}

/// What the records of an accepted entry of the metadata log say; `before` is the image without it.
#[must_use]
pub fn facts(index: LogIndex, records: &[Record], before: &Image, isr_min: usize) -> Vec<MetadataFact> {
    let mut image = before.clone();
    let told = records.iter().flat_map(|record| {
        image.replay(index, record);
        facts_of(record, &image, isr_min)
    });
    told.collect()
}

/// What a record says, given the image that holds it already.
fn facts_of(record: &Record, image: &Image, isr_min: usize) -> Vec<MetadataFact> {
    match record {
        Record::BrokerRegistered(broker) => {
            let epoch = image.broker(broker.node).map(|broker| broker.broker_epoch);
            let registered = |epoch| MetadataFact::Registered { node: broker.node, epoch };
            epoch.map(registered).into_iter().collect()
        }
        Record::BrokerFenced { node, .. } => vec![MetadataFact::Fenced { node: *node }],
        Record::BrokerUnfenced { node, .. } => vec![MetadataFact::Unfenced { node: *node }],
        Record::TopicCreated { topic, name } => {
            vec![MetadataFact::TopicCreated { topic: *topic, name: name.as_str().to_owned() }]
        }
        Record::TopicDeleted { topic } => vec![MetadataFact::TopicDeleted { topic: *topic }],
        Record::PartitionsCreated { topic, first, replica_count, replicas, .. } => {
            let count = replicas.len() / usize::from(*replica_count).max(1);
            let ids = (0..count).map(|at| {
                let index = first.get() + i32::try_from(at).expect("a few partitions");
                PartitionId { topic: *topic, index: PartitionIndex::new(index) }
            });
            let state = |id| Some(partition_state(id, image.partition(id)?, isr_min));
            ids.filter_map(state).map(MetadataFact::Partition).collect()
        }
        Record::PartitionCreated { partition, state } | Record::PartitionChanged { partition, state } => {
            vec![MetadataFact::Partition(partition_state(*partition, state, isr_min))]
        }
        Record::ClusterFormed { .. }
        | Record::FeatureLevelSet { .. }
        | Record::BrokerShuttingDown { .. }
        | Record::BrokerUnregistered { .. }
        | Record::ConfigSet { .. }
        | Record::ProducerIdsAllocated { .. } => Vec::new(),
    }
}

/// A partition of an image, as the judge has it.
#[must_use]
pub fn partition_state(partition: PartitionId, of: &Partition, isr_min: usize) -> PartitionState {
    PartitionState {
        partition,
        replicas: of.replicas.clone(),
        isr: of.isr.clone(),
        elr: of.elr.clone(),
        leader: of.leader,
        leader_epoch: of.leader_epoch,
        partition_epoch: of.partition_epoch,
        isr_min: isr_min.min(of.replicas.len()),
    }
}
