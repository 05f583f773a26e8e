//! Members of the classic protocol in a group of KIP-848: while a group is upgraded, member by member, some still join
//! and sync.
//!
//! Each round of theirs is one step towards the target: a join says what the member has, a sync tells what it may have,
//! and a heartbeat sends it to join again while there is a step left. Nobody waits for anybody. Invariant: only consumers
//! are here, whose words the coordinator can read; others keep their group to themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::call::{Identity, Join, Joined, Leave, Refusal, Reply, Sync, Synced, Waiter};
use super::super::record::ConsumerFact;
use super::super::state::{CONSUMER_PROTOCOL, ClassicGroup};
use super::super::subscription;
use super::Work;
use super::call::Beat;
use super::facts::{ClassicWords, Current, MemberState, Subscriber};
use super::target::hash;
use crate::machines::metadata::Image;
use crate::model::{Generation, GroupEpoch, MemberId, PartitionId, PartitionIndex, Timestamp};

/// A member of a classic group, as a group of KIP-848 has it.
#[derive(Clone, Debug)]
pub(in super::super) struct Adopted {
    id: MemberId,
    says: Subscriber,
    has: BTreeSet<PartitionId>,
}

/// The members of a classic group that stands; `None` when they are no consumers, or say what cannot be read.
pub(in super::super) fn adoptable(classic: &ClassicGroup, image: &Image) -> Option<Vec<Adopted>> {
    let protocol = classic.protocol.as_ref().filter(|_| &*classic.protocol_type == CONSUMER_PROTOCOL)?;
    let adopt = |(id, member): (&MemberId, &super::super::state::StoredMember)| {
        let protocols = vec![(Arc::clone(protocol), member.subscription.clone())];
        let words = ClassicWords { session_timeout_ms: member.session_timeout_ms, protocols };
        let has = if member.assignment.is_empty() { Vec::new() } else { subscription::assigned(&member.assignment)? };
        let says = Subscriber {
            instance: member.instance.clone(),
            rack: None,
            client: member.client.clone(),
            topics: subscription::topics(&member.subscription)?.into_iter().map(Arc::from).collect(),
            regex: None,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            assignor: None,
            classic: Some(words),
        };
        Some(Adopted { id: id.clone(), says, has: identified(&has, image) })
    };
    classic.members.iter().map(adopt).collect()
}

/// Partitions by the ids of their topics, of those that are there.
fn identified(topics: &[(String, Vec<PartitionIndex>)], image: &Image) -> BTreeSet<PartitionId> {
    let known = topics.iter().filter_map(|(name, indexes)| Some((image.topic_named(name)?.id, indexes)));
    known.flat_map(|(topic, indexes)| indexes.iter().map(move |index| PartitionId { topic, index: *index })).collect()
}

