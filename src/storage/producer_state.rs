//! What a log remembers of the producers that write to it: the reason why a retry is not a duplicate (KIP-98).
//!
//! Pure. Called by `log` before and after each append, and by `recover`. Invariant: a producer's batches are its last
//! five at most, oldest first, all of its current epoch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use crate::probe::{Mark, Mutant, mark, planted};
use crate::records::{Header, Marker};

use super::error::ProducerRefusal;

/// How many of a producer's last batches are told from new ones when they come again; clients have at most five
/// requests in flight.
pub(super) const BATCHES_MAX: usize = 5;

/// "No epoch" of a producer known only from elsewhere.
const EPOCH_NONE: ProducerEpoch = ProducerEpoch::new(-1);

/// One remembered batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The sequence of its first record.
    pub first: Sequence,
    /// The sequence of its last record.
    pub last: Sequence,
    /// The offset of its first record.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its largest timestamp.
    pub timestamp: Timestamp,
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its newest epoch.
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator whose marker came last; -1 before the first.
    pub coordinator_epoch: i32,
    /// The timestamp of its last batch or marker.
    pub last_timestamp: Timestamp,
    /// Where its open transaction starts here.
    pub transaction_start: Option<Offset>,
    /// Its last batches, oldest first.
    pub batches: VecDeque<ProducerBatch>,
}

impl Producer {
    pub(super) fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            transaction_start: None,
            batches: VecDeque::new(),
        }
    }

    pub(super) fn remember(&mut self, batch: ProducerBatch) {
        if self.batches.len() == BATCHES_MAX || planted(Mutant::OnlyLastBatchKnown) {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
        self.last_timestamp = batch.timestamp;
    }

    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// All producers of one log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Producers {
    entries: BTreeMap<ProducerId, Producer>,
}

