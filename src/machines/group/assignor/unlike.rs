//! The uniform assignor for members that read different topics.
//!
//! Everybody keeps what it has; what is free goes to whoever reads it and has least, topics with few readers first; then
//! single partitions move from those who have much to those who have less, as long as that evens anything out.
//! Invariant: it ends, for every move makes the shares more even, and rounds are bounded.

use std::collections::{BTreeMap, BTreeSet};

use super::{Reader, Share, free, kept};
use crate::model::{PartitionId, TopicId};

/// How often all topics are looked at for moves. Each look leaves less to move; what is left after so many is uneven by
/// little.
const ROUNDS_MAX: usize = 16;

/// The share of each reader.
pub(super) fn assign(counts: &BTreeMap<TopicId, i32>, readers: &[Reader<'_>]) -> Vec<Share> {
    let mut shares = kept(counts, readers);
    let mut of_topic: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (at, reader) in readers.iter().enumerate() {
        for topic in reader.topics {
            of_topic.entry(*topic).or_default().push(at);
        }
    }
    let mut wanting: BTreeMap<TopicId, Vec<PartitionId>> = BTreeMap::new();
    for id in free(counts, readers, &shares) {
        wanting.entry(id.topic).or_default().push(id);
    }
    let mut order: Vec<TopicId> = of_topic.keys().copied().collect();
    order.sort_by_key(|topic| of_topic[topic].len());
    for topic in &order {
        hand_out(wanting.remove(topic).unwrap_or_default(), &of_topic[topic], &mut shares);
    }
    for _ in 0..ROUNDS_MAX {
        let moved = order.iter().map(|topic| even_out(*topic, &of_topic[topic], &mut shares)).sum::<usize>();
        if moved == 0 {
            break;
        }
    }
    shares
}

/// Gives each partition to whoever has least.
fn hand_out(partitions: Vec<PartitionId>, readers: &[usize], shares: &mut [Share]) {
    let mut loads: BTreeSet<(usize, usize)> = readers.iter().map(|at| (shares[*at].len(), *at)).collect();
    for id in partitions {
        let (load, at) = loads.pop_first().expect("a topic in the order has a reader");
        shares[at].insert(id);
        loads.insert((load + 1, at));
    }
}

/// Moves partitions of one topic while its readers get more even by it; how many it moved.
fn even_out(topic: TopicId, readers: &[usize], shares: &mut [Share]) -> usize {
    let mut loads: BTreeSet<(usize, usize)> = readers.iter().map(|at| (shares[*at].len(), *at)).collect();
    let has_some = |share: &Share| last_of(topic, share).is_some();
    let mut holders: BTreeSet<(usize, usize)> =
        loads.iter().copied().filter(|(_, at)| has_some(&shares[*at])).collect();
    let mut moved = 0;
    while let (Some(&(low, to)), Some(&(high, from))) = (loads.first(), holders.last()) {
        if high <= low + 1 {
            break;
        }
        let id = last_of(topic, &shares[from]).expect("a holder holds some");
        shares[from].remove(&id);
        shares[to].insert(id);
        for (at, before, after) in [(from, high, high - 1), (to, low, low + 1)] {
            loads.remove(&(before, at));
            loads.insert((after, at));
            holders.remove(&(before, at));
            if has_some(&shares[at]) {
                holders.insert((after, at));
            }
        }
        moved += 1;
    }
    moved
}

/// The last partition of a topic in a share.
fn last_of(topic: TopicId, share: &Share) -> Option<PartitionId> {
    let bound = |index| PartitionId { topic, index: crate::model::PartitionIndex::new(index) };
    share.range(bound(0)..=bound(i32::MAX)).next_back().copied()
}
