//! What a quorum is started with. `node` fills it from the configuration.
//!
//! Invariant: `check` admits only times under which elections can work: heartbeat < election min < election max.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{DirectoryId, NodeId};

/// The largest proposal, encoded (rule S14).
pub const PROPOSAL_BYTES_MAX: usize = 128 * 1024;

// Measured with three nodes in one process on two cores: eight burning threads beside them (load 18) changed no term in
// a minute with 300 ms or more, once in 25 s with 300 ms, seven times with 200 ms. A killed process is noticed by its
// connection, not by these times.
/// The default of `heartbeat`.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(75);
/// The default of `election_timeout_min`.
pub const DEFAULT_ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(400);
/// The default of `election_timeout_max`.
pub const DEFAULT_ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(500);

/// One configured voter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Voter {
    /// Its `node.id`.
    pub node: NodeId,
    /// host:port of its CONTROLLER listener.
    pub address: String,
}

/// Options of a quorum.
#[derive(Clone, Debug)]
pub struct QuorumOptions {
    /// This node.
    pub node: NodeId,
    /// The identity of this node's metadata directory: with the node id it is the raft identity.
    pub directory: DirectoryId,
    /// host:port under which others reach this node's CONTROLLER listener.
    pub address: String,
    /// The configured voters (`controller.quorum.voters`). This node founds only if it is among them.
    pub voters: Vec<Voter>,
    /// The directory for log, vote, snapshots and metadata store; made if it is not there.
    pub dir: PathBuf,
    /// How often a leader makes itself heard.
    pub heartbeat: Duration,
    /// A voter that has heard nothing for this long no longer counts the leader as alive: the leader's lease.
    pub election_timeout_min: Duration,
    /// A voter waits a random time between the two before it asks the others whether to campaign.
    pub election_timeout_max: Duration,
    /// After this long without an answer a proposal's outcome is unknown.
    pub proposal_timeout: Duration,
    /// A snapshot is taken after this many entries.
    pub snapshot_entries: u64,
    /// This many entries behind a snapshot are kept for slow followers.
    pub kept_entries: u64,
    /// Worker threads of the quorum's own runtime.
    pub worker_threads: usize,
}

impl QuorumOptions {
    /// Options with every default.
    #[must_use]
    pub fn new(node: NodeId, directory: DirectoryId, address: String, voters: Vec<Voter>, dir: PathBuf) -> Self {
        Self {
            node,
            directory,
            address,
            voters,
            dir,
            heartbeat: DEFAULT_HEARTBEAT,
            election_timeout_min: DEFAULT_ELECTION_TIMEOUT_MIN,
            election_timeout_max: DEFAULT_ELECTION_TIMEOUT_MAX,
            proposal_timeout: Duration::from_secs(5),
            snapshot_entries: 5_000,
            kept_entries: 1_000,
            worker_threads: 2,
        }
    }

    /// Whether the times can work.
    ///
    /// # Errors
    /// Names the two that contradict each other.
    pub fn check(&self) -> Result<(), OptionsError> {
        let times = self.heartbeat.as_millis() >= 1
            && self.heartbeat * 2 <= self.election_timeout_min
            && self.election_timeout_min <= self.election_timeout_max;
        if !times {
            return Err(OptionsError::Times {
                heartbeat: self.heartbeat,
                election_timeout_min: self.election_timeout_min,
                election_timeout_max: self.election_timeout_max,
            });
        }
        let mut nodes: Vec<NodeId> = self.voters.iter().map(|v| v.node).collect();
        nodes.sort_unstable();
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(OptionsError::TwiceVoter { node: pair[0] });
        }
        if self.node.get() < 0 || nodes.iter().any(|n| n.get() < 0) {
            return Err(OptionsError::NegativeNode);
        }
        if nodes.is_empty() {
            return Err(OptionsError::NoVoters);
        }
        Ok(())
    }
}

/// Why options cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The times contradict each other.
    #[error(
        "twice the heartbeat ({heartbeat:?}) must not exceed the least election timeout ({election_timeout_min:?}), \
         nor that the greatest ({election_timeout_max:?})"
    )]
    Times {
        /// How often a leader makes itself heard.
        heartbeat: Duration,
        /// The lease.
        election_timeout_min: Duration,
        /// The longest wait.
        election_timeout_max: Duration,
    },
    /// A voter is named twice.
    #[error("node {node} stands twice among the configured voters")]
    TwiceVoter {
        /// That voter.
        node: NodeId,
    },
    /// Node ids start at 0.
    #[error("node ids must not be negative")]
    NegativeNode,
    /// No voter is configured.
    #[error("no voters are configured")]
    NoVoters,
}
