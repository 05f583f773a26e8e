//! What is known of a group of KIP-848: exactly what its records say, and a few maps that answer what is asked often.
//!
//! Invariant: only `replay` changes it; it is total. What is reckoned (`statics`, `readers`, `matchers`, `holders`) follows
//! from the facts. The maps are persistent, so that a decision works on a copy that costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::super::assignor::Share;
use super::super::record::ConsumerFact;
use super::super::state::Client;
use crate::model::{GroupEpoch, InstanceId, MemberId, PartitionId, Timestamp};

/// A group of the "consumer" protocol.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConsumerGroup {
    epoch: Option<(GroupEpoch, i64)>,
    assignment: Option<(GroupEpoch, Timestamp)>,
    members: OrdMap<MemberId, Arc<Subscriber>>,
    targets: OrdMap<MemberId, Arc<Share>>,
    currents: OrdMap<MemberId, Arc<Current>>,
    regexes: OrdMap<Arc<str>, Arc<Resolved>>,
    /// Who has each instance.
    statics: OrdMap<InstanceId, MemberId>,
    /// How many members name each topic.
    readers: OrdMap<Arc<str>, usize>,
    /// How many members have each regular expression.
    matchers: OrdMap<Arc<str>, usize>,
    /// Who has, or has not given back yet, each partition.
    holders: OrdMap<PartitionId, MemberId>,
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Of a static member.
    pub instance: Option<InstanceId>,
    /// Where it is.
    pub rack: Option<Arc<str>>,
    /// Whose it is.
    pub client: Client,
    /// The topics that it names.
    pub topics: BTreeSet<Arc<str>>,
    /// And those whose names match this, if anything.
    pub regex: Option<Arc<str>>,
    /// How long it may take to give partitions back.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it would have.
    pub assignor: Option<Arc<str>>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicWords>,
}

/// What a member of the classic protocol says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicWords {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// What it can do, best first.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The epoch that it has reached.
    pub epoch: GroupEpoch,
    /// The one before: it may not have heard of the last.
    pub previous: GroupEpoch,
    /// What it waits for.
    pub state: MemberState,
    /// Its partitions, each with the epoch in which it was given it.
    pub assigned: BTreeMap<PartitionId, GroupEpoch>,
    /// What it is to give back, and may still read.
    pub revoking: BTreeMap<PartitionId, GroupEpoch>,
}

/// What a member waits for on its way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MemberState {
    /// Nothing: it has what it shall have.
    #[default]
    Stable,
    /// It has to give partitions back before it may go on.
    Unrevoked,
    /// Others have to give partitions back that it shall have.
    Unreleased,
}

/// The topics that a regular expression stands for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Their names.
    pub topics: BTreeSet<Arc<str>>,
    /// The index of the metadata log at which they were looked up.
    pub version: i64,
    /// When that was.
    pub at: Timestamp,
}

impl Current {
    /// Of a member that has just come.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch: GroupEpoch::NONE,
            previous: GroupEpoch::NONE,
            state: MemberState::Stable,
            assigned: BTreeMap::new(),
            revoking: BTreeMap::new(),
        }
    }

    /// Whether nothing is left to do for an assignment of this epoch.
    #[must_use]
    pub fn has_reached(&self, epoch: GroupEpoch) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    fn held(&self) -> impl Iterator<Item = &PartitionId> {
        self.assigned.keys().chain(self.revoking.keys())
    }
}

impl Default for Current {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscriber {
    /// How large what it says is.
    #[must_use]
    pub fn size(&self) -> usize {
        let classic = self.classic.iter().flat_map(|classic| &classic.protocols);
        let classic: usize = classic.map(|(name, metadata)| name.len() + metadata.len()).sum();
        let texts = [&self.rack, &self.regex, &self.assignor].into_iter().flatten();
        let texts = texts.map(|text| text.len()).sum::<usize>() + self.client.id.len() + self.client.host.len();
        self.topics.iter().map(|topic| topic.len()).sum::<usize>() + texts + classic
    }
}

impl ConsumerGroup {
    /// Numbers what the group is.
    #[must_use]
    pub fn epoch(&self) -> GroupEpoch {
        self.epoch.map_or(GroupEpoch::NONE, |(epoch, _)| epoch)
    }

    /// The hash of the topics that its epoch was made for.
    #[must_use]
    pub fn hash(&self) -> Option<i64> {
        self.epoch.map(|(_, hash)| hash)
    }

    /// The epoch that its target assignment is for.
    #[must_use]
    pub fn assignment_epoch(&self) -> GroupEpoch {
        self.assignment.map_or(GroupEpoch::NONE, |(epoch, _)| epoch)
    }

    /// Its members, by id.
    #[must_use]
    pub fn members(&self) -> &OrdMap<MemberId, Arc<Subscriber>> {
        &self.members
    }

    /// What a member shall have.
    #[must_use]
    pub fn target(&self, member: &MemberId) -> Option<&Arc<Share>> {
        self.targets.get(member)
    }

    /// What a member has.
    #[must_use]
    pub fn current(&self, member: &MemberId) -> Option<&Arc<Current>> {
        self.currents.get(member)
    }

