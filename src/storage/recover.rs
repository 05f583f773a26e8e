//! Makes a log out of its files after a stop of any kind.
//!
//! The work depends on what lies behind the last derived place, never on the amount of data. Invariant: bytes below
//! the attested end that are not valid are reported and stay; bytes at or above it are kept up to the first that is not
//! valid, and cut there. A crash in here leaves what a second recovery treats alike.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::env::OpenMode;
use crate::model::{EpochHistory, LeaderEpoch, Now, Offset, PartitionId};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::records::Batch;

use super::append::{as_u64, marker_of, note_in_states};
use super::attestation::Attested;
use super::checkpoint::{beside, decode_epochs};
use super::compact::{Marker, finish_swaps, is_of_compaction};
use super::data_dir::{STRAY, rename_aside};
use super::derive::{Derived, EPOCHS_FILE};
use super::error::{Corruption, LogError, OpenError};
use super::flush::Unsynced;
use super::home::Home;
use super::log::Log;
use super::options::LogOptions;
use super::producer_state::Producers;
use super::resume::IndexEntries;
use super::retain::DELETED;
use super::scan::{Batches, Step};
use super::segment::{DerivedAt, Place, Segment, Suffix, read_whole, unless_unreadable};
use super::tail::Tail;
use super::truncate::remove_if_there;

/// What was found at open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The attested end: what is known to be on the disk. The flushed end starts here (rule S1).
    pub attested_end: Offset,
    /// The end of what is valid; flush before it counts.
    pub end: Offset,
    /// How many bytes were read and checked.
    pub scanned_bytes: u64,
    /// How many bytes of a torn tail were cut off.
    pub truncated_bytes: u64,
}

/// What stands in the directory.
#[derive(Debug, Default)]
struct Survey {
    /// The bases of the segments, in order.
    bases: Vec<Offset>,
    /// The index files there are.
    indexes: Vec<(Offset, Suffix)>,
}

pub(super) fn open(
    home: Arc<Home>,
    id: PartitionId,
    directory: PathBuf,
    options: LogOptions,
    now: Now,
) -> Result<(Log, Recovery), OpenError> {
    let mut log = blank(home, id, directory, options);
    log.claim_directory().map_err(|e| Log::failure(&log.directory, e))?;
    let attested = log.home.flush_log.attested(id);
    let mut survey = if log.has_directory { survey(&mut log)? } else { Survey::default() };
    match attested {
        Some(attested) => {
            remove_unreachable(&log, &mut survey, &attested)?;
            check_present(&log, &survey, &attested)?;
        }
        None if is_headless(&log, &survey) => {
            set_aside(&mut log, &survey)?;
            survey = Survey::default();
        }
        None => {}
    }
    let first = survey.bases.first().copied();
    let floor = attested.map_or(first.unwrap_or(Offset::ZERO), |attested| attested.end.offset);
    log.start = attested.map_or(first.unwrap_or(Offset::ZERO), |attested| attested.start);
    (log.end, log.flushed) = (floor, floor);
    log.derived.at = DerivedAt::front_of(floor, floor);
    let mut recovery = Recovery { attested_end: floor, ..Recovery::default() };
    if survey.bases.is_empty() {
        // A reset may have been killed between the segments and their snapshots.
        log.remove_snapshots_after(Offset::new(-1))?;
    } else {
        let from = resume(&mut log, &survey, attested)?;
        log.derived.at = from;
        let mut scan = Scan { log: &mut log, attested, recovery: &mut recovery };
        scan.run(&survey.bases, from)?;
        finish(&mut log, attested, now)?;
    }
    recovery.end = log.end;
    log.written_from = log.end;
    if log.end > log.flushed {
        mark(Mark::TailBeyondAttested);
    }
    if planted(Mutant::RecoveredIsFlushed) {
        log.flushed = log.end;
    }
    assert!(log.start <= log.end && log.flushed <= log.end, "recovery never gives less than was attested");
    Ok((log, recovery))
}

