//! The raft log and the vote: openraft's storage trait in front, one owner thread behind it.
//!
//! Called by openraft. The thread serialises everything that is written, votes and entries alike, in the order in
//! which openraft asked; reads queue behind the writes they must see.
//! Invariants: the callback of an append runs after its flush; a recovered tail is flushed before it counts (rule S1);
//! after a failed write the thread answers nothing but errors, so that the raft core dies and the process aborts.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, ControlFlow, RangeBounds};
use std::time::Duration;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{RaftLogReader, StorageIOError};
use tokio::sync::{mpsc, oneshot};

use super::entry_log::{Encoded, EntryLog, EntryLogError};
use super::envelope::{self, EnvelopeError, Kind};
use super::metadata_store::{LogBounds, StoreHandle};
use super::types::{LogId, Raft, RaftEntry, StorageError, Vote};
use super::vote::{SmallFileError, SmallFiles};
use crate::probe::{Mutant, planted};
use crate::threads;

/// Orders that wait for the thread. openraft has few in flight; a full queue makes its tasks wait.
const ORDERS_MAX: usize = 64;
/// Entries kept in memory, for followers and for apply, which both read what was just written.
const CACHED_ENTRIES_MAX: usize = 1024;
/// And their bytes.
const CACHED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How often the log may rest.
const REST_PAUSE: Duration = Duration::from_millis(100);
/// An append request carries at most this much, or one entry (rule S14).
const APPEND_BYTES_MAX: usize = 128 * 1024;

/// Why the log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// The log itself.
    #[error(transparent)]
    Log(#[from] EntryLogError),
    /// The vote or the purge point.
    #[error(transparent)]
    SmallFile(#[from] SmallFileError),
    /// An entry is not what was written.
    #[error("entry {index} of the metadata log: {reason}")]
    Entry {
        /// Where.
        index: u64,
        /// What is wrong.
        reason: String,
    },
    /// A hint could not be written.
    #[error("the commit hint: {0}")]
    Hint(#[source] io::Error),
    /// The thread has ended, after an earlier failure or at stop.
    #[error("the metadata log is closed")]
    Closed,
}

type Answer<T> = oneshot::Sender<Result<T, LogStoreError>>;

enum Order {
    State(Answer<LogState<Raft>>),
    Append(Vec<RaftEntry>, LogFlushed<Raft>),
    Read { from: u64, end: u64, bytes_max: usize, answer: Answer<Vec<RaftEntry>> },
    Truncate(u64, Answer<()>),
    Purge(LogId, Answer<()>),
    SaveVote(Vote, Answer<()>),
    ReadVote(Answer<Option<Vote>>),
    SaveCommitted(Option<LogId>, Answer<()>),
    ReadCommitted(Answer<Option<LogId>>),
    Rest,
}

/// A handle on the log; openraft's storage and reader in one.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    orders: mpsc::Sender<Order>,
    /// Made durable before a purge.
    store: Option<StoreHandle>,
}

impl LogStore {
    /// Starts the owner thread. It ends when the last handle is dropped.
    ///
    /// # Errors
    /// When the recovered tail cannot be made durable, or an entry at either end cannot be read.
    pub(crate) fn start(log: Box<dyn EntryLog>, small: SmallFiles) -> Result<(Self, LogBounds), LogStoreError> {
        let mut owner = Owner { log, small, cache: Cache::default(), purged: None, last: None };
        owner.recover()?;
        let bounds = LogBounds { start: owner.log.start(), end: owner.log.end() };
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        threads::serve("quorum-log", inbox, move |order| owner.obey(order));
        Ok((Self { orders, store: None }, bounds))
    }

    /// The same, with the store that must be durable before a purge.
    pub(crate) fn with_store(mut self, store: StoreHandle) -> Self {
        self.store = Some(store);
        self
    }

    /// Lets the log pay what it owes the disk, for as long as the quorum runs.
    pub(crate) async fn rest_regularly(self) {
        while self.orders.send(Order::Rest).await.is_ok() {
            tokio::time::sleep(REST_PAUSE).await;
        }
    }

    async fn ask<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> Result<T, LogStoreError> {
        let (answer, reply) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| LogStoreError::Closed)?;
        reply.await.map_err(|_| LogStoreError::Closed)?
    }

    async fn read(&self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<RaftEntry>, StorageError> {
        if from >= end {
            return Ok(Vec::new());
        }
        self.ask(|answer| Order::Read { from, end, bytes_max, answer })
            .await
            .map_err(|e| StorageIOError::read_log_at_index(from, &e).into())
    }
}

impl RaftLogReader<Raft> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<RaftEntry>, StorageError>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index + 1,
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, StorageError> {
        let bytes_max = if planted(Mutant::AppendsUnbounded) { usize::MAX } else { APPEND_BYTES_MAX };
        self.read(start, end, bytes_max).await
    }
}

