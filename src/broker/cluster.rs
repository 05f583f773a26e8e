//! What every node knows of the cluster and may ask of its controller, broker or not.
//!
//! `admin` calls it on every node, `api` through the broker. Invariant: whoever is answered here finds in this node's
//! image what it was answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::settings::topic_settings;
use super::{Brokers, Controllers, NoController};
use crate::env::{Clock, Seed};
use crate::machines::controller::{
    AlterConfigs, ConfigRefusal, ConfigTarget, CreatePartitions, CreateTopics, CreatedTopic, Defaults, DeleteRefusal,
    DeleteTopics, DeletedTopic, Event, GrowRefusal, Reply, TopicReference, TopicRefusal,
};
use crate::machines::metadata::Image;
use crate::model::{NodeId, Now, TopicId, TopicSettings};
use crate::quorum::{Leadership, Quorum, QuorumDescription};

/// The outcome of a creation, by name in the order of the request.
pub type CreatedTopics = Vec<(String, Result<CreatedTopic, TopicRefusal>)>;
/// The outcome of a deletion, in the order of the request.
pub type DeletedTopics = Vec<(TopicReference, Result<DeletedTopic, DeleteRefusal>)>;
/// The outcome of adding partitions, by name in the order of the request.
pub type GrownTopics = Vec<(String, Result<(), GrowRefusal>)>;
/// The outcome of altering configurations, in the order of the request.
pub type AlteredConfigs = Vec<(ConfigTarget, Result<(), ConfigRefusal>)>;

/// A node's view of the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// This node.
    pub node: NodeId,
    /// The metadata log.
    pub quorum: Quorum,
    /// The way to the active controller.
    pub controllers: Arc<Controllers>,
    /// The way to the brokers.
    pub brokers: Arc<Brokers>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness for identifiers.
    pub seed: Arc<dyn Seed>,
    /// What topics get when nobody says otherwise, as this node's own configuration has it.
    pub defaults: Arc<Defaults>,
}

impl Cluster {
    /// The present.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The cluster's metadata as this node has applied it.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.quorum.images().borrow())
    }

    /// The images as they come.
    #[must_use]
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.quorum.images()
    }

    /// Who leads the metadata quorum.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        *self.quorum.leadership().borrow()
    }

    /// The metadata quorum as this node sees it.
    #[must_use]
    pub fn describe_quorum(&self) -> QuorumDescription {
        self.quorum.describe()
    }

    /// The metadata quorum as its leader sees it, or, while no leader answers, as this node does.
    pub async fn describe_quorum_by_leader(&self) -> QuorumDescription {
        match self.quorum.describe_by_leader().await {
            Some(description) => description,
            None => self.describe_quorum(),
        }
    }

    /// The configuration in force for a topic.
    #[must_use]
    pub fn topic_settings(&self, image: &Image, topic: TopicId) -> TopicSettings {
        topic_settings(image, &self.defaults, topic)
    }

    /// Creates topics; each is made or refused by itself. Returns when this node has applied what was made.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn create_topics(&self, request: CreateTopics, within: Duration) -> Result<CreatedTopics, NoController> {
        let is_dry = request.validate_only;
        let reply = self.controllers.ask(Event::CreateTopics(request), within).await?;
        let Reply::CreateTopics(made) = reply else { return Err(unexpected(&reply)) };
        if !is_dry {
            let ids: Vec<_> = made.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().map(|t| t.id)).collect();
            self.await_image(within, |image| ids.iter().all(|id| image.topic(*id).is_some())).await;
        }
        Ok(made)
    }

    /// Deletes topics. Returns when this node has applied it.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn delete_topics(&self, request: DeleteTopics, within: Duration) -> Result<DeletedTopics, NoController> {
        let reply = self.controllers.ask(Event::DeleteTopics(request), within).await?;
        let Reply::DeleteTopics(gone) = reply else { return Err(unexpected(&reply)) };
        let ids: Vec<_> = gone.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().map(|t| t.id)).collect();
        self.await_image(within, |image| ids.iter().all(|id| image.topic(*id).is_none())).await;
        Ok(gone)
    }

    /// Adds partitions to topics; each grows or is refused by itself. Returns when this node has applied it.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn create_partitions(
        &self,
        request: CreatePartitions,
        within: Duration,
    ) -> Result<GrownTopics, NoController> {
        let (before, is_dry) = (self.image(), request.validate_only);
        let (reply, sendings) = self.controllers.ask_counting(Event::CreatePartitions(request), within).await?;
        let Reply::CreatePartitions(grown) = reply else { return Err(unexpected(&reply)) };
        self.await_image(within, |image| image.last_applied() >= grown.seen_at).await;
        Ok(if sendings > 1 && !is_dry { with_earlier_sendings(&before, grown.each) } else { grown.each })
    }

    /// Alters configurations; each resource is changed or refused by itself. Returns when this node has applied it.
    ///
    /// # Errors
    /// When no controller answers in time.
    pub async fn alter_configs(&self, request: AlterConfigs, within: Duration) -> Result<AlteredConfigs, NoController> {
        let reply = self.controllers.ask(Event::AlterConfigs(request), within).await?;
        let Reply::AlterConfigs(altered) = reply else { return Err(unexpected(&reply)) };
        self.await_image(within, |image| image.last_applied() >= altered.seen_at).await;
        Ok(altered.each)
    }

    /// Not reaching the condition in time is no error: what was accepted stays accepted.
    async fn await_image(&self, within: Duration, condition: impl Fn(&Image) -> bool) {
        let _ = tokio::time::timeout(within, self.images().wait_for(|image| condition(image))).await;
    }
}