fn blank(home: Arc<Home>, id: PartitionId, directory: PathBuf, options: LogOptions) -> Log {
    let unsynced = Unsynced { incarnation: home.flush_log.enroll(id), ..Unsynced::default() };
    let number = home.handles.log_number();
    let has_directory = home.files.exists(&directory).unwrap_or(true);
    let is_volatile = home.flush_log.is_volatile(id);
    Log {
        home,
        id,
        directory,
        number,
        options,
        start: Offset::ZERO,
        end: Offset::ZERO,
        flushed: Offset::ZERO,
        epochs: EpochHistory::default(),
        producers: Producers::default(),
        segments: Vec::new(),
        tail: Tail::default(),
        writer: None,
        unsynced,
        derived: Derived::default(),
        doomed: Vec::new(),
        has_directory,
        poisoned: false,
        marker: Marker::default(),
        structure: 0,
        is_volatile,
        written_from: Offset::ZERO,
        durable_from: None,
    }
}

/// Lists the directory, ends or removes what was left half done, and learns whether offsets may be missing.
fn survey(log: &mut Log) -> Result<Survey, OpenError> {
    let (files, directory) = (&*log.home.files, &log.directory);
    let failure = |e| Log::failure(directory, e);
    let mut entries = files.list(directory).map_err(failure)?;
    if entries.iter().any(|entry| is_of_compaction(&entry.name)) {
        finish_swaps(files, directory).map_err(failure)?;
        entries = files.list(directory).map_err(failure)?;
    }
    let marker = Marker::find(files, directory, &entries).map_err(failure)?;
    log.marker = marker;
    let log = &*log;
    let failure = |e| Log::failure(&log.directory, e);
    let mut survey = Survey::default();
    for entry in entries {
        let path = log.directory.join(&entry.name);
        let is_left_over = entry.name.ends_with(DELETED) || path == beside(&log.directory.join(EPOCHS_FILE));
        if is_left_over && !entry.is_directory {
            remove_if_there(&*log.home.files, &path).map_err(failure)?;
        }
        match Suffix::parse(&entry.name) {
            Some((base, Suffix::Log)) => survey.bases.push(base),
            Some((base, suffix @ (Suffix::OffsetIndex | Suffix::TimeIndex))) => survey.indexes.push((base, suffix)),
            Some((_, Suffix::Snapshot)) | None => {}
        }
    }
    for (base, suffix) in &survey.indexes {
        if survey.bases.binary_search(base).is_err() {
            remove_if_there(&*log.home.files, &log.path_of(*base, *suffix)).map_err(failure)?;
        }
    }
    Ok(survey)
}

/// Removes what a retention or a reset had not yet removed: segments that lie wholly outside what the log may hold.
fn remove_unreachable(log: &Log, survey: &mut Survey, attested: &Attested) -> Result<(), OpenError> {
    let end = attested.end;
    let starts_in_last = attested.start >= end.segment;
    let is_hollow = !survey.bases.iter().any(|base| *base <= end.offset && (!starts_in_last || *base >= end.segment));
    for base in std::mem::take(&mut survey.bases) {
        let is_below = starts_in_last && base < end.segment;
        // With nothing at the attested end, what comes behind it hangs in the air.
        let is_behind = is_hollow && base > end.offset;
        if is_below || is_behind {
            log.remove_segment_files(base)?;
        } else {
            survey.bases.push(base);
        }
    }
    Ok(())
}

/// Whether the segments that hold what is attested are there.
fn check_present(log: &Log, survey: &Survey, attested: &Attested) -> Result<(), Corruption> {
    let missing = |base: Offset| Corruption {
        path: log.path_of(base, Suffix::Log),
        place: Segment::new(base).front(),
        attested: attested.end.offset,
    };
    if attested.end.position > 0 && survey.bases.binary_search(&attested.end.segment).is_err() {
        return Err(missing(attested.end.segment));
    }
    let holds_records = attested.end.offset > attested.start;
    if holds_records && survey.bases.first().is_none_or(|first| *first > attested.start) {
        return Err(missing(attested.start));
    }
    Ok(())
}

/// Whether the log has lost its front: it was never flushed, so it started at 0, and now it does not. (With the flush
/// log itself lost nothing can be told; then it is taken as it is.)
fn is_headless(log: &Log, survey: &Survey) -> bool {
    !log.home.flush_log_was_lost && survey.bases.first().is_some_and(|first| *first > Offset::ZERO)
}

/// Puts the files of a headless log out of the way. Nothing of them was ever acknowledged, unless they were brought
/// from elsewhere: so a partition's are kept.
fn set_aside(log: &mut Log, survey: &Survey) -> Result<(), OpenError> {
    mark(Mark::SetAside);
    if log.directory == log.home.root {
        for base in survey.bases.iter().rev() {
            log.remove_segment_files(*base)?;
        }
        return Ok(log.remove_snapshots_after(Offset::new(-1))?);
    }
    rename_aside(&log.home, &log.directory, STRAY).map_err(|e| Log::failure(&log.directory, e))?;
    log.has_directory = false;
    log.marker = Marker::default();
    Ok(())
}

