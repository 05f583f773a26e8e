//! One round of the controller: decide what waits, propose it as one entry, answer.

use std::mem;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{debug, info};

use super::{Ask, EVENTS_PER_ROUND_MAX, Host, NotController};
use crate::machines::controller::{Decision, Event, Reply, decide, tick};
use crate::machines::metadata::{Image, Proposal, Record};
use crate::model::{LogIndex, Now};
use crate::quorum::{Leadership, PROPOSAL_BYTES_MAX};

/// Room that is left in a proposal for its own framing (rule S14).
const PROPOSAL_FRAME_BYTES: usize = 1_024;
/// What the records of one round may take.
const RECORD_BYTES_MAX: usize = PROPOSAL_BYTES_MAX - PROPOSAL_FRAME_BYTES;

/// The outcome of a proposal is not known; the round's askers have been told to try again.
pub(super) struct Unsettled;

/// What became of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// There was nothing to propose.
    Nothing,
    /// Its records are accepted.
    Accepted,
}

/// What one round adds up to.
struct Draft {
    image: Image,
    records: Vec<Record>,
    bytes: usize,
    owed: Vec<Owed>,
}

/// An answer that waits for the round's records.
struct Owed {
    to: oneshot::Sender<Result<Reply, NotController>>,
    reply: Reply,
    rest: Option<Box<Event>>,
}

impl Draft {
    /// Takes a decision in; gives it back when the proposal would become too large.
    fn take(&mut self, records: Vec<Record>) -> Result<(), Vec<Record>> {
        let bytes: usize = records.iter().map(Record::size_max).sum();
        if !self.records.is_empty() && self.bytes + bytes > RECORD_BYTES_MAX {
            return Err(records);
        }
        if !records.is_empty() {
            self.image = self.image.with(&records);
        }
        self.bytes += bytes;
        self.records.extend(records);
        Ok(())
    }
}

impl Host {
    /// Decides what is due and what waits. What is due comes first: the dead are fenced before anything else, however
    /// much is asked for. Without records the answers leave at once.
    pub(super) async fn round(&mut self, leadership: Leadership) -> Result<Round, Unsettled> {
        let base = Arc::clone(&self.images.borrow_and_update());
        let now = self.world.clock.now();
        let mut draft = Draft { image: Image::clone(&base), records: Vec::new(), bytes: 0, owed: Vec::new() };
        self.decide_due(&mut draft, now);
        self.decide_waiting(&mut draft, now);
        if draft.records.is_empty() {
            settle(&mut self.waiting, draft.owed, None);
            return Ok(Round::Nothing);
        }
        let proposal =
            Proposal { term: leadership.term, base: base.last_accepted(), records: mem::take(&mut draft.records) };
        log(&proposal);
        let elected = elections(&base, &proposal.records);
        self.propose(proposal, draft.owed).await?;
        self.world.metrics.count_elections("clean", elected);
        Ok(Round::Accepted)
    }

    fn decide_waiting(&mut self, draft: &mut Draft, now: Now) {
        for _ in 0..EVENTS_PER_ROUND_MAX {
            let Some(Ask { event, reply: to }) = self.waiting.pop_front() else { return };
            let decision = decide(&draft.image, &mut self.soft, now, event.clone());
            let Decision { records, reply, rest, effects } = decision;
            if draft.take(records).is_err() {
                // It goes first in the next round, decided anew.
                self.waiting.push_front(Ask { event, reply: to });
                return;
            }
            effects.into_iter().for_each(|effect| self.carry_out(effect));
            draft.owed.push(Owed { to, reply, rest });
        }
    }

    /// What does not fit into one proposal is owed again at the next tick (rule S10).
    fn decide_due(&mut self, draft: &mut Draft, now: Now) {
        let decision = tick(&draft.image, &mut self.soft, now, RECORD_BYTES_MAX);
        decision.effects.into_iter().for_each(|effect| self.carry_out(effect));
        draft.take(decision.records).expect("the first decision of a round fits");
    }

    async fn propose(&mut self, proposal: Proposal, owed: Vec<Owed>) -> Result<(), Unsettled> {
        match self.world.quorum.propose(proposal).await {
            Ok(accepted) => {
                // The next round decides on an image that holds this one.
                let reached = self.images.wait_for(|image| image.last_accepted() >= accepted.index).await.is_ok();
                if !reached {
                    return Err(Unsettled);
                }
                settle(&mut self.waiting, owed, Some(accepted.index));
                Ok(())
            }
            Err(cause) => {
                info!(%cause, "a proposal was not accepted");
                for Owed { to, .. } in owed {
                    let _ = to.send(Err(NotController));
                }
                Err(Unsettled)
            }
        }
    }
}

fn settle(waiting: &mut std::collections::VecDeque<Ask>, owed: Vec<Owed>, accepted: Option<LogIndex>) {
    for Owed { to, reply, rest } in owed {
        if let Some(rest) = rest {
            waiting.push_back(Ask { event: *rest, reply: to });
            continue;
        }
        let reply = match accepted {
            Some(index) => reply.at(index),
            None => reply,
        };
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
