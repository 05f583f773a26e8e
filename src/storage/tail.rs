//! What is kept in memory of the active segment: index entries not yet written, and where its last batches stand.
//!
//! Called by `append`, `read`, `derive`, `recover`. Invariant: the entries in the files followed by the pending ones
//! are exactly those that Kafka would have written for the same batches.

use std::collections::VecDeque;

use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::records::Header;

use super::offset_index::OffsetEntry;
use super::time_index::TimeEntry;

/// How many of the last batches are remembered, so that reads at the tail look at no file.
const RECENT_MAX: usize = 64;

/// A batch and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchAt {
    pub(super) base: Offset,
    /// The offset after its last record; the next batch may start later, where compaction left a gap.
    pub(super) next: Offset,
    pub(super) position: u64,
    pub(super) epoch: LeaderEpoch,
    /// The CRC that its header states.
    pub(super) crc: u32,
    pub(super) max_timestamp: Timestamp,
    /// Whether compaction has written it anew.
    pub(super) is_thinned: bool,
}

impl BatchAt {
    pub(super) fn new(position: u64, header: &Header) -> Self {
        let Header { base_offset: base, leader_epoch: epoch, crc, max_timestamp, .. } = *header;
        let is_thinned = header.is_thinned();
        Self { base, next: header.next_offset(), position, epoch, crc, max_timestamp, is_thinned }
    }
}

/// See the file's comment.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Bytes appended since the last entry of the offset index; decides when the next is due.
    bytes_since_entry: u64,
    /// The largest timestamp of the segment and its batch.
    pub(super) largest: Option<TimeEntry>,
    /// The timestamp of the last entry of the time index.
    last_time: Option<Timestamp>,
    /// The largest timestamp of the segment's first batch: the segment's age counts from it.
    pub(super) first_timestamp: Option<Timestamp>,
    /// When the segment was first appended to in this process; its age where records have no timestamps.
    pub(super) made: Option<Timestamp>,
    /// Entries that the files do not hold yet, in order.
    pub(super) offsets: Vec<OffsetEntry>,
    pub(super) times: Vec<TimeEntry>,
    /// How many entries the files hold.
    pub(super) offsets_written: u64,
    pub(super) times_written: u64,
    recent: VecDeque<BatchAt>,
}

impl Tail {
    /// The tail of a segment whose index files hold these many entries; the batches from the last of them on are to be
    /// noted.
    pub(super) fn resumed(offsets: u64, times: u64, last_time: Option<TimeEntry>) -> Self {
        Self {
            largest: last_time,
            last_time: last_time.map(|t| t.timestamp),
            offsets_written: offsets,
            times_written: times,
            ..Self::default()
        }
    }

    /// Notes a batch that now stands at `position`. The order of these steps is Kafka's (`LogSegment.append`).
    pub(super) fn note(&mut self, position: u64, header: &Header, index_interval_bytes: u32) {
        // A batch that compaction has emptied keeps a timestamp that no record has.
        let has_records = header.record_count > 0;
        if has_records && self.largest.is_none_or(|l| header.max_timestamp > l.timestamp) {
            self.largest = Some(TimeEntry { timestamp: header.max_timestamp, last: header.last_offset() });
        }
        if position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.bytes_since_entry > u64::from(index_interval_bytes) {
            self.offsets.push(OffsetEntry { last: header.last_offset(), position });
            self.push_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += u64::try_from(header.size()).expect("a batch is smaller than 2^31");
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(BatchAt::new(position, header));
    }

    /// Adds the entry of the largest timestamp if the index does not hold it.
    pub(super) fn push_time(&mut self) {
        let Some(largest) = self.largest else { return };
        if largest.timestamp >= Timestamp::new(0) && self.last_time.is_none_or(|t| largest.timestamp > t) {
            self.times.push(largest);
            self.last_time = Some(largest.timestamp);
        }
    }

    /// How many entries the offset index has, written or not.
    pub(super) fn offset_count(&self) -> u64 {
        self.offsets_written + u64::try_from(self.offsets.len()).expect("a length fits in 64 bits")
    }

    /// How many entries the time index has, written or not.
    pub(super) fn time_count(&self) -> u64 {
        self.times_written + u64::try_from(self.times.len()).expect("a length fits in 64 bits")
    }

    /// The pending entries are in the files now.
    pub(super) fn written(&mut self) {
        self.offsets_written = self.offset_count();
        self.times_written = self.time_count();
        self.offsets = Vec::new();
        self.times = Vec::new();
    }

    /// The remembered batches, oldest first; the last one ends the segment.
    pub(super) fn recent(&self) -> &VecDeque<BatchAt> {
        &self.recent
    }

    /// Forgets what only makes reads cheap, but for the last batch: a follower that begins to fetch names it.
    pub(super) fn shrink(&mut self) {
        self.recent = self.recent.pop_back().into_iter().collect();
    }
}
