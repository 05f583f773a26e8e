//! What becomes of a batch in a round of compaction.
//!
//! Pure. Used by `job`. Invariant: the last value of each key stays, and a tombstone until its horizon; of a producer the
//! batches stay that it may send again, and of a round the last batch, all empty if need be. (Kafka's `cleanInto` keeps a
//! producer's last one only: who copies the log then takes the others a second time.)

use std::collections::BTreeMap;

use crate::model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::probe::{Mutant, planted};
use crate::records::{Batch, KeyedRecord, MarkerKind, RecordError, Thinned, Thinning};
use crate::storage::producer_state::Producers;

use super::key_map::KeyMap;

/// The last that a producer wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastWrite {
    /// Where its last batches of records end (rule S8); none when only markers are known of it.
    ends: Vec<Offset>,
    epoch: ProducerEpoch,
}

/// The last of each producer that is known.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWrites {
    of: BTreeMap<ProducerId, LastWrite>,
}

impl LastWrites {
    pub(super) fn of(producers: &Producers) -> Self {
        let last = |known: &crate::storage::Producer| LastWrite {
            ends: known.batches.iter().map(|batch| batch.end).collect(),
            epoch: known.epoch,
        };
        Self { of: producers.iter().map(|(id, known)| (id, last(known))).collect() }
    }

    /// Whether this batch is among a producer's last.
    fn holds(&self, batch: &Batch) -> bool {
        let header = batch.header();
        self.of.get(&header.producer_id).filter(|_| header.has_producer()).is_some_and(|last| match &last.ends[..] {
            [] => header.is_control() && header.producer_epoch == last.epoch,
            ends => ends.contains(&header.next_offset()),
        })
    }
}

/// What a round knows when it comes to a batch.
pub(super) struct Judge<'a> {
    pub(super) keys: &'a KeyMap,
    pub(super) lasts: &'a LastWrites,
    /// Where the round ends: what lies behind is not looked at.
    pub(super) end: Offset,
    pub(super) now: Timestamp,
    /// Of a tombstone that a round meets for the first time.
    pub(super) horizon: Timestamp,
}

/// What is known of a batch beyond its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Records that count.
    Counts,
    /// Records of a transaction that was aborted.
    Aborted,
    /// A marker whose records are there.
    Marker(MarkerKind),
    /// A marker that has lost all its records.
    SpentMarker(MarkerKind),
    /// A control batch that says nothing to a partition, or was emptied.
    Control,
}

