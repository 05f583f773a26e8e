//! Follows the images and tells the shards what this broker should be for each partition.
//!
//! Invariant: no order leaves before `orders::may_leave`; a topic's orders leave after the shards have let go of an
//! earlier topic of its name.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{debug, info};

use super::Inner;
use super::leaving::Leaving;
use super::orders::{Orders, Plan, may_leave};
use crate::machines::metadata::{Broker, Image};
use crate::model::BrokerEpoch;
use crate::partition::Event;

/// Follows the images until the quorum stops.
pub(super) async fn follow(
    inner: Arc<Inner>,
    mut images: watch::Receiver<Arc<Image>>,
    mut epoch: watch::Receiver<Option<BrokerEpoch>>,
) {
    let mut reconciled: Option<Arc<Image>> = None;
    let mut leaving = Leaving::new(Arc::clone(&inner.shards));
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let registered = *epoch.borrow_and_update();
        if may_leave(&image, inner.node, registered) {
            inner.shards.tell_all(|| Event::Image(Arc::clone(&image)));
            reconcile(&inner, reconciled.as_deref(), &image, &mut leaving).await;
            reconciled = Some(Arc::clone(&image));
            inner.reconciled.send_replace(image);
        }
        let changed = tokio::select! {
            changed = images.changed() => changed.is_ok(),
            changed = epoch.changed() => changed.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

async fn reconcile(inner: &Inner, before: Option<&Image>, image: &Image, leaving: &mut Leaving) {
    let orders = Orders {
        node: inner.node,
        defaults: &inner.cluster.defaults,
        producer_expiration: inner.options.producer_expiration,
    };
    let plan = match before {
        Some(before) => orders.next(before, image),
        None => {
            let plan = orders.first(&inner.directory, image);
            for (_, partition) in &plan.stops {
                info!(%partition, "a log on disk has no replica here any more: deleting it");
            }
            info!(replicas = plan.orders.len(), "following the metadata");
            plan
        }
    };
    if let Some(before) = before {
        note_departed(inner, before, image);
    }
    carry_out(inner, plan, leaving).await;
}

/// Who was fenced, or is well again, for what clients are told of brokers.
fn note_departed(inner: &Inner, before: &Image, image: &Image) {
    for (node, change) in &image.since(before).brokers {
        if change.after.as_ref().is_some_and(Broker::is_fenced) {
            inner.departed.fenced(*node, inner.clock.now().instant);
        } else {
            inner.departed.settled(*node);
        }
    }
}

async fn carry_out(inner: &Inner, plan: Plan, leaving: &mut Leaving) {
    for (name, partition) in &plan.stops {
        debug!(%partition, "replica goes");
        leaving.stop(name, *partition);
    }
    leaving.settle();
    // Those whose name is not free wait behind all others.
    let mut later = Vec::new();
    for (name, id, order) in plan.orders {
        if leaving.holds(&name) {
            later.push((name, id, order));
        } else {
            inner.shards.tell(id, order);
        }
    }
    for (name, id, order) in later {
        leaving.left(&name).await;
        inner.shards.tell(id, order);
    }
}
