//! Proposals of ISRs on their way to the controller: one request in flight, all that has come meanwhile in the next.
//!
//! Invariant: every proposal is answered to its shard exactly once; whatever is not known is "retry" (rule R9).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::debug;

use super::Inner;
use crate::machines::controller::{AlterIsr, Event, IsrChange, IsrMember, IsrRefusal, Reply};
use crate::machines::metadata::{Image, Partition, Recovery};
use crate::machines::replication::IsrOutcome;
use crate::partition::{Event as ShardEvent, PartitionProposal};

/// How long a request may look for a controller before its proposals are told to be sent again.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions in one request.
const PARTITIONS_PER_REQUEST_MAX: usize = 1_000;

/// Carries proposals until the shards are gone.
pub(super) async fn run(inner: Arc<Inner>, mut proposals: mpsc::UnboundedReceiver<PartitionProposal>) {
    let mut batch = Vec::new();
    while proposals.recv_many(&mut batch, PARTITIONS_PER_REQUEST_MAX).await > 0 {
        let outcomes = ask(&inner, &batch).await;
        await_image(&inner, &batch, &outcomes).await;
        for (proposal, outcome) in batch.drain(..).zip(outcomes) {
            debug!(partition = %proposal.partition, isr = ?proposal.proposal.isr, ?outcome, "asked for another isr");
            let answer = ShardEvent::IsrAnswer {
                partition: proposal.partition,
                leader_epoch: proposal.proposal.leader_epoch,
                partition_epoch: proposal.proposal.partition_epoch,
                outcome,
            };
            inner.shards.tell(proposal.partition, answer);
        }
    }
}

/// What was accepted is told only once it is in this node's image: a leader must not run ahead of a configuration that
/// was written before it (rules R10, R13).
async fn await_image(inner: &Inner, batch: &[PartitionProposal], outcomes: &[IsrOutcome]) {
    let reached = |image: &Arc<Image>| {
        batch.iter().zip(outcomes).all(|(proposal, outcome)| match outcome {
            IsrOutcome::Accepted { partition_epoch, .. } => {
                image.partition(proposal.partition).is_none_or(|p| p.partition_epoch >= *partition_epoch)
            }
            IsrOutcome::Ineligible | IsrOutcome::Stale | IsrOutcome::Retry => true,
        })
    };
    // A node that does not get so far learns of the change by its image whenever it does.
    let _ = tokio::time::timeout(ASK_TIMEOUT, inner.images.clone().wait_for(reached)).await;
}

async fn ask(inner: &Inner, batch: &[PartitionProposal]) -> Vec<IsrOutcome> {
    let retry = || vec![IsrOutcome::Retry; batch.len()];
    let Some(broker_epoch) = inner.broker_epoch() else { return retry() };
    let changes = batch.iter().map(change).collect();
    let request = AlterIsr { node: inner.node, broker_epoch, changes };
    let reply = inner.controllers.ask(Event::AlterIsr(request), ASK_TIMEOUT).await;
    let Ok(Reply::AlterIsr(Ok(answers))) = reply else { return retry() };
    if answers.len() != batch.len() {
        return retry();
    }
    answers.into_iter().map(|answer| outcome(answer.outcome)).collect()
}

fn change(proposal: &PartitionProposal) -> IsrChange {
    let wanted = &proposal.proposal;
    let member = |m: &crate::machines::replication::IsrMember| IsrMember { node: m.node, broker_epoch: m.broker_epoch };
    IsrChange {
        partition: proposal.partition,
        leader_epoch: wanted.leader_epoch,
        partition_epoch: wanted.partition_epoch,
        isr: wanted.isr.iter().map(member).collect(),
        // A leader that recovers says with its first proposal that it has; any other has nothing to recover from.
        recovery: Recovery::Recovered,
    }
}

fn outcome(answer: Result<Partition, IsrRefusal>) -> IsrOutcome {
    match answer {
        Ok(state) => IsrOutcome::Accepted { partition_epoch: state.partition_epoch, isr: state.isr },
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
    use crate::machines::replication::{self, IsrProposal};
    use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionId, PartitionIndex, TopicId};

    #[test]
    fn an_ordinary_leader_never_asks_to_become_recovering() {
        let member = replication::IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) };
        for recovered in [false, true] {
            let proposal = IsrProposal {
                leader_epoch: LeaderEpoch::new(3),
                partition_epoch: PartitionEpoch::new(4),
                isr: vec![member],
                recovered,
            };
            let partition = PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) };
            let asked = change(&PartitionProposal { partition, proposal });
            assert_eq!(asked.recovery, Recovery::Recovered);
            assert_eq!(asked.isr, [IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) }]);
        }
    }
}
