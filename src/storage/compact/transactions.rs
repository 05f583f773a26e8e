//! Which transactions of a log were aborted, and which markers have lost all their records.
//!
//! Pure. Used by `job`. Invariant: the records of an aborted transaction count for nothing, so no value is removed for
//! them; a marker stays until a round has met no record of its transaction (KIP-98, KIP-534).

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Offset, ProducerId};
use crate::records::{Header, MarkerKind};

/// How many aborted transactions of one log are remembered at most; a round over more is not begun.
const ABORTED_MAX: usize = 1 << 20;

/// What the headers and markers of a log say, up to where it is committed.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    /// Of each producer, where aborted transactions begin and where their markers stand.
    aborted: BTreeMap<ProducerId, Vec<(Offset, Offset)>>,
    count: usize,
    open: BTreeMap<ProducerId, Offset>,
}

impl Outcomes {
    /// Takes the next batch that has records.
    pub(super) fn note_records(&mut self, header: &Header) {
        if header.is_transactional() {
            self.open.entry(header.producer_id).or_insert(header.base_offset);
        }
    }

    /// Takes the next marker. Whether there was room.
    pub(super) fn note_marker(&mut self, header: &Header, kind: MarkerKind) -> bool {
        let Some(first) = self.open.remove(&header.producer_id) else { return true };
        if kind == MarkerKind::Abort {
            self.count += 1;
            self.aborted.entry(header.producer_id).or_default().push((first, header.base_offset));
        }
        self.count <= ABORTED_MAX
    }

    /// From here on there are records whose outcome is not known.
    pub(super) fn undecided_from(&self) -> Option<Offset> {
        self.open.values().min().copied()
    }

    /// Whether a batch belongs to a transaction that was aborted.
    pub(super) fn is_aborted(&self, header: &Header) -> bool {
        let Some(ranges) = self.aborted.get(&header.producer_id) else { return false };
        let behind = ranges.partition_point(|(_, marker)| *marker < header.base_offset);
        header.is_transactional() && ranges.get(behind).is_some_and(|(first, _)| *first <= header.base_offset)
    }
}

/// Of which transactions a round has met records.
#[derive(Debug, Default)]
pub(super) struct Met {
    committed: BTreeSet<ProducerId>,
    aborted: BTreeSet<ProducerId>,
}

impl Met {
    /// A batch with records comes by.
    pub(super) fn records(&mut self, header: &Header, is_aborted: bool) {
        if header.is_transactional() {
            let met = if is_aborted { &mut self.aborted } else { &mut self.committed };
            met.insert(header.producer_id);
        }
    }

    /// A marker comes by: whether it has lost all its records.
    pub(super) fn is_spent(&mut self, header: &Header, kind: MarkerKind) -> bool {
        match kind {
            MarkerKind::Commit => !self.committed.remove(&header.producer_id),
            MarkerKind::Abort => !self.aborted.remove(&header.producer_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::producer_state::tests::{header, transactional};

    fn data(producer: i64, base: i64) -> Header {
        transactional(header(producer, 0, 0, 1, base))
    }

    #[test]
    fn what_stands_before_an_abort_is_aborted_and_nothing_else() {
        let mut outcomes = Outcomes::default();
        let kinds = [(7, 10, MarkerKind::Abort), (7, 20, MarkerKind::Commit), (7, 30, MarkerKind::Abort)];
        for (producer, marker, kind) in kinds {
            outcomes.note_records(&data(producer, marker - 5));
            outcomes.note_records(&data(producer, marker - 3));
            outcomes.note_records(&data(9, marker - 2));
            assert!(outcomes.note_marker(&data(producer, marker), kind));
        }
        let aborted: Vec<i64> = (0..40).filter(|base| outcomes.is_aborted(&data(7, *base))).collect();
        assert_eq!(aborted, [5, 6, 7, 8, 9, 10, 25, 26, 27, 28, 29, 30]);
        assert!(!outcomes.is_aborted(&data(9, 8)) && !outcomes.is_aborted(&header(7, 0, 0, 1, 8)));
        assert_eq!(outcomes.undecided_from(), Some(Offset::new(8)));
        assert!(outcomes.note_marker(&data(9, 35), MarkerKind::Commit));
        assert_eq!(outcomes.undecided_from(), None);
    }

    #[test]
    fn a_marker_is_spent_once_no_record_of_its_transaction_was_met() {
        let mut met = Met::default();
        met.records(&data(7, 1), false);
        met.records(&data(8, 2), true);
        met.records(&header(9, 0, 0, 1, 3), false);
        assert!(!met.is_spent(&data(7, 4), MarkerKind::Commit));
        assert!(met.is_spent(&data(7, 5), MarkerKind::Commit));
        assert!(!met.is_spent(&data(8, 6), MarkerKind::Abort));
        assert!(met.is_spent(&data(8, 7), MarkerKind::Abort));
        assert!(met.is_spent(&data(9, 8), MarkerKind::Commit));
    }
}
