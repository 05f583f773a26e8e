//! How far the partitions are that this broker leads, and how old the first record is that somebody has not read.
//!
//! Invariant: a shard is asked for few partitions at a time, so that what others ask comes in between; of a log no more is read
//! than the front of one batch, outside the shard; a batch that is not what it should be is shown to the shard.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Asked, Measured};
use crate::broker::Broker;
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

    /// The high watermark, once this leader knows what is committed.
    async fn end_of(&self, partition: PartitionId) -> Option<Offset> {
        let event = |ticket| {
            let (reader, query) = (READER, OffsetQuery::Latest);
            Event::ListOffset { ticket, partition, leader_epoch: None, reader, query }
        };
        let Reply::ListOffset(Ok(OffsetAnswer::Found(found))) = self.ask_owner(partition, event).await? else {
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
        let Ok(permit) = Arc::clone(&self.inner.lag_reads).try_acquire_owned() else { return Vec::new() };
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
            let Reply::Read { mut reads, .. } = self.ask_owner(partition, event).await? else { return None };
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
        self.inner.shards.tell(partition, Event::Inspect { partition, generation, place });
        None
    }
}

fn front_read(ticket: crate::machines::replication::Ticket, partition: PartitionId, offset: Offset) -> ReadEvent {
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
    use super::*;
    use crate::model::LeaderEpoch;
    use crate::records::{Builder, Codec, Draft};

    fn front(base: i64, times: &[i64]) -> Vec<u8> {
        let mut builder = Builder::new(Codec::None);
        for time in times {
            let timestamp = Timestamp::new(*time);
            builder.push(Draft { timestamp, value: Some(b"v"), ..Draft::default() }).expect("it is small");
        }
        let batch = builder.build().expect("it holds records");
        let stamped = batch.stamp(Offset::new(base), LeaderEpoch::new(1));
        let mut bytes: Vec<u8> = stamped.parts().concat();
        bytes.truncate(Header::SIZE);
        bytes
    }

    fn place(offset: i64) -> Place {
        Place { offset: Offset::new(offset), ..Place::default() }
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
