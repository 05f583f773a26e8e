//! Incremental fetch sessions (KIP-227): what a client has asked for stays here, so that it sends changes only and is
//! sent changes only.
//!
//! Called by `api/fetch.rs`. Invariants: at most `slots` sessions, of a bounded number of partitions together; a
//! session that is lost costs its client one full fetch, never records; a session advances only by the request whose
//! epoch it expects, and one such request is answered at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Instant, LeaderEpoch, Offset, TopicId, TopicName};

mod session;

use session::Session;

/// A session that was idle for this long makes room for any other; one that exists for this long, for a larger one.
const EVICTION_SPAN: Duration = Duration::from_secs(120);
/// What the sessions of all clients hold together; each partition takes half a kilobyte or so while it is read. Those
/// of followers are bounded by the replicas there are.
const CLIENT_PARTITIONS_MAX: usize = 1 << 18;
/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request without a session, which closes the one it names.
const FINAL_EPOCH: i32 = -1;
/// The id that names no session.
const NO_SESSION: i32 = 0;

/// A topic as the session's requests name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionTopic {
    /// Before version 13.
    Name(Arc<str>),
    /// From version 13 on.
    Id(TopicId),
}

/// A partition as the session's requests name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionPartition {
    /// The topic.
    pub topic: SessionTopic,
    /// The partition's number; perhaps one that does not exist.
    pub index: i32,
}

impl SessionPartition {
    /// Whether its topic's name is no longer than a name can be.
    fn may_exist(&self) -> bool {
        match &self.topic {
            SessionTopic::Name(name) => name.len() <= TopicName::LENGTH_MAX,
            SessionTopic::Id(_) => true,
        }
    }
}

/// What is to be read of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFetch {
    /// Which.
    pub partition: SessionPartition,
    /// From where.
    pub offset: Offset,
    /// The leader epoch that the client knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The epoch of the client's last record.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The CRC of a follower's last batch (rule R21).
    pub last_crc: Option<u32>,
    /// How much of it.
    pub bytes_max: usize,
}

/// The part of a Fetch request that concerns its session.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    /// The session; 0 for none.
    pub id: i32,
    /// Which request of it this is; 0 to begin one, -1 to do without.
    pub epoch: i32,
    /// Whether topics are named by id.
    pub by_id: bool,
    /// Whether a replica asks: its session is kept before those of clients.
    pub is_follower: bool,
    /// What is to be read; in a session, what is new or has changed.
    pub fetches: Vec<SessionFetch>,
    /// What is to be read no more.
    pub forgotten: Vec<SessionPartition>,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is none of that id, any more.
    #[error("there is no such fetch session")]
    NotFound,
    /// The session expects another request.
    #[error("the fetch session is at another epoch")]
    Epoch,
    /// The session names topics by id and the request by name, or the reverse.
    #[error("the fetch session names topics in another way")]
    TopicNaming,
}

/// What is told of a partition, as far as it decides whether it is told at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The high watermark; -1 with an error.
    pub high_watermark: Offset,
    /// The start of the log; -1 with an error.
    pub log_start: Offset,
    /// Whether there are records.
    pub has_records: bool,
    /// Whether it must be told whatever the client knows: an error, or where its log parts.
    pub is_urgent: bool,
    /// Whether it is an error.
    pub is_error: bool,
}

/// A fetch under way. While a session has one, it takes no other request.
#[derive(Debug)]
pub struct OpenFetch {
    /// What to read, in the order in which bytes are to be given.
    pub reads: Vec<SessionFetch>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sessionless,
    Beginning { is_follower: bool, by_id: bool },
    Going { id: i32, session: Arc<Mutex<Session>> },
}

/// How a fetch is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedFetch {
    /// The session; 0 for none.
    pub id: i32,
    /// What was read.
    pub reads: Vec<SessionFetch>,
    /// For each of the reads, whether it is told.
    pub is_told: Vec<bool>,
}

/// The sessions of this broker.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    client_partitions_max: usize,
    /// Guards the table; held for one look-up or one insertion, which walks the table only when it is full. Each
    /// session has a lock of its own, held while its partitions are walked.
    table: Mutex<HashMap<i32, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    session: Arc<Mutex<Session>>,
    is_follower: bool,
    partitions: usize,
    created: Instant,
    used: Instant,
}

