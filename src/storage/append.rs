//! Appends: as leader, with offsets given here, or as follower, as the leader had it.
//!
//! Invariant: a batch is in memory (end, indexes, producers, epochs) only after its one write; after a failed write the
//! file is cut back and synced, or the log takes no more (KAFKA-10778).

use std::io;
use std::sync::Arc;

use crate::env::{File, OpenMode, is_media_error};
use crate::model::{LeaderEpoch, Now, Offset, Timestamp};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::records::{Batch, Control, Header, Marker, read_control};

use super::error::{AppendError, LogError};
use super::log::Log;
use super::producer_state::Producers;
use super::segment::{DerivedAt, Segment, Suffix};
use super::tail::Tail;

/// How much a follower writes at once.
const RUN_BYTES_MAX: u64 = 1 << 20;

/// What became of a leader's append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log.
    New {
        /// Its first offset.
        base: Offset,
        /// The offset after its last record.
        end: Offset,
    },
    /// It was in the log already: a retry (KIP-98). Answer it when the high watermark has passed `end` (rule S2).
    Duplicate {
        /// The original's first offset.
        base: Offset,
        /// The offset after the original's last record.
        end: Offset,
        /// The original's largest timestamp.
        timestamp: Timestamp,
    },
}

/// A batch that is about to be written.
struct Entry {
    /// As it will stand in the log.
    header: Header,
    marker: Option<Marker>,
}

impl Log {
    /// Appends as leader: judges the producer, gives offsets, writes once. Not durable: see `pending_flush`.
    ///
    /// # Errors
    /// See [`AppendError`]; the log is as it was.
    pub fn append(&mut self, batch: &Batch, epoch: LeaderEpoch, now: Now) -> Result<Appended, AppendError> {
        self.check_writable()?;
        let latest = self.latest_epoch();
        if epoch < latest {
            return Err(AppendError::StaleEpoch { given: epoch, latest });
        }
        let segment_bytes = self.options.segment_bytes;
        if batch.size() > usize::try_from(segment_bytes).unwrap_or(usize::MAX) {
            return Err(AppendError::TooLarge { size: batch.size(), segment_bytes });
        }
        let marker = marker_of(batch)?;
        match marker {
            Some(marker) => self.producers.check_marker(batch.header(), marker)?,
            None => {
                if let Some(original) = self.producers.check(batch.header())? {
                    let (base, end, timestamp) = (original.base, original.end, original.timestamp);
                    return Ok(Appended::Duplicate { base, end, timestamp });
                }
            }
        }
        let base = self.end;
        let stamped = batch.stamp(base, epoch);
        let header = Header { base_offset: base, leader_epoch: epoch, ..*batch.header() };
        self.write(&[Entry { header, marker }], &stamped.parts(), now)?;
        Ok(Appended::New { base, end: self.end })
    }

