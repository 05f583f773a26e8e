//! Who of a group reads what: the assignors of the "consumer" protocol, pure functions from what members want and hold to
//! what they shall have.
//!
//! Invariant: every partition of a topic that some member reads is given to exactly one member that reads it; the same
//! question has the same answer. Racks are not looked at.

mod uniform;
mod unlike;
mod range;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{InstanceId, MemberId, PartitionId, PartitionIndex, TopicId};

/// A way to assign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Assignor {
    /// Everybody gets as much as the others, and keeps of what it has whatever that allows.
    #[default]
    Uniform,
    /// Of each topic everybody gets a range; members that read the same topics get the same numbers of topics of one size.
    Range,
}

/// A member, as far as an assignor cares.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Its id.
    pub member: &'a MemberId,
    /// Of a static member.
    pub instance: Option<&'a InstanceId>,
    /// What it reads, of topics that exist.
    pub topics: &'a BTreeSet<TopicId>,
    /// What it was to have until now.
    pub owned: &'a BTreeSet<PartitionId>,
}

/// What a member shall have.
pub type Share = BTreeSet<PartitionId>;

impl Assignor {
    /// All of them, as they are called.
    pub const NAMES: [&'static str; 2] = ["uniform", "range"];

    /// The assignor of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// What clients call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => Self::NAMES[0],
            Self::Range => Self::NAMES[1],
        }
    }

    /// The share of each reader, in their order. `counts` has how many partitions each topic has, of every topic that a
    /// reader reads.
    #[must_use]
    pub fn assign(self, counts: &BTreeMap<TopicId, i32>, readers: &[Reader<'_>]) -> Vec<Share> {
        let shares = match self {
            Self::Uniform if are_alike(readers) => uniform::assign(counts, readers),
            Self::Uniform => unlike::assign(counts, readers),
            Self::Range => range::assign(counts, readers),
        };
        assert_eq!(shares.len(), readers.len(), "everybody has a share, an empty one perhaps");
        shares
    }
}

/// Whether all read the same topics.
fn are_alike(readers: &[Reader<'_>]) -> bool {
    readers.windows(2).all(|pair| std::ptr::eq(pair[0].topics, pair[1].topics) || pair[0].topics == pair[1].topics)
}

/// The partitions of a topic.
fn partitions(topic: TopicId, count: i32) -> impl Iterator<Item = PartitionId> {
    (0..count).map(move |index| PartitionId { topic, index: PartitionIndex::new(index) })
}

/// What each reader may keep of what it holds: what is there, what it reads, and what nobody before it keeps.
fn kept(counts: &BTreeMap<TopicId, i32>, readers: &[Reader<'_>]) -> Vec<Share> {
    let mut taken = BTreeSet::new();
    let mut keep = |reader: &Reader<'_>| {
        let is_there = |id: &PartitionId| {
            reader.topics.contains(&id.topic) && counts.get(&id.topic).is_some_and(|count| id.index.get() < *count)
        };
        reader.owned.iter().copied().filter(|id| is_there(id) && taken.insert(*id)).collect()
    };
    readers.iter().map(&mut keep).collect()
}

/// What nobody has, of topics that somebody reads.
fn free(counts: &BTreeMap<TopicId, i32>, readers: &[Reader<'_>], shares: &[Share]) -> Vec<PartitionId> {
    let taken: BTreeSet<PartitionId> = shares.iter().flatten().copied().collect();
    let read: BTreeSet<TopicId> = readers.iter().flat_map(|reader| reader.topics).copied().collect();
    let there = counts.iter().filter(|(topic, _)| read.contains(topic));
    there.flat_map(|(topic, count)| partitions(*topic, *count)).filter(|id| !taken.contains(id)).collect()
}

#[cfg(test)]
mod tests;