/// Takes what is derived as of the last place where it is durable, or starts from nothing. Returns that place.
fn resume(log: &mut Log, survey: &Survey, attested: Option<Attested>) -> Result<DerivedAt, OpenError> {
    let first = survey.bases[0];
    if let Some(attested) = attested {
        let at = attested.derived;
        let is_front = at.place.position == 0 && at.place.offset == first;
        let is_there = survey.bases.binary_search(&at.place.segment).is_ok();
        if is_there && !is_front && resume_at(log, survey, &attested)? && has_known_epoch(log, attested.epoch) {
            log.remove_snapshots_after(at.place.offset)?;
            return Ok(at);
        }
    }
    log.remove_snapshots_after(first)?;
    let front = DerivedAt::front_of(first, first);
    log.segments = vec![Segment::new(first)];
    log.end = first;
    log.epochs = EpochHistory::default();
    log.derived.epochs_changed = true;
    log.producers = log.producers_as_of(first)?;
    let path = log.path_of(first, Suffix::OffsetIndex);
    log.resume_tail(IndexEntries { offsets: 0, times: 0 }).map_err(|e| Log::failure(&path, e))?;
    Ok(front)
}

/// Whether what is derived could be taken as of `at`. If not, the files say otherwise than they should: everything is
/// made anew then.
fn resume_at(log: &mut Log, survey: &Survey, attested: &Attested) -> Result<bool, OpenError> {
    let (at, newest) = (attested.derived, attested.epoch);
    log.segments.clear();
    for base in survey.bases.iter().take_while(|base| **base <= at.place.segment) {
        let path = log.path_of(*base, Suffix::Log);
        let opened = log.home.files.open(&path, OpenMode::Read).and_then(|file| file.len());
        let size = opened.map_err(|e| Log::failure(&path, e))?;
        log.segments.push(Segment { base: *base, size, largest: None });
    }
    let active = log.active_mut();
    if active.size < at.place.position {
        // The scan will find it and say so.
        return Ok(false);
    }
    active.size = at.place.position;
    log.end = at.place.offset;
    let path = log.directory.join(EPOCHS_FILE);
    let bytes = unless_unreadable(read_whole(&*log.home.files, &path)).map_err(|e| Log::failure(&path, e))?;
    let mut told = decode_epochs(&bytes.unwrap_or_default());
    log.derived.epochs_changed = told.as_mut().is_some_and(|told| told.truncate_end(at.place.offset));
    rebuild_missing(log, survey)?;
    let entries = IndexEntries { offsets: at.offset_entries, times: at.time_entries };
    if log.resume_tail(entries).is_err() {
        return Ok(false);
    }
    if !log.settle_epochs(told, newest).map_err(|e| Log::failure(&log.directory, e))? {
        return Ok(false);
    }
    let ends_elsewhere = log.tail.recent().back().is_some_and(|last| last.next != log.end);
    if ends_elsewhere && log.end > log.thinned_end() {
        return Ok(false);
    }
    match log.producers_as_of(at.place.offset) {
        Ok(producers) => log.producers = producers,
        Err(OpenError::Corrupt(_)) => return Ok(false),
        Err(error @ OpenError::Log(_)) => return Err(error),
    }
    Ok(true)
}

/// Whether the newest epoch of the history is that of the flush log or of a batch at the end. All batches of an epoch
/// would be judged by it; when nothing else knows the epoch, everything is made anew. Where all batches lie below the
/// start, the history is empty.
fn has_known_epoch(log: &Log, attested: LeaderEpoch) -> bool {
    let (newest, recent) = (log.latest_epoch(), log.tail.recent());
    let is_emptied = log.end <= log.start && newest == LeaderEpoch::NONE;
    is_emptied || newest == attested || recent.is_empty() || recent.iter().any(|batch| batch.epoch == newest)
}

/// Makes the indexes of closed segments that have lost one.
fn rebuild_missing(log: &mut Log, survey: &Survey) -> Result<(), OpenError> {
    for index in 0..log.segments.len() - 1 {
        let base = log.segments[index].base;
        let has = |suffix| survey.indexes.contains(&(base, suffix));
        if !has(Suffix::OffsetIndex) || !has(Suffix::TimeIndex) {
            log.rebuild_indexes(index).map_err(|e| log.open_error(index, e))?;
        }
    }
    Ok(())
}

