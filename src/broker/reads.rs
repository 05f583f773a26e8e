//! Fetches: plans from the shards, waiting for more, bytes from the files.
//!
//! Called by `api/fetch.rs` for consumers and followers alike. The bytes are read here or while they are sent, outside
//! the shards, so that a cold read delays no append.
//! Invariant: a fetch gives whole batches in the order of its partitions, and always at least one batch if the first
//! partition that has any holds one larger than the bounds; what it parks in the shards is taken back when it ends,
//! however it ends.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::replies::Watch;
use super::shards::Shards;
use super::soundness::Soundness;
use super::{Broker, Inner};
use crate::machines::replication::EpochEnd;
use crate::model::{Offset, PartitionId};
use crate::partition::{
    AbortedTransaction, Event, ReadAnswer, ReadEvent, ReadRefusal, ReadReply, ReadRequest, Reader, Reply, Watching,
};
use crate::storage::{ReadPlan, Slice};
use crate::threads;
use crate::transport::{Chunk, FileRange, RangeCheck};

/// What is read at once of a partition for a consumer: up to here one read and one write are cheaper than pieces.
const HELD_BYTES_MAX: usize = 32 << 10;
/// What is read at once for one answer to a consumer, of however many partitions.
const ANSWER_HELD_BYTES_MAX: usize = 256 << 10;

/// A fetch of several partitions.
#[derive(Clone, Debug)]
pub struct FetchPlan {
    /// Who reads.
    pub reader: Reader,
    /// What, in the order in which bytes are to be given.
    pub reads: Vec<ReadRequest>,
    /// What all together may give.
    pub bytes_max: usize,
    /// Below this, and without an error, the fetch waits.
    pub bytes_min: usize,
    /// How long at most.
    pub wait: Duration,
}

/// One partition's part of the answer.
#[derive(Debug)]
pub struct ReadOutcome {
    /// The partition.
    pub partition: PartitionId,
    /// What there is.
    pub outcome: Result<Read, ReadRefusal>,
}

/// What was read from one partition.
#[derive(Debug)]
pub struct Read {
    /// The high watermark.
    pub high_watermark: Offset,
    /// Below it, every transaction is decided.
    pub last_stable: Offset,
    /// The start of the log.
    pub log_start: Offset,
    /// Whole batches; empty when there is nothing. What is much, and for a consumer, is still in its files: it is read
    /// while it is sent, so that clients that ask for much and take nothing hold no memory.
    pub records: Vec<Chunk>,
    /// Where the follower's log parts from this one (rule R3).
    pub diverging: Option<EpochEnd>,
    /// Aborted transactions among the records.
    pub aborted: Vec<AbortedTransaction>,
}

impl Read {
    /// How many bytes of records there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.records.iter().map(Chunk::size).sum()
    }

    /// How many of them are in memory.
    fn held(&self) -> usize {
        let held = |chunk: &Chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::File(_) => 0,
        };
        self.records.iter().map(held).sum()
    }
}

/// A watch and the shards that hold it, or may: a shard counts from the moment that it is asked, for the fetch may be
/// given up before it answers.
struct Parked {
    watch: Watch,
    shards: Arc<Shards>,
    held_by: Vec<usize>,
}

impl Drop for Parked {
    fn drop(&mut self) {
        for shard in &self.held_by {
            self.shards.tell_shard(*shard, Event::Unwatch(self.watch.id));
        }
    }
}

impl Broker {
    /// Reads; waits while there is too little.
    pub async fn read(&self, plan: FetchPlan) -> Vec<ReadOutcome> {
        let inner = &self.inner;
        let deadline = Instant::now() + plan.wait;
        let mut again = false;
        loop {
            let may_wait = !plan.wait.is_zero() && Instant::now() < deadline;
            let (replies, parked) = ask(&inner.shards, &plan, may_wait, again).await;
            let is_enough = has_news(&replies) || bytes_of(&replies) >= plan.bytes_min;
            // A shard that left no watch though there is too little wants the answer now.
            let Some(parked) = parked.filter(|parked| !is_enough && !parked.held_by.is_empty()) else {
                return collect(replies, &plan, inner).await;
            };
            // Woken or not, the answer is whatever there is then.
            let _ = timeout_at(deadline, parked.watch.woken()).await;
            again = true;
        }
    }
}

