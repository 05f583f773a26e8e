//! The flush log of a data directory: makes groups of logs durable, and says up to where each one is (ADR 7).
//!
//! One thread per directory calls `flush`; the owners of logs call `revise` when they truncate. Invariant: a statement
//! is written only after the sync of what it states, so that one which is read back is true whether or not it was
//! itself synced; one that was lost makes the attested end lower, never wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::env::{File, Files, OpenMode, SyncItem};
use crate::model::{Instant, Now, Offset, PartitionId};
use crate::probe::{Mutant, planted};

use super::attestation::{Attested, Ending, Said, Statement, decode_frames, encode_frame};
use super::checkpoint;
use super::error::FlushError;
use super::marks::Marks;
use super::segment::read_whole;

/// The file's name in its directory.
pub(super) const FILE_NAME: &str = "flush-log";
/// How long a statement may wait for its sync.
const ATTEST_AFTER: Duration = Duration::from_millis(50);
/// So many logs' statements are worth one more `ATTEST_AFTER` of waiting, to bound what is written for them.
const STATEMENTS_PER_WAIT: u32 = 1000;
/// The file is rewritten when it is this large and several times what it says.
const REWRITE_BYTES: u64 = 1 << 20;
const REWRITE_FACTOR: u64 = 4;

/// What must be synced for the end of a log to be durable.
#[derive(Debug)]
pub struct FlushOrder {
    /// The log's partition.
    pub partition: PartitionId,
    /// The end that will be durable.
    pub end: Offset,
    /// What to sync. A file keeps the descriptor that wrote it until then (rule S7).
    pub items: Vec<SyncItem>,
    pub(super) attested: Attested,
    pub(super) ticket: Ticket,
}

/// Says which state of which life of a log an order was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Another after each open, truncation and reset: an order from before it says nothing of the log after it.
    pub(super) incarnation: u64,
    /// Rises with each order of one incarnation.
    pub(super) serial: u64,
}

/// A log's end that is durable now; goes back to the log as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The log's partition.
    pub partition: PartitionId,
    /// The durable end, unless the log was truncated meanwhile: [`super::Log::flush_done`] knows.
    pub end: Offset,
    pub(super) ticket: Ticket,
}

/// Shared by the flush thread and the logs of one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FlushLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Arc<dyn Files>,
    root: PathBuf,
    /// Guards what is known and the file. Held across the syncs of this small file (truncations wait for them), never
    /// across the sync of a group.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: Arc<dyn File>,
    length: u64,
    sequence: u64,
    incarnation: u64,
    known: BTreeMap<PartitionId, Known>,
    /// Statements made but not written, by log.
    unwritten: BTreeMap<PartitionId, Option<Attested>>,
    /// Which logs count appends that are not flushed.
    marks: Marks,
    /// Whether something was written that is not synced.
    unsynced: bool,
    /// When statements must be written and synced; `None` when there are none.
    due: Option<Instant>,
    /// A sync failed: nothing more is durable here (ADR 7).
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    attested: Option<Attested>,
    incarnation: u64,
}

/// What `FlushLog::open` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No file: a new directory, or a lost one.
    Nothing,
    /// A file that is not what was written. It says nothing: what it lost may have taken back what can be read.
    Damage,
    /// A file, read to its end or to a torn frame.
    Statements,
}

impl FlushLog {
    /// Opens the flush log of `root`, or makes one. It is rewritten at every start, so that nothing of a torn end can
    /// ever be read as a frame again.
    pub(super) fn open(files: Arc<dyn Files>, root: &Path) -> Result<(Self, Found), FlushError> {
        let failure = |source| FlushError::Io { root: root.to_owned(), source };
        // Opens the descriptor that will hear of lost writes, before any write.
        files.sync_all(root, &[]).map_err(failure)?;
        let path = root.join(FILE_NAME);
        let bytes = read_whole(&*files, &path).map_err(failure)?;
        let (statements, found) = match bytes.as_deref().map(decode_frames) {
            None => (Vec::new(), Found::Nothing),
            Some((_, Ending::Damaged)) => (Vec::new(), Found::Damage),
            Some((statements, Ending::Whole | Ending::Torn)) => (statements, Found::Statements),
        };
        let (mut known, mut marks) = (BTreeMap::new(), Marks::default());
        for statement in statements {
            marks.read(&statement);
            match statement.said {
                Said::Attested(attested) => {
                    known.insert(statement.partition, Known { attested: Some(attested), incarnation: 0 });
                }
                Said::Gone => _ = known.remove(&statement.partition),
                Said::Volatile | Said::Settled => {}
            }
        }
        let frame = whole_frame(&known, &marks);
        checkpoint::replace(&*files, &path, &frame).map_err(failure)?;
        marks.rewritten();
        let file = files.open(&path, OpenMode::Write).map_err(failure)?;
        let length = u64::try_from(frame.len()).expect("a length fits in 64 bits");
        let state = State {
            file,
            length,
            sequence: 0,
            incarnation: 0,
            known,
            unwritten: BTreeMap::new(),
            marks,
            unsynced: false,
            due: None,
            failed: false,
        };
        let shared = Shared { files, root: root.to_owned(), state: Mutex::new(state) };
        Ok((Self { shared: Arc::new(shared) }, found))
    }

