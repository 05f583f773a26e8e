//! Topics are to be made.

use serde::{Deserialize, Serialize};

use crate::machines::metadata::Image;
use crate::model::{NodeId, TopicId, TopicNameError};

use super::{Decision, Reply, Soft};

/// A request for topics; each is made or refused by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
    /// Random, minted by the caller: where placement starts.
    pub seed: u64,
    /// What was answered by earlier proposals of the same request; callers leave it empty.
    pub settled: Vec<(String, Result<CreatedTopic, TopicRefusal>)>,
}

/// A topic that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Minted by the caller.
    pub id: TopicId,
    /// Its name, not yet checked.
    pub name: String,
    /// How many partitions; `None` takes the default.
    pub partitions: Option<i32>,
    /// How many replicas each has; `None` takes the default.
    pub replication_factor: Option<i16>,
    /// Who keeps which partition; empty lets the controller place them.
    pub assignments: Vec<ManualAssignment>,
    /// Its configurations.
    pub configs: Vec<(String, Option<String>)>,
}

/// Where a partition is to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualAssignment {
    /// The partition's number.
    pub index: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
}

/// A topic that was made, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its identity.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: i32,
    /// Its replicas.
    pub replication_factor: i16,
}

/// Why a topic is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TopicRefusal {
    /// The name breaks a rule.
    #[error("{0}")]
    Name(#[from] TopicNameError),
}

pub(super) fn decide(image: &Image, soft: &Soft, request: CreateTopics) -> Decision {
    let _ = (image, soft, request);
    Decision::reply(Reply::Nothing)
}
