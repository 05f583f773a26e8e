//! The way from any node to the active controller: here if it is here, else over the controller listener.
//!
//! Called by the façade (topics, configurations), lifecycle (registration, heartbeats), the ISR task and the producer ids.
//! Invariant: a request may reach the controller twice: what it asks for carries its own identity (a topic's id, a
//! partition epoch, a boot number) or is where something ends (a count of partitions, a value), so that the second time
//! changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use super::calls;
use super::controller::ControllerHandle;
use crate::machines::controller::{Event, Reply};
use crate::model::NodeId;
use crate::quorum::Leadership;
use crate::transport::{HostPort, Peers, Service};

/// How long one try may take before the leader is looked up again.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries without a change of leadership.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// No controller answered in time; whether the request took effect is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no active controller answered in time")]
pub struct NoController;

/// Knows who leads the quorum and how to ask it.
#[derive(Debug)]
pub struct Controllers {
    node: NodeId,
    leadership: watch::Receiver<Leadership>,
    voters: BTreeMap<NodeId, HostPort>,
    local: Option<ControllerHandle>,
    peers: Arc<Peers>,
}

impl Controllers {
    /// `local` is this node's own controller, if it is a voter.
    #[must_use]
    pub fn new(
        node: NodeId,
        leadership: watch::Receiver<Leadership>,
        voters: BTreeMap<NodeId, HostPort>,
        local: Option<ControllerHandle>,
        peers: Arc<Peers>,
    ) -> Self {
        Self { node, leadership, voters, local, peers }
    }

    /// Asks whoever is the active controller, and again when that changes, until `deadline`.
    ///
    /// # Errors
    /// When there is no answer by then.
    pub async fn ask(&self, event: Event, within: Duration) -> Result<Reply, NoController> {
        self.ask_counting(event, within).await.map(|(reply, _)| reply)
    }

    /// As `ask`, and how often the event was sent: any but the last sending may still be under way.
    ///
    /// # Errors
    /// As `ask`.
    pub async fn ask_counting(&self, event: Event, within: Duration) -> Result<(Reply, u32), NoController> {
        let mut sendings = 0_u32;
        // What is too large for the way would be so at every try.
        let packed = calls::pack_event(&event).ok_or(NoController)?;
        let deadline = Instant::now() + within;
        let mut leadership = self.leadership.clone();
        loop {
            let leader = leadership.borrow_and_update().leader;
            if let Some(leader) = leader {
                sendings = sendings.saturating_add(1);
                let attempt = timeout_at(
                    deadline.min(Instant::now() + TRY_TIMEOUT),
                    self.ask_node(leader, &event, packed.clone()),
                )
                .await;
                if let Ok(Some(reply)) = attempt {
                    return Ok((reply, sendings));
                }
            }
            if Instant::now() >= deadline {
                return Err(NoController);
            }
            tokio::select! {
                _ = leadership.changed() => {}
                () = sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)) => {}
            }
        }
    }

    async fn ask_node(&self, leader: NodeId, event: &Event, packed: Bytes) -> Option<Reply> {
        if leader == self.node {
            return self.local.as_ref()?.ask(event.clone()).await.ok();
        }
        let address = self.voters.get(&leader)?;
        match self.peers.call(leader, address, Service::CONTROLLER, packed, TRY_TIMEOUT).await {
            Ok(answer) => calls::unpack_answer(&answer),
            Err(cause) => {
                debug!(%leader, %cause, "the controller did not answer");
                None
            }
        }
    }
}

/// Serves one request of another node: the other end of `ask`.
pub async fn serve(local: Option<&ControllerHandle>, payload: &[u8]) -> Option<Bytes> {
    let event = calls::unpack_event(payload)?;
    let reply = match local {
        Some(local) => local.ask(event).await.ok(),
        None => None,
    };
    calls::pack_answer(&reply)
}
