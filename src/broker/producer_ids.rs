//! Producer ids for idempotent producers, from blocks that the controller gives out.
//!
//! Invariant: an id is given once; what is left of a block at a restart is lost (D7 of reliability.md).

use std::time::Duration;

use tokio::sync::Mutex;

use super::Inner;
use super::controllers::NoController;
use crate::machines::controller::{AllocateProducers, Event, ProducerIds, Reply};
use crate::model::ProducerId;

/// How long a request for a block may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The block at hand.
#[derive(Debug, Default)]
pub(super) struct ProducerIdBlock {
    /// Held while a block is fetched, so that only one is; callers wait in order.
    block: Mutex<Option<ProducerIds>>,
}

impl ProducerIdBlock {
    /// The next id.
    ///
    /// # Errors
    /// When no controller gives a block.
    pub(super) async fn next(&self, inner: &Inner) -> Result<ProducerId, NoController> {
        let mut block = self.block.lock().await;
        if block.is_none_or(|ids| ids.first >= ids.end) {
            *block = Some(fetch(inner).await?);
        }
        let ids = block.as_mut().ok_or(NoController)?;
        let id = ids.first;
        ids.first = ProducerId::new(id.get() + 1);
        Ok(id)
    }
}

async fn fetch(inner: &Inner) -> Result<ProducerIds, NoController> {
    let broker_epoch = inner.broker_epoch().ok_or(NoController)?;
    let request = Event::AllocateProducers(AllocateProducers { node: inner.node, broker_epoch });
    match inner.controllers.ask(request, ASK_TIMEOUT).await? {
        Reply::AllocateProducers(Ok(ids)) => Ok(ids),
        Reply::AllocateProducers(Err(_))
        | Reply::Nothing
        | Reply::Register(_)
        | Reply::Heartbeat(_)
        | Reply::AlterIsr(_)
        | Reply::CreateTopics(_)
        | Reply::DeleteTopics(_)
        | Reply::CreatePartitions(_)
        | Reply::AlterConfigs(_)
        | Reply::Unregister(_) => Err(NoController),
    }
}
