//! How far the partitions are that this broker leads, and how old the first record is that somebody has not read.
//!
//! Invariant: a shard is asked for few partitions at a time, so that what others ask comes in between; of a log no more is read
//! than the front of one batch, outside the shard; a batch that is not what it should be is shown to the shard.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Asked, Measured};
use crate::broker::Broker;
use crate::broker::shards::Shards;
use crate::machines::replication::Ticket;
use crate::model::{Offset, PartitionId, Timestamp};
use crate::partition::{
    ConsumerIsolation, Event, OffsetAnswer, OffsetQuery, ReadEvent, ReadRefusal, ReadRequest, Reader, Reply,
};
use crate::records::{Header, TimestampType};
use crate::storage::{Place, Slice};
use crate::threads;

/// Partitions that the shards are asked about at once.
const ENDS_AT_ONCE: usize = 64;
/// Places in logs that the shards are asked for at once: some need a look into an index.
const PLACES_AT_ONCE: usize = 8;
/// Threads that may wait for a disk on behalf of all who ask: one that hangs shall not take more of them each time.
pub(in crate::broker) const READS_WAITING_MAX: usize = 4;
/// After so long the rest is not told: whoever asks does not wait longer.
const TIME_MAX: Duration = Duration::from_secs(3);

/// Everybody's reader: up to the high watermark.
const READER: Reader = Reader::Consumer { isolation: ConsumerIsolation::ReadUncommitted, from_follower: false };

/// Where a batch stands, to have its front read.
struct Front {
    partition: PartitionId,
    slice: Slice,
    place: Place,
    generation: u64,
}

impl Broker {
    /// How far each partition is; `None` for those that are not led here, or cannot be told of in time.
    pub(in crate::broker) async fn measure_here(&self, asked: &[Asked]) -> Vec<Option<Measured>> {
        Here { shards: &self.inner.shards, reads: &self.inner.lag_reads }.measure(asked).await
    }
}

/// The partitions of this broker.
struct Here<'a> {
    shards: &'a Shards,
    /// Who may wait for a disk.
    reads: &'a Arc<Semaphore>,
}

