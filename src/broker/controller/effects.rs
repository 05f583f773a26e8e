//! What the controller wants done besides proposing: dials, barriers, a hand-over.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::{info, warn};

use super::{Finding, Host};
use crate::machines::controller::{DialOutcome, Effect};
use crate::model::NodeId;
use crate::transport::{Probe, probe};

/// How long a dial of a broker that may be dead may take; silence tells nothing, so the session decides then.
const DIAL_TIMEOUT: Duration = Duration::from_millis(100);

impl Host {
    pub(super) fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Dial { node, boot } => {
                let address = self.address_of(node);
                let found = self.found.clone();
                tokio::spawn(async move {
                    let outcome = dial(address).await;
                    // The host is gone only when the process stops.
                    let _ = found.send(Finding::Dialed { node, boot, outcome });
                });
            }
            Effect::ReadBarrier { asked } => {
                let (quorum, found) = (self.world.quorum.clone(), self.found.clone());
                tokio::spawn(async move {
                    match quorum.read_barrier().await {
                        Ok(_) => _ = found.send(Finding::BarrierPassed { asked }),
                        Err(cause) => warn!(%cause, "a read barrier failed"),
                    }
                });
            }
            Effect::HandOver => {
                info!("most brokers cannot be reached from here: handing the lead over (rule S16)");
                let quorum = self.world.quorum.clone();
                tokio::spawn(async move { quorum.hand_over().await });
            }
        }
    }

    /// The broker's host as its liveness connection showed it, the port as it registered it: no name to resolve.
    fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        let image = self.images.borrow();
        let listener = image.broker(node)?.listener(&self.world.dial_listener)?;
        Some(SocketAddr::new(*self.seen_at.get(&node)?, listener.port))
    }
}

async fn dial(address: Option<SocketAddr>) -> DialOutcome {
    let Some(address) = address else { return DialOutcome::Unreachable };
    match probe(address, DIAL_TIMEOUT).await {
        Probe::Refused => DialOutcome::Refused,
        Probe::Accepted => DialOutcome::Answered,
        Probe::TimedOut | Probe::Unreachable => DialOutcome::Unreachable,
    }
}