    /// Makes every order's end durable, or none.
    ///
    /// # Errors
    /// A sync failed, now or earlier. It is never retried: the directory is fenced (ADR 7).
    pub fn flush(&self, orders: Vec<FlushOrder>, now: Now) -> Result<Vec<Flushed>, FlushError> {
        let mut items: Vec<SyncItem> = Vec::new();
        let mut wrote = None;
        {
            let mut state = self.lock()?;
            // Statements of earlier groups become durable with this one, at no sync of their own.
            if state.due.is_some_and(|due| due <= now.instant) {
                self.write(&mut state)?;
                state.due = None;
                wrote = Some(state.sequence);
                items.push(SyncItem::File(state.file.clone()));
            }
        }
        let synced = orders.iter().filter(|_| !planted(Mutant::FlushedIsWritten));
        items.extend(synced.flat_map(|order| order.items.iter().cloned()));
        let result = self.shared.files.sync_all(&self.shared.root, &items);
        let mut state = self.lock()?;
        if let Err(source) = result
            && !planted(Mutant::FailedFlushCounts)
        {
            state.failed = true;
            return Err(FlushError::Io { root: self.shared.root.clone(), source });
        }
        // A truncation may have written more meanwhile; it syncs what it writes.
        if wrote == Some(state.sequence) {
            state.unsynced = false;
            state.marks.synced();
        }
        let flushed = orders.iter().map(|order| state.note(order, now)).collect();
        if state.length > REWRITE_BYTES {
            self.rewrite_if_worth_it(&mut state)?;
        }
        Ok(flushed)
    }

    /// Writes and syncs the statements that still wait: when `attest_due` has passed with no group to ride on, and at
    /// a clean stop.
    ///
    /// # Errors
    /// As `flush`.
    pub fn attest(&self) -> Result<(), FlushError> {
        let mut state = self.lock()?;
        self.write(&mut state)?;
        self.sync(&mut state)
    }

    /// When `attest` should be called if no flush comes before.
    #[must_use]
    pub fn attest_due(&self) -> Option<Instant> {
        self.state().due
    }

    /// What is known of a log.
    #[must_use]
    pub fn attested(&self, partition: PartitionId) -> Option<Attested> {
        self.state().known.get(&partition).and_then(|known| known.attested)
    }

    /// Every log of which something is known.
    #[must_use]
    pub fn all_attested(&self) -> Vec<(PartitionId, Attested)> {
        self.state().known.iter().filter_map(|(id, known)| Some((*id, known.attested?))).collect()
    }

    /// Starts a life of a log: orders of an earlier one are void from here on.
    pub(super) fn enroll(&self, partition: PartitionId) -> u64 {
        let mut state = self.state();
        state.incarnation += 1;
        let incarnation = state.incarnation;
        state.known.entry(partition).or_insert(Known { attested: None, incarnation }).incarnation = incarnation;
        incarnation
    }

    /// Lowers what is attested of a log that is about to be cut to this, durably, and starts a new life of it.
    /// What was not attested before is not now: it may never have been synced.
    pub(super) fn lower(&self, partition: PartitionId, to: Attested) -> Result<u64, FlushError> {
        // From here on no order that is under way can attest anything of this log.
        let incarnation = self.enroll(partition);
        match self.attested(partition) {
            Some(_) if planted(Mutant::CutBeforeLowered) => Ok(incarnation),
            Some(attested) if attested.end.offset > to.end.offset => self.revise(partition, to),
            Some(_) | None => Ok(incarnation),
        }
    }

    /// States something else of a log than its flushes would, durably, and starts a new life of it.
    pub(super) fn revise(&self, partition: PartitionId, attested: Attested) -> Result<u64, FlushError> {
        let mut state = self.lock()?;
        state.incarnation += 1;
        let incarnation = state.incarnation;
        state.known.insert(partition, Known { attested: Some(attested), incarnation });
        state.unwritten.insert(partition, Some(attested));
        self.write(&mut state)?;
        self.sync(&mut state)?;
        Ok(incarnation)
    }

    /// States something that no sync has to precede, to be written with the next group.
    pub(super) fn note(&self, partition: PartitionId, attested: Attested) {
        let mut state = self.state();
        if let Some(known) = state.known.get_mut(&partition) {
            known.attested = Some(attested);
            state.state_by(Instant::ZERO, partition, Some(attested));
        }
    }

    /// Forgets a log that is being deleted.
    pub(super) fn forget(&self, partition: PartitionId) {
        let mut state = self.state();
        state.known.remove(&partition);
        state.marks.forget(partition);
        state.state_by(Instant::ZERO, partition, None);
    }

    /// Says, with the next group, that a log counts appends that are not flushed; see [`super::Log::count_unflushed`].
    pub(super) fn mark_volatile(&self, partition: PartitionId) {
        let mut state = self.state();
        state.marks.add(partition);
        state.due = Some(Instant::ZERO);
    }

