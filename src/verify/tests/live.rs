//! KIP-966's properties of one moment: let pass when all is well, flagged when not.

use crate::model::{LeaderEpoch, NodeId, Offset, PartitionEpoch, PartitionId, PartitionIndex, TopicId};
use crate::verify::history::PartitionState;
use crate::verify::{Invariant, PartitionView, ReplicaView, RoleView, check_live};

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId::new).collect()
}

/// Three replicas that hold five records, led by the first in epoch 4; what is committed ends at 5.
struct Moment {
    state: PartitionState,
    last_known: Vec<NodeId>,
    committed: i64,
    /// Which replica leads, in its own view, with which ISR and which maximal one.
    leader: (usize, Vec<NodeId>, Vec<NodeId>),
    leader_epoch: i32,
    ends: [i64; 3],
    watermarks: [i64; 3],
    runs: [bool; 3],
}

impl Moment {
    fn new() -> Self {
        let state = PartitionState {
            partition: PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) },
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(&[1, 2, 3]),
            elr: Vec::new(),
            leader: Some(NodeId::new(1)),
            leader_epoch: LeaderEpoch::new(4),
            partition_epoch: PartitionEpoch::new(9),
            isr_min: 2,
        };
        Self {
            state,
            last_known: Vec::new(),
            committed: 5,
            leader: (0, nodes(&[1, 2, 3]), nodes(&[1, 2, 3])),
            leader_epoch: 4,
            ends: [6, 5, 5],
            watermarks: [5, 4, 5],
            runs: [true; 3],
        }
    }

    fn flagged(&self) -> Vec<Invariant> {
        let (leads, isr, maximal_isr) = &self.leader;
        let replicas: Vec<ReplicaView<'_>> = (0..3)
            .map(|at| ReplicaView {
                node: self.state.replicas[at],
                is_running: self.runs[at],
                role: if at == *leads { RoleView::Leader { isr, maximal_isr } } else { RoleView::Follower },
                leader_epoch: LeaderEpoch::new(self.leader_epoch),
                high_watermark: Offset::new(self.watermarks[at]),
                flushed_end: Offset::new(self.ends[at]),
                end: Offset::new(self.ends[at]),
            })
            .collect();
        let committed = Offset::new(self.committed);
        let view = PartitionView { state: &self.state, last_known: &self.last_known, committed, replicas: &replicas };
        check_live(&view).into_iter().map(|violation| violation.invariant).collect()
    }
}

#[test]
fn a_moment_in_which_all_is_well_is_not_flagged() {
    assert_eq!(Moment::new().flagged(), []);
}

#[test]
fn a_running_leader_without_committed_records_is_flagged() {
    let mut moment = Moment::new();
    moment.state.isr = nodes(&[2, 3]);
    (moment.ends[0], moment.watermarks[0]) = (4, 4);
    assert_eq!(moment.flagged(), [Invariant::L1]);
    moment.runs[0] = false;
    assert_eq!(moment.flagged(), []);
}

#[test]
fn a_member_of_isr_or_elr_without_committed_records_is_flagged() {
    let mut moment = Moment::new();
    moment.ends[2] = 4;
    moment.watermarks[2] = 4;
    assert_eq!(moment.flagged(), [Invariant::L2]);
    (moment.state.isr, moment.state.elr) = (nodes(&[1]), nodes(&[3]));
    assert_eq!(moment.flagged(), [Invariant::L2]);
    moment.runs[2] = false;
    assert_eq!(moment.flagged(), []);
    moment.runs[2] = true;
    moment.state.elr.clear();
    assert_eq!(moment.flagged(), []);
}

#[test]
fn a_leader_that_does_not_wait_for_an_eligible_replica_is_flagged() {
    let mut moment = Moment::new();
    moment.leader.2 = nodes(&[1, 2]);
    assert_eq!(moment.flagged(), [Invariant::L3]);
    (moment.state.isr, moment.state.elr) = (nodes(&[1]), nodes(&[3]));
    assert_eq!(moment.flagged(), [Invariant::L3]);
}

#[test]
fn a_leader_of_an_older_epoch_or_with_too_few_in_sync_commits_nothing_and_may_wait_for_fewer() {
    let mut moment = Moment::new();
    moment.leader.2 = nodes(&[1, 2]);
    moment.leader_epoch = 3;
    assert_eq!(moment.flagged(), []);
    moment.leader_epoch = 4;
    moment.leader.1 = nodes(&[1]);
    assert_eq!(moment.flagged(), []);
}

#[test]
fn a_high_watermark_above_the_log_or_above_what_is_committed_is_flagged() {
    let mut moment = Moment::new();
    moment.watermarks[0] = 6;
    assert_eq!(moment.flagged(), [Invariant::L4]);
    moment.watermarks[0] = 5;
    (moment.ends[1], moment.watermarks[1], moment.runs[1]) = (3, 4, false);
    assert_eq!(moment.flagged(), [Invariant::L4]);
}

#[test]
fn a_partition_that_nobody_remembers_how_to_restore_is_flagged() {
    let mut moment = Moment::new();
    (moment.state.isr, moment.state.leader) = (Vec::new(), None);
    moment.last_known = nodes(&[1]);
    assert_eq!(moment.flagged(), [Invariant::L5]);
    moment.last_known = nodes(&[1, 2]);
    assert_eq!(moment.flagged(), []);
}