/// Asks every shard concerned; the replies are in the order of the plan's reads.
async fn ask(shards: &Arc<Shards>, plan: &FetchPlan, park: bool, again: bool) -> (Vec<ReadReply>, Option<Parked>) {
    let mut by_shard: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, read) in plan.reads.iter().enumerate() {
        by_shard.entry(shards.owner(read.partition)).or_default().push(place);
    }
    let mut parked =
        park.then(|| Parked { watch: shards.watches().open(), shards: Arc::clone(shards), held_by: Vec::new() });
    let mut pending = Vec::new();
    for (shard, places) in by_shard {
        let reads: Vec<ReadRequest> = places.iter().map(|place| plan.reads[*place]).collect();
        let watch = parked.as_ref().map(|p| p.watch.id);
        let reply = shards.ask(shard, |ticket| {
            Event::Read(ReadEvent {
                ticket,
                reader: plan.reader,
                reads,
                bytes_max: plan.bytes_max,
                bytes_min: plan.bytes_min,
                whole_first: true,
                watch,
                again,
            })
        });
        if let (Some(parked), Ok(_)) = (&mut parked, &reply) {
            parked.held_by.push(shard);
        }
        pending.push((shard, places, reply));
    }
    let mut ordered: Vec<Option<ReadReply>> = plan.reads.iter().map(|_| None).collect();
    for (shard, places, reply) in pending {
        let replies = match reply {
            Ok(reply) => reply.await.ok(),
            Err(_) => None,
        };
        // Refused for its bound: the fetch is answered at its deadline.
        let is_held = matches!(replies, Some(Reply::Read { watching: Watching::Yes | Watching::Refused, .. }));
        if let Some(parked) = parked.as_mut().filter(|_| !is_held) {
            parked.held_by.retain(|holder| *holder != shard);
        }
        if let Some(Reply::Read { reads, .. }) = replies {
            for (place, read) in places.into_iter().zip(reads) {
                ordered[place] = Some(read);
            }
        }
    }
    let missing = |read: &ReadRequest| ReadReply { partition: read.partition, outcome: Err(ReadRefusal::NotLeader) };
    let replies = ordered.into_iter().zip(&plan.reads).map(|(reply, read)| reply.unwrap_or_else(|| missing(read)));
    (replies.collect(), parked)
}

/// Whether something must be told at once.
fn has_news(replies: &[ReadReply]) -> bool {
    replies.iter().any(|reply| match &reply.outcome {
        Ok(answer) => answer.diverging.is_some(),
        Err(_) => true,
    })
}

fn bytes_of(replies: &[ReadReply]) -> usize {
    replies.iter().filter_map(|reply| reply.outcome.as_ref().ok()?.plan.as_ref()).map(ReadPlan::len).sum()
}

/// Reads the bytes, in order, until the bound; the first batch may pass it.
async fn collect(replies: Vec<ReadReply>, asked: &FetchPlan, inner: &Inner) -> Vec<ReadOutcome> {
    let (mut given, mut held) = (0, 0);
    let mut outcomes = Vec::with_capacity(replies.len());
    for ReadReply { partition, outcome } in replies {
        let outcome = match outcome {
            Ok(answer) => {
                let fits = answer.plan.as_ref().is_some_and(|plan| given == 0 || given + plan.len() <= asked.bytes_max);
                let bounds = Bounds { fits, held_max: held_max(asked.reader, held) };
                let read = fill(inner, asked.reader, partition, answer, bounds).await;
                given += read.as_ref().map_or(0, Read::size);
                held += read.as_ref().map_or(0, Read::held);
                read
            }
            Err(refusal) => Err(refusal),
        };
        outcomes.push(ReadOutcome { partition, outcome });
    }
    inner.metrics.partition.read_bytes.inc_by(u64::try_from(given).unwrap_or(u64::MAX));
    outcomes
}

/// What of one partition's plan becomes part of the answer.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Whether there is room for it.
    fits: bool,
    /// Above this it stays in its file until it is sent.
    held_max: usize,
}

