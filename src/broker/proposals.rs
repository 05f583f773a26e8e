//! Proposals of ISRs as the controller is asked, and its answers as the shards are told.
//!
//! Called by `isr` and by the simulation. Invariant: every proposal is answered to its shard exactly once; whatever is
//! not known is "retry" (rule R9).

use crate::machines::controller::{AlterIsr, IsrAnswer, IsrChange, IsrMember, IsrRefusal};
use crate::machines::metadata::{Image, Partition, Recovery};
use crate::machines::replication::{self, IsrOutcome};
use crate::model::{BrokerEpoch, NodeId};
use crate::partition::{Event, PartitionProposal};
use crate::probe::{Mark, Mutant, mark, planted};

/// What the controller is asked for a batch of proposals.
pub(crate) fn request(node: NodeId, broker_epoch: BrokerEpoch, batch: &[PartitionProposal]) -> AlterIsr {
    AlterIsr { node, broker_epoch, changes: batch.iter().map(change).collect() }
}

/// What became of each proposal of a batch, by an answer to a request that was sent so many times; `None` is none that
/// fits.
pub(crate) fn outcomes(answers: Option<Vec<IsrAnswer>>, sendings: u32, batch: &[PartitionProposal]) -> Vec<IsrOutcome> {
    match answers.filter(|answers| answers.len() == batch.len()) {
        Some(answers) => answers.into_iter().map(|answer| outcome(answer.outcome, sendings)).collect(),
        None => vec![IsrOutcome::Retry; batch.len()],
    }
}

/// Whether what was accepted is in this image: a leader must not run ahead of a configuration that was written before
/// it (rules R10, R13).
pub(crate) fn has_reached(image: &Image, batch: &[PartitionProposal], outcomes: &[IsrOutcome]) -> bool {
    batch.iter().zip(outcomes).all(|(proposal, outcome)| match outcome {
        IsrOutcome::Accepted { partition_epoch, .. } => {
            let is_there = |state: &Partition| state.partition_epoch >= *partition_epoch;
            let outruns = planted(Mutant::AnswerOutrunsImage) || planted(Mutant::OlderImageTaken);
            image.partition(proposal.partition).is_none_or(is_there) || outruns
        }
        IsrOutcome::Ineligible | IsrOutcome::Stale | IsrOutcome::Retry => true,
    })
}

/// The image did not come in time: the leader learns of the change by it whenever this node gets so far, not before.
pub(crate) fn forget_accepted(outcomes: &mut [IsrOutcome]) {
    mark(Mark::AnswerBeforeImage);
    let is_accepted = |outcome: &&mut IsrOutcome| matches!(outcome, IsrOutcome::Accepted { .. });
    outcomes.iter_mut().filter(is_accepted).for_each(|outcome| *outcome = IsrOutcome::Stale);
}

/// What the shard is told.
pub(crate) fn answer(proposal: &PartitionProposal, outcome: IsrOutcome) -> Event {
    Event::IsrAnswer {
        partition: proposal.partition,
        leader_epoch: proposal.proposal.leader_epoch,
        partition_epoch: proposal.proposal.partition_epoch,
        outcome,
    }
}

fn change(proposal: &PartitionProposal) -> IsrChange {
    let wanted = &proposal.proposal;
    let member = |m: &replication::IsrMember| IsrMember { node: m.node, broker_epoch: m.broker_epoch };
    IsrChange {
        partition: proposal.partition,
        leader_epoch: wanted.leader_epoch,
        partition_epoch: wanted.partition_epoch,
        isr: wanted.isr.iter().map(member).collect(),
        // A leader that recovers says with its first proposal that it has; any other has nothing to recover from.
        recovery: Recovery::Recovered,
    }
}

