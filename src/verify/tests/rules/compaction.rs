//! Rules of what compaction may take.

use std::time::Duration;

use crate::model::{NodeId, Offset, ProducerEpoch, ProducerId, Sequence};
use crate::verify::history::{
    AdministrationKind, Class, DumpedBatch, KeyId, Keyed, MetadataFact, PartitionState, Seen, Session,
};
use crate::verify::tests::sketch::{Sketch, at, partition, state, value};
use crate::verify::{Compaction, Invariant, UncleanElection};

const A: u32 = 1;
const B: u32 = 2;

/// A sketch of a compacted topic, whose tombstones stay for so many milliseconds.
fn compacted(tombstones: u64) -> Sketch {
    let mut sketch = Sketch::new();
    promise(&mut sketch, tombstones);
    sketch
}

fn promise(sketch: &mut Sketch, tombstones: u64) {
    let tombstones = Duration::from_millis(tombstones);
    sketch.expectations.compaction = Some(Compaction { tombstones, copies_made_anew: false });
}

impl Sketch {
    /// A value of a key, promised at an offset, and named by it.
    fn put(&mut self, key: u32, sent: u64, offset: i64) {
        self.keyed(key, sent, offset, false);
    }

    fn delete(&mut self, key: u32, sent: u64, offset: i64) {
        self.keyed(key, sent, offset, true);
    }

    fn keyed(&mut self, key: u32, sent: u64, offset: i64, is_tombstone: bool) {
        let name = u64::try_from(offset).expect("an offset");
        self.write(name, sent, Class::Ok, Some(offset)).keyed = Some(Keyed { key: KeyId(key), is_tombstone });
    }

    /// What is read in the end of a log that starts at 0.
    fn left(&mut self, offsets: &[i64]) {
        self.end(&offsets.iter().map(|offset| kept(*offset)).collect::<Vec<_>>());
        self.history.scans.last_mut().expect("it was pushed").log_start = Offset::ZERO;
    }
}

fn kept(offset: i64) -> Seen {
    value(u64::try_from(offset).expect("an offset"), offset)
}

#[test]
fn a_value_may_go_when_a_later_one_of_its_key_is_there() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.put(B, 10, 1);
    sketch.put(A, 20, 2);
    sketch.left(&[1, 2]);
    sketch.is_legal();
    let keyed = sketch.history.sends[2].keyed.replace(Keyed { key: KeyId(B), is_tombstone: false });
    sketch.is_flagged(Invariant::B12);
    sketch.is_flagged(Invariant::A2);
    sketch.is_flagged(Invariant::A9);
    sketch.history.sends[2].keyed = keyed;
    sketch.expectations.compaction = None;
    sketch.is_flagged(Invariant::A2);
}

#[test]
fn a_value_does_not_go_for_one_that_was_never_committed() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.put(A, 10, 1);
    sketch.put(B, 20, 2);
    sketch.left(&[1, 2]);
    sketch.is_legal();
    (sketch.history.sends[1].class, sketch.history.sends[1].offset) = (Class::Info, None);
    sketch.history.scans.clear();
    sketch.left(&[2]);
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn a_tombstone_may_go_once_it_has_stayed_and_so_may_what_it_deleted() {
    let mut sketch = compacted(50_000);
    sketch.put(A, 0, 0);
    sketch.delete(A, 10, 1);
    sketch.put(B, 20, 2);
    sketch.left(&[2]);
    sketch.is_legal();
    promise(&mut sketch, 200_000);
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn a_tombstone_that_nobody_has_seen_may_have_deleted_and_gone() {
    let mut sketch = compacted(50_000);
    sketch.put(A, 0, 0);
    sketch.put(B, 20, 2);
    let lost = sketch.write(7, 10, Class::Info, None);
    lost.keyed = Some(Keyed { key: KeyId(A), is_tombstone: true });
    sketch.left(&[2]);
    sketch.is_legal();
    sketch.history.sends[2].class = Class::Fail;
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn a_value_whose_place_nobody_knows_may_have_replaced_and_been_replaced() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.put(B, 10, 1);
    let between = sketch.write(7, 20, Class::Info, None);
    between.keyed = Some(Keyed { key: KeyId(A), is_tombstone: false });
    sketch.read(50, 0, &[kept(1)]);
    sketch.put(A, 100, 3);
    sketch.left(&[1, 3]);
    sketch.is_legal();
    sketch.history.sends[2].class = Class::Fail;
    sketch.is_flagged(Invariant::A9);
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn a_value_that_nobody_saw_may_have_replaced_before_its_topic_was_deleted() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.put(B, 10, 1);
    let unseen = sketch.write(7, 20, Class::Info, None);
    unseen.keyed = Some(Keyed { key: KeyId(A), is_tombstone: false });
    sketch.read(50, 0, &[kept(1)]);
    sketch.is_flagged(Invariant::A9);
    sketch.is_flagged(Invariant::B12);
    sketch.administer(AdministrationKind::DeleteTopic { topic: partition().topic }, 100, Class::Ok);
    sketch.is_legal();
    (sketch.history.polls[0].invoked, sketch.history.polls[0].returned) = (at(15), at(19));
    sketch.is_flagged(Invariant::A9);
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn a_promise_without_a_place_is_lost_but_for_what_may_stand_behind_it() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 1);
    sketch.write(7, 20, Class::Ok, None).keyed = Some(Keyed { key: KeyId(A), is_tombstone: false });
    sketch.put(B, 20, 2);
    sketch.left(&[1, 2]);
    sketch.is_flagged(Invariant::A2);
    sketch.is_flagged(Invariant::A9);
    sketch.history.sends[0].returned = Some(at(20));
    sketch.is_legal();
}

