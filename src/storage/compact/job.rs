//! A round of compaction: reads what is dirty, then writes all of the chosen segments anew, a piece at a time.
//!
//! Run by a thread of its own. Invariant: it reads closed segments and writes files that nothing counts yet; one group of
//! segments is made at a time, and the next begins when the log's owner has taken the last one over.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::env::{File, OpenMode, is_media_error};
use crate::model::{Offset, PartitionId, Timestamp};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::records::{Batch, Control, Header, RecordError, read_control};
use crate::storage::append::as_u64;
use crate::storage::error::LogError;
use crate::storage::scan::{Batches, Headers, HeadersFrom, Step};
use crate::storage::segment::{Place, Suffix};

use super::choice::{Source, joins};
use super::key_map::KeyMap;
use super::order::{Compacted, CompactionOrder};
use super::retention::{Judge, Standing};
use super::sink::{Sink, discard};
use super::swap::{Replacement, Structure};
use super::transactions::{Met, Outcomes};

/// Why a round ends early. Nothing of the log has changed by what was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// What stands there is not what was written: the log's owner has to look.
    #[error("what stands at byte {} of segment {} (offset {}) is not what was written", .0.position, .0.segment, .0.offset)]
    Damaged(Place),
    /// A file of the log is there no more: it was deleted, or retention has come first.
    #[error("a segment of the log is gone")]
    Gone,
    /// The disk refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The records of a batch cannot be written anew.
    #[error("the records of the batch at offset {base} cannot be written anew: {cause}")]
    Records {
        /// Where it begins.
        base: Offset,
        /// Why not.
        cause: RecordError,
    },
    /// Rewritten records take more than a segment may hold.
    #[error("the segment at offset {base} grows beyond what a segment may hold")]
    TooLarge {
        /// Where it begins.
        base: Offset,
    },
    /// More aborted transactions than are remembered.
    #[error("there are too many aborted transactions")]
    TooManyTransactions,
}

/// What a round has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompactionStep {
    /// It goes on; so many bytes were read and written.
    Worked(u64),
    /// This waits to be taken over: the round goes on with [`Compaction::resume`].
    Made(Replacement),
    /// It is over.
    Done(Compacted),
}

/// How much a round has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Bytes of the segments that were written anew.
    pub bytes_in: u64,
    /// Bytes of what they became.
    pub bytes_out: u64,
    /// Records in those segments.
    pub records_in: u64,
    /// Records that stayed.
    pub records_out: u64,
}

/// See the file's comment.
#[derive(Debug)]
pub struct Compaction {
    order: CompactionOrder,
    keys: KeyMap,
    phase: Phase,
    /// Where the round ends: behind it nothing is known of keys.
    end: Offset,
    /// Learnt when the first transactional batch is met.
    outcomes: Option<Outcomes>,
    met: Met,
    stats: CompactionStats,
}

#[derive(Debug)]
enum Phase {
    /// Learns the last offset of each key in the dirty part.
    Mapping(Cursor),
    /// This segment is next.
    Between(usize),
    /// Writes a group of segments as one.
    Writing(Box<Writing>),
    /// What was made waits to be taken over; then comes this segment.
    Waiting(usize),
    Ended,
}

#[derive(Debug)]
struct Writing {
    /// The group's first segment.
    first: usize,
    cursor: Cursor,
    sink: Sink,
    has_changed: bool,
}

/// Where the next batch is read.
#[derive(Debug, Default)]
struct Cursor {
    source: usize,
    position: u64,
    file: Option<Arc<dyn File>>,
    /// What was read ahead.
    buffer: Bytes,
    /// Where the batch before ended.
    next: Offset,
}

impl Compaction {
    /// A round that remembers keys in at most so many bytes.
    #[must_use]
    pub fn new(order: CompactionOrder, keys_bytes_max: usize) -> Self {
        let end = order.sources.last().map_or(order.from, |last| last.end);
        let first = order.sources.partition_point(|source| source.end <= order.from);
        Self {
            order,
            keys: KeyMap::new(keys_bytes_max),
            phase: Phase::Mapping(Cursor { source: first, ..Cursor::default() }),
            end,
            outcomes: None,
            met: Met::default(),
            stats: CompactionStats::default(),
        }
    }

