//! The range assignor: of each topic a range for everybody who reads it.
//!
//! Invariant: what a member gets of a topic depends on its place among the topic's readers and on the topic's size alone,
//! so that topics of one size with the same readers are cut alike (co-partitioning). Static members stand in the order of
//! their instances, which outlive their ids.

use std::collections::BTreeMap;

use super::{Reader, Share, partitions};
use crate::model::TopicId;

/// The share of each reader.
pub(super) fn assign(counts: &BTreeMap<TopicId, i32>, readers: &[Reader<'_>]) -> Vec<Share> {
    let mut order: Vec<usize> = (0..readers.len()).collect();
    order.sort_by_key(|at| (readers[*at].instance.is_none(), readers[*at].instance, readers[*at].member));
    let mut shares = vec![Share::new(); readers.len()];
    for (topic, count) in counts {
        let here: Vec<usize> = order.iter().copied().filter(|at| readers[*at].topics.contains(topic)).collect();
        let mut left = partitions(*topic, *count);
        let count = usize::try_from(*count).unwrap_or(0);
        for (place, at) in here.iter().enumerate() {
            let size = count / here.len() + usize::from(place < count % here.len());
            shares[*at].extend(left.by_ref().take(size));
        }
    }
    shares
}
