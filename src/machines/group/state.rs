//! What is known of the groups of one partition of `__consumer_offsets`: exactly what its records say.
//!
//! Invariant: only `replay` changes it; it is total, so that what one coordinator cannot replay none can. A group without
//! a fact has no entry.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Generation, GroupId, InstanceId, LeaderEpoch, MemberId, Offset, PartitionIndex, Timestamp, TopicId, TopicName,
};

use super::consumer::ConsumerGroup;
use super::record::Record;

/// The protocol type of consumers: their words can be read by anybody.
pub const CONSUMER_PROTOCOL: &str = "consumer";

/// The groups of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Groups {
    groups: BTreeMap<GroupId, Group>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Group {
    /// What it has committed.
    pub offsets: Offsets,
    /// Its members, if it has or had any of the classic protocol. A group that only commits offsets is called simple.
    pub classic: Option<ClassicGroup>,
    /// What it is in the protocol of KIP-848.
    pub consumer: Option<ConsumerGroup>,
}

/// Committed offsets, by topic and partition. A topic without one has no entry.
pub type Offsets = BTreeMap<TopicName, BTreeMap<PartitionIndex, Committed>>;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Of which topic of that name it is; `None` when who wrote it did not say.
    pub topic_id: Option<TopicId>,
    /// Where to go on.
    pub offset: Offset,
    /// The leader epoch of the last record that was consumed (KIP-320).
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the client wrote beside it.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub at: Timestamp,
    /// When it is too old, if its client said so.
    pub expires: Option<Timestamp>,
}

/// A group of the classic protocol, as of its last rebalance or since it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicGroup {
    /// "consumer" for consumers, "connect" for Connect and so on; members of one group agree.
    pub protocol_type: Arc<str>,
    /// Of the last rebalance.
    pub generation: Generation,
    /// The assignor that the members chose; `None` when there are none.
    pub protocol: Option<Arc<str>>,
    /// Who assigns; `None` when there are no members.
    pub leader: Option<MemberId>,
    /// Since when it is what it is.
    pub since: Timestamp,
    /// The members.
    pub members: BTreeMap<MemberId, StoredMember>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMember {
    /// Of a static member.
    pub instance: Option<InstanceId>,
    /// Whose it is.
    pub client: Client,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it said with the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it; empty until the leader has.
    pub assignment: Bytes,
}

/// A client as it calls itself, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `client.id`.
    pub id: Arc<str>,
    /// Its address, with a slash before it as Java prints one.
    pub host: Arc<str>,
}

impl Client {
    /// Takes both.
    #[must_use]
    pub fn new(id: &str, host: &str) -> Self {
        Self { id: id.into(), host: host.into() }
    }
}

impl ClassicGroup {
    /// Whether its leader still has to assign: it has members, and none has an assignment.
    #[must_use]
    pub fn is_unassigned(&self) -> bool {
        !self.members.is_empty() && self.members.values().all(|member| member.assignment.is_empty())
    }
}

impl Groups {
    /// One group.
    #[must_use]
    pub fn get(&self, group: &GroupId) -> Option<&Group> {
        self.groups.get(group)
    }

    /// All groups, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter()
    }

    /// The groups from one on, by id; all without one.
    pub fn iter_from(&self, from: Option<&GroupId>) -> impl Iterator<Item = (&GroupId, &Group)> {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        self.groups.range::<GroupId, _>((from, Bound::Unbounded))
    }

    /// The groups behind one, by id; all without one.
    pub fn iter_after(&self, after: Option<&GroupId>) -> impl Iterator<Item = (&GroupId, &Group)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.groups.range::<GroupId, _>((after, Bound::Unbounded))
    }

    /// Makes a fact true.
    pub fn replay(&mut self, record: &Record) {
        let group = self.groups.entry(record.group().clone()).or_default();
        match record {
            Record::Offset { topic, partition, committed: Some(committed), .. } => {
                group.offsets.entry(topic.clone()).or_default().insert(*partition, committed.clone());
            }
            Record::Offset { topic, partition, committed: None, .. } => {
                if let Some(partitions) = group.offsets.get_mut(topic) {
                    partitions.remove(partition);
                    if partitions.is_empty() {
                        group.offsets.remove(topic);
                    }
                }
            }
            Record::Classic { state, .. } => group.classic.clone_from(state),
            Record::Consumer { fact, .. } => {
                let mut consumer = group.consumer.take().unwrap_or_default();
                consumer.replay(fact);
                group.consumer = Some(consumer).filter(|consumer| !consumer.is_void());
            }
        }
        if group.offsets.is_empty() && group.classic.is_none() && group.consumer.is_none() {
            self.groups.remove(record.group());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(group: &str) -> GroupId {
        GroupId::new(group)
    }

    fn offset(topic: &str, partition: i32, committed: Option<i64>) -> Record {
        let committed = committed.map(|offset| Committed {
            topic_id: None,
            offset: Offset::new(offset),
            leader_epoch: None,
            metadata: "".into(),
            at: Timestamp::new(1),
            expires: None,
        });
        let topic = TopicName::new(topic).expect("a valid name");
        Record::Offset { group: id("g"), topic, partition: PartitionIndex::new(partition), committed }
    }

    fn classic(assignments: &[&'static [u8]]) -> ClassicGroup {
        let member = |(at, assignment): (usize, &&'static [u8])| {
            let stored = StoredMember {
                instance: None,
                client: Client::new("c", "/h"),
                rebalance_timeout_ms: 1,
                session_timeout_ms: 1,
                subscription: Bytes::new(),
                assignment: Bytes::from_static(assignment),
            };
            (MemberId::new(&format!("m{at}")), stored)
        };
        ClassicGroup {
            protocol_type: "consumer".into(),
            generation: Generation::new(1),
            protocol: Some("range".into()),
            leader: Some(MemberId::new("m0")),
            since: Timestamp::new(1),
            members: assignments.iter().enumerate().map(member).collect(),
        }
    }

    #[test]
    fn the_last_commit_of_a_partition_stands_until_it_is_forgotten() {
        let mut groups = Groups::default();
        for record in [offset("a", 0, Some(5)), offset("a", 1, Some(9)), offset("a", 0, Some(4)), offset("a", 1, None)]
        {
            groups.replay(&record);
        }
        let topics = &groups.get(&id("g")).expect("it has an offset").offsets;
        let found: Vec<_> = topics.values().flatten().map(|(index, c)| (index.get(), c.offset.get())).collect();
        assert_eq!(found, [(0, 4)]);
    }

    #[test]
    fn a_group_is_there_while_a_fact_says_so() {
        let mut groups = Groups::default();
        groups.replay(&offset("a", 0, None));
        assert!(groups.get(&id("g")).is_none());
        groups.replay(&offset("a", 0, Some(1)));
        groups.replay(&Record::Classic { group: id("g"), state: Some(classic(&[b"x"])) });
        groups.replay(&offset("a", 0, None));
        assert!(groups.get(&id("g")).is_some_and(|group| group.offsets.is_empty()));
        groups.replay(&Record::Classic { group: id("g"), state: None });
        assert_eq!(groups, Groups::default());
    }

    #[test]
    fn a_generation_without_any_assignment_is_still_to_be_assigned() {
        assert!(classic(&[b"", b""]).is_unassigned());
        assert!(!classic(&[b"", b"x"]).is_unassigned());
        assert!(!classic(&[]).is_unassigned());
    }
}
