//! Who leads a partition, and who is in its ISR and ELR, after some of its members lost their place.
//! Called by every decision that changes a partition.
//!
//! Invariant: a leader is taken from the ISR, or with an empty ISR from the ELR; never from elsewhere. The unclean
//! election has its place here and is refused: nobody may lead who might lack what was acknowledged (rule R17).

use crate::machines::metadata::Partition;
use crate::model::NodeId;
use crate::probe::{Mark, Mutant, mark, planted};

/// What to do about a partition's members.
pub(super) struct Election<'a> {
    /// The partition as it is.
    pub(super) partition: &'a Partition,
    /// The effective minimum of its ISR.
    pub(super) min_isr: usize,
    /// Who leaves the ISR and keeps what it holds.
    pub(super) leaving: &'a dyn Fn(NodeId) -> bool,
    /// Who may have lost what it held: leaves ISR and ELR (rules R12, S3).
    pub(super) lost: &'a dyn Fn(NodeId) -> bool,
    /// Who may lead: registered, unfenced, not shutting down.
    pub(super) may_lead: &'a dyn Fn(NodeId) -> bool,
    /// Who is to be asked first, before the replicas in their order.
    pub(super) first: &'a [NodeId],
}

impl Election<'_> {
    /// The state that follows; `None` when nothing changes.
    pub(super) fn outcome(&self) -> Option<Partition> {
        let before = self.partition;
        let stays = |node: &NodeId| !(self.leaving)(*node) && !(self.lost)(*node);
        let isr: Vec<NodeId> = before.isr.iter().copied().filter(stays).collect();
        let mut after = with_isr(before, isr, self.min_isr, self.lost);
        after.leader = self.leader(&after);
        if let Some(leader) = after.leader.filter(|_| after.isr.is_empty()) {
            // A clean election from the ELR: it holds all that is committed (rule R11).
            mark(Mark::ElrElection);
            after = Partition { leader: Some(leader), ..with_isr(&after, vec![leader], self.min_isr, self.lost) };
        }
        if after == *before {
            return None;
        }
        let is_election = after.leader != before.leader && !planted(Mutant::EpochStaysOnElection);
        if is_election || after.isr.len() < before.isr.len() && planted(Mutant::ShrinkRaisesLeaderEpoch) {
            // Rule R1: every election, "nobody" included, begins an epoch. A smaller ISR under the same leader does
            // not: parked produces and groups would pay for it (rule S18).
            after.leader_epoch = before.leader_epoch.next();
        }
        if after.leader.is_none() {
            mark(Mark::Leaderless);
        }
        after.partition_epoch = before.partition_epoch.next();
        Some(after)
    }

    fn leader(&self, after: &Partition) -> Option<NodeId> {
        let in_isr = |node: &NodeId| after.isr.contains(node) && (self.may_lead)(*node);
        let is_eligible = |node: &NodeId| after.elr.contains(node) || planted(Mutant::AnyReplicaLeads);
        let in_elr = |node: &NodeId| after.isr.is_empty() && is_eligible(node) && (self.may_lead)(*node);
        let in_order = || self.first.iter().chain(&self.partition.replicas).copied();
        let current = self.partition.leader.filter(in_isr);
        current.or_else(|| in_order().find(in_isr)).or_else(|| in_order().find(in_elr))
    }
}

/// A partition with another ISR and the ELR that follows from it (rule R11): with enough members the ELR is empty, for
/// the high watermark moves on without it; with fewer, whoever leaves stays eligible unless it is `lost`.
pub(super) fn with_isr(
    before: &Partition,
    isr: Vec<NodeId>,
    min_isr: usize,
    lost: &dyn Fn(NodeId) -> bool,
) -> Partition {
    let enough = isr.len() >= min_isr.min(before.replicas.len()) && !planted(Mutant::ElrOutlivesMinIsr);
    let kept = |node: &NodeId| !enough && !isr.contains(node);
    let held = |node: &NodeId| before.isr.contains(node) || before.elr.contains(node);
    let elr_of = |node: &NodeId| kept(node) && held(node) && !lost(*node) && !planted(Mutant::ElrForgotten);
    let elr: Vec<NodeId> = before.replicas.iter().copied().filter(elr_of).collect();
    let known =
        |node: &NodeId| kept(node) && !elr.contains(node) && (held(node) || before.last_known_elr.contains(node));
    let is_kept = |_: &NodeId| !planted(Mutant::LastKnownForgotten);
    let last_known_elr = before.replicas.iter().copied().filter(known).filter(is_kept).collect();
    Partition { isr, elr, last_known_elr, ..before.clone() }
}

