//! From what all members want and what topics there are to what each shall have.
//!
//! Invariant: the group's epoch rises with every change of either; the target assignment of an epoch is made once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::assignor::{Assignor, Reader, Share};
use super::super::record::ConsumerFact;
use super::Work;
use super::facts::{ConsumerGroup, Resolved, Subscriber};
use super::pattern::Pattern;
use crate::machines::metadata::{Image, Topic};
use crate::model::{GroupEpoch, MemberId, PartitionId, TopicId};

/// How many members and partitions a group may have to be assigned whenever it changes.
const RESTLESS_MAX: usize = 1_000;
/// How long a larger one rests after it was assigned, for each member and each partition that it has besides: one of ten
/// thousand rests for 180 ms, and the largest, whose assignment takes about a second, for some.
const REST_FOR_EACH: Duration = Duration::from_micros(20);
const REST_MAX: Duration = Duration::from_secs(5);

/// The assignor that most members would have.
pub(super) fn assignor(group: &ConsumerGroup) -> Assignor {
    let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
    let named = group.members().values().filter_map(|member| member.assignor.as_deref());
    for assignor in named.filter_map(Assignor::named) {
        *votes.entry(assignor).or_default() += 1;
    }
    let most = votes.values().copied().max();
    votes.into_iter().find(|(_, count)| Some(*count) == most).map_or(Assignor::default(), |(assignor, _)| assignor)
}

impl Work<'_> {
    /// Compares what its members want with what topics there are: a new epoch when these have changed, and a target for
    /// it.
    pub(super) fn settle(&mut self) {
        if self.group.is_void() {
            return;
        }
        self.resolve();
        let hash = hash(&self.group, self.present.image);
        if self.group.hash() != Some(hash) {
            self.begin_epoch(hash);
        }
        self.aim();
    }

    /// The same when members came, went, or want something else: a new epoch in any case.
    pub(super) fn settle_anew(&mut self) {
        if self.group.is_void() {
            return;
        }
        self.resolve();
        self.begin_epoch(hash(&self.group, self.present.image));
        self.aim();
    }

    fn begin_epoch(&mut self, hash: i64) {
        let epoch = self.group.epoch().next();
        self.put(ConsumerFact::Epoch(Some((epoch, hash))));
    }

    /// Makes a target for the epoch, unless there is one.
    fn aim(&mut self) {
        if self.group.epoch() == self.group.assignment_epoch() {
            return;
        }
        if self.presence.assign_from <= self.present.now.instant {
            self.assign();
        } else {
            self.refresh_soon();
        }
    }

    /// Looks up what the regular expressions stand for.
    fn resolve(&mut self) {
        let wanted: Vec<Arc<str>> = self.group.matchers().cloned().collect();
        let gone = self.group.regexes().keys().filter(|regex| !self.group.has_matcher(regex)).cloned();
        for regex in gone.collect::<Vec<_>>() {
            self.put(ConsumerFact::Regex(regex, None));
        }
        self.presence.patterns.retain(|regex, _| self.group.has_matcher(regex));
        for regex in wanted {
            if !self.presence.patterns.contains_key(&regex)
                && let Some(pattern) = Pattern::new(&regex)
            {
                self.presence.patterns.insert(Arc::clone(&regex), pattern);
            }
            // One of another maker's coordinator may be none here: it stands for nothing.
            let pattern = self.presence.patterns.get(&regex);
            let names = self.present.image.topics().topics().map(|topic| topic.name.as_str());
            let topics: BTreeSet<Arc<str>> =
                names.filter(|name| pattern.is_some_and(|pattern| pattern.matches(name))).map(Arc::from).collect();
            if self.group.regexes().get(&regex).is_none_or(|known| known.topics != topics) {
                let version = i64::try_from(self.present.image.last_applied().get()).unwrap_or(i64::MAX);
                let resolved = Resolved { topics, version, at: self.present.now.timestamp };
                self.put(ConsumerFact::Regex(regex, Some(Arc::new(resolved))));
            }
        }
    }

    /// Makes the target of the group's epoch.
    fn assign(&mut self) {
        let (image, group) = (self.present.image, self.group.clone());
        let there = topics(&group, image);
        let counts: BTreeMap<TopicId, i32> = there.values().map(|topic| (topic.id, topic.partition_count)).collect();
        let wants = Wants::of(&group, &there);
        let nothing = Share::new();
        let readers: Vec<Reader<'_>> = group
            .members()
            .iter()
            .map(|(member, says)| Reader {
                member,
                instance: says.instance.as_ref(),
                topics: wants.of_member(says),
                owned: group.target(member).map_or(&nothing, |share| share),
            })
            .collect();
        let shares = assignor(&group).assign(&counts, &readers);
        let members: Vec<MemberId> = group.members().keys().cloned().collect();
        let size = members.len() + shares.iter().map(BTreeSet::<PartitionId>::len).sum::<usize>();
        for (member, share) in members.into_iter().zip(shares) {
            if group.target(&member).is_none_or(|known| **known != share) {
                self.put(ConsumerFact::Target(member, Some(Arc::new(share))));
            }
        }
        let epoch: GroupEpoch = group.epoch();
        self.put(ConsumerFact::TargetEpoch(Some((epoch, self.present.now.timestamp))));
        let rest = REST_FOR_EACH * u32::try_from(size.saturating_sub(RESTLESS_MAX)).unwrap_or(u32::MAX);
        self.presence.assign_from = self.present.now.instant.plus(rest.min(REST_MAX));
    }
}

/// What a member subscribes to: topics by name, and by a regular expression.
type Subscription = (BTreeSet<Arc<str>>, Option<Arc<str>>);

/// The topics of each subscription, made once for all members that share it.
struct Wants(BTreeMap<Subscription, BTreeSet<TopicId>>);

impl Wants {
    fn of(group: &ConsumerGroup, there: &BTreeMap<&str, &Topic>) -> Self {
        let mut wants = BTreeMap::new();
        for says in group.members().values() {
            let key = (says.topics.clone(), says.regex.clone());
            wants.entry(key).or_insert_with(|| {
                let matched = says.regex.as_ref().and_then(|regex| group.regexes().get(regex));
                let names = says.topics.iter().chain(matched.iter().flat_map(|resolved| &resolved.topics));
                names.filter_map(|name| there.get(&**name)).map(|topic| topic.id).collect()
            });
        }
        Self(wants)
    }

    fn of_member(&self, says: &Subscriber) -> &BTreeSet<TopicId> {
        let key = (says.topics.clone(), says.regex.clone());
        self.0.get(&key).expect("every member's subscription was looked up")
    }
}

/// The topics that members read and that are there, by name.
fn topics<'a>(group: &ConsumerGroup, image: &'a Image) -> BTreeMap<&'a str, &'a Topic> {
    group.topics().filter_map(|name| image.topic_named(name)).map(|topic| (topic.name.as_str(), topic)).collect()
}

/// A number for the topics that members read: another one when one comes, goes, is another of its name or grows. FNV-1a.
pub(super) fn hash(group: &ConsumerGroup, image: &Image) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for topic in topics(group, image).values() {
        for byte in topic.id.get().into_iter().chain(topic.partition_count.to_be_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    i64::from_be_bytes(hash.to_be_bytes())
}