impl Producers {
    /// Every producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.entries.iter().map(|(id, producer)| (*id, producer))
    }

    /// One producer.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&Producer> {
        self.entries.get(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The start of the oldest open transaction.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        self.entries.values().filter_map(|p| p.transaction_start).min()
    }

    /// Judges a batch that the leader is about to append: `Some` is the batch that it repeats.
    ///
    /// # Errors
    /// See [`ProducerRefusal`].
    pub fn check(&self, header: &Header) -> Result<Option<ProducerBatch>, ProducerRefusal> {
        let producer = header.producer_id;
        let Some(known) = self.entries.get(&producer).filter(|_| header.has_producer()) else { return Ok(None) };
        let (given, first, last) = (header.producer_epoch, header.base_sequence, header.last_sequence());
        if given < known.epoch && !planted(Mutant::OldProducerHeard) {
            return Err(ProducerRefusal::Fenced { producer, given, current: known.epoch });
        }
        if given == known.epoch
            && let Some(same) = known.batches.iter().find(|b| b.first == first && b.last == last)
        {
            return Ok(Some(*same));
        }
        if known.transaction_start.is_some() && !header.is_transactional() {
            return Err(ProducerRefusal::InTransaction { producer });
        }
        let expected = match known.batches.back() {
            Some(last) if given == known.epoch => last.last.plus(1),
            Some(_) | None => Sequence::new(0),
        };
        if first != expected && known.epoch != EPOCH_NONE && !planted(Mutant::SequenceGapTaken) {
            mark(Mark::SequenceRefused);
            return Err(ProducerRefusal::OutOfOrder { producer, given: first, expected: Some(expected) });
        }
        Ok(None)
    }

    /// Judges a marker that the leader is about to append.
    ///
    /// # Errors
    /// An older epoch of the producer, or an older coordinator.
    pub fn check_marker(&self, header: &Header, marker: Marker) -> Result<(), ProducerRefusal> {
        let producer = header.producer_id;
        let Some(known) = self.entries.get(&producer) else { return Ok(()) };
        if header.producer_epoch < known.epoch {
            return Err(ProducerRefusal::Fenced { producer, given: header.producer_epoch, current: known.epoch });
        }
        let (given, current) = (marker.coordinator_epoch.get(), known.coordinator_epoch);
        if given < current {
            return Err(ProducerRefusal::CoordinatorFenced { producer, given, current });
        }
        Ok(())
    }

    /// Notes a batch of records that is in the log now, whatever `check` would have said: a follower has no say.
    pub fn apply(&mut self, header: &Header) {
        if !header.has_producer() {
            return;
        }
        let producer = self.entries.entry(header.producer_id).or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter(header.producer_epoch);
        producer.remember(ProducerBatch {
            first: header.base_sequence,
            last: header.last_sequence(),
            base: header.base_offset,
            end: header.next_offset(),
            timestamp: header.max_timestamp,
        });
        if header.is_transactional() {
            producer.transaction_start.get_or_insert(header.base_offset);
        }
    }

    /// Notes a marker that is in the log now. Returns where the transaction that it ends had started.
    pub fn apply_marker(&mut self, header: &Header, marker: Marker) -> Option<Offset> {
        if !header.has_producer() {
            return None;
        }
        let producer = self.entries.entry(header.producer_id).or_insert_with(|| Producer::new(header.producer_epoch));
        producer.enter(header.producer_epoch);
        producer.coordinator_epoch = marker.coordinator_epoch.get();
        producer.last_timestamp = header.max_timestamp;
        producer.transaction_start.take()
    }

    /// Forgets who has been silent for `span` and has no open transaction. Returns how many.
    pub fn expire(&mut self, now: Timestamp, span: Duration) -> usize {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let before = self.entries.len();
        self.entries
            .retain(|_, p| p.transaction_start.is_some() || now.get().saturating_sub(p.last_timestamp.get()) < span);
        before - self.entries.len()
    }

    /// The entry to fill while a snapshot is read.
    pub(super) fn entry(&mut self, id: ProducerId, epoch: ProducerEpoch) -> &mut Producer {
        self.entries.entry(id).or_insert_with(|| Producer::new(epoch))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{CoordinatorEpoch, LeaderEpoch};
    use crate::records::MarkerKind;

    pub(in crate::storage) fn header(producer: i64, epoch: i16, first: i32, count: i32, base: i64) -> Header {
        Header {
            base_offset: Offset::new(base),
            length: 49,
            leader_epoch: LeaderEpoch::new(0),
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: Timestamp::new(base),
            max_timestamp: Timestamp::new(base),
            producer_id: ProducerId::new(producer),
            producer_epoch: ProducerEpoch::new(epoch),
            base_sequence: Sequence::new(first),
            record_count: count,
        }
    }

    pub(in crate::storage) fn transactional(mut header: Header) -> Header {
        header.attributes |= 1 << 4;
        header
    }

    fn with(headers: &[Header]) -> Producers {
        let mut producers = Producers::default();
        headers.iter().for_each(|h| producers.apply(h));
        producers
    }

    fn expected(producers: &Producers, header: Header) -> Option<i32> {
        match producers.check(&header) {
            Err(ProducerRefusal::OutOfOrder { expected, .. }) => expected.map(Sequence::get),
            other => panic!("out of order was due, not {other:?}"),
        }
    }

    #[test]
    fn each_of_the_last_five_batches_is_known_when_it_comes_again() {
        let all: Vec<Header> = (0..6).map(|i| header(7, 0, 10 * i, 10, i64::from(100 * i))).collect();
        let producers = with(&all);
        for (i, again) in all.iter().enumerate().skip(1) {
            let found = producers.check(again).unwrap().unwrap();
            assert_eq!(found.base, Offset::new(100 * i64::try_from(i).unwrap()));
        }
        assert_eq!(expected(&producers, all[0]), Some(60));
        assert_eq!(producers.check(&header(7, 0, 60, 1, 0)), Ok(None));
    }

    #[test]
    fn a_gap_and_an_overlap_are_out_of_order() {
        let producers = with(&[header(7, 0, 0, 10, 0)]);
        assert_eq!(expected(&producers, header(7, 0, 11, 1, 0)), Some(10));
        assert_eq!(expected(&producers, header(7, 0, 0, 5, 0)), Some(10));
        assert_eq!(expected(&producers, header(7, 0, 5, 10, 0)), Some(10));
    }

    #[test]
    fn a_sequence_goes_on_at_zero_after_the_largest() {
        let producers = with(&[header(7, 0, i32::MAX, 1, 0)]);
        assert_eq!(producers.check(&header(7, 0, 0, 1, 0)), Ok(None));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old() {
        let mut producers = with(&[header(7, 1, 0, 10, 0)]);
        assert_eq!(expected(&producers, header(7, 2, 10, 1, 0)), Some(0));
        producers.apply(&header(7, 2, 0, 1, 10));
        let refused = producers.check(&header(7, 1, 10, 1, 0));
        let (given, current) = (ProducerEpoch::new(1), ProducerEpoch::new(2));
        assert_eq!(refused, Err(ProducerRefusal::Fenced { producer: ProducerId::new(7), given, current }));
        assert_eq!(producers.get(ProducerId::new(7)).unwrap().batches.len(), 1);
    }

    #[test]
    fn a_late_retry_of_a_producers_earlier_epoch_is_not_taken_for_a_new_batch() {
        let appended = header(7, 1, 0, 10, 0);
        let producers = with(&[appended, header(7, 2, 0, 1, 10)]);
        let (given, current) = (ProducerEpoch::new(1), ProducerEpoch::new(2));
        let fenced = ProducerRefusal::Fenced { producer: ProducerId::new(7), given, current };
        assert_eq!(producers.check(&appended), Err(fenced));
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere_and_one_without_id_always() {
        let producers = with(&[header(-1, -1, -1, 3, 0)]);
        assert!(producers.is_empty());
        assert_eq!(producers.check(&header(9, 4, 77, 1, 0)), Ok(None));
        assert_eq!(producers.check(&header(-1, -1, -1, 1, 0)), Ok(None));
    }

    #[test]
    fn a_marker_closes_the_transaction_and_an_older_coordinator_is_fenced() {
        let mut producers = with(&[transactional(header(7, 0, 0, 1, 40)), transactional(header(7, 0, 1, 1, 41))]);
        assert_eq!(producers.first_unstable(), Some(Offset::new(40)));
        let plain = producers.check(&header(7, 0, 2, 1, 42));
        assert_eq!(plain, Err(ProducerRefusal::InTransaction { producer: ProducerId::new(7) }));
        let marker = |epoch| Marker { kind: MarkerKind::Commit, coordinator_epoch: CoordinatorEpoch::new(epoch) };
        let end = transactional(header(7, 0, -1, 1, 42));
        assert_eq!(producers.check_marker(&end, marker(3)), Ok(()));
        assert_eq!(producers.apply_marker(&end, marker(3)), Some(Offset::new(40)));
        assert_eq!(producers.first_unstable(), None);
        let refusal = ProducerRefusal::CoordinatorFenced { producer: ProducerId::new(7), given: 2, current: 3 };
        assert_eq!(producers.check_marker(&end, marker(2)), Err(refusal));
        assert_eq!(producers.check(&header(7, 0, 2, 1, 43)), Ok(None));
    }

    #[test]
    fn the_silent_are_forgotten_but_not_with_an_open_transaction() {
        let mut producers = with(&[header(1, 0, 0, 1, 10), transactional(header(2, 0, 0, 1, 10))]);
        assert_eq!(producers.expire(Timestamp::new(109), Duration::from_millis(100)), 0);
        assert_eq!(producers.expire(Timestamp::new(110), Duration::from_millis(100)), 1);
        assert!(producers.get(ProducerId::new(2)).is_some());
    }
}