/// Nobody, as a condition of [`Election`].
pub(super) fn nobody(_: NodeId) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LeaderEpoch, PartitionEpoch};

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    /// Three replicas, minimum two; `isr/elr` as lists, `alive` may lead, the others leave, `lost` have lost all.
    fn check(isr: &[i32], elr: &[i32], alive: &[i32], lost: &[i32], expect: Option<(i32, &[i32], &[i32], i32)>) {
        let before = Partition { elr: nodes(elr), ..Partition::new(nodes(&[1, 2, 3]), nodes(isr)) };
        let (alive, lost) = (nodes(alive), nodes(lost));
        let election = Election {
            partition: &before,
            min_isr: 2,
            leaving: &|node| !alive.contains(&node),
            lost: &|node| lost.contains(&node),
            may_lead: &|node| alive.contains(&node) && !lost.contains(&node),
            first: &[],
        };
        let after = election.outcome();
        if let Some(after) = &after {
            assert_eq!(after.flaw(), None);
            assert_eq!(after.partition_epoch, PartitionEpoch::new(1));
        }
        let after = after.map(|p| (p.leader.map_or(-1, NodeId::get), p.isr, p.elr, p.leader_epoch));
        let expect = expect.map(|(l, i, e, epoch)| (l, nodes(i), nodes(e), LeaderEpoch::new(epoch)));
        assert_eq!(after, expect);
    }

    #[test]
    fn the_next_in_sync_replica_leads_when_the_leader_goes() {
        check(&[1, 2, 3], &[], &[2, 3], &[], Some((2, &[2, 3], &[], 1)));
        check(&[1, 3], &[], &[2, 3], &[], Some((3, &[3], &[1], 1)));
    }

    #[test]
    fn a_follower_that_goes_raises_only_the_partition_epoch() {
        check(&[1, 2, 3], &[], &[1, 2], &[], Some((1, &[1, 2], &[], 0)));
        check(&[1, 2], &[], &[1, 3], &[], Some((1, &[1], &[2], 0)));
        check(&[1, 2, 3], &[], &[1, 2, 3], &[], None);
    }

    #[test]
    fn an_empty_isr_waits_for_the_elr() {
        check(&[1], &[], &[2, 3], &[], Some((-1, &[], &[1], 1)));
        check(&[1], &[2], &[2, 3], &[], Some((2, &[2], &[1], 1)));
        check(&[], &[1, 2], &[1], &[], Some((1, &[1], &[2], 1)));
        check(&[], &[1], &[2, 3], &[], None);
    }

    #[test]
    fn who_may_have_lost_data_is_eligible_no_more() {
        check(&[1], &[2], &[1, 2, 3], &[1], Some((2, &[2], &[], 1)));
        check(&[1], &[2], &[1, 2, 3], &[2], Some((1, &[1], &[], 0)));
        check(&[1], &[], &[2, 3], &[1], Some((-1, &[], &[], 1)));
    }

    #[test]
    fn a_lost_member_is_remembered_for_the_operator() {
        let before = Partition { elr: nodes(&[2]), ..Partition::new(nodes(&[1, 2, 3]), nodes(&[1])) };
        let after = with_isr(&before, nodes(&[1]), 2, &|node| node == NodeId::new(2));
        assert_eq!((after.elr, after.last_known_elr), (nodes(&[]), nodes(&[2])));
    }
}
