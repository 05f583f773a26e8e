//! A broker has started.

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Listener};
use crate::model::{BootNumber, BrokerEpoch, ClusterId, DirectoryId, LogIndex, NodeId, Now, PartitionId};

use super::{Decision, Reply, Soft};

/// What a broker says when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its node id.
    pub node: NodeId,
    /// Which start of it this is: the highest boot number of its directories (rule S15).
    pub boot: BootNumber,
    /// The cluster its directories belong to; `None` on fresh disks.
    pub cluster: Option<ClusterId>,
    /// Its data directories, and what is stored in each.
    pub directories: Vec<DirectoryClaim>,
    /// Whether every directory bore the mark of a clean stop.
    pub clean: bool,
    /// Where it is reached.
    pub listeners: Vec<Listener>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Partitions it already knows it cannot vouch for (rule S3); the heartbeat that ends recovery names all.
    pub suspects: Vec<PartitionId>,
}

/// A data directory, and the life in which it served last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryClaim {
    /// The directory.
    pub id: DirectoryId,
    /// The broker epoch stored in it: of the registration under which it asked to be unfenced last.
    pub previous_epoch: Option<BrokerEpoch>,
}

/// A registration that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its epoch; `None` until its records are accepted (see [`Reply::at`]).
    pub broker_epoch: Option<BrokerEpoch>,
}

impl Registered {
    pub(super) fn at(self, index: LogIndex) -> Self {
        let index = i64::try_from(index.get()).expect("a log index stays below 2^63");
        Self { broker_epoch: self.broker_epoch.or(Some(BrokerEpoch::new(index))) }
    }
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterRefusal {
    /// The node belongs to another cluster.
    #[error("this cluster is {ours}, not {theirs}")]
    Cluster {
        /// This cluster.
        ours: ClusterId,
        /// The one its directories name.
        theirs: ClusterId,
    },
    /// The cluster has no identity yet; retriable.
    #[error("the cluster is not formed yet")]
    Unformed,
    /// A later start of the same node is registered (rule S15).
    #[error("start {given} of broker {node} comes after start {registered}")]
    OldBoot {
        /// The broker.
        node: NodeId,
        /// The start that asks.
        given: BootNumber,
        /// The start that is registered.
        registered: BootNumber,
    },
    /// Another process under this node id, on other disks, is alive; retriable once its session ends.
    #[error("broker {node} is alive on other directories; is its node.id used twice?")]
    Duplicate {
        /// The broker.
        node: NodeId,
    },
    /// It names no directory, or one twice, or the reserved one.
    #[error("a broker names at least one data directory, and none twice")]
    Directories,
    /// A directory is registered by another node.
    #[error("directory {directory} is registered by broker {owner}")]
    DirectoryOwned {
        /// The directory.
        directory: DirectoryId,
        /// Who has it.
        owner: NodeId,
    },
}

pub(super) fn decide(image: &Image, soft: &mut Soft, now: Now, registration: Registration) -> Decision {
    let _ = (image, soft, now, registration);
    Decision::reply(Reply::Nothing)
}
