//! Topics are to go.

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Image, Record};
use crate::model::{TopicId, TopicName};

use super::{Decision, Reply};

/// A request to delete topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopics {
    /// Which.
    pub topics: Vec<TopicReference>,
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

pub(super) fn decide(image: &Image, request: DeleteTopics) -> Decision {
    let mut gone = std::collections::BTreeSet::new();
    let mut records = Vec::new();
    let mut replies = Vec::new();
    for reference in request.topics {
        let outcome = find(image, &reference)
            .and_then(|topic| if gone.insert(topic.id) { Ok(topic) } else { Err(DeleteRefusal::Twice) });
        if let Ok(topic) = &outcome {
            records.push(Record::TopicDeleted { topic: topic.id });
        }
        replies.push((reference, outcome));
    }
    Decision::new(records, Reply::DeleteTopics(replies))
}

fn find(image: &Image, reference: &TopicReference) -> Result<DeletedTopic, DeleteRefusal> {
    let (topic, refusal) = match reference {
        TopicReference::Name(name) => (image.topic_named(name), DeleteRefusal::UnknownName),
        TopicReference::Id(id) => (image.topic(*id), DeleteRefusal::UnknownId),
    };
    topic.map(|topic| DeletedTopic { id: topic.id, name: topic.name.clone() }).ok_or(refusal)
}
