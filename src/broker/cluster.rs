//! What every node knows of the cluster and may ask of its controller, broker or not.
//!
//! `admin` calls it on every node, `api` through the broker. Invariant: whoever is answered here finds in this node's
//! image what it was answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::settings::topic_settings;
use super::{Controllers, NoController};
use crate::env::{Clock, Seed};
use crate::machines::controller::{
    CreateTopics, CreatedTopic, Defaults, DeleteRefusal, DeleteTopics, DeletedTopic, Event, Reply, TopicReference,
    TopicRefusal,
};
use crate::machines::metadata::Image;
use crate::model::{NodeId, Now, TopicId, TopicSettings};
use crate::quorum::{Leadership, Quorum, QuorumDescription};

/// The outcome of a creation, by name in the order of the request.
pub type CreatedTopics = Vec<(String, Result<CreatedTopic, TopicRefusal>)>;
/// The outcome of a deletion, in the order of the request.
pub type DeletedTopics = Vec<(TopicReference, Result<DeletedTopic, DeleteRefusal>)>;

/// A node's view of the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// This node.
    pub node: NodeId,
    /// The metadata log.
    pub quorum: Quorum,
    /// The way to the active controller.
    pub controllers: Arc<Controllers>,
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

    /// Not reaching the condition in time is no error: what was accepted stays accepted.
    async fn await_image(&self, within: Duration, condition: impl Fn(&Image) -> bool) {
        let _ = tokio::time::timeout(within, self.images().wait_for(|image| condition(image))).await;
    }
}

fn unexpected(reply: &Reply) -> NoController {
    tracing::warn!(?reply, "the controller answered something else than was asked");
    NoController
}
