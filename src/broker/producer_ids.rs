//! Producer ids for idempotent producers, from blocks that the controller gives out.
//!
//! Invariant: an id is given once; what is left of a block at a restart is lost.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Inner;
use super::controllers::NoController;
use crate::machines::controller::{AllocateProducers, Event, ProducerIds, Reply};
use crate::model::ProducerId;

/// How long a caller waits for an id, whoever asks for the block that it is of.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The block at hand.
#[derive(Debug)]
pub(super) struct ProducerIdBlock {
    /// Guards two numbers; held for one assignment.
    block: Mutex<Option<ProducerIds>>,
    /// One permit: who has it fetches a block, and the others wait for that one.
    fetching: Semaphore,
}

impl Default for ProducerIdBlock {
    fn default() -> Self {
        Self { block: Mutex::new(None), fetching: Semaphore::new(1) }
    }
}

impl ProducerIdBlock {
    /// The next id.
    ///
    /// # Errors
    /// When no controller gives a block.
    pub(super) async fn next(&self, inner: &Inner) -> Result<ProducerId, NoController> {
        // All who wait together are answered together: one that waited for its turn would wait for many timeouts.
        timeout(ASK_TIMEOUT, self.take_or_fetch(inner)).await.unwrap_or(Err(NoController))
    }

    async fn take_or_fetch(&self, inner: &Inner) -> Result<ProducerId, NoController> {
        loop {
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let _one = self.fetching.acquire().await.expect("nobody closes it");
            if self.is_empty() {
                self.put(fetch(inner).await?);
            }
        }
    }

    fn take(&self) -> Option<ProducerId> {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = block.as_mut().filter(|ids| ids.first < ids.end)?;
        let id = ids.first;
        ids.first = ProducerId::new(id.get() + 1);
        Some(id)
    }

    fn is_empty(&self) -> bool {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|ids| ids.first >= ids.end)
    }

    fn put(&self, ids: ProducerIds) {
        *self.block.lock().unwrap_or_else(PoisonError::into_inner) = Some(ids);
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