/// The walk over everything behind the derived place.
struct Scan<'a> {
    log: &'a mut Log,
    attested: Option<Attested>,
    recovery: &'a mut Recovery,
}

impl Scan<'_> {
    fn run(&mut self, bases: &[Offset], from: DerivedAt) -> Result<(), OpenError> {
        let first = bases.binary_search(&from.place.segment).expect("the derived place is in a segment that is there");
        if !self.segment(from.place.segment, from.place.position)? {
            return self.remove(&bases[first + 1..]);
        }
        for (i, base) in bases.iter().enumerate().skip(first + 1) {
            if !self.continues(*base)? {
                return self.remove(&bases[i..]);
            }
            self.next_segment(*base)?;
            if !self.segment(*base, 0)? {
                return self.remove(&bases[i + 1..]);
            }
        }
        Ok(())
    }

    /// Whether a segment with this base goes on where the one before ended.
    fn continues(&self, base: Offset) -> Result<bool, OpenError> {
        let expected = self.log.end;
        let attested_end = self.attested.map_or(Offset::ZERO, |attested| attested.end.offset);
        if base == expected {
            return Ok(true);
        }
        if base > attested_end || self.attested.is_none_or(|attested| base > attested.end.segment) {
            return Ok(false);
        }
        if base > expected && (base <= self.log.thinned_end() || base <= self.log.start) {
            // Compaction empties the ends of segments; and what lies below the start is of no consequence.
            return Ok(true);
        }
        Err(self.corruption(base, 0).into())
    }

    /// Ends the segment before, as a roll would have.
    fn next_segment(&mut self, base: Offset) -> Result<(), OpenError> {
        let log = &mut *self.log;
        log.end = log.end.max(base);
        log.tail.push_time();
        log.write_indexes()?;
        log.write_snapshot(base)?;
        log.segments.push(Segment::new(base));
        let path = log.path_of(base, Suffix::OffsetIndex);
        log.resume_tail(IndexEntries { offsets: 0, times: 0 }).map_err(|e| Log::failure(&path, e))?;
        Ok(())
    }

    /// Takes the valid batches of the active segment from `position` on. Whether all of its bytes were.
    fn segment(&mut self, base: Offset, position: u64) -> Result<bool, OpenError> {
        let path = self.log.path_of(base, Suffix::Log);
        let failure = |e| Log::failure(&path, e);
        let index = self.log.segments.len() - 1;
        let file = self.log.file(index, Suffix::Log, OpenMode::Write).map_err(failure)?;
        let length = file.len().map_err(failure)?;
        let mut batches = Batches::new(&*file, position, length);
        loop {
            let position = batches.position();
            self.meet_attested_end(base, position)?;
            match batches.step().map_err(failure)? {
                Step::Batch(batch) if self.accepts(&batch, base, position)? => self.take(&batch, position),
                // An earlier segment may end anywhere; the next one's base tells whether that was its end.
                Step::End if !self.is_attested(base, position) || self.is_closed(base) => return Ok(true),
                Step::Batch(_) | Step::Invalid | Step::End => {
                    if self.is_attested(base, position) && !planted(Mutant::DamageIsTorn) {
                        mark(Mark::AttestedLost);
                        return Err(self.corruption(base, position).into());
                    }
                    mark(Mark::TornTail);
                    if planted(Mutant::TornTailStays) {
                        return Ok(false);
                    }
                    // Durable at once: what is cut off must not come back behind batches that are appended now.
                    file.set_len(position).and_then(|()| file.sync_data()).map_err(failure)?;
                    self.recovery.truncated_bytes += length - position;
                    return Ok(false);
                }
            }
        }
    }

    /// Whether a batch continues the log.
    fn accepts(&self, batch: &Batch, base: Offset, position: u64) -> Result<bool, Corruption> {
        let straddles =
            self.is_attested(base, position) && !self.is_attested(base, position + as_u64(batch.size()) - 1);
        if straddles {
            return Err(self.corruption(base, position));
        }
        let header = batch.header();
        let fits = header.last_offset().since(base) <= i64::from(i32::MAX) && header.base_offset >= base;
        let continues = header.continues(self.log.end, self.log.thinned_end());
        let control_is_whole = marker_of(batch).is_ok();
        Ok(fits && continues && control_is_whole && header.leader_epoch >= self.log.latest_epoch())
    }

    fn take(&mut self, batch: &Batch, position: u64) {
        let (log, header) = (&mut *self.log, batch.header());
        log.tail.note(position, header, log.options.index_interval_bytes);
        let size = as_u64(batch.size());
        log.active_mut().size = position + size;
        let marker = marker_of(batch).expect("a batch is accepted only with a marker that can be read");
        note_in_states(log, header, marker);
        log.end = header.next_offset();
        self.recovery.scanned_bytes += size;
    }

    fn is_attested(&self, base: Offset, position: u64) -> bool {
        self.attested.is_some_and(|attested| {
            let end = attested.end;
            base < end.segment || base == end.segment && position < end.position
        })
    }

    fn is_closed(&self, base: Offset) -> bool {
        self.attested.is_some_and(|attested| base < attested.end.segment)
    }

    /// At the attested byte stands the attested offset, and before it no epoch that was not attested.
    fn meet_attested_end(&mut self, base: Offset, position: u64) -> Result<(), Corruption> {
        let Some(Attested { end, epoch, .. }) = self.attested else { return Ok(()) };
        if base != end.segment || position != end.position {
            return Ok(());
        }
        if self.log.end > end.offset || self.log.latest_epoch() > epoch {
            return Err(self.corruption(base, position));
        }
        // A truncation into a gap of compaction ends behind the last batch.
        self.log.end = end.offset;
        Ok(())
    }

    fn corruption(&self, base: Offset, position: u64) -> Corruption {
        let attested = self.attested.map_or(Offset::ZERO, |attested| attested.end.offset);
        let place = Place { segment: base, position, offset: self.log.end };
        Corruption { path: self.log.path_of(base, Suffix::Log), place, attested }
    }

    /// Removes the segments behind a torn one, the last first.
    fn remove(&mut self, bases: &[Offset]) -> Result<(), OpenError> {
        for base in bases.iter().rev() {
            if self.is_attested(*base, 0) {
                return Err(self.corruption(*base, 0).into());
            }
            self.log.remove_segment_files(*base)?;
            self.log.unsynced.directory = true;
        }
        if !bases.is_empty() {
            let log = &*self.log;
            log.home.files.sync_dir(&log.directory).map_err(|e| Log::failure(&log.directory, e))?;
        }
        Ok(())
    }
}