#[test]
fn a_session_lacks_only_sequences_of_records_that_may_be_gone() {
    let mut sketch = compacted(1000);
    let session = Session { producer: ProducerId::new(1), epoch: ProducerEpoch::new(0) };
    let sequence = |at: usize| Some((session, Sequence::new(i32::try_from(at).expect("they are few"))));
    for (offset, key) in [(0, A), (1, B), (2, A)] {
        sketch.put(key, 10, offset);
    }
    for (at, send) in sketch.history.sends.iter_mut().enumerate() {
        send.session = sequence(at);
    }
    let dump = sketch.dump(1, &[kept(1), kept(2)]);
    dump.batches.iter_mut().zip(1..).for_each(|(batch, at)| batch.session = sequence(at));
    sketch.is_legal();
    // What was sent with a sequence that stands nowhere was never taken by any log.
    for (at, send) in sketch.history.sends.iter_mut().enumerate().skip(2) {
        send.session = sequence(at + 1);
    }
    sketch.history.replicas[0].batches[1].session = sequence(3);
    sketch.is_flagged(Invariant::A13);
}

#[test]
fn where_committed_records_may_be_lost_nobody_knows_what_compaction_took() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.put(B, 10, 1);
    sketch.dump(1, &[kept(1)]);
    sketch.left(&[1]);
    sketch.is_flagged(Invariant::B12);
    sketch.expectations.unclean_election = UncleanElection::Allowed;
    sketch.is_legal();
}

#[test]
fn a_reader_in_time_is_given_the_tombstone() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.delete(A, 10, 1);
    sketch.put(B, 20, 2);
    sketch.read(1010, 0, &[kept(0), kept(2)]);
    sketch.left(&[2]);
    sketch.is_legal();
    (sketch.history.polls[0].invoked, sketch.history.polls[0].returned) = (at(1007), at(1008));
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn what_a_tombstone_deleted_comes_back_only_where_a_replica_was_out_of_sync_for_as_long() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.delete(A, 10, 1);
    sketch.put(B, 20, 2);
    sketch.left(&[0, 2]);
    sketch.commit(0, vec![MetadataFact::Partition(state(&[1, 2], &[], (0, 0)))]);
    sketch.is_flagged(Invariant::B12);
    sketch.expectations.compaction = Some(Compaction { tombstones: Duration::from_secs(1), copies_made_anew: true });
    sketch.is_legal();
    promise(&mut sketch, 1000);
    sketch.history.metadata.clear();
    let of_three = |isr: &[i32], epoch| {
        let replicas = [1, 2, 3].map(NodeId::new).to_vec();
        vec![MetadataFact::Partition(PartitionState { replicas, ..state(isr, &[], (0, epoch)) })]
    };
    sketch.commit(0, of_three(&[1, 2], 0));
    sketch.commit(1500, of_three(&[1, 2, 3], 1));
    sketch.is_legal();
    sketch.history.metadata[1].committed_at = at(900);
    sketch.is_flagged(Invariant::B12);
}

#[test]
fn a_batch_may_lack_records_that_were_replaced_and_only_in_a_compacted_topic() {
    let mut sketch = compacted(1000);
    sketch.put(A, 0, 0);
    sketch.put(A, 10, 1);
    sketch.read(20, 0, &[kept(0), kept(1)]);
    let batch = {
        let dump = sketch.dump(1, &[kept(1)]);
        dump.batches[0].base = Offset::ZERO;
        dump.batches[0].is_thinned = true;
        dump.batches[0].clone()
    };
    sketch.is_legal();
    let whole = sketch.dump(2, &[kept(0), kept(1)]);
    whole.batches =
        vec![DumpedBatch { is_thinned: false, records: vec![kept(0), kept(1)], digest: batch.digest + 1, ..batch }];
    sketch.is_legal();
    sketch.history.replicas[1].batches[0].records[1].digest += 1;
    sketch.is_flagged(Invariant::E1);
    sketch.history.replicas.remove(1);
    sketch.history.sends.iter_mut().for_each(|send| send.keyed = None);
    sketch.is_flagged(Invariant::A12);
}
