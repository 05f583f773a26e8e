//! Groups for operators: asked of any node, answered by whoever coordinates them.
//!
//! Called by `admin`. Invariant: what a coordinator that does not answer knows is named as missing, never taken for nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::question::{Answer, GroupPage, GroupReport, Question};
use super::{GroupsError, topic};
use crate::broker::{Broker, Cluster};
use crate::machines::metadata::Image;
use crate::model::{GroupId, NodeId, PartitionId, PartitionIndex};

/// How long a coordinator may take: a proof of its leadership, a round of questions to the leaders of what is committed.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// All groups of the cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClusterGroups {
    cluster: Cluster,
    /// This node's broker, if it is one.
    broker: Option<Broker>,
}

impl ClusterGroups {
    /// As a node knows the cluster, and its broker, if it is one.
    #[must_use]
    pub fn new(cluster: Cluster, broker: Option<Broker>) -> Self {
        Self { cluster, broker }
    }

    /// So many groups behind one, by id.
    pub async fn list(&self, after: Option<&str>, groups_max: usize) -> GroupPage {
        let image = self.cluster.image();
        let coordinators = coordinators(&image);
        let groups_max = groups_max.min(GroupPage::GROUPS_MAX);
        let asked = coordinators.into_iter().map(|(node, partitions)| {
            let (question, image) = (Question::List { after: after.map(str::to_owned), groups_max }, &image);
            async move {
                let answer = match node {
                    Some(node) => self.ask(image, node, question).await,
                    None => None,
                };
                match answer {
                    Some(Answer::List(page)) => page,
                    Some(Answer::Measure(_) | Answer::Describe(_) | Answer::Delete(_)) | None => {
                        GroupPage { is_last: true, missing: partitions, ..GroupPage::default() }
                    }
                }
            }
        });
        GroupPage::merge(join_all(asked).await, groups_max)
    }

    /// One group.
    ///
    /// # Errors
    /// There is none, or its coordinator does not tell.
    pub async fn describe(&self, group: &str) -> Result<Box<GroupReport>, GroupsError> {
        match self.ask_coordinator(group, Question::Describe(group.to_owned())).await? {
            Answer::Describe(outcome) => outcome,
            Answer::Measure(_) | Answer::List(_) | Answer::Delete(_) => Err(GroupsError::Unavailable),
        }
    }

    /// Has a group go, with all that it has committed.
    ///
    /// # Errors
    /// It has members, there is none, or its coordinator does not tell.
    pub async fn delete(&self, group: &str) -> Result<(), GroupsError> {
        match self.ask_coordinator(group, Question::Delete(group.to_owned())).await? {
            Answer::Delete(outcome) => outcome,
            Answer::Measure(_) | Answer::List(_) | Answer::Describe(_) => Err(GroupsError::Unavailable),
        }
    }

    async fn ask_coordinator(&self, group: &str, question: Question) -> Result<Answer, GroupsError> {
        let image = self.cluster.image();
        let id = GroupId::new(group);
        // Before the first group is used there is no topic that keeps them.
        let partition = super::partition_of_group(&image, &id).ok_or(GroupsError::NoSuchGroup)?;
        let node = image.partition(partition).and_then(|known| known.leader);
        let node = node.ok_or(GroupsError::NoCoordinator { partition: partition.index })?;
        self.ask(&image, node, question).await.ok_or(GroupsError::NoAnswer { node })
    }

    async fn ask(&self, image: &Image, node: NodeId, question: Question) -> Option<Answer> {
        match &self.broker {
            Some(broker) if node == self.cluster.node => {
                tokio::time::timeout(ANSWER_WAIT, broker.answer_about_groups(question)).await.ok()?
            }
            Some(_) | None => self.cluster.brokers.ask(image, node, &question, ANSWER_WAIT).await,
        }
    }
}

/// Who coordinates which partitions of the topic that keeps groups.
fn coordinators(image: &Image) -> BTreeMap<Option<NodeId>, Vec<PartitionIndex>> {
    let mut found: BTreeMap<Option<NodeId>, Vec<PartitionIndex>> = BTreeMap::new();
    let Some(topic) = topic(image) else { return found };
    for (PartitionId { index, .. }, partition) in image.topics().partitions_of(topic.id) {
        found.entry(partition.leader).or_default().push(index);
    }
    found
}