impl Here<'_> {
    async fn measure(&self, asked: &[Asked]) -> Vec<Option<Measured>> {
        let end = Instant::now() + TIME_MAX;
        let mut told = Vec::with_capacity(asked.len());
        for part in asked.chunks(ENDS_AT_ONCE) {
            if Instant::now() >= end {
                break;
            }
            let ends = join_all(part.iter().map(|one| self.end_of(one.partition))).await;
            let behind = |(one, end): (&Asked, &Option<Offset>)| {
                (one.wants_time && end.is_some_and(|end| end > one.offset)).then_some((one.partition, one.offset))
            };
            let behind: Vec<_> = part.iter().zip(&ends).map(behind).collect();
            let mut times = Vec::with_capacity(part.len());
            for places in behind.chunks(PLACES_AT_ONCE) {
                times.extend(self.times_at(places).await);
            }
            let measured = |(end, time): (Option<Offset>, Option<Timestamp>)| {
                end.map(|high_watermark| Measured { high_watermark, unread_since: time })
            };
            told.extend(ends.into_iter().zip(times).map(measured));
        }
        told.resize(asked.len(), None);
        told
    }

    async fn ask(&self, partition: PartitionId, event: impl FnOnce(Ticket) -> Event) -> Option<Reply> {
        self.shards.ask(self.shards.owner(partition), event).ok()?.await.ok()
    }

    /// The high watermark, once this leader knows what is committed.
    async fn end_of(&self, partition: PartitionId) -> Option<Offset> {
        let event = |ticket| {
            let (reader, query) = (READER, OffsetQuery::Latest);
            Event::ListOffset { ticket, partition, leader_epoch: None, reader, query }
        };
        let Reply::ListOffset(Ok(OffsetAnswer::Found(found))) = self.ask(partition, event).await? else {
            return None;
        };
        found.map(|found| found.offset)
    }

    /// When the batches were made that hold these offsets.
    async fn times_at(&self, places: &[Option<(PartitionId, Offset)>]) -> Vec<Option<Timestamp>> {
        let front = |place: &Option<(PartitionId, Offset)>| {
            let place = *place;
            async move { self.front_at(place?).await }
        };
        let fronts = join_all(places.iter().map(front)).await;
        // At the tail the system has it in memory; for the rest of them one thread waits.
        let cached = |front: &Front| front.slice.read_cached().ok().flatten();
        let held: Vec<_> = fronts.iter().map(|front| front.as_ref().and_then(cached)).collect();
        let slices = fronts.iter().zip(&held).map(|(front, held)| match (front, held) {
            (Some(front), None) => Some(front.slice.clone()),
            (Some(_) | None, _) => None,
        });
        let slices: Vec<Option<Slice>> = slices.collect();
        let mut read = self.wait_for_disk(slices).await;
        read.resize_with(fronts.len(), || None);
        let found = fronts.into_iter().zip(held).zip(read).map(|((front, held), read)| {
            let front = front?;
            let bytes = held.map(Ok).or(read)?;
            let time = bytes.map_err(|cause| cause.to_string()).and_then(|bytes| made_at(&bytes, front.place));
            time.unwrap_or_else(|cause| self.doubt(&front, &cause))
        });
        found.collect()
    }

    /// Reads what is there of slices, on a thread that may wait; nothing while too many wait already.
    async fn wait_for_disk(&self, slices: Vec<Option<Slice>>) -> Vec<Option<io::Result<Bytes>>> {
        if slices.iter().all(Option::is_none) {
            return Vec::new();
        }
        let Ok(permit) = Arc::clone(self.reads).try_acquire_owned() else { return Vec::new() };
        let read = threads::blocking(move || {
            let _permit = permit;
            slices.into_iter().map(|slice| slice.map(|slice| slice.read())).collect()
        });
        read.await.unwrap_or_else(|cause| {
            warn!(%cause, "a look for the age of records ended by a panic");
            Vec::new()
        })
    }

    /// Where the batch stands that holds this offset, or the next one behind a gap; retention may have passed the offset.
    async fn front_at(&self, (partition, offset): (PartitionId, Offset)) -> Option<Front> {
        let mut from = offset;
        for _ in 0..2 {
            let event = |ticket| Event::Read(front_read(ticket, partition, from));
            let Reply::Read { mut reads, .. } = self.ask(partition, event).await? else { return None };
            match reads.pop()?.outcome {
                Ok(answer) => {
                    let (plan, generation) = (answer.plan?, answer.generation);
                    let slice = plan.slice?;
                    let slice = Slice { len: slice.len.min(Header::SIZE), ..slice };
                    return Some(Front { partition, slice, place: plan.place, generation });
                }
                Err(ReadRefusal::OutOfRange { start, .. }) if from < start => from = start,
                Err(_) => return None,
            }
        }
        None
    }

    /// Has the shard look at a batch whose front is not what it should be.
    fn doubt(&self, front: &Front, cause: &str) -> Option<Timestamp> {
        let Front { partition, place, generation, .. } = *front;
        debug!(%partition, offset = %place.offset, cause, "the front of a batch cannot be read");
        self.shards.tell(partition, Event::Inspect { partition, generation, place });
        None
    }
}

fn front_read(ticket: Ticket, partition: PartitionId, offset: Offset) -> ReadEvent {
    let request = ReadRequest {
        partition,
        offset,
        leader_epoch: None,
        last_fetched_epoch: None,
        last_crc: None,
        bytes_max: Header::SIZE,
    };
    ReadEvent {
        ticket,
        reader: READER,
        reads: vec![request],
        bytes_max: Header::SIZE,
        bytes_min: 0,
        whole_first: true,
        watch: None,
        again: false,
    }
}

