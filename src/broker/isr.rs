//! Proposals of ISRs on their way to the controller: one request in flight, all that has come meanwhile in the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::{Inner, proposals};
use crate::machines::controller::{Event, Reply};
use crate::machines::metadata::Image;
use crate::machines::replication::IsrOutcome;
use crate::partition::PartitionProposal;

/// How long a request may look for a controller before its proposals are told to be sent again.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Partitions in one request.
const PARTITIONS_PER_REQUEST_MAX: usize = 1_000;

/// Carries proposals until the shards are gone.
pub(super) async fn run(inner: Arc<Inner>, mut wishes: mpsc::UnboundedReceiver<PartitionProposal>) {
    let mut batch = Vec::new();
    while wishes.recv_many(&mut batch, PARTITIONS_PER_REQUEST_MAX).await > 0 {
        let mut outcomes = ask(&inner, &batch).await;
        if !await_image(inner.reconciled.subscribe(), &batch, &outcomes).await {
            proposals::forget_accepted(&mut outcomes);
        }
        for (proposal, outcome) in batch.drain(..).zip(outcomes) {
            debug!(partition = %proposal.partition, isr = ?proposal.proposal.isr, ?outcome, "asked for another isr");
            inner.shards.tell(proposal.partition, proposals::answer(&proposal, outcome));
        }
    }
}

/// Whether what was accepted is in this node's image, and its shards have their orders of it.
async fn await_image(
    mut reconciled: watch::Receiver<Arc<Image>>,
    batch: &[PartitionProposal],
    outcomes: &[IsrOutcome],
) -> bool {
    let reached = |image: &Arc<Image>| proposals::has_reached(image, batch, outcomes);
    matches!(tokio::time::timeout(ASK_TIMEOUT, reconciled.wait_for(reached)).await, Ok(Ok(_)))
}

async fn ask(inner: &Inner, batch: &[PartitionProposal]) -> Vec<IsrOutcome> {
    let Some(broker_epoch) = inner.broker_epoch() else { return proposals::outcomes(None, 0, batch) };
    let request = proposals::request(inner.node, broker_epoch, batch);
    match inner.controllers.ask_counting(Event::AlterIsr(request), ASK_TIMEOUT).await {
        Ok((Reply::AlterIsr(Ok(answers)), sendings)) => proposals::outcomes(Some(answers), sendings, batch),
        Ok(_) | Err(_) => proposals::outcomes(None, 0, batch),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::machines::metadata::Partition;
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
