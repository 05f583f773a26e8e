//! What this broker says of itself to the controller.
//!
//! Called by `lifecycle` and by the simulation. Invariant: the broker asks to be unfenced only with the epoch of its
//! registration on disk (rule R12), and names every partition that it cannot vouch for (rule S3).

use std::io;

use super::suspects::Suspects;
use crate::machines::controller::{DirectoryClaim, Heartbeat, Progress, Registration, Wish};
use crate::machines::metadata::{Image, Listener};
use crate::model::{BrokerEpoch, NodeId};
use crate::probe::{Mutant, planted};
use crate::storage::DataDir;

/// Who speaks, and what it stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) node: NodeId,
    pub(crate) directory: &'a DataDir,
    pub(crate) suspects: &'a Suspects,
}

/// How far a registered life has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) is_stopping: bool,
    /// Whether the registration's epoch is on disk.
    pub(crate) epoch_is_stored: bool,
}

impl Stage {
    pub(crate) fn wish(self) -> Wish {
        match (self.is_stopping, self.epoch_is_stored || planted(Mutant::ServesBeforeStored)) {
            (true, _) => Wish::ShutDown,
            (false, true) => Wish::Serve,
            (false, false) => Wish::StayFenced,
        }
    }
}

impl Standing<'_> {
    pub(crate) fn registration(&self, listeners: Vec<Listener>, rack: Option<String>) -> Registration {
        let directory = self.directory;
        Registration {
            node: self.node,
            boot: directory.boot(),
            cluster: directory.cluster_id(),
            directories: vec![DirectoryClaim {
                id: directory.directory_id(),
                previous_epoch: directory.previous_broker_epoch(),
            }],
            clean: directory.was_clean(),
            listeners,
            rack,
            suspects: self.suspects.lost(),
        }
    }

    pub(crate) fn heartbeat(
        &self,
        broker_epoch: BrokerEpoch,
        wish: Wish,
        progress: Progress,
        unfetchable: Vec<NodeId>,
    ) -> Heartbeat {
        let (node, boot) = (self.node, self.directory.boot());
        let (suspects, unserved) = (self.suspects.lost(), self.suspects.unserved());
        Heartbeat { node, boot, broker_epoch, wish, progress, suspects, unserved, unfetchable }
    }

    /// Writes down under which registration this broker is about to serve, and to which cluster its disk belongs, once
    /// the image holds that registration. Whether it is written.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn store(&self, image: &Image, epoch: BrokerEpoch) -> io::Result<bool> {
        let has_applied = image.broker(self.node).is_some_and(|broker| broker.broker_epoch == epoch);
        let Some(cluster) = image.cluster().filter(|_| has_applied) else { return Ok(false) };
        self.directory.set_cluster_id(cluster)?;
        self.directory.set_broker_epoch(epoch)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_asks_to_serve_once_its_registration_is_on_disk_and_to_stop_whenever() {
        let wish = |is_stopping, epoch_is_stored| Stage { is_stopping, epoch_is_stored }.wish();
        assert_eq!((wish(false, false), wish(false, true)), (Wish::StayFenced, Wish::Serve));
        assert_eq!((wish(true, false), wish(true, true)), (Wish::ShutDown, Wish::ShutDown));
    }
}
