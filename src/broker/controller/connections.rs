//! Which starts of which brokers hold a liveness connection to this voter, as levels.
//!
//! Called by the host as liveness tells it. Invariant: a start counts as connected once, however often its connection
//! is told to be open: a broker says hello again once it has registered, and a newer connection may replace one whose
//! end is told later. A second count would never be taken back, and the dead broker would be found out only by its
//! session.

use std::collections::BTreeSet;

use crate::model::{BootNumber, NodeId};
use crate::transport::CloseReason;

/// The starts that are connected. Bounded by the connections that the voter's side admits.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: BTreeSet<(NodeId, BootNumber)>,
}

impl Connections {
    /// A connection is open. Whether that is news.
    pub(super) fn opened(&mut self, node: NodeId, boot: BootNumber) -> bool {
        self.open.insert((node, boot))
    }

    /// A connection has closed. Whether its broker is without one now.
    pub(super) fn closed(&mut self, node: NodeId, boot: BootNumber, reason: CloseReason) -> bool {
        match reason {
            // A newer connection, or one that is about to come, tells nothing about the process.
            CloseReason::Replaced | CloseReason::Redialling => false,
            CloseReason::Ended
            | CloseReason::Reset
            | CloseReason::Lost
            | CloseReason::Stopping
            | CloseReason::Malformed => self.open.remove(&(node, boot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::new(1);
    const BOOT: BootNumber = BootNumber::new(7);

    #[test]
    fn a_hello_told_again_is_no_second_connection() {
        let mut connections = Connections::default();
        assert!(connections.opened(NODE, BOOT));
        assert!(!connections.opened(NODE, BOOT), "the registration became known");
        assert!(connections.closed(NODE, BOOT, CloseReason::Ended), "the process is gone");
        assert!(connections.opened(NODE, BOOT));
    }

    #[test]
    fn a_connection_that_was_replaced_takes_nothing_back() {
        let mut connections = Connections::default();
        assert!(connections.opened(NODE, BOOT));
        assert!(!connections.opened(NODE, BOOT), "the next one came before the end of the first was told");
        assert!(!connections.closed(NODE, BOOT, CloseReason::Replaced));
        assert!(connections.closed(NODE, BOOT, CloseReason::Reset));
        let next = BootNumber::new(8);
        assert!(connections.opened(NODE, next), "another start is another process");
        assert!(!connections.closed(NODE, BOOT, CloseReason::Ended));
    }
}
