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
/// A process that is being killed loses its connections before its listener: who is accepted dials again after these.
const DIAL_PAUSES: [Duration; 4] =
    [Duration::from_millis(2), Duration::from_millis(6), Duration::from_millis(18), Duration::from_millis(54)];

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
    let mut pauses = DIAL_PAUSES.into_iter();
    loop {
        match probe(address, DIAL_TIMEOUT).await {
            Probe::Refused => return DialOutcome::Refused,
            Probe::TimedOut | Probe::Unreachable => return DialOutcome::Unreachable,
            Probe::Unable => return DialOutcome::Unable,
            Probe::Accepted => {}
        }
        let Some(pause) = pauses.next() else { return DialOutcome::Answered };
        tokio::time::sleep(pause).await;
    }
}