fn outcome(answer: Result<Partition, IsrRefusal>, sendings: u32) -> IsrOutcome {
    match answer {
        Ok(state) => IsrOutcome::Accepted { partition_epoch: state.partition_epoch, isr: state.isr },
        // An earlier sending may still be under way, and be accepted: the leader must not think it refused (rule R9).
        Err(IsrRefusal::IneligibleReplica { .. } | IsrRefusal::NotAttempted)
            if sendings > 1 && !planted(Mutant::ResentIsRefused) =>
        {
            mark(Mark::RefusedAfterResending);
            IsrOutcome::Retry
        }
        // Nothing was done: the leader goes back to what stands and proposes anew.
        Err(IsrRefusal::IneligibleReplica { .. } | IsrRefusal::NotAttempted) => IsrOutcome::Ineligible,
        Err(IsrRefusal::NotController) => IsrOutcome::Retry,
        Err(
            IsrRefusal::UnknownTopic
            | IsrRefusal::UnknownPartition
            | IsrRefusal::FencedLeaderEpoch { .. }
            | IsrRefusal::Invalid(_)
            | IsrRefusal::InvalidUpdateVersion { .. },
        ) => IsrOutcome::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::machines::replication::{
        FollowerFetch, IsrProposal, Leader, LeaderEffect, Leadership, LogEnds, ReplicaState,
    };
    use crate::model::{Instant, LeaderEpoch, Offset, PartitionEpoch, PartitionId, PartitionIndex, TopicId};

    fn wanted(recovered: bool) -> PartitionProposal {
        let partition = PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) };
        let member = replication::IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) };
        let (leader_epoch, partition_epoch) = (LeaderEpoch::new(3), PartitionEpoch::new(4));
        PartitionProposal {
            partition,
            proposal: IsrProposal { leader_epoch, partition_epoch, isr: vec![member], recovered },
        }
    }

    #[test]
    fn a_refusal_settles_only_what_was_sent_once() {
        let refused = |refusal, sendings| outcome(Err(refusal), sendings);
        let ineligible = || IsrRefusal::IneligibleReplica { node: NodeId::new(2) };
        assert_eq!(refused(ineligible(), 1), IsrOutcome::Ineligible);
        assert_eq!(refused(ineligible(), 2), IsrOutcome::Retry);
        assert_eq!(refused(IsrRefusal::NotAttempted, 2), IsrOutcome::Retry);
    }

    /// Node 1 leads with 2 in sync; 3 may join, or is fenced. Each node's registration is ten times its number.
    fn leadership(may_3_join: bool) -> Leadership {
        let nodes = [1, 2, 3].map(NodeId::new);
        let replica = |node: NodeId| ReplicaState {
            node,
            broker_epoch: Some(BrokerEpoch::new(i64::from(node.get()) * 10)),
            may_join: node.get() < 3 || may_3_join,
            is_eligible: false,
        };
        Leadership {
            leader_epoch: LeaderEpoch::new(3),
            partition_epoch: PartitionEpoch::new(4),
            isr: nodes[..2].to_vec(),
            replicas: nodes.map(replica).to_vec(),
            isr_min: 2,
            recovering: false,
        }
    }

    #[test]
    fn who_may_still_join_by_an_earlier_sending_holds_the_high_watermark() {
        let (now, ten, twenty) = (Instant::from_nanos(1), Offset::new(10), Offset::new(20));
        let (mut effects, log) = (Vec::new(), LogEnds { end: ten, flushed_end: ten });
        let lag_max = Duration::from_secs(5);
        let mut leader = Leader::take_over(NodeId::new(1), lag_max, &leadership(true), log, ten, now, &mut effects);
        let mut fetch = |leader: &mut Leader, node: i32, offset| {
            let broker_epoch = Some(BrokerEpoch::new(i64::from(node) * 10));
            leader.on_fetch(
                &FollowerFetch { node: NodeId::new(node), broker_epoch, offset, last_crc: None },
                now,
                &mut effects,
            );
        };
        fetch(&mut leader, 2, ten);
        fetch(&mut leader, 3, ten);
        assert_eq!(leader.pending(), Some([1, 2, 3].map(NodeId::new).to_vec()), "3 has caught up");
        // The first sending is under way still when 3 is fenced, for which the second is refused.
        leader.on_order(&leadership(false), now, &mut Vec::new());
        let refused = outcome(Err(IsrRefusal::IneligibleReplica { node: NodeId::new(3) }), 2);
        leader.on_isr_answer((LeaderEpoch::new(3), PartitionEpoch::new(4)), refused, now, &mut Vec::new());
        leader.on_append(twenty);
        leader.on_flushed(twenty, now, &mut Vec::new());
        fetch(&mut leader, 2, twenty);
        assert_eq!(leader.high_watermark(), ten, "3 holds no more, and may be elected once the first has come");
        assert!(effects.iter().any(|effect| matches!(effect, LeaderEffect::Propose(_))));
    }

    #[test]
    fn an_ordinary_leader_never_asks_to_become_recovering() {
        for recovered in [false, true] {
            let asked = change(&wanted(recovered));
            assert_eq!(asked.recovery, Recovery::Recovered);
            assert_eq!(asked.isr, [IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) }]);
        }
    }
}
