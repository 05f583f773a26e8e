//! The state of one partition as the cluster agrees on it. Written by the controller's decisions,
//! read by everybody.
//!
//! Invariant: [`Partition::flaw`] is `None` for whatever a proposal holds.

use serde::{Deserialize, Serialize};

use crate::model::{LeaderEpoch, NodeId, PartitionEpoch};

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Who keeps a copy, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Who holds all that is committed and takes part in the next commit.
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas: out of the ISR, yet holding all that is committed, because the ISR has been below
    /// its minimum since they left (KIP-966, rule R11).
    pub elr: Vec<NodeId>,
    /// Who was of ISR or ELR when the ISR fell below its minimum and has lost its claim since; for an operator's
    /// recovery only.
    pub last_known_elr: Vec<NodeId>,
    /// Replicas that a reassignment adds.
    pub adding: Vec<NodeId>,
    /// Replicas that a reassignment removes.
    pub removing: Vec<NodeId>,
    /// Who leads; `None` while nobody can.
    pub leader: Option<NodeId>,
    /// Rises with every election (rule R1).
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change (rule R1).
    pub partition_epoch: PartitionEpoch,
    /// Whether an unclean election is being recovered from.
    pub recovery: Recovery,
}

/// Whether a partition's leader was elected uncleanly and has not yet settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Recovery {
    /// All is well.
    #[default]
    Recovered,
    /// Elected outside ISR and ELR; nobody may join its ISR before it says "recovered".
    Recovering,
}

/// How a partition's state contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionFlaw {
    /// It has no replica, or one twice.
    #[error("the replicas {replicas:?} are empty or hold one twice")]
    Replicas {
        /// The replicas.
        replicas: Vec<NodeId>,
    },
    /// A member of the ISR, or one twice, that is no replica.
    #[error("the isr {isr:?} is no set of replicas")]
    Isr {
        /// The ISR.
        isr: Vec<NodeId>,
    },
    /// A member of the ELR that is no replica or is in the ISR.
    #[error("the elr {elr:?} is no set of replicas outside the isr")]
    Elr {
        /// The ELR.
        elr: Vec<NodeId>,
    },
    /// A leader outside the ISR.
    #[error("the leader {leader} is not in the isr")]
    Leader {
        /// The leader.
        leader: NodeId,
    },
}

impl Partition {
    /// A new partition: led by the first of `isr`, in epoch 0.
    #[must_use]
    pub fn new(replicas: Vec<NodeId>, isr: Vec<NodeId>) -> Self {
        let leader = isr.first().copied();
        Self {
            replicas,
            isr,
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            adding: Vec::new(),
            removing: Vec::new(),
            leader,
            leader_epoch: LeaderEpoch::new(0),
            partition_epoch: PartitionEpoch::new(0),
            recovery: Recovery::Recovered,
        }
    }

    /// How this state contradicts itself.
    #[must_use]
    pub fn flaw(&self) -> Option<PartitionFlaw> {
        if self.replicas.is_empty() || !is_set(&self.replicas) {
            return Some(PartitionFlaw::Replicas { replicas: self.replicas.clone() });
        }
        if !is_set(&self.isr) || self.isr.iter().any(|node| !self.replicas.contains(node)) {
            return Some(PartitionFlaw::Isr { isr: self.isr.clone() });
        }
        let misplaced = |node: &NodeId| !self.replicas.contains(node) || self.isr.contains(node);
        if !is_set(&self.elr) || self.elr.iter().any(misplaced) {
            return Some(PartitionFlaw::Elr { elr: self.elr.clone() });
        }
        self.leader.filter(|leader| !self.isr.contains(leader)).map(|leader| PartitionFlaw::Leader { leader })
    }

    /// At most how many bytes its lists take in the log.
    pub(super) fn size_max(&self) -> usize {
        let lists = [&self.replicas, &self.isr, &self.elr, &self.last_known_elr, &self.adding, &self.removing];
        lists.into_iter().map(|list| 4 * list.len()).sum()
    }
}

fn is_set(nodes: &[NodeId]) -> bool {
    nodes.iter().enumerate().all(|(at, node)| !nodes[..at].contains(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    #[test]
    fn a_state_that_contradicts_itself_is_named() {
        let good = Partition::new(nodes(&[1, 2, 3]), nodes(&[1, 2]));
        assert_eq!(good.flaw(), None);
        let no_member = Partition { leader: Some(NodeId::new(3)), ..good.clone() };
        assert_eq!(no_member.flaw(), Some(PartitionFlaw::Leader { leader: NodeId::new(3) }));
        let both = Partition { elr: nodes(&[2]), ..good.clone() };
        assert_eq!(both.flaw(), Some(PartitionFlaw::Elr { elr: nodes(&[2]) }));
        let stranger = Partition { isr: nodes(&[1, 4]), ..good };
        assert_eq!(stranger.flaw(), Some(PartitionFlaw::Isr { isr: nodes(&[1, 4]) }));
    }
}
