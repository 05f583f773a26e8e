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
    use crate::machines::replication::IsrProposal;
    use crate::model::{LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex, TopicId};

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

    #[test]
    fn an_ordinary_leader_never_asks_to_become_recovering() {
        for recovered in [false, true] {
            let asked = change(&wanted(recovered));
            assert_eq!(asked.recovery, Recovery::Recovered);
            assert_eq!(asked.isr, [IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) }]);
        }
    }
}
