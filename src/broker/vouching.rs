//! Leaders ask their followers whether they still follow, and followers answer (rule S6).
//!
//! Fed by the shards through `notices`; the other end is called by `node` for each request of another broker.
//! Invariant: one request to a node is in flight, all that has come meanwhile goes with the next; whoever does not answer
//! has not vouched, and is asked again by the leader's own timer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::vital::spawn_vital;
use super::{Broker, Inner, calls};
use crate::machines::replication::Ticket;
use crate::model::{LeaderEpoch, NodeId, PartitionId};
use crate::partition::{Event, FollowersAsked, Reply};

/// How long a follower may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Partitions in one request.
const PARTITIONS_PER_REQUEST_MAX: usize = 1_000;

/// "Do you follow me?"
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    /// Who asks.
    pub(super) leader: NodeId,
    /// For which partitions, each with the epoch in which it leads.
    pub(super) partitions: Vec<(PartitionId, LeaderEpoch)>,
}

/// A round of a partition, and the epoch that it is about.
type Round = (LeaderEpoch, u64);

/// What one node is to be asked: the last round of each partition.
type Rounds = BTreeMap<PartitionId, Round>;

/// The way to the task that asks one node.
type Way = mpsc::UnboundedSender<(PartitionId, Round)>;

/// Hands each node's questions to a task of its own, until the shards are gone.
pub(super) async fn run(inner: Arc<Inner>, mut asked: mpsc::UnboundedReceiver<FollowersAsked>) {
    let mut ways: BTreeMap<NodeId, Way> = BTreeMap::new();
    while let Some(FollowersAsked { partition, leader_epoch, round }) = asked.recv().await {
        for node in round.members {
            let way = ways.entry(node).or_insert_with(|| {
                // Bounded by the led partitions: each has one round under way.
                let (way, questions) = mpsc::unbounded_channel();
                spawn_vital("vouching", ask_node(Arc::clone(&inner), node, questions));
                way
            });
            // The task ends only with the way to it.
            let _ = way.send((partition, (leader_epoch, round.round)));
        }
    }
}

async fn ask_node(inner: Arc<Inner>, node: NodeId, mut questions: mpsc::UnboundedReceiver<(PartitionId, Round)>) {
    let mut batch = Vec::new();
    while questions.recv_many(&mut batch, PARTITIONS_PER_REQUEST_MAX).await > 0 {
        let rounds: Rounds = batch.drain(..).collect();
        let Some(vouched) = ask(&inner, node, &rounds).await else { continue };
        for ((partition, (leader_epoch, round)), _) in rounds.into_iter().zip(vouched).filter(|(_, vouched)| *vouched) {
            inner.shards.tell(partition, Event::Vouched { partition, leader_epoch, round, node });
        }
    }
}

/// What the node says for each partition, in their order.
async fn ask(inner: &Inner, node: NodeId, rounds: &Rounds) -> Option<Vec<bool>> {
    let partitions = rounds.iter().map(|(partition, (leader_epoch, _))| (*partition, *leader_epoch)).collect();
    let question = calls::pack_question(&Question { leader: inner.node, partitions })?;
    let answer = inner.cluster.brokers.call(&inner.image(), node, question, ANSWER_WAIT).await?;
    calls::unpack_vouched(&answer).filter(|vouched| vouched.len() == rounds.len())
}

impl Broker {
    /// Answers a question of another broker; `None` when it cannot be read.
    pub async fn answer_broker(&self, payload: &[u8]) -> Option<Bytes> {
        if calls::is_about_groups(payload) {
            let question = calls::unpack_group_question(payload)?;
            return calls::pack_group_answer(&self.answer_about_groups(question).await?);
        }
        let Question { leader, partitions } = calls::unpack_question(payload)?;
        if partitions.len() > PARTITIONS_PER_REQUEST_MAX {
            return None;
        }
        let shards = &self.inner.shards;
        let ask = |(partition, leader_epoch): (PartitionId, LeaderEpoch)| {
            let event = |ticket: Ticket| Event::Vouch { ticket, partition, leader, leader_epoch };
            shards.ask(shards.owner(partition), event)
        };
        let asked: Vec<_> = partitions.into_iter().map(ask).collect();
        let mut vouched = Vec::with_capacity(asked.len());
        for reply in asked {
            let reply = match reply {
                Ok(reply) => reply.await.ok(),
                Err(_) => None,
            };
            vouched.push(matches!(reply, Some(Reply::Vouch(true))));
        }
        calls::pack_vouched(&vouched)
    }
}