    /// The log's partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.order.partition
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> CompactionStats {
        self.stats
    }

    /// Reads some so many bytes, and writes what stays of them.
    ///
    /// # Errors
    /// See [`CompactionError`]; the round is over then.
    pub fn step(&mut self, bytes_max: u64) -> Result<CompactionStep, CompactionError> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Mapping(cursor) => self.map(cursor, bytes_max),
            Phase::Between(first) if first < self.order.sources.len() => self.begin(first),
            Phase::Writing(writing) => self.write(writing, bytes_max),
            Phase::Between(_) | Phase::Ended => Ok(CompactionStep::Done(Compacted {
                partition: self.order.partition,
                structure: self.order.structure,
                end: self.end,
            })),
            Phase::Waiting(_) => unreachable!("a round that waits is resumed first"),
        }
    }

    /// What it has made was taken over: the log is in this state now.
    pub fn resume(&mut self, structure: Structure) {
        let Phase::Waiting(next) = self.phase else { unreachable!("only a round that waits is resumed") };
        self.order.structure = structure.0;
        self.phase = Phase::Between(next);
    }

    /// Removes what it was making.
    ///
    /// # Errors
    /// What the system said.
    pub fn discard(self) -> io::Result<()> {
        // Of what waits to be taken over its owner decides.
        let Phase::Writing(writing) = self.phase else { return Ok(()) };
        discard(&*self.order.files, &self.order.directory, self.order.sources[writing.first].base)
    }

    /// Learns the keys of some batches.
    fn map(&mut self, mut cursor: Cursor, bytes_max: u64) -> Result<CompactionStep, CompactionError> {
        let mut read = 0;
        while read < bytes_max {
            let Some(source) = self.order.sources.get(cursor.source).copied() else {
                self.mapped();
                return Ok(CompactionStep::Worked(read));
            };
            let Some(batch) = self.next_batch(&mut cursor, source)? else { continue };
            read += as_u64(batch.size());
            if !self.learn(&batch)? {
                self.mapped();
                return Ok(CompactionStep::Worked(read));
            }
        }
        self.phase = Phase::Mapping(cursor);
        Ok(CompactionStep::Worked(read))
    }

    /// All keys that there is room for are known: up to there segments are written anew.
    fn mapped(&mut self) {
        let (from, end) = (self.order.from, self.end);
        // With nothing learnt there is nothing to do.
        self.order.sources.retain(|source| source.base < end && from < end);
        self.phase = Phase::Between(0);
    }

    /// Learns the keys of a batch. Whether the round goes on behind it.
    fn learn(&mut self, batch: &Batch) -> Result<bool, CompactionError> {
        let header = batch.header();
        if header.next_offset() <= self.order.from || header.is_control() {
            return Ok(true);
        }
        if header.is_transactional() {
            let outcomes = self.outcomes()?;
            if outcomes.undecided_from().is_some_and(|from| from <= header.base_offset) {
                self.end = header.base_offset;
                return Ok(false);
            }
            if outcomes.is_aborted(header) {
                return Ok(true);
            }
        }
        let (from, keys) = (self.order.from, &mut self.keys);
        let mut full_at = None;
        let read = batch.keyed(&mut |record| {
            let Some(key) = record.key.filter(|_| record.offset >= from) else { return true };
            if !keys.put(key, record.offset) {
                full_at = Some(record.offset);
            }
            full_at.is_none()
        });
        read.map_err(|cause| CompactionError::Records { base: header.base_offset, cause })?;
        if let Some(offset) = full_at {
            mark(Mark::KeysFull);
            self.end = if planted(Mutant::FullMapCountsAll) { self.end } else { offset };
        }
        Ok(full_at.is_none())
    }

    /// Begins a group of segments.
    fn begin(&mut self, first: usize) -> Result<CompactionStep, CompactionError> {
        let base = self.order.sources[first].base;
        let interval = self.order.options.index_interval_bytes;
        let sink = Sink::new(&*self.order.files, &self.order.directory, base, interval);
        let sink = sink.map_err(|error| self.failure(base, error))?;
        let cursor = Cursor { source: first, ..Cursor::default() };
        self.phase = Phase::Writing(Box::new(Writing { first, cursor, sink, has_changed: false }));
        Ok(CompactionStep::Worked(0))
    }

    /// Writes what stays of some batches; after the last one the group waits to be taken over.
    fn write(&mut self, mut writing: Box<Writing>, bytes_max: u64) -> Result<CompactionStep, CompactionError> {
        let mut done = 0;
        while done < bytes_max {
            let source = match self.order.sources.get(writing.cursor.source).copied() {
                Some(source) if self.goes_on(&writing, &source) => source,
                Some(_) | None => return self.finish(*writing),
            };
            let Some(batch) = self.next_batch(&mut writing.cursor, source)? else { continue };
            done += as_u64(batch.size());
            let standing = self.standing(&batch)?;
            let order = &self.order;
            let judge =
                Judge { keys: &self.keys, lasts: &order.lasts, end: self.end, now: order.now, horizon: horizon(order) };
            let base = batch.base_offset();
            let kept = judge.judge(&batch, standing).map_err(|cause| CompactionError::Records { base, cause })?;
            writing.has_changed |= kept.as_ref() != Some(&batch);
            self.stats.bytes_in += as_u64(batch.size());
            self.stats.records_in += count(&batch);
            let Some(kept) = kept else { continue };
            done += as_u64(kept.size());
            self.stats.bytes_out += as_u64(kept.size());
            self.stats.records_out += count(&kept);
            if !writing.sink.push(&kept).map_err(|error| self.failure(source.base, error))? {
                return Err(CompactionError::TooLarge { base: source.base });
            }
        }
        self.phase = Phase::Writing(writing);
        Ok(CompactionStep::Worked(done))
    }

    /// Whether this segment is in the group that is being written, or joins it.
    fn goes_on(&self, writing: &Writing, source: &Source) -> bool {
        let is_begun = writing.cursor.source == writing.first || writing.cursor.position > 0;
        let (base, segment_bytes) = (self.order.sources[writing.first].base, self.order.options.segment_bytes);
        is_begun || joins(base, writing.sink.size(), source, segment_bytes)
    }

    fn finish(&mut self, writing: Writing) -> Result<CompactionStep, CompactionError> {
        let next = writing.cursor.source;
        let (base, end) = (self.order.sources[writing.first].base, self.order.sources[next - 1].end);
        let files = &*self.order.files;
        if !writing.has_changed && next == writing.first + 1 {
            discard(files, &self.order.directory, base).map_err(|error| self.failure(base, error))?;
            self.phase = Phase::Between(next);
            return Ok(CompactionStep::Worked(0));
        }
        let made = writing.sink.finish(files, writing.has_changed).map_err(|error| self.failure(base, error))?;
        self.phase = Phase::Waiting(next);
        let (partition, structure) = (self.order.partition, self.order.structure);
        Ok(CompactionStep::Made(Replacement { partition, structure, base, end, made }))
    }

    /// What is known of a batch beyond its bytes. Batches come in the order of the log.
    fn standing(&mut self, batch: &Batch) -> Result<Standing, CompactionError> {
        let header = batch.header();
        if header.is_control() {
            return Ok(match read_control(batch) {
                Ok(Control::Marker(marker)) if self.met.is_spent(header, marker.kind) => {
                    Standing::SpentMarker(marker.kind)
                }
                Ok(Control::Marker(marker)) => Standing::Marker(marker.kind),
                // One that was emptied has no record.
                Ok(Control::Other { .. }) | Err(_) => Standing::Control,
            });
        }
        let is_aborted = header.is_transactional() && self.outcomes()?.is_aborted(header);
        self.met.records(header, is_aborted);
        Ok(if is_aborted { Standing::Aborted } else { Standing::Counts })
    }

    fn outcomes(&mut self) -> Result<&Outcomes, CompactionError> {
        if self.outcomes.is_none() {
            self.outcomes = Some(self.read_outcomes()?);
        }
        Ok(self.outcomes.as_ref().expect("it was just read"))
    }

    /// What became of each transaction whose marker is committed: from the headers of the whole log, as there is no index
    /// of aborted transactions.
    fn read_outcomes(&self) -> Result<Outcomes, CompactionError> {
        let mut outcomes = Outcomes::default();
        for source in &self.order.all {
            let failure = |error| self.read_failure(*source, 0, source.base, error);
            let file = self.open(*source)?;
            let mut headers =
                Headers::new(&*file, HeadersFrom::batch(0, source.base), source.size, self.order.thinned_end);
            while let Some((position, header)) = headers.step().map_err(failure)? {
                if header.next_offset() > self.order.committed {
                    break;
                }
                if !header.is_control() {
                    outcomes.note_records(&header);
                    continue;
                }
                let batch = read_batch(&*file, position, &header).map_err(failure)?;
                if let Ok(Control::Marker(marker)) = read_control(&batch)
                    && !outcomes.note_marker(&header, marker.kind)
                {
                    return Err(CompactionError::TooManyTransactions);
                }
            }
        }
        Ok(outcomes)
    }

    /// The next batch of a source; `None` at its end, and the cursor stands at the next source.
    fn next_batch(&self, cursor: &mut Cursor, source: Source) -> Result<Option<Batch>, CompactionError> {
        let file = match &cursor.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(cursor.file.insert(self.open(source)?)),
        };
        cursor.next = cursor.next.max(source.base);
        let damaged = || CompactionError::Damaged(place(source, cursor.position, cursor.next));
        let mut batches = Batches::resumed(&*file, cursor.position, source.size, std::mem::take(&mut cursor.buffer));
        let step = batches.step();
        cursor.buffer = batches.into_buffer();
        let batch = match step.map_err(|error| self.read_failure(source, cursor.position, cursor.next, error))? {
            Step::Batch(batch) => batch,
            Step::Invalid => return Err(damaged()),
            // What is lost is not to be taken for what compaction has left out.
            Step::End if cursor.next < source.end && source.end > self.order.thinned_end => {
                return Err(damaged());
            }
            Step::End => {
                *cursor = Cursor { source: cursor.source + 1, next: cursor.next, ..Cursor::default() };
                return Ok(None);
            }
        };
        let continues = batch.header().continues(cursor.next, self.order.thinned_end);
        if !continues || batch.next_offset() > source.end {
            return Err(damaged());
        }
        cursor.position += as_u64(batch.size());
        cursor.next = batch.next_offset();
        Ok(Some(batch))
    }

    fn open(&self, source: Source) -> Result<Arc<dyn File>, CompactionError> {
        let path = self.order.directory.join(Suffix::Log.file_name(source.base));
        self.order.files.open(&path, OpenMode::Read).map_err(|error| self.failure(source.base, error))
    }

    fn read_failure(&self, source: Source, position: u64, next: Offset, error: io::Error) -> CompactionError {
        if is_media_error(&error) || error.kind() == io::ErrorKind::InvalidData {
            return CompactionError::Damaged(place(source, position, next));
        }
        self.failure(source.base, error)
    }

    fn failure(&self, base: Offset, source: io::Error) -> CompactionError {
        if source.kind() == io::ErrorKind::NotFound {
            return CompactionError::Gone;
        }
        let path: PathBuf = self.order.directory.join(Suffix::Log.file_name(base));
        LogError::Io { path, source }.into()
    }
}

/// When a tombstone that is met now for the first time may go.
fn horizon(order: &CompactionOrder) -> Timestamp {
    let retention = i64::try_from(order.options.compaction.delete_retention.as_millis()).unwrap_or(i64::MAX);
    Timestamp::new(order.now.get().saturating_add(retention))
}

fn place(source: Source, position: u64, offset: Offset) -> Place {
    Place { segment: source.base, position, offset }
}

fn count(batch: &Batch) -> u64 {
    u64::try_from(batch.header().record_count).expect("a header is only made with a count of 0 and more")
}

fn read_batch(file: &dyn File, position: u64, header: &Header) -> io::Result<Batch> {
    let mut bytes = vec![0; header.size()];
    if file.read_at(position, &mut bytes)? < bytes.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Batch::parse(bytes.into()).map_err(|_| io::ErrorKind::InvalidData.into())
}
