//! Proposals of ISRs on their way to the controller: one request in flight, all that has come meanwhile in the next.
//!
//! Invariant: every proposal is answered to its shard exactly once; whatever is not known is "retry" (rule R9).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
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
        let mut outcomes = ask(&inner, &batch).await;
        if !await_image(inner.reconciled.subscribe(), &batch, &outcomes).await {
            // The leader learns of the change by its image whenever this node gets so far, and not before.
            let is_accepted = |outcome: &&mut IsrOutcome| matches!(outcome, IsrOutcome::Accepted { .. });
            outcomes.iter_mut().filter(is_accepted).for_each(|outcome| *outcome = IsrOutcome::Stale);
        }
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

/// Whether what was accepted is in this node's image and its shards have their orders of it: a leader must not run ahead
/// of a configuration that was written before it (rules R10, R13).
async fn await_image(
    mut reconciled: watch::Receiver<Arc<Image>>,
    batch: &[PartitionProposal],
    outcomes: &[IsrOutcome],
) -> bool {
    let reached = |image: &Arc<Image>| {
        batch.iter().zip(outcomes).all(|(proposal, outcome)| match outcome {
            IsrOutcome::Accepted { partition_epoch, .. } => {
                image.partition(proposal.partition).is_none_or(|p| p.partition_epoch >= *partition_epoch)
            }
            IsrOutcome::Ineligible | IsrOutcome::Stale | IsrOutcome::Retry => true,
        })
    };
    matches!(tokio::time::timeout(ASK_TIMEOUT, reconciled.wait_for(reached)).await, Ok(Ok(_)))
}

async fn ask(inner: &Inner, batch: &[PartitionProposal]) -> Vec<IsrOutcome> {
    let retry = || vec![IsrOutcome::Retry; batch.len()];
    let Some(broker_epoch) = inner.broker_epoch() else { return retry() };
    let changes = batch.iter().map(change).collect();
    let request = AlterIsr { node: inner.node, broker_epoch, changes };
    let reply = inner.controllers.ask_counting(Event::AlterIsr(request), ASK_TIMEOUT).await;
    let Ok((Reply::AlterIsr(Ok(answers)), sendings)) = reply else { return retry() };
    if answers.len() != batch.len() {
        return retry();
    }
    answers.into_iter().map(|answer| outcome(answer.outcome, sendings)).collect()
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

fn outcome(answer: Result<Partition, IsrRefusal>, sendings: u32) -> IsrOutcome {
    match answer {
        Ok(state) => IsrOutcome::Accepted { partition_epoch: state.partition_epoch, isr: state.isr },
        // An earlier sending may still be under way, and be accepted: the leader must not think it refused (rule R9).
        Err(IsrRefusal::IneligibleReplica { .. } | IsrRefusal::NotAttempted) if sendings > 1 => IsrOutcome::Retry,
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
    use std::task::{Context, Waker};

    use super::*;
    use crate::machines::metadata::Record;
    use crate::machines::replication::{self, IsrProposal};
    use crate::model::{
        BrokerEpoch, LeaderEpoch, LogIndex, NodeId, PartitionEpoch, PartitionId, PartitionIndex, TopicId, TopicName,
    };

    fn partition() -> PartitionId {
        PartitionId { topic: TopicId::new([1; 16]), index: PartitionIndex::new(0) }
    }

    fn wanted(recovered: bool) -> PartitionProposal {
        let member = replication::IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) };
        let proposal = IsrProposal {
            leader_epoch: LeaderEpoch::new(3),
            partition_epoch: PartitionEpoch::new(4),
            isr: vec![member],
            recovered,
        };
        PartitionProposal { partition: partition(), proposal }
    }

    fn image(partition_epoch: i32) -> Arc<Image> {
        let nodes = vec![NodeId::new(2)];
        let partition_epoch = PartitionEpoch::new(partition_epoch);
        let state = Partition { partition_epoch, ..Partition::new(nodes.clone(), nodes) };
        let topic = Record::TopicCreated { topic: partition().topic, name: TopicName::new("t").unwrap() };
        let mut image = Image::default();
        image.replay(LogIndex::new(1), &topic);
        image.replay(LogIndex::new(2), &Record::PartitionCreated { partition: partition(), state });
        Arc::new(image)
    }

    #[test]
    fn an_ordinary_leader_never_asks_to_become_recovering() {
        for recovered in [false, true] {
            let asked = change(&wanted(recovered));
            assert_eq!(asked.recovery, Recovery::Recovered);
            assert_eq!(asked.isr, [IsrMember { node: NodeId::new(2), broker_epoch: BrokerEpoch::new(9) }]);
        }
    }

    #[tokio::test]
    async fn an_accepted_isr_is_told_only_once_the_shards_have_their_orders_of_it() {
        let (reconciled, watching) = watch::channel(image(4));
        let batch = [wanted(true)];
        let accepted = [IsrOutcome::Accepted { partition_epoch: PartitionEpoch::new(5), isr: vec![NodeId::new(2)] }];
        let mut waiting = Box::pin(await_image(watching, &batch, &accepted));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        reconciled.send_replace(image(5));
        assert!(waiting.await);
    }

    #[tokio::test]
    async fn what_was_refused_or_concerns_a_deleted_partition_waits_for_nothing() {
        let (_reconciled, watching) = watch::channel(image(4));
        assert!(await_image(watching.clone(), &[wanted(true)], &[IsrOutcome::Retry]).await);
        let mut gone = wanted(true);
        gone.partition.index = PartitionIndex::new(1);
        let accepted = [IsrOutcome::Accepted { partition_epoch: PartitionEpoch::new(5), isr: vec![NodeId::new(2)] }];
        assert!(await_image(watching, &[gone], &accepted).await);
    }
}
