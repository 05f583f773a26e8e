//! Topics are to go.
//!
//! Invariant: a topic, its partitions and its configurations go by one record; brokers find out by comparing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Record};
use crate::model::{TopicId, TopicName};

use super::batch::Batch;
use super::{Decision, Event, Reply, Soft};

/// A request to delete topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopics {
    /// Which.
    pub topics: Vec<TopicReference>,
    /// What was answered by earlier proposals of the same request; callers leave it empty.
    pub settled: Vec<(TopicReference, Result<DeletedTopic, DeleteRefusal>)>,
}

/// A topic, by name or by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopicReference {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
}

/// Why a topic is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DeleteRefusal {
    /// No topic of that name.
    #[error("there is no topic of that name")]
    UnknownName,
    /// No topic of that id.
    #[error("there is no topic of that id")]
    UnknownId,
    /// The request names it twice.
    #[error("the request names the topic twice")]
    Twice,
}

pub(super) fn decide(image: &Image, soft: &Soft, mut request: DeleteTopics) -> Decision {
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let mut settled = std::mem::take(&mut request.settled);
    let mut gone: BTreeSet<TopicId> = settled.iter().filter_map(|(_, o)| o.as_ref().ok()).map(|t| t.id).collect();
    for (at, reference) in request.topics.iter().enumerate() {
        let found = find(image, reference);
        let outcome =
            found.and_then(|topic| if gone.contains(&topic.id) { Err(DeleteRefusal::Twice) } else { Ok(topic) });
        if let Ok(topic) = &outcome {
            if !batch.add_fitting(vec![Record::TopicDeleted { topic: topic.id }]) {
                let rest = DeleteTopics { topics: request.topics.split_off(at), settled };
                let rest = Some(Box::new(Event::DeleteTopics(rest)));
                return Decision { rest, ..Decision::new(batch.into_records(), Reply::Nothing) };
            }
            gone.insert(topic.id);
        }
        settled.push((reference.clone(), outcome));
    }
    Decision::new(batch.into_records(), Reply::DeleteTopics(settled))
}

fn find(image: &Image, reference: &TopicReference) -> Result<DeletedTopic, DeleteRefusal> {
    let (topic, refusal) = match reference {
        TopicReference::Name(name) => (image.topic_named(name), DeleteRefusal::UnknownName),
        TopicReference::Id(id) => (image.topic(*id), DeleteRefusal::UnknownId),
    };
    topic.map(|topic| DeletedTopic { id: topic.id, name: topic.name.clone() }).ok_or(refusal)
}