/// What was found beyond the attested end is written again and waits for a sync (rule S1); everything else is at rest.
fn finish(log: &mut Log, attested: Option<Attested>, now: Now) -> Result<(), LogError> {
    log.tail.made = Some(now.timestamp);
    log.derived.epochs_changed |= log.epochs.truncate_start(log.start);
    let floor = log.flushed;
    log.end = log.end.max(floor);
    for index in 0..log.segments.len() {
        let is_behind = attested.is_none_or(|attested| log.segments[index].base >= attested.end.segment);
        if is_behind && log.end > floor {
            let path = log.path_of(log.segments[index].base, Suffix::Log);
            let file = log.file(index, Suffix::Log, OpenMode::Write).map_err(|e| Log::failure(&path, e))?;
            let end = attested.map(|attested| attested.end);
            log.write_again(index, &*file, end).map_err(|e| Log::failure(&path, e))?;
            log.unsynced.note_file(&file);
            if log.is_active(index) {
                log.writer = Some(file);
            }
            (log.unsynced.directory, log.unsynced.root) = (true, true);
        }
    }
    if attested.is_none() && log.has_directory {
        sync_identity(log)?;
    }
    if log.unsynced.is_settled() {
        log.home.handles.forget_log(log.number);
        log.tail.shrink();
    }
    Ok(())
}

/// No flush of this log is known of: an earlier process may have been killed before its first, and then not even the
/// directory and what it belongs to are on the disk (rule S1).
fn sync_identity(log: &mut Log) -> Result<(), LogError> {
    let path = log.directory.join("partition.metadata");
    match log.home.files.open(&path, OpenMode::Write) {
        Ok(file) => {
            log.write_file_again(&*file).map_err(|e| Log::failure(&path, e))?;
            log.unsynced.note_file(&file);
        }
        // The quorum's log has none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Log::failure(&path, error)),
    }
    (log.unsynced.directory, log.unsynced.root) = (true, true);
    Ok(())
}
