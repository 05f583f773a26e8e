//! Committed offsets: taken, given, forgotten when they are told to be and when they are too old.
//!
//! Invariant: an offset is forgotten by itself only when its group neither has it in use nor has committed it for the
//! retention time, or when its topic is gone.

use std::collections::BTreeSet;

use super::call::{Commit, CommitOf, Fetch, Forget, Refusal, Reply, Waiter};
use super::consumer;
use super::decide::{Decision, Present, Soft, exists};
use super::record::Record;
use super::state::{CONSUMER_PROTOCOL, Committed, Group, Offsets};
use super::subscription;
use crate::model::{Generation, GroupId, Instant, PartitionIndex, TopicName};

/// How many offsets are looked at in one step of a sweep.
const LOOKED_AT_MAX: usize = 10_000;

/// The search for offsets that are too old, a part of the groups at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    due: Instant,
    /// Where to go on; `None` is at the first group.
    from: Option<GroupId>,
}

impl Sweep {
    /// The first is due after a whole interval: a cluster that was down keeps what it finds for so long.
    pub(super) fn first(present: Present<'_>) -> Self {
        Self { due: present.now.instant.plus(present.options.retention_check), from: None }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }
}

/// Takes a commit.
pub(super) fn commit(present: Present<'_>, soft: &mut Soft, waiter: Waiter, commit: Commit, out: &mut Decision) {
    let identity = &commit.identity;
    let group = identity.group.clone();
    let is_known = exists(present, soft, &group);
    let allowed = if let Some(consumers) = present.consumers(&group) {
        consumer::allow_commit(consumers, &commit, present.image)
    } else if is_known {
        soft.with(present, &group, out, |live, desk| live.allow_commit(identity, desk))
    } else if identity.generation < Generation::NONE {
        Ok(())
    } else if commit.knows_kip_848 {
        Err(Refusal::GroupNotFound)
    } else {
        Err(Refusal::Generation)
    };
    if let Err(refusal) = allowed {
        out.replies.push((waiter, Reply::Commit(Err(refusal))));
        return;
    }
    let mut outcomes = Vec::with_capacity(commit.offsets.len());
    for offset in commit.offsets {
        let outcome = check(present, &offset);
        if outcome.is_ok() {
            let committed = Some(offset.committed(present.now.timestamp));
            let CommitOf { topic, partition, .. } = offset;
            out.records.push(Record::Offset { group: group.clone(), topic, partition, committed });
        }
        outcomes.push(outcome);
    }
    out.replies.push((waiter, Reply::Commit(Ok(outcomes))));
}

fn check(present: Present<'_>, offset: &CommitOf) -> Result<(), Refusal> {
    if present.image.topic_named(offset.topic.as_str()).is_some_and(|topic| topic.id != offset.topic_id) {
        return Err(Refusal::TopicGone);
    }
    // A code unit takes at least one byte.
    let is_short = offset.metadata.len() <= present.options.metadata_max;
    if is_short || offset.metadata.encode_utf16().count() <= present.options.metadata_max {
        Ok(())
    } else {
        Err(Refusal::MetadataTooLarge)
    }
}

/// What is committed of what is asked.
pub(super) fn fetch(present: Present<'_>, fetch: &Fetch) -> Result<Offsets, Refusal> {
    let Some(group) = present.groups.get(&fetch.group) else { return Ok(Offsets::new()) };
    if let Some(consumers) = &group.consumer {
        consumer::allow_fetch(consumers, fetch.member.as_ref(), fetch.epoch)?;
    }
    let Some(topics) = &fetch.topics else { return Ok(group.offsets.clone()) };
    let mut found = Offsets::new();
    for (topic, partitions) in topics {
        let Some(known) = group.offsets.get(topic) else { continue };
        let given = partitions.iter().filter_map(|index| Some((*index, known.get(index)?.clone())));
        found.entry(topic.clone()).or_default().extend(given);
    }
    Ok(found)
}

/// Forgets what it is told to, of topics that the group does not read.
pub(super) fn forget(present: Present<'_>, soft: &mut Soft, waiter: Waiter, forget: &Forget, out: &mut Decision) {
    let outcome = if !exists(present, soft, &forget.group) {
        Err(Refusal::GroupNotFound)
    } else {
        let subscribed = Subscribed::of(present, soft, &forget.group);
        if subscribed == Subscribed::Unreadable { Err(Refusal::NonEmpty) } else { Ok(subscribed) }
    };
    let outcomes = outcome.map(|subscribed| {
        let one = |(topic, partitions): &(TopicName, Vec<PartitionIndex>)| {
            if subscribed.holds(topic) {
                return Err(Refusal::SubscribedToTopic);
            }
            let known = present.groups.get(&forget.group).and_then(|group| group.offsets.get(topic));
            let there = partitions.iter().filter(|index| known.is_some_and(|known| known.contains_key(index)));
            out.records.extend(there.map(|index| tombstone(&forget.group, topic, *index)));
            Ok(())
        };
        forget.topics.iter().map(one).collect()
    });
    out.replies.push((waiter, Reply::Forget(outcomes)));
}

