//! The uniform assignor for members that all read the same.
//!
//! Invariant: shares differ by at most one, and no assignment that does so takes less away from those who hold it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::{Reader, Share, free, kept};
use crate::model::TopicId;

/// The share of each reader.
pub(super) fn assign(counts: &BTreeMap<TopicId, i32>, readers: &[Reader<'_>]) -> Vec<Share> {
    if readers.is_empty() {
        return Vec::new();
    }
    let mut shares = kept(counts, readers);
    let mut free = free(counts, readers, &shares);
    let total = free.len() + shares.iter().map(Share::len).sum::<usize>();
    let (least, extra) = (total / readers.len(), total % readers.len());
    // Whoever holds most has one more than the least, so that it has to give less away.
    let mut order: Vec<usize> = (0..readers.len()).collect();
    order.sort_by_key(|at| Reverse(shares[*at].len()));
    let mut quotas = vec![least; readers.len()];
    order.iter().take(extra).for_each(|at| quotas[*at] += 1);
    for (share, quota) in shares.iter_mut().zip(&quotas) {
        while share.len() > *quota {
            free.extend(share.pop_last());
        }
    }
    free.sort_unstable();
    let mut next = free.into_iter();
    for (share, quota) in shares.iter_mut().zip(&quotas) {
        share.extend(next.by_ref().take(quota - share.len()));
    }
    assert!(next.next().is_none(), "the quotas add up to all there is");
    shares
}