/// When a batch was made, from its front alone; `None` when it bears no time.
fn made_at(front: &[u8], place: Place) -> Result<Option<Timestamp>, String> {
    let header = Header::parse(front).map_err(|cause| cause.to_string())?;
    if header.base_offset != place.offset {
        return Err(format!("a batch with base {} stands at offset {}", header.base_offset, place.offset));
    }
    // Compaction keeps something else where the first record's time stood.
    let is_largest = header.timestamp_type() == TimestampType::LogAppend || header.has_delete_horizon();
    let time = if is_largest { header.max_timestamp } else { header.base_timestamp };
    Ok(Some(time).filter(|time| *time > Timestamp::NONE))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::broker::inbox::Inbox;
    use crate::env::{Files as _, OpenMode};
    use crate::model::{EpochHistory, LeaderEpoch, PartitionIndex, TopicId};
    use crate::partition::{FoundOffset, ListRefusal, ReadAnswer, ReadReply, Watching};
    use crate::records::{Batch, Builder, Codec, Draft, Expected};
    use crate::storage::ReadPlan;
    use crate::testing::SimulatedFiles;

    const LOG: &str = "/log";

    fn batch(times: &[i64]) -> Batch {
        let mut builder = Builder::new(Codec::None);
        for time in times {
            let timestamp = Timestamp::new(*time);
            builder.push(Draft { timestamp, value: Some(b"v"), ..Draft::default() }).expect("it is small");
        }
        builder.build().expect("it holds records")
    }

    fn front(base: i64, times: &[i64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = batch(times).stamp(Offset::new(base), LeaderEpoch::new(1)).parts().concat();
        bytes.truncate(Header::SIZE);
        bytes
    }

    fn place(offset: i64) -> Place {
        Place { offset: Offset::new(offset), ..Place::default() }
    }

    /// A log with one batch of two records at offset 7, made at 500 ms: it starts there and ends at 9.
    struct Leader {
        files: SimulatedFiles,
        refuses: bool,
        /// How many places were asked for, and how many batches were doubted.
        looks: usize,
        doubts: usize,
    }

    impl Leader {
        fn new() -> Self {
            let files = SimulatedFiles::default();
            let file = files.open(Path::new(LOG), OpenMode::Create).expect("the disk is well");
            let stamped = batch(&[500, 900]).stamp(Offset::new(7), LeaderEpoch::new(1));
            file.write_at(0, &stamped.parts()).expect("the disk is well");
            Self { files, refuses: false, looks: 0, doubts: 0 }
        }

        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is asked is a mistake")]
        fn answer(&mut self, shards: &Shards, event: Event) {
            match event {
                Event::ListOffset { ticket, .. } if self.refuses => {
                    shards.resolve(0, ticket, Reply::ListOffset(Err(ListRefusal::NotAvailable)));
                }
                Event::ListOffset { ticket, .. } => {
                    let (offset, timestamp) = (Offset::new(9), Timestamp::NONE);
                    let found = OffsetAnswer::Found(Some(FoundOffset { offset, timestamp, leader_epoch: None }));
                    shards.resolve(0, ticket, Reply::ListOffset(Ok(found)));
                }
                Event::Read(read) => {
                    self.looks += 1;
                    let request = read.reads[0];
                    let (start, end) = (Offset::new(7), Offset::new(9));
                    let outcome = if request.offset < start {
                        Err(ReadRefusal::OutOfRange { start, end })
                    } else {
                        Ok(self.found())
                    };
                    let reads = vec![ReadReply { partition: request.partition, outcome }];
                    shards.resolve(0, read.ticket, Reply::Read { reads, watching: Watching::No });
                }
                Event::Inspect { place, generation: 3, .. } => {
                    assert_eq!(place.offset, Offset::new(7));
                    self.doubts += 1;
                }
                other => panic!("nobody asks {other:?}"),
            }
        }

        fn found(&self) -> ReadAnswer {
            let file = self.files.open(Path::new(LOG), OpenMode::Write).expect("it is there");
            let len = usize::try_from(file.len().expect("the disk is well")).expect("short");
            let expected = Expected { first: Offset::new(7), epochs: EpochHistory::default(), gaps_end: Offset::ZERO };
            let slice = Some(Slice { file, position: 0, len });
            ReadAnswer {
                high_watermark: Offset::new(9),
                last_stable: Offset::new(9),
                log_start: Offset::new(7),
                plan: Some(ReadPlan { slice, place: place(7), next: Offset::new(9), expected, is_recent: false }),
                diverging: None,
                aborted: Vec::new(),
                generation: 3,
            }
        }

        /// What is told of somebody who goes on at each offset.
        async fn told(&mut self, offsets: &[i64], wants_time: bool, permits: usize) -> Vec<Option<(i64, Option<i64>)>> {
            let (shards, inboxes) = Shards::without_threads(1);
            let reads = Arc::new(Semaphore::new(permits));
            let partition = PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) };
            let asked: Vec<Asked> =
                offsets.iter().map(|at| Asked { partition, offset: Offset::new(*at), wants_time }).collect();
            let here = Here { shards: &shards, reads: &reads };
            let told = tokio::select! {
                told = here.measure(&asked) => told,
                () = self.serve(&shards, &inboxes[0]) => unreachable!("a shard serves for ever"),
            };
            self.take(&shards, &inboxes[0]);
            let plain = |m: Measured| (m.high_watermark.get(), m.unread_since.map(Timestamp::get));
            told.into_iter().map(|one| one.map(plain)).collect()
        }

        fn take(&mut self, shards: &Shards, inbox: &Inbox<Event>) {
            let mut events = Vec::new();
            inbox.take(&mut events, Duration::ZERO);
            events.into_iter().for_each(|event| self.answer(shards, event));
        }

        async fn serve(&mut self, shards: &Shards, inbox: &Inbox<Event>) {
            loop {
                self.take(shards, inbox);
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn who_is_behind_is_told_how_old_the_next_batch_is() {
        let mut leader = Leader::new();
        assert_eq!(leader.told(&[7, 8], true, 1).await, [Some((9, Some(500))), Some((9, Some(500)))]);
    }

    #[tokio::test]
    async fn what_retention_has_passed_is_as_old_as_the_start_of_the_log() {
        let mut leader = Leader::new();
        assert_eq!(leader.told(&[2], true, 1).await, [Some((9, Some(500)))]);
        assert_eq!(leader.looks, 2);
    }

    #[tokio::test]
    async fn nothing_is_looked_up_for_who_has_read_all_or_knows() {
        let mut leader = Leader::new();
        assert_eq!(leader.told(&[9, 12], true, 1).await, [Some((9, None)), Some((9, None))]);
        assert_eq!(leader.told(&[7], false, 1).await, [Some((9, None))]);
        assert_eq!(leader.looks, 0);
    }

    #[tokio::test]
    async fn all_are_told_in_the_order_in_which_they_were_asked() {
        let mut leader = Leader::new();
        let offsets: Vec<i64> = (0..200).map(|number| 7 + number % 3).collect();
        let expected: Vec<_> = offsets.iter().map(|at| Some((9, (*at < 9).then_some(500)))).collect();
        assert_eq!(leader.told(&offsets, true, 1).await, expected);
    }

    #[tokio::test]
    async fn a_leader_that_does_not_know_what_is_committed_tells_nothing() {
        let mut leader = Leader { refuses: true, ..Leader::new() };
        assert_eq!(leader.told(&[7], true, 1).await, [None]);
    }

    #[tokio::test]
    async fn a_front_that_cannot_be_read_is_shown_to_the_shard() {
        let mut leader = Leader::new();
        leader.files.fail_reads_at(Path::new(LOG), 30);
        assert_eq!(leader.told(&[7], true, 1).await, [Some((9, None))]);
        assert_eq!(leader.doubts, 1);
    }

    #[tokio::test]
    async fn while_too_many_wait_for_a_disk_no_age_is_told() {
        let mut leader = Leader::new();
        leader.files.fail_reads_at(Path::new(LOG), 30);
        assert_eq!(leader.told(&[7], true, 0).await, [Some((9, None))]);
        assert_eq!(leader.doubts, 0);
    }

    #[test]
    fn a_batch_is_as_old_as_its_first_record() {
        assert_eq!(made_at(&front(7, &[500, 900]), place(7)), Ok(Some(Timestamp::new(500))));
        assert_eq!(made_at(&front(7, &[-1]), place(7)), Ok(None));
    }

    #[test]
    fn of_a_time_that_the_leader_set_the_largest_counts() {
        let mut bytes = front(7, &[500, 900]);
        // The flag for LogAppendTime.
        bytes[22] |= 1 << 3;
        assert_eq!(made_at(&bytes, place(7)), Ok(Some(Timestamp::new(900))));
    }

    #[test]
    fn what_is_no_front_of_the_batch_that_should_be_there_is_doubted() {
        assert!(made_at(&front(7, &[500]), place(8)).is_err());
        assert!(made_at(&front(7, &[500])[..30], place(7)).is_err());
        assert!(made_at(&[0; Header::SIZE], place(0)).is_err());
    }
}