    /// Says, with the next group, that a log does so no more and is wholly flushed.
    pub(super) fn settle_volatile(&self, partition: PartitionId) {
        let mut state = self.state();
        state.marks.settle(partition);
        state.due = Some(Instant::ZERO);
    }

    /// Whether a log counts, or is to count, appends that are not flushed.
    pub(super) fn is_volatile(&self, partition: PartitionId) -> bool {
        self.state().marks.all().contains(&partition)
    }

    /// Whether the disk says so.
    pub(super) fn is_known_volatile(&self, partition: PartitionId) -> bool {
        self.state().marks.is_durable(partition)
    }

    /// Every log that counts appends that are not flushed, or did so and was not wholly flushed since.
    pub(super) fn all_volatile(&self) -> BTreeSet<PartitionId> {
        self.state().marks.all().clone()
    }

    fn write(&self, state: &mut State) -> Result<(), FlushError> {
        if state.unwritten.is_empty() && state.marks.is_written() {
            return Ok(());
        }
        let unwritten = std::mem::take(&mut state.unwritten);
        let said = |attested: Option<Attested>| attested.map_or(Said::Gone, Said::Attested);
        let statements = unwritten.iter().map(|(&partition, &known)| Statement { partition, said: said(known) });
        // The marks come last: a log that is gone may have come again.
        let statements: Vec<Statement> = statements.chain(state.marks.write()).collect();
        let frame = encode_frame(state.sequence + 1, &statements);
        if let Err(source) = state.file.write_at(state.length, &[&frame]) {
            // What stands behind the last whole frame is unknown now; a later frame would not be read.
            state.failed = true;
            return Err(self.failure(source));
        }
        state.sequence += 1;
        state.length += u64::try_from(frame.len()).expect("a length fits in 64 bits");
        state.unsynced = true;
        Ok(())
    }

    fn sync(&self, state: &mut State) -> Result<(), FlushError> {
        if state.unsynced
            && let Err(source) = state.file.sync_data()
        {
            state.failed = true;
            return Err(self.failure(source));
        }
        state.unsynced = false;
        state.marks.synced();
        state.due = None;
        Ok(())
    }

    /// Writes the file anew with what is known now, instead of how it came to be known.
    fn rewrite_if_worth_it(&self, state: &mut State) -> Result<(), FlushError> {
        let frame = whole_frame(&state.known, &state.marks);
        let length = u64::try_from(frame.len()).expect("a length fits in 64 bits");
        if state.length < length.saturating_mul(REWRITE_FACTOR) {
            return Ok(());
        }
        let path = self.shared.root.join(FILE_NAME);
        let replaced = checkpoint::replace(&*self.shared.files, &path, &frame);
        match replaced.and_then(|()| self.shared.files.open(&path, OpenMode::Write)) {
            Ok(file) => state.file = file,
            Err(source) => {
                state.failed = true;
                return Err(self.failure(source));
            }
        }
        (state.length, state.sequence) = (length, 0);
        (state.unsynced, state.due) = (false, None);
        state.unwritten.clear();
        state.marks.rewritten();
        Ok(())
    }

    fn failure(&self, source: io::Error) -> FlushError {
        FlushError::Io { root: self.shared.root.clone(), source }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; were it so, the state is still that of the last whole step.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, FlushError> {
        let state = self.state();
        if state.failed {
            return Err(FlushError::Fenced { root: self.shared.root.clone() });
        }
        Ok(state)
    }
}

impl State {
    /// Notes that an order was carried out.
    fn note(&mut self, order: &FlushOrder, now: Now) -> Flushed {
        let flushed = Flushed { partition: order.partition, end: order.end, ticket: order.ticket };
        let attested;
        match self.known.get_mut(&order.partition) {
            Some(known) if known.incarnation == order.ticket.incarnation => {
                assert_eq!(order.attested.end.offset, order.end, "an order attests the end that it makes durable");
                attested = known.attested.map_or(order.attested, |before| order.attested.after(before));
                known.attested = Some(attested);
            }
            // Truncated or deleted while the group was being synced.
            Some(_) | None => return flushed,
        }
        let waits = 1 + u32::try_from(self.unwritten.len()).unwrap_or(u32::MAX) / STATEMENTS_PER_WAIT;
        let due = now.instant.plus(ATTEST_AFTER.saturating_mul(waits));
        self.state_by(self.due.unwrap_or(due), order.partition, Some(attested));
        flushed
    }

    fn state_by(&mut self, due: Instant, partition: PartitionId, attested: Option<Attested>) {
        self.unwritten.insert(partition, attested);
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
}

fn whole_frame(known: &BTreeMap<PartitionId, Known>, marks: &Marks) -> Vec<u8> {
    let attested = known.iter().filter_map(|(&partition, known)| {
        let said = Said::Attested(known.attested?);
        Some(Statement { partition, said })
    });
    let marks = marks.all().iter().map(|&partition| Statement { partition, said: Said::Volatile });
    let statements: Vec<Statement> = attested.chain(marks).collect();
    encode_frame(0, &statements)
}