/// How much of a partition's plan may be read at once when so much of the answer has been.
fn held_max(reader: Reader, held: usize) -> usize {
    match reader {
        // A follower is one of few, and its leader may lose its place while the bytes are under way: what is truncated
        // then must not be mixed with what comes instead.
        Reader::Follower { .. } => usize::MAX,
        Reader::Consumer { .. } => HELD_BYTES_MAX.min(ANSWER_HELD_BYTES_MAX.saturating_sub(held)),
    }
}

/// Whether what was read is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is looked at.
    Check,
    /// It is believed.
    Believe,
}

pub(crate) fn trust(reader: Reader, is_recent: bool) -> Trust {
    match reader {
        // It checks what it takes, and names the CRC of its last batch (rule R21).
        Reader::Follower { .. } if is_recent => Trust::Believe,
        Reader::Follower { .. } | Reader::Consumer { .. } => Trust::Check,
    }
}

/// The bytes of one partition's answer, or where they are, for a plan that fits into the whole answer.
async fn fill(
    inner: &Inner,
    reader: Reader,
    partition: PartitionId,
    answer: ReadAnswer,
    bounds: Bounds,
) -> Result<Read, ReadRefusal> {
    let ReadAnswer { high_watermark, last_stable, log_start, plan, diverging, aborted, generation } = answer;
    let mut records = Vec::new();
    if let Some(plan) = plan.filter(|plan| bounds.fits && !plan.is_empty()) {
        let soundness = Soundness::new(&inner.shards, partition, generation, &plan);
        let trust = trust(reader, plan.is_recent);
        let slice = plan.slice.expect("the plan is not empty");
        let chunk = if slice.len > bounds.held_max {
            let check = Some(Box::new(soundness) as Box<dyn RangeCheck>);
            Chunk::File(FileRange { file: slice.file, position: slice.position, size: slice.len, check })
        } else {
            Chunk::Bytes(read_slice(slice, soundness, trust).await.map_err(|cause| unreadable(partition, &cause))?)
        };
        records.push(chunk);
    }
    Ok(Read { high_watermark, last_stable, log_start, records, diverging, aborted })
}

fn unreadable(partition: PartitionId, cause: &io::Error) -> ReadRefusal {
    debug!(%partition, %cause, "records cannot be read");
    if cause.kind() == io::ErrorKind::UnexpectedEof {
        // A truncation has overtaken the reader: this broker leads no more.
        return ReadRefusal::NotLeader;
    }
    // The disk, or damage: by the next fetch the shard will have judged which copy serves on.
    ReadRefusal::Offline
}

/// The bytes of a slice, and nothing that its check refuses.
async fn read_slice(slice: Slice, mut soundness: Soundness, trust: Trust) -> io::Result<Bytes> {
    let bytes = read_anywhere(slice).await.inspect_err(|cause| soundness.failed(cause))?;
    if trust == Trust::Check {
        soundness.check(&bytes, true)?;
    }
    Ok(bytes)
}

