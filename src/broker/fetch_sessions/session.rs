//! One fetch session: its partitions in their order, and what its client knows of each.
//!
//! Invariant: `order` holds each place once and names the partitions of `by_place`; `places` finds them.

use std::collections::{BTreeMap, HashMap};

use super::{SessionError, SessionFetch, SessionPartition, Told};
use crate::model::Offset;
use crate::probe::{Mutant, planted};

/// What the client cannot know, so that the next answer is told.
const UNKNOWN: Offset = Offset::new(-1);

#[derive(Debug)]
pub(super) struct Session {
    by_id: bool,
    /// The epoch of the next request.
    epoch: i32,
    /// Partitions by their place in the order of service; one that was served gets a place behind all others.
    by_place: BTreeMap<u64, Cached>,
    places: HashMap<SessionPartition, u64>,
    next_place: u64,
}

#[derive(Debug)]
struct Cached {
    fetch: SessionFetch,
    high_watermark: Offset,
    log_start: Offset,
}

/// Of several fetches of one partition the last counts, at the place of the first.
pub(super) fn without_repeats(fetches: Vec<SessionFetch>) -> Vec<SessionFetch> {
    let mut places: HashMap<SessionPartition, usize> = HashMap::with_capacity(fetches.len());
    let mut kept: Vec<SessionFetch> = Vec::with_capacity(fetches.len());
    for fetch in fetches {
        match places.get(&fetch.partition) {
            Some(place) => kept[*place] = fetch,
            None => {
                places.insert(fetch.partition.clone(), kept.len());
                kept.push(fetch);
            }
        }
    }
    kept
}

impl Session {
    pub(super) fn new(by_id: bool, reads: &[SessionFetch], told: &[Told]) -> Self {
        let mut session = Self { by_id, epoch: 1, by_place: BTreeMap::new(), places: HashMap::new(), next_place: 0 };
        for (fetch, told) in reads.iter().zip(told) {
            session.put(Cached {
                fetch: fetch.clone(),
                high_watermark: if told.is_error { UNKNOWN } else { told.high_watermark },
                log_start: told.log_start,
            });
        }
        session
    }

    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    /// Takes the request of that epoch, once.
    pub(super) fn advance(&mut self, epoch: i32, by_id: bool) -> Result<(), SessionError> {
        if epoch != self.epoch {
            return Err(SessionError::Epoch);
        }
        if by_id != self.by_id {
            return Err(SessionError::TopicNaming);
        }
        self.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        Ok(())
    }

    pub(super) fn update(&mut self, fetches: Vec<SessionFetch>, forgotten: &[SessionPartition]) {
        for fetch in fetches {
            let place = self.places.get(&fetch.partition);
            match place.and_then(|place| self.by_place.get_mut(place)) {
                Some(_) if planted(Mutant::SessionKeepsPosition) => {}
                Some(cached) => cached.fetch = fetch,
                None => self.put(Cached { fetch, high_watermark: UNKNOWN, log_start: UNKNOWN }),
            }
        }
        for partition in forgotten {
            if let Some(place) = self.places.remove(partition) {
                self.by_place.remove(&place);
            }
        }
    }

    pub(super) fn reads(&self) -> Vec<SessionFetch> {
        self.by_place.values().map(|cached| cached.fetch.clone()).collect()
    }

    /// Which answers the client does not know yet; those with records go to the end of the order, so that all get
    /// their turn.
    pub(super) fn tell(&mut self, reads: &[SessionFetch], told: &[Told]) -> Vec<bool> {
        reads.iter().zip(told).map(|(fetch, told)| self.tell_one(&fetch.partition, told)).collect()
    }

    fn tell_one(&mut self, partition: &SessionPartition, told: &Told) -> bool {
        let Some(place) = self.places.get(partition).copied() else { return true };
        let cached = self.by_place.get_mut(&place).expect("every place is of a partition");
        let is_news = cached.high_watermark != told.high_watermark || cached.log_start != told.log_start;
        // After an error the client is told again what it knew before.
        cached.high_watermark = if told.is_error { UNKNOWN } else { told.high_watermark };
        cached.log_start = told.log_start;
        if told.has_records {
            let cached = self.by_place.remove(&place).expect("every place is of a partition");
            self.put(cached);
        }
        told.has_records || told.is_urgent || told.is_error || is_news
    }

    #[cfg(test)]
    pub(super) fn set_epoch(&mut self, epoch: i32) {
        self.epoch = epoch;
    }

    fn put(&mut self, cached: Cached) {
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(cached.fetch.partition.clone(), place);
        self.by_place.insert(place, cached);
    }
}
