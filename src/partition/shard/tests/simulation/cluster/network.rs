//! The network of the simulation: letters that arrive late, in any order, or not at all.

use crate::machines::replication::{IsrOutcome, IsrProposal};
use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch};
use crate::partition::{Event, FetchPosition, FetchedOutcome, FetchedPartition, ReadRefusal, Reader};

use super::super::super::world::id;
use super::{Cluster, Facts};

#[derive(Debug)]
pub(super) enum Message {
    Ask { from: NodeId, position: FetchPosition },
    Answer { to: NodeId, fetched: FetchedPartition },
    Propose { from: NodeId, proposal: IsrProposal },
    Decided { to: NodeId, event: Event },
}

/// A message between two lives.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) life: BrokerEpoch,
    pub(super) message: Message,
}

impl Cluster {
    pub(super) fn deliver(&mut self) {
        for _ in 0..3 {
            if !self.letters.is_empty() {
                let at = self.chance.below(self.letters.len());
                let letter = self.letters.swap_remove(at);
                self.open_letter(letter);
            }
        }
    }

    pub(super) fn open_letter(&mut self, letter: Letter) {
        let life = letter.life;
        match letter.message {
            Message::Ask { from, position } => {
                let reader = Reader::Follower { node: from, broker_epoch: Some(life) };
                let answer = self.read(position.leader, reader, position.offset, Some(position));
                let Some(outcome) = answer.and_then(fetched) else {
                    self.stop_asking(from, life);
                    return;
                };
                let fetched = FetchedPartition { position, outcome };
                self.letters.push(Letter { life, message: Message::Answer { to: from, fetched } });
            }
            Message::Answer { to, fetched } => {
                let Some(process) = self.process(to).filter(|process| process.life == life) else { return };
                if process.position != Some(fetched.position) {
                    // A late answer is told all the same: the shard must not take it (rule R5).
                    self.tell(to, Event::Fetched(fetched));
                    return;
                }
                process.asking = false;
                if let FetchedOutcome::Records { bytes, high_watermark, .. } = &fetched.outcome
                    && bytes.is_empty()
                    && process.heard.replace(*high_watermark) == Some(*high_watermark)
                {
                    process.parked = true;
                    return;
                }
                // One answer for a position; the next is awaited.
                process.position = None;
                self.tell(to, Event::Fetched(fetched));
            }
            Message::Propose { from, proposal } => {
                let outcome = self.controller.decide(from, life, &proposal);
                let (leader_epoch, partition_epoch) = (proposal.leader_epoch, proposal.partition_epoch);
                let event = Event::IsrAnswer { partition: id(), leader_epoch, partition_epoch, outcome };
                self.letters.push(Letter { life, message: Message::Decided { to: from, event } });
            }
            Message::Decided { to, event } => {
                if self.process(to).is_some_and(|process| process.life == life) {
                    self.tell(to, event);
                }
            }
        }
    }

    /// A connection breaks with what was in it; the sender learns that it does not know.
    pub(super) fn lose_letter(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let at = self.chance.below(self.letters.len());
        let letter = self.letters.swap_remove(at);
        let life = letter.life;
        match letter.message {
            Message::Ask { from: node, .. } | Message::Answer { to: node, .. } => self.stop_asking(node, life),
            Message::Propose { from, proposal } => {
                let (leader_epoch, partition_epoch) = (proposal.leader_epoch, proposal.partition_epoch);
                self.answer_unknown(from, life, (leader_epoch, partition_epoch));
                // It may be decided all the same, later than anything that is sent after it.
                if self.chance.below(2) == 0 {
                    self.letters.push(Letter { life, message: Message::Propose { from, proposal } });
                }
            }
            Message::Decided { to, event } => {
                if let Event::IsrAnswer { leader_epoch, partition_epoch, .. } = event {
                    self.answer_unknown(to, life, (leader_epoch, partition_epoch));
                }
            }
        }
    }

    fn answer_unknown(&mut self, node: NodeId, life: BrokerEpoch, base: (LeaderEpoch, PartitionEpoch)) {
        if self.process(node).is_some_and(|process| process.life == life) {
            let outcome = IsrOutcome::Retry;
            self.tell(
                node,
                Event::IsrAnswer { partition: id(), leader_epoch: base.0, partition_epoch: base.1, outcome },
            );
        }
    }

    fn stop_asking(&mut self, node: NodeId, life: BrokerEpoch) {
        if let Some(process) = self.process(node).filter(|process| process.life == life) {
            (process.asking, process.parked) = (false, true);
        }
    }
}

/// What a follower makes of an answer; `None` for what only time mends.
fn fetched(answer: Result<(bytes::Bytes, Facts), ReadRefusal>) -> Option<FetchedOutcome> {
    match answer {
        Ok((bytes, facts)) => Some(facts.diverging.map_or(
            FetchedOutcome::Records { bytes, high_watermark: facts.high_watermark, log_start: facts.log_start },
            FetchedOutcome::Diverging,
        )),
        Err(ReadRefusal::Contradicted) => Some(FetchedOutcome::Contradicted),
        Err(ReadRefusal::OutOfRange { start, end }) => Some(FetchedOutcome::OutOfRange { start, end }),
        Err(
            ReadRefusal::UnknownPartition
            | ReadRefusal::NotLeader
            | ReadRefusal::FencedEpoch { .. }
            | ReadRefusal::UnknownEpoch { .. }
            | ReadRefusal::Damaged
            | ReadRefusal::Offline,
        ) => None,
    }
}
