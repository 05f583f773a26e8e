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
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::machines::controller::{Event, Options, Soft, decide};
    use crate::machines::metadata::{Applied, Partition, Proposal, Record};
    use crate::model::{
        ClusterId, Instant, LogIndex, Now, PartitionId, PartitionIndex, Term, Timestamp, TopicId, TopicName,
    };
    use crate::testing::{FixedSeed, SimulatedFiles};

    const NODE: NodeId = NodeId::new(1);

    /// A controller whose every decision is accepted, and the disk of node 1.
    struct Cluster {
        image: Image,
        soft: Soft,
        files: SimulatedFiles,
    }

    impl Cluster {
        fn accept(&mut self, records: Vec<Record>) {
            let index = LogIndex::new(self.image.last_applied().get() + 1);
            let proposal = Proposal { term: Term::new(1), base: self.image.last_accepted(), records };
            assert_eq!(self.image.apply(index, &proposal), Applied::Accepted);
        }

        fn tell(&mut self, event: Event) {
            let now = Now { instant: Instant::from_nanos(1), timestamp: Timestamp::new(0) };
            let records = decide(&self.image, &mut self.soft, now, event).records;
            self.accept(records);
        }

        /// A start of the node, which registers and says how it is, and then is killed.
        fn start(&mut self, comes_to_store: bool) {
            let files = Arc::new(self.files.clone());
            let directory = DataDir::open(files, Path::new("/data"), NODE, &FixedSeed(1), Timestamp::new(0));
            let (directory, suspects) = (directory.expect("the disk is well"), Suspects::default());
            let standing = Standing { node: NODE, directory: &directory, suspects: &suspects };
            self.tell(Event::Register(standing.registration(Vec::new(), None)));
            let epoch = self.image.broker(NODE).expect("it has registered").broker_epoch;
            let epoch_is_stored = comes_to_store && standing.store(&self.image, epoch).expect("the disk is well");
            let wish = Stage { is_stopping: false, epoch_is_stored }.wish();
            let progress = Progress { applied: self.image.last_applied(), ..Progress::default() };
            self.tell(Event::Heartbeat(standing.heartbeat(epoch, wish, progress, Vec::new())));
        }
    }

    #[test]
    fn a_life_that_was_killed_before_its_epoch_was_stored_costs_no_claim() {
        let (image, soft) = (Image::default(), Soft::new(Options::default()));
        let mut cluster = Cluster { image, soft, files: SimulatedFiles::default() };
        cluster.accept(vec![Record::ClusterFormed { cluster: ClusterId::new([7; 16]) }]);
        cluster.start(true);
        let topic = TopicId::new([1; 16]);
        let partition = PartitionId { topic, index: PartitionIndex::new(0) };
        let name = TopicName::new("t").expect("a good name");
        let state = Partition::new(vec![NODE], vec![NODE]);
        cluster.accept(vec![Record::TopicCreated { topic, name }, Record::PartitionCreated { partition, state }]);
        cluster.start(false);
        cluster.start(true);
        let state = cluster.image.partition(partition).expect("it was created");
        assert_eq!(state.leader, Some(NODE), "its disk holds all that it ever acknowledged: {state:?}");
    }

    #[test]
    fn a_broker_asks_to_serve_once_its_registration_is_on_disk_and_to_stop_whenever() {
        let wish = |is_stopping, epoch_is_stored| Stage { is_stopping, epoch_is_stored }.wish();
        assert_eq!((wish(false, false), wish(false, true)), (Wish::StayFenced, Wish::Serve));
        assert_eq!((wish(true, false), wish(true, true)), (Wish::ShutDown, Wish::ShutDown));
    }
}
