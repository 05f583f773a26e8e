//! The topics and partitions of an image, with the indexes that make "what concerns this broker" cheap.
//!
//! Invariant: the indexes say exactly what the partitions say; only `put` and `drop_partition` change either.

use imbl::{OrdMap, OrdSet};

use crate::model::{NodeId, PartitionId, PartitionIndex, TopicId, TopicName};

use super::Partition;

/// A topic, without its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions it has; they are numbered from 0 without gaps.
    pub partition_count: i32,
    /// Replicas of its first partition, by which Kafka bounds its minimum ISR.
    pub replication_factor: usize,
}

/// All topics. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Topics {
    by_id: OrdMap<TopicId, Topic>,
    by_name: OrdMap<TopicName, TopicId>,
    /// Topics by the name in which '.' and '_' are one.
    by_collision: OrdMap<String, TopicId>,
    partitions: OrdMap<PartitionId, Partition>,
    replicas: OrdSet<(NodeId, PartitionId)>,
    isr: OrdSet<(NodeId, PartitionId)>,
    elr: OrdSet<(NodeId, PartitionId)>,
    leaderless: OrdSet<PartitionId>,
}

impl Topics {
    /// The topic of that id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.by_id.get(&id)
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// The topic whose name differs from this one at most in '.' for '_'.
    #[must_use]
    pub fn topic_colliding(&self, name: &TopicName) -> Option<&Topic> {
        self.by_collision.get(&name.collision_key()).and_then(|id| self.by_id.get(id))
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.by_id.len()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(&id)
    }

    /// The partitions of a topic, by number.
    pub fn partitions_of(&self, topic: TopicId) -> impl Iterator<Item = (PartitionId, &Partition)> {
        let bounds = PartitionId { topic, index: FIRST }..=PartitionId { topic, index: LAST };
        self.partitions.range(bounds).map(|(id, partition)| (*id, partition))
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.partitions.iter().map(|(id, partition)| (*id, partition))
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// The partitions of which a broker is to keep a copy.
    pub fn replicas_of(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.listed(&self.replicas, node)
    }

    /// The partitions in whose ISR a broker is; those it leads are among them.
    pub fn in_isr_of(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.listed(&self.isr, node)
    }

    /// The partitions in whose ELR a broker is.
    pub fn in_elr_of(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.listed(&self.elr, node)
    }

    /// The partitions that a broker leads.
    pub fn led_by(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.in_isr_of(node).filter(move |(_, partition)| partition.leader == Some(node))
    }

    /// The partitions that nobody leads.
    pub fn leaderless(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        self.leaderless.iter().filter_map(|id| self.partitions.get(id).map(|partition| (*id, partition)))
    }

    fn listed<'a>(
        &'a self,
        index: &'a OrdSet<(NodeId, PartitionId)>,
        node: NodeId,
    ) -> impl Iterator<Item = (PartitionId, &'a Partition)> {
        let first = (node, PartitionId { topic: TopicId::ZERO, index: FIRST });
        let last = (node, PartitionId { topic: TopicId::new([0xff; 16]), index: LAST });
        let ids = index.range(first..=last).map(|(_, id)| *id);
        ids.filter_map(|id| self.partitions.get(&id).map(|partition| (id, partition)))
    }

    pub(super) fn create_topic(&mut self, id: TopicId, name: &TopicName) {
        let topic = Topic { id, name: name.clone(), partition_count: 0, replication_factor: 0 };
        self.by_id.insert(id, topic);
        self.by_name.insert(name.clone(), id);
        self.by_collision.insert(name.collision_key(), id);
    }

    pub(super) fn delete_topic(&mut self, id: TopicId) {
        let Some(topic) = self.by_id.remove(&id) else { return };
        self.by_name.remove(&topic.name);
        self.by_collision.remove(&topic.name.collision_key());
        let partitions: Vec<PartitionId> = self.partitions_of(id).map(|(id, _)| id).collect();
        for partition in partitions {
            self.drop_partition(partition);
        }
    }

    pub(super) fn create_partitions(
        &mut self,
        topic: TopicId,
        first: PartitionIndex,
        replica_count: u16,
        replicas: &[NodeId],
        absent: &[NodeId],
    ) {
        for (index, replicas) in (first.get()..).zip(replicas.chunks(usize::from(replica_count).max(1))) {
            let isr = replicas.iter().copied().filter(|node| !absent.contains(node)).collect();
            let state = Partition::new(replicas.to_vec(), isr);
            self.put(PartitionId { topic, index: PartitionIndex::new(index) }, &state);
        }
    }

    pub(super) fn put(&mut self, id: PartitionId, state: &Partition) {
        let before = self.partitions.insert(id, state.clone());
        if before.is_none()
            && let Some(topic) = self.by_id.get_mut(&id.topic)
        {
            topic.partition_count += 1;
        }
        if id.index == PartitionIndex::new(0)
            && let Some(topic) = self.by_id.get_mut(&id.topic)
        {
            topic.replication_factor = state.replicas.len();
        }
        let none = Vec::new();
        let (replicas, isr, elr) = before.as_ref().map_or((&none, &none, &none), |b| (&b.replicas, &b.isr, &b.elr));
        reindex(&mut self.replicas, id, replicas, &state.replicas);
        reindex(&mut self.isr, id, isr, &state.isr);
        reindex(&mut self.elr, id, elr, &state.elr);
        if state.leader.is_none() {
            self.leaderless.insert(id);
        } else {
            self.leaderless.remove(&id);
        }
    }

    fn drop_partition(&mut self, id: PartitionId) {
        let Some(gone) = self.partitions.remove(&id) else { return };
        reindex(&mut self.replicas, id, &gone.replicas, &[]);
        reindex(&mut self.isr, id, &gone.isr, &[]);
        reindex(&mut self.elr, id, &gone.elr, &[]);
        self.leaderless.remove(&id);
    }

    pub(super) fn by_id(&self) -> &OrdMap<TopicId, Topic> {
        &self.by_id
    }

    pub(super) fn by_partition(&self) -> &OrdMap<PartitionId, Partition> {
        &self.partitions
    }
}

const FIRST: PartitionIndex = PartitionIndex::new(i32::MIN);
const LAST: PartitionIndex = PartitionIndex::new(i32::MAX);

fn reindex(index: &mut OrdSet<(NodeId, PartitionId)>, id: PartitionId, before: &[NodeId], after: &[NodeId]) {
    for node in before.iter().filter(|node| !after.contains(node)) {
        index.remove(&(*node, id));
    }
    for node in after.iter().filter(|node| !before.contains(node)) {
        index.insert((*node, id));
    }
}
