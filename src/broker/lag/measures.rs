//! Asks the leaders of partitions how far those are: this broker itself, others in one request after the other.
//!
//! Called by the round and for the description of one group. Invariant: one request to a broker is under way for each caller, and
//! what a leader does not tell is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{ASKED_MAX, Asked, Measured};
use crate::broker::Broker;
use crate::broker::groups::question::{Answer, Question};
use crate::machines::metadata::Image;
use crate::model::{NodeId, Offset, PartitionId};

/// How long a leader may take for one request.
const ANSWER_WAIT: Duration = Duration::from_secs(4);

/// What was found of each partition and offset.
pub(in crate::broker) type Measures = BTreeMap<(PartitionId, Offset), Measured>;

/// Asks all leaders at the same time.
pub(in crate::broker) async fn measure(broker: &Broker, asked: impl Iterator<Item = Asked>) -> Measures {
    let image = broker.image();
    let mut by_leader: BTreeMap<NodeId, BTreeMap<(PartitionId, Offset), bool>> = BTreeMap::new();
    for Asked { partition, offset, wants_time } in asked {
        let Some(leader) = image.partition(partition).and_then(|known| known.leader) else { continue };
        *by_leader.entry(leader).or_default().entry((partition, offset)).or_default() |= wants_time;
    }
    let leaders = by_leader.into_iter().map(|(leader, places)| {
        let asked = |((partition, offset), wants_time)| Asked { partition, offset, wants_time };
        ask_leader(broker, &image, leader, places.into_iter().map(asked).collect())
    });
    join_all(leaders).await.into_iter().flatten().collect()
}

async fn ask_leader(broker: &Broker, image: &Image, leader: NodeId, asked: Vec<Asked>) -> Measures {
    let mut found = Measures::new();
    for part in asked.chunks(ASKED_MAX) {
        let told = if leader == broker.node() {
            // The shards answer by themselves, a disk may not.
            match timeout(ANSWER_WAIT, broker.measure_here(part)).await {
                Ok(told) => told,
                Err(_) => break,
            }
        } else {
            let question = Question::Measure(part.to_vec());
            match broker.cluster().brokers.ask(image, leader, &question, ANSWER_WAIT).await {
                Some(Answer::Measure(told)) if told.len() == part.len() => told,
                // It will not answer the next one in time, either.
                Some(Answer::Measure(_) | Answer::List(_) | Answer::Describe(_) | Answer::Delete(_)) | None => break,
            }
        };
        let places = part.iter().map(|asked| (asked.partition, asked.offset));
        found.extend(places.zip(told).filter_map(|(place, measured)| Some((place, measured?))));
    }
    found
}