    /// Appends as follower, byte by byte as the leader has it. The caller has checked the CRCs and that no batch is
    /// above the epoch of its fetch. Nothing of a batch that does not fit is written, but those before it are.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append_fetched(&mut self, batches: &[Batch], now: Now) -> Result<(), AppendError> {
        self.check_writable()?;
        // An epoch in which this log was led and nothing was written is none to the leader that is followed now, and
        // records of an earlier one may yet come.
        let keeps_epochs = planted(Mutant::EpochsSurviveCut);
        if !batches.is_empty() && !keeps_epochs && self.epochs.truncate_end(self.end) {
            self.derived.epochs_changed = true;
        }
        let start = self.start;
        let mut rest = batches;
        while let Some(first) = rest.first() {
            self.make_room_for_start(first)?;
            let mut entries: Vec<Entry> = Vec::new();
            let mut bytes = 0;
            let mut refusal = None;
            for batch in rest {
                let size = as_u64(batch.size());
                if !entries.is_empty() && (bytes + size > RUN_BYTES_MAX || !self.has_room(bytes + size, batch)) {
                    break;
                }
                match self.judge_fetched(batch, entries.last()) {
                    Ok(entry) => entries.push(entry),
                    Err(error) => {
                        refusal = Some(error);
                        break;
                    }
                }
                bytes += size;
            }
            if !entries.is_empty() {
                let parts: Vec<&[u8]> = rest[..entries.len()].iter().map(|batch| &batch.bytes()[..]).collect();
                self.write(&entries, &parts, now)?;
                self.advance_start(start);
            }
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            rest = &rest[entries.len()..];
        }
        if planted(Mutant::FollowersForgetProducers) {
            self.producers = Producers::default();
        }
        Ok(())
    }

    fn judge_fetched(&self, batch: &Batch, before: Option<&Entry>) -> Result<Entry, AppendError> {
        let header = *batch.header();
        let end = before.map_or(self.end, |entry| entry.header.next_offset());
        if !header.continues(end, self.gaps_taken_to()) {
            return Err(AppendError::NotContiguous { base: header.base_offset, end });
        }
        let latest = before.map_or_else(|| self.latest_epoch(), |entry| entry.header.leader_epoch);
        if header.leader_epoch < latest {
            return Err(AppendError::StaleEpoch { given: header.leader_epoch, latest });
        }
        Ok(Entry { header, marker: marker_of(batch)? })
    }

    /// Whether the log holds nothing, or nothing that is not deleted, and starts in the middle of this batch: the leader's
    /// log start need not be the start of a batch.
    fn is_before_first_batch(&self, header: &Header) -> bool {
        self.start == self.end && header.base_offset < self.end && header.next_offset() > self.end
    }

    /// Moves an empty log back to the base of a batch that covers its start, until that is written: the flush log must
    /// say so first. Else a start, finding the segment below the attested end, would remove it and all that was flushed.
    fn make_room_for_start(&mut self, first: &Batch) -> Result<(), AppendError> {
        if self.is_before_first_batch(first.header()) {
            marker_of(first)?;
            // Whose last batch ends within one of the leader's has parted from it below the start: neither its epochs nor
            // its producers say anything of the leader's log.
            let has_parted = self.size_bytes() > 0;
            let producers = if has_parted { Producers::default() } else { self.producers.clone() };
            self.begin_anew(first.base_offset(), producers)?;
        }
        Ok(())
    }

    /// Whether so many bytes that end with this batch still fit in the active segment, or would open one together.
    fn has_room(&self, bytes: u64, batch: &Batch) -> bool {
        let segment = self.active().copied().unwrap_or(Segment::new(self.end));
        let size = segment.size + bytes;
        size <= u64::from(self.options.segment_bytes) && batch.last_offset().since(segment.base) <= i64::from(i32::MAX)
    }

    fn write(&mut self, entries: &[Entry], parts: &[&[u8]], now: Now) -> Result<(), LogError> {
        let first = entries.first().expect("something is written").header;
        let thinned_end = self.thinned_in(entries);
        let bytes: u64 = parts.iter().map(|part| as_u64(part.len())).sum();
        self.make_directory()?;
        self.note_thinned(thinned_end)?;
        let last = entries.last().expect("something is written").header.last_offset();
        if self.roll_is_due(&first, last, bytes, now)? {
            self.roll(first.base_offset)?;
        }
        let active = *self.active().expect("it was just made");
        let (position, path) = (active.size, self.path_of(active.base, Suffix::Log));
        let index = self.segments.len() - 1;
        let file = self.file(index, Suffix::Log, OpenMode::Write).map_err(|e| Self::failure(&path, e))?;
        if let Err(source) = file.write_at(position, parts) {
            self.cut_back(&*file, position);
            return Err(Self::failure(&path, source));
        }
        self.unsynced.note_file(&file);
        self.writer = Some(file);
        for entry in entries {
            self.note(entry);
        }
        assert_eq!(self.active_mut().size, position + bytes, "what was noted is what was written");
        Ok(())
    }

    /// Up to where these batches show that compaction was at work where they come from.
    fn thinned_in(&self, entries: &[Entry]) -> Offset {
        let (mut end, mut thinned_end) = (self.end, Offset::ZERO);
        for Entry { header, .. } in entries {
            if header.base_offset > end {
                thinned_end = header.base_offset;
            }
            if header.is_thinned() {
                thinned_end = header.next_offset();
            }
            end = header.next_offset();
        }
        thinned_end
    }

    /// Takes back what a failed write may have left. What stays is synced at once, so that no later crash can bring the
    /// half-written bytes back behind other batches.
    fn cut_back(&mut self, file: &dyn File, position: u64) {
        mark(Mark::FailedAppendTakenBack);
        if planted(Mutant::FailedAppendStays) {
            return;
        }
        if file.set_len(position).and_then(|()| file.sync_data()).is_err() {
            self.poisoned = true;
        }
    }

    fn note(&mut self, entry: &Entry) {
        let (header, interval) = (&entry.header, self.options.index_interval_bytes);
        let position = self.active_mut().size;
        self.tail.note(position, header, interval);
        self.active_mut().size += as_u64(header.size());
        note_in_states(self, header, entry.marker);
        self.end = header.next_offset();
    }

    /// Whether the active segment is full, too old, or its indexes cannot take more: Kafka's rules.
    fn roll_is_due(&mut self, first: &Header, last: Offset, bytes: u64, now: Now) -> Result<bool, LogError> {
        let active = *self.active().expect("the first segment is made before");
        if last.since(active.base) > i64::from(i32::MAX) {
            return Ok(true);
        }
        if active.size == 0 {
            return Ok(false);
        }
        let is_full = active.size + bytes > u64::from(self.options.segment_bytes);
        let index_bytes = u64::from(self.options.segment_index_bytes);
        let index_is_full = (self.tail.offset_count() + 1) * 8 > index_bytes;
        let times_are_full = (self.tail.time_count() + 2) * 12 > index_bytes;
        Ok(is_full || index_is_full || times_are_full || self.has_aged(first.max_timestamp, now)?)
    }

    fn has_aged(&mut self, timestamp: Timestamp, now: Now) -> Result<bool, LogError> {
        let base = self.active_mut().base;
        let first = match self.tail.first_timestamp {
            Some(first) => first,
            None => self.load_first_timestamp(now)?,
        };
        let span = i64::try_from(self.options.segment_span.as_millis()).unwrap_or(i64::MAX);
        let jitter = i64::try_from(self.options.segment_jitter.as_millis()).unwrap_or(i64::MAX);
        // Any spread does; it must only be the same at each look.
        let spread =
            (base.get() ^ i64::from(self.id.index.get())).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
        let jitter = if jitter == 0 { 0 } else { spread.rem_euclid(jitter) };
        let reference = if timestamp.get() >= 0 && first.get() >= 0 { timestamp } else { now.timestamp };
        let since = if first.get() >= 0 { first } else { self.tail.made.unwrap_or(now.timestamp) };
        Ok(reference.get().saturating_sub(since.get()) > span.saturating_sub(jitter))
    }

    pub(super) fn load_first_timestamp(&mut self, now: Now) -> Result<Timestamp, LogError> {
        let index = self.segments.len() - 1;
        let path = self.path_of(self.segments[index].base, Suffix::Log);
        let mut bytes = [0; Header::SIZE];
        let read = self.file(index, Suffix::Log, OpenMode::Write).and_then(|file| file.read_at(0, &mut bytes));
        let first = match read {
            Ok(_) => Header::parse(&bytes).map_or(Timestamp::NONE, |header| header.max_timestamp),
            // What is damaged is no reason to refuse what comes.
            Err(error) if is_media_error(&error) => Timestamp::NONE,
            Err(error) => return Err(Self::failure(&path, error)),
        };
        self.tail.first_timestamp = Some(first);
        self.tail.made.get_or_insert(now.timestamp);
        Ok(first)
    }

    /// Ends the active segment and starts the next at the end, or later if `next` is too far for one segment. The old
    /// one's files join the next group flush; nothing is synced here.
    pub(super) fn roll(&mut self, next: Offset) -> Result<(), LogError> {
        let active = *self.active().expect("a log that rolls has a segment");
        if active.size == 0 && next.since(active.base) <= i64::from(i32::MAX) {
            return Ok(());
        }
        if active.size == 0 {
            // Nothing stands in it: another starts later in its place.
            self.remove_segment_files(active.base)?;
            self.segments.pop();
            return self.make_segment(next);
        }
        mark(Mark::SegmentRolled);
        let base = if next.since(self.end) > i64::from(i32::MAX) { next } else { self.end };
        self.tail.push_time();
        self.write_indexes()?;
        self.write_snapshot(base)?;
        self.active_mut().largest = self.tail.largest.map(|l| l.timestamp);
        self.make_segment(base)?;
        self.derive_at_roll();
        Ok(())
    }

    /// Makes the file of a segment and takes it as the active one.
    pub(super) fn make_segment(&mut self, base: Offset) -> Result<(), LogError> {
        let path = self.path_of(base, Suffix::Log);
        let make = || -> io::Result<Arc<dyn File>> {
            let file = self.home.files.open(&path, OpenMode::Create)?;
            if file.len()? > 0 {
                // Left by an attempt that failed half way.
                file.set_len(0)?;
            }
            Ok(file)
        };
        let file = make().map_err(|e| Self::failure(&path, e))?;
        self.segments.push(Segment::new(base));
        self.tail = Tail::default();
        self.unsynced.note_file(&file);
        self.unsynced.directory = true;
        self.writer = Some(file);
        Ok(())
    }

    /// Makes the directory at the first append, with `partition.metadata` in it, and the first segment. All of it
    /// becomes durable with that append's group flush, so that making a topic costs no sync.
    fn make_directory(&mut self) -> Result<(), LogError> {
        if !self.has_directory {
            let files = self.home.files.clone();
            files.create_dir_all(&self.directory).map_err(|e| Self::failure(&self.directory, e))?;
            let path = self.directory.join("partition.metadata");
            let text = super::data_dir::partition_metadata(self.id.topic);
            let written = files.open(&path, OpenMode::Create).and_then(|file| {
                file.write_at(0, &[text.as_bytes()])?;
                Ok(file)
            });
            self.unsynced.note_file(&written.map_err(|e| Self::failure(&path, e))?);
            self.unsynced.root = true;
            self.unsynced.directory = true;
            self.has_directory = true;
        }
        if self.segments.is_empty() {
            self.make_segment(self.end)?;
            self.derived.at = DerivedAt::front_of(self.end, self.end);
        }
        Ok(())
    }
}

/// Notes a batch in what is derived from batches; the same for one appended and one found at recovery.
pub(super) fn note_in_states(log: &mut Log, header: &Header, marker: Option<Marker>) {
    // What compaction has taken out before it may have been of this epoch: who parted from the log there is cut, rather than
    // believed.
    let begins = log.end.min(header.base_offset);
    if log.epochs.begin(header.leader_epoch, begins) {
        log.derived.epochs_changed = true;
    }
    match marker {
        Some(marker) => {
            log.producers.apply_marker(header, marker);
        }
        None if header.is_control() => {}
        None => log.producers.apply(header),
    }
}

/// The marker in a control batch; other control batches say nothing to a partition.
pub(super) fn marker_of(batch: &Batch) -> Result<Option<Marker>, AppendError> {
    if !batch.header().is_control() {
        return Ok(None);
    }
    // Compaction has emptied it.
    if batch.header().record_count == 0 {
        return Ok(None);
    }
    match read_control(batch) {
        Ok(Control::Marker(marker)) => Ok(Some(marker)),
        Ok(Control::Other { .. }) => Ok(None),
        Err(_) => Err(AppendError::Control { base: batch.base_offset() }),
    }
}

pub(super) fn as_u64(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits in 64 bits")
}