/// From the page cache here, from the disk on a thread that may wait.
async fn read_anywhere(slice: Slice) -> io::Result<Bytes> {
    match slice.read_cached()? {
        Some(bytes) => Ok(bytes),
        None => threads::blocking(move || slice.read()).await.map_err(io::Error::other)?,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::task::{Context, Waker};

    use super::*;
    use crate::env::{Files as _, OpenMode};
    use crate::model::{EpochHistory, LeaderEpoch, PartitionIndex, TopicId};
    use crate::partition::ConsumerIsolation;
    use crate::records::{Builder, Codec, Draft, Expected};
    use crate::storage::Place;
    use crate::testing::SimulatedFiles;

    fn plan(partitions: i32) -> FetchPlan {
        let read = |index| ReadRequest {
            partition: PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(index) },
            offset: Offset::ZERO,
            leader_epoch: None,
            last_fetched_epoch: None,
            last_crc: None,
            bytes_max: 100,
        };
        FetchPlan {
            reader: Reader::Consumer { isolation: ConsumerIsolation::ReadUncommitted, from_follower: false },
            reads: (0..partitions).map(read).collect(),
            bytes_max: 100,
            bytes_min: 1,
            wait: Duration::from_secs(60),
        }
    }

    #[test]
    fn an_answer_to_a_consumer_holds_little_however_many_partitions_it_has() {
        let consumer = plan(1).reader;
        assert_eq!(held_max(consumer, 0), HELD_BYTES_MAX);
        assert_eq!(held_max(consumer, ANSWER_HELD_BYTES_MAX - 7), 7);
        assert_eq!(held_max(consumer, ANSWER_HELD_BYTES_MAX + 7), 0);
    }

    #[test]
    fn a_fetch_that_is_given_up_before_its_shards_answer_leaves_no_watch() {
        let (shards, inboxes) = Shards::without_threads(2);
        let plan = plan(2);
        let mut asking = Box::pin(ask(&shards, &plan, true, false));
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(asking);
        for inbox in inboxes {
            let mut events = Vec::new();
            inbox.take(&mut events, Duration::ZERO);
            let [Event::Read(read), Event::Unwatch(watch)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(read.watch, Some(*watch));
        }
    }

    #[tokio::test]
    async fn a_shard_that_left_no_watch_is_not_told_to_remove_it() {
        let (shards, inboxes) = Shards::without_threads(2);
        let plan = plan(2);
        let mut asking = Box::pin(ask(&shards, &plan, true, false));
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        for (shard, watching) in [Watching::No, Watching::Yes].into_iter().enumerate() {
            let mut events = Vec::new();
            inboxes[shard].take(&mut events, Duration::ZERO);
            let [Event::Read(read)] = &events[..] else { panic!("{events:?}") };
            shards.resolve(shard, read.ticket, Reply::Read { reads: Vec::new(), watching });
        }
        let (_, parked) = asking.await;
        assert_eq!(parked.map(|parked| parked.held_by.clone()), Some(vec![1]));
        let mut events = Vec::new();
        inboxes[0].take(&mut events, Duration::ZERO);
        assert!(events.is_empty());
        inboxes[1].take(&mut events, Duration::ZERO);
        assert!(matches!(events[..], [Event::Unwatch(_)]));
    }

    /// A file of ten batches of a thousand bytes, the disk that it is on, and a plan to read all of it.
    fn ten_batches() -> (SimulatedFiles, ReadPlan) {
        let files = SimulatedFiles::default();
        let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
        let mut at = 0;
        for base in 0..10 {
            let mut builder = Builder::new(Codec::None);
            builder.push(Draft { value: Some(&[7; 1000]), ..Draft::default() }).unwrap();
            let stamped = builder.build().unwrap().stamp(Offset::new(base), LeaderEpoch::new(1));
            file.write_at(at, &stamped.parts()).unwrap();
            at += u64::try_from(stamped.size()).unwrap();
        }
        let slice = Slice { file, position: 0, len: usize::try_from(at).unwrap() };
        let expected = Expected { first: Offset::ZERO, epochs: EpochHistory::default(), gaps_end: Offset::ZERO };
        let (place, next) = (Place::default(), Offset::new(10));
        (files, ReadPlan { slice: Some(slice), place, next, expected, is_recent: false })
    }

    /// The offset from which the shard is told to look when a plan cannot be read.
    async fn told_of(plan: ReadPlan, trust: Trust) -> Offset {
        let (shards, inboxes) = Shards::without_threads(1);
        let partition = PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) };
        let soundness = Soundness::new(&shards, partition, 3, &plan);
        assert!(read_slice(plan.slice.unwrap(), soundness, trust).await.is_err());
        let mut events = Vec::new();
        inboxes[0].take(&mut events, Duration::from_secs(60));
        let [Event::Inspect { place, generation: 3, .. }] = &events[..] else { panic!("{events:?}") };
        place.offset
    }

    #[tokio::test]
    async fn the_shard_is_told_which_batch_of_many_cannot_be_read() {
        // Whoever reads: it looks at the batch and the one before it.
        for trust in [Trust::Check, Trust::Believe] {
            let (files, plan) = ten_batches();
            files.fail_reads_at(Path::new("/a"), 5700);
            assert_eq!(told_of(plan, trust).await, Offset::new(4));
        }
    }

    #[tokio::test]
    async fn the_shard_is_told_where_a_file_has_lost_its_end() {
        let (_files, plan) = ten_batches();
        let slice = plan.slice.clone().unwrap();
        // Between two batches.
        slice.file.set_len(u64::try_from(slice.len / 2).unwrap()).unwrap();
        assert_eq!(told_of(plan, Trust::Check).await, Offset::new(4));
    }
}
