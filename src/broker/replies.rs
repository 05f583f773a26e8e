//! Who waits for a shard: requests by ticket, parked reads by watch.
//!
//! Called by the façade (which opens them) and by the shard threads (which resolve them).
//! Invariant: a ticket is resolved at most once; one whose request was dropped resolves into nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::machines::replication::Ticket;
use crate::partition::{Reply, WatchId};

/// The open tickets of one shard.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Guards the table only; held for one insertion or removal. Its size is bounded by the shard's inbox and by the
    /// waiters that each partition admits.
    open: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    next: AtomicU64,
}

impl Replies {
    /// A new ticket and where its reply arrives.
    pub(super) fn open(&self) -> (Ticket, oneshot::Receiver<Reply>) {
        let (sender, receiver) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        (Ticket(number), receiver)
    }

    /// Hands a reply to whoever waits for it.
    pub(super) fn resolve(&self, ticket: Ticket, reply: Reply) {
        let sender = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.0);
        if let Some(sender) = sender {
            // The request may be gone with its connection: then nobody is told.
            let _ = sender.send(reply);
        }
    }

    /// Takes a ticket back that was never handed to the shard.
    pub(super) fn withdraw(&self, ticket: Ticket) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket.0);
    }
}

/// The parked reads of this broker, over all shards.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Guards the table only. Bounded by the number of connections, as each parks at most one read.
    parked: Mutex<HashMap<WatchId, Arc<Notify>>>,
    next: AtomicU64,
}

/// A parked read; forgotten when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) id: WatchId,
    watches: Arc<Watches>,
    woken: Arc<Notify>,
}

impl Watches {
    /// A watch that several shards may be given.
    pub(super) fn open(self: &Arc<Self>) -> Watch {
        let id = WatchId(self.next.fetch_add(1, Ordering::Relaxed));
        let woken = Arc::new(Notify::new());
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&woken));
        Watch { id, watches: Arc::clone(self), woken }
    }

    /// Wakes a parked read, if it still waits.
    pub(super) fn wake(&self, id: WatchId) {
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(woken) = parked {
            woken.notify_one();
        }
    }
}

impl Watch {
    /// Returns when some shard has woken it since the last return.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watches.parked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
