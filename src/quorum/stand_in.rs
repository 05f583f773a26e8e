//! Stands in for `machines::metadata` until that branch is merged; deleted then.

use crate::model::{ClusterId, LogIndex, Term};

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Record {
    /// The cluster exists.
    ClusterFormed {
        /// Its id.
        cluster_id: ClusterId,
    },
}

/// Records decided together.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Proposal {
    /// The controller's term.
    pub term: Term,
    /// The last accepted index it was decided on.
    pub base: LogIndex,
    /// The facts.
    pub records: Vec<Record>,
}

/// The cluster as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The index of the last accepted proposal.
    pub last_accepted: LogIndex,
    /// The cluster's id.
    pub cluster_id: Option<ClusterId>,
}