    /// Its regular expressions that were resolved.
    #[must_use]
    pub fn regexes(&self) -> &OrdMap<Arc<str>, Arc<Resolved>> {
        &self.regexes
    }

    /// Those that members have.
    pub fn matchers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.matchers.keys()
    }

    /// Whether some member subscribes to it.
    #[must_use]
    pub fn has_matcher(&self, regex: &str) -> bool {
        self.matchers.contains_key(regex)
    }

    /// Who has an instance.
    #[must_use]
    pub fn holder_of(&self, instance: &InstanceId) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    /// Who has a partition, or has not given it back.
    #[must_use]
    pub fn holder(&self, partition: &PartitionId) -> Option<&MemberId> {
        self.holders.get(partition)
    }

    /// The names of the topics that its members read, be they there or not; one may come twice.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        let matched = self.regexes.iter().filter(|(regex, _)| self.matchers.contains_key(*regex));
        self.readers.keys().chain(matched.flat_map(|(_, resolved)| &resolved.topics))
    }

    /// Whether some member reads a topic.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        let matches = |(regex, resolved): (&Arc<str>, &Arc<Resolved>)| {
            self.matchers.contains_key(regex) && resolved.topics.contains(topic)
        };
        self.readers.contains_key(topic) || self.regexes.iter().any(matches)
    }

    /// Whether no fact is left.
    pub(in super::super) fn is_void(&self) -> bool {
        self.epoch.is_none()
            && self.assignment.is_none()
            && self.members.is_empty()
            && self.targets.is_empty()
            && self.currents.is_empty()
            && self.regexes.is_empty()
    }

    /// All that has to be written for the group to be gone.
    #[must_use]
    pub fn tombstones(&self) -> Vec<ConsumerFact> {
        let currents = self.currents.keys().map(|id| ConsumerFact::Current(id.clone(), None));
        let targets = self.targets.keys().map(|id| ConsumerFact::Target(id.clone(), None));
        let members = self.members.keys().map(|id| ConsumerFact::Member(id.clone(), None));
        let regexes = self.regexes.keys().map(|regex| ConsumerFact::Regex(Arc::clone(regex), None));
        let assignment = self.assignment.map(|_| ConsumerFact::TargetEpoch(None));
        let epoch = self.epoch.map(|_| ConsumerFact::Epoch(None));
        currents.chain(targets).chain(members).chain(regexes).chain(assignment).chain(epoch).collect()
    }

    /// Makes a fact true.
    pub fn replay(&mut self, fact: &ConsumerFact) {
        match fact {
            ConsumerFact::Epoch(value) => self.epoch = *value,
            ConsumerFact::TargetEpoch(value) => self.assignment = *value,
            ConsumerFact::Member(id, value) => self.set_member(id, value.as_ref()),
            ConsumerFact::Target(id, value) => set(&mut self.targets, id, value.as_ref()),
            ConsumerFact::Current(id, value) => self.set_current(id, value.as_ref()),
            ConsumerFact::Regex(regex, value) => set(&mut self.regexes, regex, value.as_ref()),
        }
    }

    fn set_member(&mut self, id: &MemberId, value: Option<&Arc<Subscriber>>) {
        if let Some(before) = self.members.get(id).cloned() {
            before.topics.iter().for_each(|topic| uncount(&mut self.readers, topic));
            before.regex.iter().for_each(|regex| uncount(&mut self.matchers, regex));
            if let Some(instance) = before.instance.as_ref().filter(|one| self.statics.get(*one) == Some(id)) {
                self.statics.remove(instance);
            }
        }
        set(&mut self.members, id, value);
        if let Some(after) = value {
            after.topics.iter().for_each(|topic| count(&mut self.readers, topic));
            after.regex.iter().for_each(|regex| count(&mut self.matchers, regex));
            if let Some(instance) = &after.instance {
                self.statics.insert(instance.clone(), id.clone());
            }
        }
    }

    fn set_current(&mut self, id: &MemberId, value: Option<&Arc<Current>>) {
        if let Some(before) = self.currents.get(id).cloned() {
            for partition in before.held() {
                if self.holders.get(partition) == Some(id) {
                    self.holders.remove(partition);
                }
            }
        }
        set(&mut self.currents, id, value);
        for partition in value.iter().flat_map(|after| after.held()) {
            self.holders.insert(*partition, id.clone());
        }
    }
}

fn set<K: Ord + Clone, V>(map: &mut OrdMap<K, Arc<V>>, key: &K, value: Option<&Arc<V>>) {
    match value {
        Some(value) => map.insert(key.clone(), Arc::clone(value)),
        None => map.remove(key),
    };
}

fn count(map: &mut OrdMap<Arc<str>, usize>, key: &Arc<str>) {
    *map.entry(Arc::clone(key)).or_insert(0) += 1;
}

fn uncount(map: &mut OrdMap<Arc<str>, usize>, key: &Arc<str>) {
    let left = map.get(key).map_or(0, |count| count.saturating_sub(1));
    if left == 0 {
        map.remove(key);
    } else {
        map.insert(Arc::clone(key), left);
    }
}