impl Judge<'_> {
    /// What of a batch stays; `None` when nothing does.
    pub(super) fn judge(&self, batch: &Batch, standing: Standing) -> Result<Option<Batch>, RecordError> {
        if batch.base_offset() >= self.end {
            return Ok(Some(batch.clone()));
        }
        let header = batch.header();
        let is_due =
            header.delete_horizon().is_some_and(|horizon| horizon <= self.now) || planted(Mutant::TombstoneGoesAtOnce);
        let thinned = match standing {
            Standing::Counts => {
                let keeps_tombstones = !is_due;
                let mut keeps = |record: &KeyedRecord| self.keeps(record, keeps_tombstones);
                batch.thin(&mut Thinning { horizon: self.horizon, is_spent_marker: false, keeps: &mut keeps })?
            }
            Standing::Aborted => Thinned::Empty,
            Standing::SpentMarker(_) if is_due => Thinned::Empty,
            Standing::SpentMarker(_) => {
                batch.thin(&mut Thinning { horizon: self.horizon, is_spent_marker: true, keeps: &mut |_| true })?
            }
            Standing::Marker(_) => Thinned::Same,
            Standing::Control if header.record_count == 0 => Thinned::Empty,
            Standing::Control => Thinned::Same,
        };
        Ok(match thinned {
            Thinned::Same => Some(batch.clone()),
            Thinned::Anew(anew) => Some(anew),
            Thinned::Empty if !self.keeps_empty(batch) => None,
            Thinned::Empty if header.record_count == 0 => Some(batch.clone()),
            Thinned::Empty => Some(batch.emptied()),
        })
    }

    fn keeps(&self, record: &KeyedRecord, keeps_tombstones: bool) -> bool {
        // Behind the round's end nothing is known.
        if record.offset >= self.end {
            return true;
        }
        // No producer may write one without a key; what another policy let in goes.
        let Some(key) = record.key else { return false };
        let is_last = self.keys.get(key).is_none_or(|last| match planted(Mutant::OlderValueKept) {
            true => record.offset < last,
            false => record.offset >= last,
        });
        is_last && (record.has_value || keeps_tombstones)
    }

    fn keeps_empty(&self, batch: &Batch) -> bool {
        self.lasts.holds(batch) || batch.next_offset() == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sequence;
    use crate::records::{Builder, Codec, Draft, KeyDigest, Producer as Writer};

    const NOW: Timestamp = Timestamp::new(10_000);
    const HORIZON: Timestamp = Timestamp::new(15_000);

    fn batch(base: i64, records: &[(&str, Option<&str>)]) -> Batch {
        batch_of(Builder::new(Codec::None), base, records)
    }

    fn batch_of(builder: Builder, base: i64, records: &[(&str, Option<&str>)]) -> Batch {
        let mut builder = builder.base_offset(Offset::new(base));
        for (key, value) in records {
            let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
            builder.push(Draft { timestamp: Timestamp::new(1), key, value, headers: &[] }).unwrap();
        }
        builder.build().unwrap()
    }

    fn keys(last: &[(&str, i64)]) -> KeyMap {
        let mut keys = KeyMap::new(1 << 16);
        for (key, offset) in last {
            assert!(keys.put(KeyDigest::of(key.as_bytes()), Offset::new(*offset)));
        }
        keys
    }

    fn judge(keys: &KeyMap, lasts: &LastWrites, now: Timestamp, batch: &Batch, standing: Standing) -> Option<Batch> {
        Judge { keys, lasts, end: Offset::new(100), now, horizon: HORIZON }.judge(batch, standing).unwrap()
    }

    fn offsets(batch: &Batch) -> Vec<i64> {
        batch.records(1 << 20).unwrap().map(|record| record.unwrap().offset.get()).collect()
    }

    #[test]
    fn the_last_value_of_a_key_stays_and_older_ones_go() {
        let (keys, lasts) = (keys(&[("a", 50), ("b", 11)]), LastWrites::default());
        let all = batch(10, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
        let kept = judge(&keys, &lasts, NOW, &all, Standing::Counts).unwrap();
        assert_eq!(offsets(&kept), [11, 12]);
        assert_eq!((kept.base_offset(), kept.next_offset()), (Offset::new(10), Offset::new(13)));
        let old = batch(20, &[("a", Some("1"))]);
        assert_eq!(judge(&keys, &lasts, NOW, &old, Standing::Counts), None);
        let behind = batch(100, &[("a", Some("1"))]);
        assert_eq!(judge(&keys, &lasts, NOW, &behind, Standing::Aborted), Some(behind.clone()));
        let across = batch(99, &[("b", Some("1")), ("b", Some("2"))]);
        let later = self::keys(&[("b", 99)]);
        assert_eq!(judge(&later, &lasts, NOW, &across, Standing::Counts), Some(across.clone()));
    }

    #[test]
    fn a_tombstone_stays_until_the_horizon_that_its_first_round_gives_it() {
        let (keys, lasts) = (keys(&[("a", 10), ("b", 11)]), LastWrites::default());
        let all = batch(10, &[("a", None), ("b", Some("2"))]);
        let first = judge(&keys, &lasts, NOW, &all, Standing::Counts).unwrap();
        assert_eq!(first.header().delete_horizon(), Some(HORIZON));
        assert_eq!(offsets(&first), [10, 11]);
        let before = Timestamp::new(HORIZON.get() - 1);
        assert_eq!(judge(&keys, &lasts, before, &first, Standing::Counts), Some(first.clone()));
        let due = judge(&keys, &lasts, HORIZON, &first, Standing::Counts).unwrap();
        assert_eq!(offsets(&due), [11]);
        // An older value of a deleted key goes at once, and one that came later stays.
        let old = batch(5, &[("a", Some("0"))]);
        assert_eq!(judge(&keys, &lasts, NOW, &old, Standing::Counts), None);
        let again = batch(20, &[("a", Some("3"))]);
        assert_eq!(judge(&keys, &lasts, NOW, &again, Standing::Counts), Some(again.clone()));
    }

    #[test]
    fn the_batches_that_a_producer_may_send_again_and_the_rounds_last_stay_empty() {
        let keys = keys(&[("a", 90)]);
        let of_writer = |number: i32| {
            let (id, epoch) = (ProducerId::new(7), ProducerEpoch::new(0));
            let writer = Writer { id, epoch, base_sequence: Sequence::new(number) };
            let builder = Builder::new(Codec::None).producer(writer);
            batch_of(builder, 20 + i64::from(number), &[("a", Some("1"))])
        };
        let mut producers = Producers::default();
        (0..6).for_each(|number| producers.apply(of_writer(number).header()));
        let lasts = LastWrites::of(&producers);
        assert_eq!(judge(&keys, &lasts, NOW, &of_writer(0), Standing::Counts), None);
        for batch in (1..6).map(of_writer) {
            let kept = judge(&keys, &lasts, NOW, &batch, Standing::Counts).unwrap();
            assert_eq!(kept, batch.emptied());
            assert_eq!(judge(&keys, &lasts, NOW, &kept, Standing::Counts), Some(kept.clone()));
            assert_eq!(judge(&keys, &LastWrites::default(), NOW, &kept, Standing::Counts), None);
        }
        let last = batch(99, &[("a", Some("1"))]);
        assert_eq!(judge(&self::keys(&[("a", 100)]), &lasts, NOW, &last, Standing::Counts), Some(last.emptied()));
    }

    #[test]
    fn a_marker_goes_when_it_is_spent_and_its_horizon_has_passed() {
        let marker = crate::records::Marker {
            kind: MarkerKind::Commit,
            coordinator_epoch: crate::model::CoordinatorEpoch::new(1),
        };
        let batch = crate::records::marker_batch(ProducerId::new(7), ProducerEpoch::new(2), marker, NOW);
        let (keys, lasts) = (keys(&[]), LastWrites::default());
        let (whole, spent) = (Standing::Marker(MarkerKind::Commit), Standing::SpentMarker(MarkerKind::Commit));
        assert_eq!(judge(&keys, &lasts, NOW, &batch, whole), Some(batch.clone()));
        let marked = judge(&keys, &lasts, NOW, &batch, spent).unwrap();
        assert_eq!(marked.header().delete_horizon(), Some(HORIZON));
        assert_eq!(judge(&keys, &lasts, HORIZON, &marked, whole), Some(marked.clone()));
        assert_eq!(judge(&keys, &lasts, HORIZON, &marked, spent), None);
        // It tells the producer's epoch, if nothing else does.
        let mut producers = Producers::default();
        producers.apply_marker(batch.header(), marker);
        let lasts = LastWrites::of(&producers);
        assert_eq!(judge(&keys, &lasts, HORIZON, &marked, spent), Some(marked.emptied()));
        assert_eq!(judge(&keys, &lasts, HORIZON, &marked.emptied(), Standing::Control), Some(marked.emptied()));
    }
}