/// All that has to be written for a group to be gone.
pub(super) fn tombstones(present: Present<'_>, id: &GroupId) -> Vec<Record> {
    let Some(group) = present.groups.get(id) else { return Vec::new() };
    let offsets = group.offsets.iter().flat_map(|(topic, known)| known.keys().map(move |index| (topic, *index)));
    offsets.map(|(topic, index)| tombstone(id, topic, index)).chain(end(id, group)).collect()
}

/// What has to be written besides for a group without offsets.
fn end(id: &GroupId, group: &Group) -> impl Iterator<Item = Record> {
    let classic = group.classic.as_ref().map(|_| Record::Classic { group: id.clone(), state: None });
    let facts = group.consumer.iter().flat_map(consumer::ConsumerGroup::tombstones);
    classic.into_iter().chain(facts.map(|fact| Record::Consumer { group: id.clone(), fact }))
}

/// Forgets the offsets of topics that are gone, though there may be others of their names; `among` says of which names
/// there may be some. Whoever committed them knew no later image than the present one: what that lacks is gone.
#[must_use]
pub fn forget_gone(present: Present<'_>, among: impl Fn(&TopicName) -> bool) -> Decision {
    let mut decision = Decision::default();
    for (id, group) in present.groups.iter() {
        for (topic, known) in group.offsets.iter().filter(|(topic, _)| among(topic)) {
            let there = present.image.topic_named(topic.as_str()).map(|topic| topic.id);
            let is_gone = |committed: &Committed| there.is_none_or(|id| committed.topic_id.is_some_and(|of| of != id));
            let gone = known.iter().filter(|(_, committed)| is_gone(committed));
            decision.records.extend(gone.map(|(index, _)| tombstone(id, topic, *index)));
        }
    }
    decision
}

/// Looks at some groups for offsets that are too old, and for groups that hold nothing any more.
pub(super) fn sweep(present: Present<'_>, soft: &mut Soft, out: &mut Decision) {
    let mut looked_at = 0;
    let from = soft.sweep().from.take();
    for (id, group) in present.groups.iter_from(from.as_ref()) {
        if looked_at >= LOOKED_AT_MAX {
            // At once: others get their turn between two steps.
            soft.sweep().from = Some(id.clone());
            soft.sweep().due = present.now.instant;
            return;
        }
        looked_at += 1 + group.offsets.values().map(std::collections::BTreeMap::len).sum::<usize>();
        expire(present, soft, id, group, out);
    }
    soft.sweep().due = present.now.instant.plus(present.options.retention_check);
}

fn expire(present: Present<'_>, soft: &Soft, id: &GroupId, group: &Group, out: &mut Decision) {
    let has_consumers = group.consumer.as_ref().is_some_and(|consumers| !consumers.members().is_empty());
    let is_empty = !has_consumers && soft.live(id).is_none_or(super::classic::Live::is_idle);
    let subscribed = Subscribed::of(present, soft, id);
    if !is_empty
        && !has_consumers
        && (subscribed == Subscribed::Unreadable || !soft.live(id).is_some_and(super::classic::Live::is_stable))
    {
        return;
    }
    let old_before = present.now.timestamp.minus(present.options.retention);
    // An empty group keeps everything for the whole time since it is empty.
    let since = group.classic.as_ref().filter(|_| is_empty).map(|classic| classic.since);
    let is_old = |committed: &Committed| match committed.expires {
        Some(expires) => expires <= present.now.timestamp,
        None => since.unwrap_or(committed.at) <= old_before,
    };
    let mut stays = false;
    for (topic, known) in &group.offsets {
        for (index, committed) in known {
            if !subscribed.holds(topic) && is_old(committed) {
                out.records.push(tombstone(id, topic, *index));
            } else {
                stays = true;
            }
        }
    }
    if is_empty && !stays {
        out.records.extend(end(id, group));
    }
}

fn tombstone(group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> Record {
    Record::Offset { group: group.clone(), topic: topic.clone(), partition, committed: None }
}

/// What a group reads, as far as the coordinator can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subscribed {
    /// It has no members.
    None,
    /// These.
    To(BTreeSet<String>),
    /// It has consumers whose words cannot be read.
    Anything,
    /// It has members that are no consumers.
    Unreadable,
}

impl Subscribed {
    fn of(present: Present<'_>, soft: &Soft, id: &GroupId) -> Self {
        if let Some(consumers) = present.consumers(id) {
            return Self::To(consumers.topics().map(|topic| topic.to_string()).collect());
        }
        if soft.live(id).is_none_or(|live| live.size() == 0) {
            return Self::None;
        }
        let Some(classic) = present.groups.get(id).and_then(|group| group.classic.as_ref()) else {
            return Self::Anything;
        };
        if &*classic.protocol_type != CONSUMER_PROTOCOL {
            return Self::Unreadable;
        }
        let topics = classic.members.values().map(|member| subscription::topics(&member.subscription));
        topics.collect::<Option<Vec<_>>>().map_or(Self::Anything, |all| Self::To(all.into_iter().flatten().collect()))
    }

    fn holds(&self, topic: &TopicName) -> bool {
        match self {
            Self::None => false,
            Self::To(topics) => topics.contains(topic.as_str()),
            Self::Anything | Self::Unreadable => true,
        }
    }
}
