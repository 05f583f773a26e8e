//! One round of the controller: decide what waits, propose it as one entry, answer.

use std::sync::Arc;

use tracing::{debug, info};

use super::{Host, NotController};
use crate::machines::controller::Round;
use crate::machines::metadata::{Image, Proposal, Record};
use crate::probe::{Mutant, planted};
use crate::quorum::{Leadership, PROPOSAL_BYTES_MAX};

/// Room that is left in a proposal for its own framing (rule S14).
const PROPOSAL_FRAME_BYTES: usize = 1_024;
/// What the records of one round may take.
pub(crate) const RECORD_BYTES_MAX: usize = PROPOSAL_BYTES_MAX - PROPOSAL_FRAME_BYTES;

/// The outcome of a proposal is not known; the round's askers have been told to try again.
pub(super) struct Unsettled;

/// What became of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There was nothing to propose.
    Nothing,
    /// Its records are accepted.
    Accepted,
}

impl Host {
    /// Decides what is due and what waits, and proposes it. Without records the answers leave at once.
    pub(super) async fn round(&mut self, leadership: Leadership) -> Result<Progress, Unsettled> {
        let base = Arc::clone(&self.images.borrow_and_update());
        let now = self.world.clock.now();
        let mut round = Round::decide(&base, &mut self.soft, now, &mut self.waiting, RECORD_BYTES_MAX);
        std::mem::take(&mut round.effects).into_iter().for_each(|effect| self.carry_out(effect));
        let records = std::mem::take(&mut round.records);
        if records.is_empty() {
            answer(round.settle(None, &mut self.waiting));
            return Ok(Progress::Nothing);
        }
        let proposal = Proposal { term: leadership.term, base: base.last_accepted(), records };
        log(&proposal);
        let elected = elections(&base, &proposal.records);
        self.propose(proposal, round).await?;
        self.world.metrics.count_elections("clean", elected);
        Ok(Progress::Accepted)
    }

    async fn propose(&mut self, proposal: Proposal, round: Round<super::Asker>) -> Result<(), Unsettled> {
        match self.world.quorum.propose(proposal).await {
            Ok(accepted) => {
                // The next round decides on an image that holds this one.
                let reached = self.images.wait_for(|image| image.last_accepted() >= accepted.index).await.is_ok();
                if !reached {
                    return Err(Unsettled);
                }
                answer(round.settle(Some(accepted.index), &mut self.waiting));
                Ok(())
            }
            Err(cause) => {
                info!(%cause, "a proposal was not accepted");
                if planted(Mutant::UnsettledAnswered) {
                    answer(round.settle(Some(self.images.borrow().last_applied()), &mut self.waiting));
                    return Err(Unsettled);
                }
                for to in round.into_askers() {
                    let _ = to.send(Err(NotController));
                }
                Err(Unsettled)
            }
        }
    }
}

fn answer(replies: Vec<(super::Asker, crate::machines::controller::Reply)>) {
    for (to, reply) in replies {
        // The asker may have given up.
        let _ = to.send(Ok(reply));
    }
}

/// How many partitions get another leader, or the same one anew. None is ever elected uncleanly.
fn elections(before: &Image, records: &[Record]) -> u64 {
    let is_election = |record: &&Record| match record {
        Record::PartitionChanged { partition, state } => {
            state.leader.is_some() && before.partition(*partition).is_some_and(|p| p.leader_epoch < state.leader_epoch)
        }
        Record::ClusterFormed { .. }
        | Record::FeatureLevelSet { .. }
        | Record::BrokerRegistered(_)
        | Record::BrokerFenced { .. }
        | Record::BrokerUnfenced { .. }
        | Record::BrokerShuttingDown { .. }
        | Record::BrokerUnregistered { .. }
        | Record::TopicCreated { .. }
        | Record::TopicDeleted { .. }
        | Record::ConfigSet { .. }
        | Record::PartitionsCreated { .. }
        | Record::PartitionCreated { .. }
        | Record::ProducerIdsAllocated { .. } => false,
    };
    u64::try_from(records.iter().filter(is_election).count()).unwrap_or(u64::MAX)
}

fn log(proposal: &Proposal) {
    for record in &proposal.records {
        match record {
            Record::PartitionChanged { partition, state } => debug!(
                %partition, leader = ?state.leader, isr = ?state.isr, elr = ?state.elr,
                leader_epoch = %state.leader_epoch, partition_epoch = %state.partition_epoch, "proposing partition changed"
            ),
            Record::PartitionsCreated { .. } | Record::PartitionCreated { .. } | Record::ConfigSet { .. } => {
                debug!(?record, "proposing")
            }
            Record::ClusterFormed { .. }
            | Record::FeatureLevelSet { .. }
            | Record::BrokerRegistered(_)
            | Record::BrokerFenced { .. }
            | Record::BrokerUnfenced { .. }
            | Record::BrokerShuttingDown { .. }
            | Record::BrokerUnregistered { .. }
            | Record::TopicCreated { .. }
            | Record::TopicDeleted { .. }
            | Record::ProducerIdsAllocated { .. } => info!(?record, "proposing"),
        }
    }
}