impl Entry {
    /// The smaller goes first.
    fn worth(&self) -> (bool, usize) {
        (self.is_follower, self.partitions)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FetchSessions {
    /// No sessions yet, and never more than `slots`.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self::bounded(slots, CLIENT_PARTITIONS_MAX)
    }

    fn bounded(slots: usize, client_partitions_max: usize) -> Self {
        Self { slots, client_partitions_max, table: Mutex::default() }
    }

    /// Says what a request reads.
    ///
    /// # Errors
    /// When its session cannot go on: the client begins a new one.
    pub fn open(&self, request: SessionRequest, now: Instant) -> Result<OpenFetch, SessionError> {
        if request.epoch != INITIAL_EPOCH && request.epoch != FINAL_EPOCH {
            return self.go_on(request, now);
        }
        if request.id != NO_SESSION {
            lock(&self.table).remove(&request.id);
        }
        let kind = if request.epoch == FINAL_EPOCH {
            Kind::Sessionless
        } else {
            Kind::Beginning { is_follower: request.is_follower, by_id: request.by_id }
        };
        Ok(OpenFetch { reads: session::without_repeats(request.fetches), kind })
    }

    fn go_on(&self, request: SessionRequest, now: Instant) -> Result<OpenFetch, SessionError> {
        let session = self.take_turn(&request)?;
        let (reads, partitions) = {
            let mut open = lock(&session);
            open.advance(request.epoch, request.by_id)?;
            open.update(request.fetches, &request.forgotten);
            (open.reads(), open.len())
        };
        let mut table = lock(&self.table);
        if partitions == 0 {
            table.remove(&request.id);
            return Ok(OpenFetch { reads, kind: Kind::Sessionless });
        }
        if let Some(entry) = table.get_mut(&request.id) {
            entry.used = now;
            entry.partitions = partitions;
        }
        if !request.is_follower && client_partitions(&table) > self.client_partitions_max {
            table.remove(&request.id);
            return Err(SessionError::NotFound);
        }
        Ok(OpenFetch { reads, kind: Kind::Going { id: request.id, session } })
    }

    /// The session of a request, if no other request of it is being answered: each reads all that the session holds.
    fn take_turn(&self, request: &SessionRequest) -> Result<Arc<Mutex<Session>>, SessionError> {
        let mut table = lock(&self.table);
        let entry = table.get(&request.id).ok_or(SessionError::NotFound)?;
        if Arc::strong_count(&entry.session) > 1 {
            return Err(SessionError::Epoch);
        }
        if request.fetches.iter().all(|fetch| fetch.partition.may_exist()) {
            return Ok(Arc::clone(&entry.session));
        }
        table.remove(&request.id);
        Err(SessionError::NotFound)
    }

    /// Says what of `told`, one for each of the reads, the client is told. `random` names a new session.
    pub fn close(&self, fetch: OpenFetch, told: &[Told], now: Instant, random: u64) -> ClosedFetch {
        let OpenFetch { reads, kind } = fetch;
        assert_eq!(reads.len(), told.len(), "every read is answered");
        let all = vec![true; told.len()];
        let (id, is_told) = match kind {
            Kind::Sessionless => (NO_SESSION, all),
            Kind::Beginning { is_follower, by_id } => (self.begin(&reads, told, is_follower, by_id, now, random), all),
            Kind::Going { id, session } => (id, lock(&session).tell(&reads, told)),
        };
        ClosedFetch { id, reads, is_told }
    }

    fn begin(
        &self,
        reads: &[SessionFetch],
        told: &[Told],
        is_follower: bool,
        by_id: bool,
        now: Instant,
        random: u64,
    ) -> i32 {
        if !reads.iter().all(|read| read.partition.may_exist()) {
            return NO_SESSION;
        }
        let mut table = lock(&self.table);
        let partitions = told.len();
        let is_too_many = |table: &HashMap<i32, Entry>| {
            !is_follower && client_partitions(table) + partitions > self.client_partitions_max
        };
        if table.len() >= self.slots || is_too_many(&table) {
            // Nobody goes for a session that does not fit even so.
            let mut left = table.clone();
            while left.len() >= self.slots || is_too_many(&left) {
                if !make_room(&mut left, (is_follower, partitions), now) {
                    return NO_SESSION;
                }
            }
            *table = left;
        }
        let id = free_id(&table, random);
        let session = Arc::new(Mutex::new(Session::new(by_id, reads, told)));
        table.insert(id, Entry { session, is_follower, partitions, created: now, used: now });
        id
    }
}

fn client_partitions(table: &HashMap<i32, Entry>) -> usize {
    table.values().filter(|entry| !entry.is_follower).map(|entry| entry.partitions).sum()
}

/// Drops one session for a new one of that worth: the one idle for long, else the least worth among those that the
/// new one may displace. Followers displace any client's; anybody displaces a smaller one that exists for long.
fn make_room(table: &mut HashMap<i32, Entry>, worth: (bool, usize), now: Instant) -> bool {
    let is_old = |since: Instant| now.since(since) > EVICTION_SPAN;
    let idle = table.iter().min_by_key(|(id, entry)| (entry.used, **id)).filter(|(_, entry)| is_old(entry.used));
    let displaced = || {
        let may_go = |entry: &Entry| is_old(entry.created) || (worth.0 && !entry.is_follower);
        let candidates = table.iter().filter(|(_, entry)| may_go(entry));
        candidates.min_by_key(|(id, entry)| (entry.worth(), **id)).filter(|(_, entry)| entry.worth() < worth)
    };
    let Some(id) = idle.or_else(displaced).map(|(id, _)| *id) else { return false };
    table.remove(&id);
    true
}

/// A positive number that names no session yet. The table never holds all of them.
fn free_id(table: &HashMap<i32, Entry>, random: u64) -> i32 {
    let modulus = u64::from(i32::MAX.unsigned_abs());
    let mut id = i32::try_from(random % modulus).expect("a remainder by 2^31-1 fits in an i32") + 1;
    while table.contains_key(&id) {
        id = if id == i32::MAX { 1 } else { id + 1 };
    }
    id
}

#[cfg(test)]
mod tests;
