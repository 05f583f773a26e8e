//! Topics are to go.
//!
//! Invariant: a topic, its partitions and its configurations go by one record; brokers find out by comparing. A topic
//! that the request names more than once stays, as with Kafka: such a request is a mistake, and deleting is for ever.

use std::collections::{BTreeMap, BTreeSet};

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
    pub settled: Vec<Settled>,
}

/// What became of a topic that the request names.
type Settled = (TopicReference, Result<DeletedTopic, DeleteRefusal>);

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
    /// The request names it twice in the same way.
    #[error("the request names the topic twice")]
    Twice,
    /// The request names it by its name and again by this id.
    #[error("the request names the topic by its name and by its id")]
    ByNameAndId(TopicId),
}

pub(super) fn decide(image: &Image, soft: &Soft, mut request: DeleteTopics) -> Decision {
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let mut settled = std::mem::take(&mut request.settled);
    // At the first proposal already: those that follow do not see what this one deletes.
    let (mut topics, repeated) = split_repeated(image, request.topics);
    settled.extend(repeated);
    for (at, reference) in topics.iter().enumerate() {
        let outcome = find(image, reference);
        if let Ok(topic) = &outcome
            && !batch.add_fitting(vec![Record::TopicDeleted { topic: topic.id }])
        {
            let rest = DeleteTopics { topics: topics.split_off(at), settled };
            let rest = Some(Box::new(Event::DeleteTopics(rest)));
            return Decision { rest, ..Decision::new(batch.into_records(), Reply::Nothing) };
        }
        settled.push((reference.clone(), outcome));
    }
    Decision::new(batch.into_records(), Reply::DeleteTopics(settled))
}

/// The topics that are named once, in their order; and a refusal for each of the others.
fn split_repeated(image: &Image, topics: Vec<TopicReference>) -> (Vec<TopicReference>, Vec<Settled>) {
    let meant = |reference: &TopicReference| {
        find(image, reference).map_or_else(|_| reference.clone(), |topic| TopicReference::Id(topic.id))
    };
    let mut mentions: BTreeMap<TopicReference, Vec<TopicReference>> = BTreeMap::new();
    for reference in &topics {
        mentions.entry(meant(reference)).or_default().push(reference.clone());
    }
    let once = topics.into_iter().filter(|reference| mentions[&meant(reference)].len() == 1).collect();
    let repeated = mentions.into_values().filter(|mentions| mentions.len() > 1);
    (once, repeated.map(refuse_repeated).collect())
}

/// One refusal for all mentions of a topic.
fn refuse_repeated(mentions: Vec<TopicReference>) -> Settled {
    let mut ways = BTreeSet::from_iter(mentions).into_iter();
    match (ways.next(), ways.next()) {
        (Some(name @ TopicReference::Name(_)), Some(TopicReference::Id(id))) => {
            (name, Err(DeleteRefusal::ByNameAndId(id)))
        }
        (way, _) => (way.expect("a repeated topic has mentions"), Err(DeleteRefusal::Twice)),
    }
}

fn find(image: &Image, reference: &TopicReference) -> Result<DeletedTopic, DeleteRefusal> {
    let (topic, refusal) = match reference {
        TopicReference::Name(name) => (image.topic_named(name), DeleteRefusal::UnknownName),
        TopicReference::Id(id) => (image.topic(*id), DeleteRefusal::UnknownId),
    };
    topic.map(|topic| DeletedTopic { id: topic.id, name: topic.name.clone() }).ok_or(refusal)
}