impl RaftLogStorage<Raft> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Raft>, StorageError> {
        self.ask(Order::State).await.map_err(|e| StorageIOError::read_logs(&e).into())
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        self.ask(|answer| Order::SaveVote(vote, answer)).await.map_err(|e| StorageIOError::write_vote(&e).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.ask(Order::ReadVote).await.map_err(|e| StorageIOError::read_vote(&e).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.ask(|answer| Order::SaveCommitted(committed, answer)).await.map_err(|e| StorageIOError::write(&e).into())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        self.ask(Order::ReadCommitted).await.map_err(|e| StorageIOError::read(&e).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Raft>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        // Readable once queued: every read queues behind it.
        let order = Order::Append(entries.into_iter().collect(), callback);
        self.orders.send(order).await.map_err(|_| StorageIOError::write_logs(&LogStoreError::Closed).into())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.ask(|answer| Order::Truncate(log_id.index, answer))
            .await
            .map_err(|e| StorageIOError::write_logs(&e).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        // What is purged must not be needed again: the metadata store is made durable first; the snapshot
        // was when it was built.
        if let Some(store) = &self.store {
            store.make_durable().await;
        }
        self.ask(|answer| Order::Purge(log_id, answer)).await.map_err(|e| StorageIOError::write_logs(&e).into())
    }
}

/// The newest entries, consecutive, with their encoded sizes.
#[derive(Default)]
struct Cache {
    entries: VecDeque<(RaftEntry, usize)>,
    bytes: usize,
}

impl Cache {
    fn push(&mut self, entry: RaftEntry, size: usize) {
        if self.entries.back().is_some_and(|(last, _)| last.log_id.index + 1 != entry.log_id.index) {
            *self = Self::default();
        }
        self.entries.push_back((entry, size));
        self.bytes += size;
        while self.entries.len() > CACHED_ENTRIES_MAX || self.bytes > CACHED_BYTES_MAX && self.entries.len() > 1 {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some((_, size)) = self.entries.pop_front() {
            self.bytes -= size;
        }
    }

    fn truncate(&mut self, end: u64) {
        while self.entries.back().is_some_and(|(last, _)| last.log_id.index >= end) {
            let (_, size) = self.entries.pop_back().expect("there is a last one");
            self.bytes -= size;
        }
    }

    fn purge(&mut self, start: u64) {
        while self.entries.front().is_some_and(|(first, _)| first.log_id.index < start) {
            self.pop_front();
        }
    }

    /// Entries from `from`, if it is cached: at least one, at most `bytes_max`, below `end`.
    fn read(&self, from: u64, end: u64, bytes_max: usize) -> Option<Vec<RaftEntry>> {
        let first = self.entries.front()?.0.log_id.index;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut found = Vec::new();
        let mut bytes = 0usize;
        for (entry, size) in self.entries.iter().skip(skip).take_while(|(entry, _)| entry.log_id.index < end) {
            bytes = bytes.saturating_add(*size);
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }
}

/// The thread's state.
struct Owner {
    log: Box<dyn EntryLog>,
    small: SmallFiles,
    cache: Cache,
    purged: Option<LogId>,
    last: Option<LogId>,
}

impl Owner {
    fn recover(&mut self) -> Result<(), LogStoreError> {
        // Rule S1: the recovered tail counts as our own acknowledgement as soon as openraft sees it.
        if !planted(Mutant::RecoveredQuorumCounts) {
            self.log.flush()?;
        }
        self.purged = self.small.read_purged()?;
        let first = self.purged.map_or(0, |purged| purged.index + 1);
        if first > self.log.start() {
            // A crash fell between the noted purge point and the purge.
            self.log.purge(first)?;
        }
        self.last = match self.log.end().checked_sub(1).filter(|&last| last >= self.log.start()) {
            None => self.purged,
            Some(last) => self.read(last, last + 1, usize::MAX)?.first().map(|entry| entry.log_id),
        };
        Ok(())
    }

    fn obey(&mut self, order: Order) -> ControlFlow<()> {
        if let Err(error) = self.carry_out(order) {
            tracing::error!(%error, "the metadata log failed; nothing more is written to it");
            // The end of the inbox answers every later order with `Closed`.
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Carries out one order. An error ends the thread: after a failed write the disk's content is unknown.
    fn carry_out(&mut self, order: Order) -> Result<(), LogStoreError> {
        match order {
            Order::State(answer) => {
                let state = LogState { last_purged_log_id: self.purged, last_log_id: self.last };
                reply(answer, Ok(state))
            }
            Order::Append(entries, callback) => {
                let result = self.append(entries);
                let told = result.as_ref().map_err(|e| io::Error::other(e.to_string()));
                callback.log_io_completed(told.copied());
                result
            }
            Order::Read { from, end, bytes_max, answer } => {
                // A failed read poisons nothing: openraft decides what it means.
                let _ = answer.send(self.read(from, end, bytes_max));
                Ok(())
            }
            Order::Truncate(end, answer) => {
                let result = self.truncate(end);
                reply(answer, result)
            }
            Order::Purge(upto, answer) => {
                let result = self.purge(upto);
                reply(answer, result)
            }
            Order::SaveVote(vote, answer) => reply(answer, self.small.save_vote(&vote).map_err(Into::into)),
            Order::ReadVote(answer) => reply(answer, self.small.read_vote().map_err(Into::into)),
            Order::SaveCommitted(committed, answer) => {
                reply(answer, self.small.save_committed(committed).map_err(LogStoreError::Hint))
            }
            Order::ReadCommitted(answer) => reply(answer, Ok(self.small.read_committed())),
            Order::Rest => self.log.rest().map_err(Into::into),
        }
    }

    fn append(&mut self, entries: Vec<RaftEntry>) -> Result<(), LogStoreError> {
        let frames = entries.iter().map(encode_entry).collect::<Result<Vec<_>, _>>()?;
        let encoded: Vec<Encoded<'_>> = entries
            .iter()
            .zip(&frames)
            .map(|(entry, bytes)| Encoded { index: entry.log_id.index, term: entry.log_id.leader_id.term, bytes })
            .collect();
        let first = encoded.first().map_or(self.log.end(), |entry| entry.index);
        if self.log.start() == self.log.end() && first > self.log.end() {
            // An empty log begins where its first entry is.
            self.log.purge(first)?;
        }
        self.log.append(&encoded)?;
        self.log.flush()?;
        for (entry, frame) in entries.into_iter().zip(&frames) {
            self.last = Some(entry.log_id);
            self.cache.push(entry, frame.len());
        }
        Ok(())
    }

    fn read(&mut self, from: u64, end: u64, bytes_max: usize) -> Result<Vec<RaftEntry>, LogStoreError> {
        let mut next = from.max(self.log.start());
        let end = end.min(self.log.end());
        let mut found: Vec<RaftEntry> = Vec::new();
        while next < end {
            if let Some(cached) = self.cache.read(next, end, bytes_max) {
                // With a bound, what was read from disk so far is enough of an answer.
                if found.is_empty() || bytes_max == usize::MAX {
                    found.extend(cached);
                }
                return Ok(found);
            }
            let cached_from = self.cache.entries.front().map_or(end, |(entry, _)| entry.log_id.index.min(end));
            for frame in self.log.read(next, cached_from, bytes_max.min(CACHED_BYTES_MAX))? {
                found.push(decode_entry(next, &frame)?);
                next += 1;
            }
            if bytes_max != usize::MAX {
                return Ok(found);
            }
        }
        Ok(found)
    }

    fn truncate(&mut self, end: u64) -> Result<(), LogStoreError> {
        if end >= self.log.end() {
            return Ok(());
        }
        self.cache.truncate(end);
        self.log.truncate(end)?;
        self.last = match end.checked_sub(1).filter(|&last| last >= self.log.start()) {
            None => self.purged,
            Some(last) => self.read(last, end, usize::MAX)?.first().map(|entry| entry.log_id),
        };
        Ok(())
    }

    fn purge(&mut self, upto: LogId) -> Result<(), LogStoreError> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(());
        }
        self.small.save_purged(&upto)?;
        self.purged = Some(upto);
        self.cache.purge(upto.index + 1);
        self.log.purge(upto.index + 1)?;
        if self.last.is_none_or(|last| last.index <= upto.index) {
            self.last = Some(upto);
        }
        Ok(())
    }
}

/// Answers, and hands a failure on to the thread as well.
fn reply<T>(answer: Answer<T>, result: Result<T, LogStoreError>) -> Result<(), LogStoreError> {
    match result {
        Ok(value) => {
            let _ = answer.send(Ok(value));
            Ok(())
        }
        Err(error) => {
            let told = LogStoreError::Entry { index: 0, reason: error.to_string() };
            let _ = answer.send(Err(told));
            Err(error)
        }
    }
}

fn encode_entry(entry: &RaftEntry) -> Result<Vec<u8>, LogStoreError> {
    let index = entry.log_id.index;
    envelope::encode(Kind::Entry, entry).map_err(|e| LogStoreError::Entry { index, reason: e.to_string() })
}

pub(super) fn decode_entry(index: u64, frame: &[u8]) -> Result<RaftEntry, LogStoreError> {
    let broken = |reason: String| LogStoreError::Entry { index, reason };
    let entry: RaftEntry = envelope::decode(Kind::Entry, frame).map_err(|e: EnvelopeError| broken(e.to_string()))?;
    if entry.log_id.index != index {
        return Err(broken(format!("holds entry {}", entry.log_id.index)));
    }
    Ok(entry)
}