fn unexpected(reply: &Reply) -> NoController {
    tracing::warn!(?reply, "the controller answered something else than was asked");
    NoController
}

/// What the last sending was answered, with what an earlier one may have done: a topic that had fewer partitions
/// before, and now has just as many as it was to have, has grown.
fn with_earlier_sendings(before: &Image, answered: GrownTopics) -> GrownTopics {
    let had_fewer = |name: &str, count| before.topic_named(name).is_some_and(|topic| topic.partition_count < count);
    let outcome = |(name, answer): (String, Result<(), GrowRefusal>)| {
        let has_grown = matches!(
            answer,
            Err(GrowRefusal::NotMore { present, asked }) if present == asked && had_fewer(&name, asked)
        );
        (name, if has_grown { Ok(()) } else { answer })
    };
    answered.into_iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::metadata::Record;
    use crate::model::{PartitionIndex, TopicName};

    fn image_with(name: &str, partitions: u8) -> Image {
        let topic = TopicId::new([7; 16]);
        let node = NodeId::new(1);
        let replicas = vec![node; usize::from(partitions)];
        let first = PartitionIndex::new(0);
        let name = TopicName::new(name).expect("the test's name is valid");
        let partitions = Record::PartitionsCreated { topic, first, replica_count: 1, replicas, absent: Vec::new() };
        Image::default().with(&[Record::TopicCreated { topic, name }, partitions])
    }

    #[test]
    fn a_topic_that_an_earlier_sending_has_grown_is_grown() {
        let check = |present, asked, expected: Result<(), ()>| {
            let answered = vec![("t".to_owned(), Err(GrowRefusal::NotMore { present, asked }))];
            let outcomes = with_earlier_sendings(&image_with("t", 2), answered);
            assert_eq!(outcomes[0].1.clone().map_err(drop), expected, "{asked} of {present}");
        };
        check(3, 3, Ok(()));
        check(4, 3, Err(()));
        check(2, 2, Err(()));
        let unknown = vec![("t".to_owned(), Err(GrowRefusal::UnknownTopic))];
        assert_eq!(with_earlier_sendings(&image_with("t", 2), unknown.clone()), unknown);
        let other = vec![("u".to_owned(), Err(GrowRefusal::NotMore { present: 3, asked: 3 }))];
        assert_eq!(with_earlier_sendings(&image_with("t", 2), other.clone()), other);
    }
}
