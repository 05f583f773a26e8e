//! Turns images into gauges: what this node leads, what is under-replicated, what is offline.
//!
//! One task on every node. Invariant: gauges follow the image within one interval and cost one pass over the partitions
//! for it, however often the image changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Cluster;
use crate::machines::controller::effective_min_isr;
use crate::machines::metadata::Image;
use crate::telemetry::BrokerMetrics;

/// The least time between two passes.
const INTERVAL: Duration = Duration::from_millis(500);

/// Follows the images until the quorum stops.
pub async fn follow(cluster: Cluster, metrics: BrokerMetrics) {
    let mut images = cluster.images();
    let mut shown = 0;
    loop {
        let image = std::sync::Arc::clone(&images.borrow_and_update());
        shown = show(&cluster, &image, &metrics, shown);
        tokio::time::sleep(INTERVAL).await;
        if images.changed().await.is_err() {
            return;
        }
    }
}

/// Sets every gauge; returns the largest ISR that has one, so that it is set back when nothing has that size any more.
fn show(cluster: &Cluster, image: &Image, metrics: &BrokerMetrics, largest_shown: u32) -> u32 {
    let (mut leaders, mut under_replicated, mut under_minimum) = (0, 0, 0);
    let mut sizes: BTreeMap<u32, i64> = (0..=largest_shown).map(|size| (size, 0)).collect();
    for (id, partition) in image.topics().led_by(cluster.node) {
        leaders += 1;
        under_replicated += i64::from(partition.isr.len() < partition.replicas.len());
        under_minimum += i64::from(partition.isr.len() < effective_min_isr(image, &cluster.defaults, id.topic));
        *sizes.entry(u32::try_from(partition.isr.len()).unwrap_or(u32::MAX)).or_default() += 1;
    }
    metrics.leaders.set(leaders);
    metrics.under_replicated.set(under_replicated);
    metrics.under_min_isr.set(under_minimum);
    metrics.replicas.set(count(image.topics().replicas_of(cluster.node).count()));
    metrics.applied_index.set(i64::try_from(image.last_applied().get()).unwrap_or(i64::MAX));
    // What concerns the cluster is told by its active controller alone, so that a sum over the nodes is right.
    let is_active = cluster.leadership().active;
    let offline = if is_active { count(image.topics().leaderless().count()) } else { 0 };
    let fenced = if is_active { count(image.brokers().iter().filter(|b| b.is_fenced()).count()) } else { 0 };
    metrics.offline.set(offline);
    metrics.fenced_brokers.set(fenced);
    let largest = sizes.iter().filter(|(_, n)| **n > 0).map(|(size, _)| *size).max().unwrap_or(0);
    sizes.into_iter().for_each(|(size, partitions)| metrics.set_isr_size(size, partitions));
    largest.max(largest_shown)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