impl Work<'_> {
    /// The members of a classic group are this group's, with what they have.
    pub(in super::super) fn adopt(&mut self, generation: Generation, members: Vec<Adopted>) {
        let epoch = GroupEpoch::new(generation.get());
        for Adopted { id, says, has } in members {
            let assigned = has.iter().map(|partition| (*partition, epoch)).collect();
            let current = Current { epoch, previous: epoch, assigned, ..Current::new() };
            self.presence.enter(&id, says.size());
            self.put(ConsumerFact::Member(id.clone(), Some(Arc::new(says))));
            self.put(ConsumerFact::Target(id.clone(), Some(Arc::new(has))));
            self.put(ConsumerFact::Current(id.clone(), Some(Arc::new(current))));
            self.renew(&id);
        }
        let at: Timestamp = self.present.now.timestamp;
        self.put(ConsumerFact::TargetEpoch(Some((epoch, at))));
        let hash = hash(&self.group, self.present.image);
        self.put(ConsumerFact::Epoch(Some((epoch, hash))));
    }

    /// Answers a join at once: it is a step.
    pub(in super::super) fn join(&mut self, join: &Join, waiter: Waiter) {
        let outcome = self.join_now(join);
        self.answer(waiter, Reply::Join(outcome));
    }

    fn join_now(&mut self, join: &Join) -> Result<Joined, Refusal> {
        let Some((protocol, metadata)) = join.protocols.first().filter(|_| &*join.protocol_type == CONSUMER_PROTOCOL)
        else {
            return Err(Refusal::Protocol);
        };
        let topics = subscription::topics(metadata).ok_or(Refusal::Protocol)?;
        let is_nameless = join.member.as_str().is_empty();
        if is_nameless && join.instance.is_none() && join.requires_known_member {
            return Err(Refusal::MemberIdRequired(join.fresh.clone()));
        }
        let member = if is_nameless { &join.fresh } else { &join.member };
        if let Some(Some(holder)) = join.instance.as_ref().map(|instance| self.group.holder_of(instance))
            && !is_nameless
            && holder != member
        {
            return Err(Refusal::FencedInstance);
        }
        let owned = identified(&subscription::owned(metadata).unwrap_or_default(), self.present.image);
        let known = self.group.current(member).map(|current| current.epoch);
        let beat = Beat {
            group: join.group.clone(),
            member: member.clone(),
            epoch: known.filter(|epoch| *epoch > GroupEpoch::NONE).unwrap_or(GroupEpoch::NONE),
            instance: join.instance.clone(),
            rack: None,
            client: join.client.clone(),
            rebalance_timeout_ms: Some(join.rebalance_timeout_ms),
            topics: Some(topics.into_iter().map(Arc::from).collect()),
            regex: Some("".into()),
            assignor: None,
            owned: Some(owned),
        };
        let words = ClassicWords { session_timeout_ms: join.session_timeout_ms, protocols: join.protocols.clone() };
        let told = self.live(&beat, Some(words))?;
        Ok(Joined {
            member: told.member,
            generation: Generation::new(told.epoch.get()),
            protocol_type: Some(Arc::clone(&join.protocol_type)),
            protocol: Some(Arc::clone(protocol)),
            leader: MemberId::new(""),
            members: Vec::new(),
            skip_assignment: false,
        })
    }

    /// Answers a sync: what the member may have.
    pub(in super::super) fn sync(&mut self, sync: &Sync, waiter: Waiter) {
        let outcome = self.sync_now(sync);
        self.answer(waiter, Reply::Sync(outcome));
    }

    fn sync_now(&mut self, sync: &Sync) -> Result<Synced, Refusal> {
        let (current, protocol) = self.check_classic(&sync.identity)?;
        // Who has to give back learns here what; it joins again when it has.
        if current.state != MemberState::Unrevoked && current.epoch < self.group.epoch() {
            return Err(Refusal::Rebalancing);
        }
        self.renew(&sync.identity.member);
        let image = self.present.image;
        let named = current.assigned.keys().filter_map(|id| Some((image.topic(id.topic)?.name.as_str(), id.index)));
        Ok(Synced {
            protocol_type: Some(CONSUMER_PROTOCOL.into()),
            protocol: Some(protocol),
            assignment: subscription::assignment(named),
        })
    }

    /// Answers a sign of life; a member that has a step to go is sent to join again.
    pub(in super::super) fn heartbeat(&mut self, identity: &Identity, waiter: Waiter) {
        let outcome = self.check_classic(identity).and_then(|(current, _)| {
            self.renew(&identity.member);
            let has_step = match current.state {
                MemberState::Stable => false,
                MemberState::Unrevoked => true,
                MemberState::Unreleased => self.may_gain(&identity.member, &current),
            };
            if has_step || current.epoch < self.group.epoch() { Err(Refusal::Rebalancing) } else { Ok(()) }
        });
        self.answer(waiter, Reply::Heartbeat(outcome));
    }

    /// Members leave; one outcome for each.
    pub(in super::super) fn part(&mut self, leave: &Leave, waiter: Waiter) {
        let mut outcomes = Vec::with_capacity(leave.members.len());
        for (id, instance) in &leave.members {
            let holder = instance.as_ref().and_then(|instance| self.group.holder_of(instance)).cloned();
            let member = match (id.as_str().is_empty(), instance, holder) {
                (true, _, holder) => holder,
                (false, Some(_), Some(holder)) if holder != *id => {
                    outcomes.push(Err(Refusal::FencedInstance));
                    continue;
                }
                (false, _, _) => Some(id.clone()),
            };
            let known = member.filter(|member| self.group.members().contains_key(member));
            outcomes.push(known.as_ref().map(|member| self.remove(member)).ok_or(Refusal::UnknownMember));
        }
        if outcomes.iter().any(Result::is_ok) {
            self.settle_anew();
        }
        self.answer(waiter, Reply::Leave(Ok(outcomes)));
    }

    /// Whether others have given back something that it shall have.
    fn may_gain(&self, id: &MemberId, current: &Current) -> bool {
        let wanted = self.group.target(id).into_iter().flat_map(|target| target.iter());
        let is_free = |partition: &&PartitionId| self.group.holder(partition).is_none();
        wanted.filter(|partition| !current.assigned.contains_key(partition)).any(|partition| is_free(&partition))
    }

    /// Whether it is a member of the classic protocol, in the epoch that it says; and what it speaks.
    fn check_classic(&self, identity: &Identity) -> Result<(Arc<Current>, Arc<str>), Refusal> {
        if let Some(instance) = &identity.instance {
            match self.group.holder_of(instance) {
                None => return Err(Refusal::UnknownMember),
                Some(holder) if *holder != identity.member => return Err(Refusal::FencedInstance),
                Some(_) => {}
            }
        }
        let member = self.group.members().get(&identity.member).ok_or(Refusal::UnknownMember)?;
        let words = member.classic.as_ref().ok_or(Refusal::UnknownMember)?;
        let protocol = words.protocols.first().map(|(name, _)| Arc::clone(name)).ok_or(Refusal::UnknownMember)?;
        let current = self.group.current(&identity.member).cloned().unwrap_or_default();
        if current.epoch.get() == identity.generation.get() {
            Ok((current, protocol))
        } else {
            Err(Refusal::Generation)
        }
    }
}
