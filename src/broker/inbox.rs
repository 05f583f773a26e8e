//! What waits for a thread: a bounded queue that is emptied in one go.
//!
//! Called by whoever has an event for a shard or an order for a flusher; drained by their threads.
//! Invariant: what was pushed first is taken first, and nothing is dropped but by its receiver.

use std::mem;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The queue is at its bound; the caller answers "busy, try again".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the inbox holds {held} entries, its bound")]
pub(super) struct Full {
    /// How many entries wait.
    pub(super) held: usize,
}

/// A queue between many senders and one thread.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    /// Guards only the hand-over; nobody computes or does I/O while holding it.
    queue: Mutex<Queue<T>>,
    filled: Condvar,
    /// As `filled`, for an owner that is a task.
    #[cfg(feature = "sim")]
    ring: tokio::sync::Notify,
    entries_max: usize,
}

#[derive(Debug)]
struct Queue<T> {
    entries: Vec<T>,
    is_closed: bool,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// There may be entries; go on.
    Open,
    /// No more will come; the entries taken with this answer are the last.
    Closed,
}

impl<T> Inbox<T> {
    pub(super) fn new(entries_max: usize) -> Self {
        let queue = Queue { entries: Vec::new(), is_closed: false };
        Self {
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            #[cfg(feature = "sim")]
            ring: tokio::sync::Notify::new(),
            entries_max,
        }
    }

    fn wake(&self) {
        self.filled.notify_one();
        #[cfg(feature = "sim")]
        self.ring.notify_one();
    }

    /// Returns when something was added since this was last called, or the end was told. Cancel-safe.
    #[cfg(feature = "sim")]
    pub(super) async fn filled(&self) {
        self.ring.notified().await;
    }

    /// Adds an entry that its sender can do without.
    ///
    /// # Errors
    /// When the queue is at its bound.
    pub(super) fn offer(&self, entry: T) -> Result<(), Full> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.entries.len() >= self.entries_max {
            return Err(Full { held: queue.entries.len() });
        }
        queue.entries.push(entry);
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Adds an entry that must arrive: answers of flushes and orders, whose number other bounds limit.
    pub(super) fn push(&self, entry: T) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).entries.push(entry);
        self.wake();
    }

    /// Says that no more will come.
    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        self.wake();
    }

    /// Waits at most `longest` for entries and moves them all to the end of `into`.
    pub(super) fn take(&self, into: &mut Vec<T>, longest: Duration) -> Taken {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |queue: &mut Queue<T>| queue.entries.is_empty() && !queue.is_closed;
        let (mut queue, _) =
            self.filled.wait_timeout_while(queue, longest, idle).unwrap_or_else(PoisonError::into_inner);
        if into.is_empty() {
            mem::swap(into, &mut queue.entries);
        } else {
            into.append(&mut queue.entries);
        }
        if queue.is_closed { Taken::Closed } else { Taken::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_taken_in_order_and_refused_at_the_bound() {
        let inbox = Inbox::new(2);
        inbox.offer(1).expect("there is room");
        inbox.offer(2).expect("there is room");
        assert_eq!(inbox.offer(3), Err(Full { held: 2 }));
        inbox.push(4);
        let mut taken = Vec::new();
        assert_eq!(inbox.take(&mut taken, Duration::ZERO), Taken::Open);
        assert_eq!(taken, [1, 2, 4]);
    }

    #[test]
    fn a_closed_inbox_gives_what_it_holds_and_says_so() {
        let inbox = Inbox::new(2);
        inbox.push('a');
        inbox.close();
        let mut taken = Vec::new();
        assert_eq!(inbox.take(&mut taken, Duration::from_secs(60)), Taken::Closed);
        assert_eq!(taken, ['a']);
    }
}
