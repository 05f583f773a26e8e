//! ConsumerGroupHeartbeat of a member that joins or lives.
//!
//! Invariant: a heartbeat that is refused changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::assignor::{Assignor, Share};
use super::super::call::{Refusal, Reply, Waiter};
use super::super::record::ConsumerFact;
use super::Work;
use super::call::{Beat, Told};
use super::facts::{ClassicWords, Current, Subscriber};
use super::pattern::Pattern;
use super::reconcile::{Goal, step};
use crate::model::{GroupEpoch, MemberId, PartitionId};

/// How many different regular expressions the members of a group may have.
const PATTERNS_MAX: usize = 100;

/// Who a heartbeat is from.
enum Sender {
    /// Somebody who was in no group yet.
    New,
    /// A member.
    Known(Arc<Current>),
    /// A static member that left for a while comes back with another id.
    Back { before: MemberId },
}

impl Work<'_> {
    /// Answers a heartbeat.
    pub(in super::super) fn beat(&mut self, beat: &Beat, waiter: Waiter) {
        let outcome = match beat.epoch {
            GroupEpoch::LEAVING | GroupEpoch::AWAY => self.leave(beat),
            _ => self.live(beat, None),
        };
        self.answer(waiter, Reply::Beat(outcome));
    }

    /// Takes what a member says, and takes it a step further. `classic` are the words of a member that joins as it did before
    /// KIP-848.
    pub(super) fn live(&mut self, beat: &Beat, classic: Option<ClassicWords>) -> Result<Told, Refusal> {
        if beat.assignor.as_deref().is_some_and(|name| Assignor::named(name).is_none()) {
            return Err(Refusal::Assignor);
        }
        let sender = self.identify(beat, classic.as_ref())?;
        let before = match &sender {
            Sender::New => None,
            Sender::Known(_) => self.group.members().get(&beat.member).cloned(),
            Sender::Back { before } => self.group.members().get(before).cloned(),
        };
        let says = Subscriber { classic, ..updated(before.as_deref(), beat) };
        self.admit(beat, &sender, &says)?;
        let was = match sender {
            Sender::New => Arc::new(Current::new()),
            Sender::Known(current) => current,
            Sender::Back { before } => self.replace(&before, beat),
        };
        let is_changed = before.as_deref().is_none_or(|b| b.topics != says.topics || b.regex != says.regex);
        self.presence.enter(&beat.member, says.size());
        if self.group.members().get(&beat.member).is_none_or(|known| **known != says) {
            self.put(ConsumerFact::Member(beat.member.clone(), Some(Arc::new(says))));
        }
        if is_changed {
            self.settle_anew();
        }
        Ok(self.advance(beat, &was))
    }

    /// Who it is; `classic` as for `live`.
    fn identify(&self, beat: &Beat, classic: Option<&ClassicWords>) -> Result<Sender, Refusal> {
        let joins = beat.epoch == GroupEpoch::NONE;
        let holder = beat.instance.as_ref().map(|instance| self.group.holder_of(instance));
        match holder {
            Some(None) if !joins => return Err(Refusal::UnknownMember),
            Some(Some(holder)) if *holder != beat.member => {
                let is_away = self.group.current(holder).is_some_and(|current| current.epoch == GroupEpoch::AWAY);
                // The classic protocol has no word for being away: whoever comes last has the instance.
                let was_classic = self.group.members().get(holder).is_some_and(|member| member.classic.is_some());
                return match (joins, is_away || classic.is_some() || was_classic) {
                    (false, _) => Err(Refusal::FencedInstance),
                    (true, false) => Err(Refusal::UnreleasedInstance),
                    (true, true) => Ok(Sender::Back { before: holder.clone() }),
                };
            }
            None | Some(_) => {}
        }
        if !self.group.members().contains_key(&beat.member) {
            return if joins { Ok(Sender::New) } else { Err(Refusal::UnknownMember) };
        }
        let current = self.group.current(&beat.member).cloned().unwrap_or_default();
        check_epoch(&current, beat)?;
        Ok(Sender::Known(current))
    }

    /// Whether there is room for it and for what it says.
    fn admit(&mut self, beat: &Beat, sender: &Sender, says: &Subscriber) -> Result<(), Refusal> {
        let options = self.present.options;
        let is_full = self.presence.size() >= options.consumer_size_max
            || self.others + self.presence.size() >= options.members_max;
        if is_full && matches!(sender, Sender::New) {
            return Err(Refusal::GroupFull);
        }
        let others = self.presence.bytes - self.presence.size_of(&beat.member);
        if others.saturating_add(says.size()) > options.group_bytes_max {
            return Err(Refusal::TooLarge);
        }
        let Some(regex) = &says.regex else { return Ok(()) };
        if self.group.has_matcher(regex) {
            return Ok(());
        }
        if self.group.matchers().count() >= PATTERNS_MAX {
            return Err(Refusal::GroupFull);
        }
        let pattern = Pattern::new(regex).ok_or(Refusal::Regex)?;
        self.presence.patterns.insert(Arc::clone(regex), pattern);
        Ok(())
    }

    /// A static member has another id: everything it had is the new one's.
    fn replace(&mut self, before: &MemberId, beat: &Beat) -> Arc<Current> {
        let (says, target) = (self.group.members().get(before).cloned(), self.group.target(before).cloned());
        let current = self.group.current(before).cloned().unwrap_or_default();
        let current = Arc::new(Current { epoch: GroupEpoch::NONE, previous: GroupEpoch::NONE, ..(*current).clone() });
        self.remove(before);
        self.put(ConsumerFact::Member(beat.member.clone(), says));
        self.put(ConsumerFact::Target(beat.member.clone(), target));
        self.put(ConsumerFact::Current(beat.member.clone(), Some(Arc::clone(&current))));
        current
    }

    /// Takes the member a step towards its target, and says where it is then.
    fn advance(&mut self, beat: &Beat, was: &Arc<Current>) -> Told {
        let id = &beat.member;
        let target: Arc<Share> = self.group.target(id).cloned().unwrap_or_default();
        // Whoever joins has nothing.
        let nothing = BTreeSet::new();
        let owned: Option<&BTreeSet<PartitionId>> =
            if beat.epoch == GroupEpoch::NONE { Some(&nothing) } else { beat.owned.as_ref() };
        let goal = Goal { target: &target, epoch: self.group.assignment_epoch(), owned };
        let next = step(was, &goal, |partition| self.group.holder(partition).is_some_and(|holder| holder != id));
        if self.group.current(id).is_none_or(|current| **current != next) {
            self.put(ConsumerFact::Current(id.clone(), Some(Arc::new(next.clone()))));
            self.limit_revocation(id);
        }
        self.renew(id);
        let is_other = !was.assigned.keys().eq(next.assigned.keys());
        let tells = beat.is_full() || is_other || beat.epoch != was.epoch;
        Told {
            member: id.clone(),
            epoch: next.epoch,
            interval: self.interval(next.state),
            is_known: !tells && next.epoch == beat.epoch,
            assignment: tells.then(|| next.assigned.into_keys().collect()),
        }
    }
}

/// What the member says now, of what it said before.
fn updated(before: Option<&Subscriber>, beat: &Beat) -> Subscriber {
    let kept = |said: &Option<Arc<str>>, pick: fn(&Subscriber) -> &Option<Arc<str>>| {
        said.clone().or_else(|| before.and_then(|before| pick(before).clone()))
    };
    Subscriber {
        instance: beat.instance.clone().or_else(|| before.and_then(|before| before.instance.clone())),
        rack: kept(&beat.rack, |before| &before.rack),
        client: beat.client.clone(),
        topics: beat.topics.clone().or_else(|| before.map(|before| before.topics.clone())).unwrap_or_default(),
        regex: kept(&beat.regex, |before| &before.regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: beat
            .rebalance_timeout_ms
            .or_else(|| before.map(|before| before.rebalance_timeout_ms))
            .unwrap_or(-1),
        assignor: kept(&beat.assignor, |before| &before.assignor),
        classic: None,
    }
}

/// Whether the member has reached the epoch that it should have, or lost the answer that told it.
fn check_epoch(current: &Current, beat: &Beat) -> Result<(), Refusal> {
    let has_no_more = |owned: &BTreeSet<PartitionId>| owned.iter().all(|id| current.assigned.contains_key(id));
    let is_expected = beat.epoch == current.epoch
        // It was fenced, or lost the answer to its join; it has nothing.
        || beat.epoch == GroupEpoch::NONE
        || beat.epoch == current.previous && beat.epoch < current.epoch && beat.owned.as_ref().is_some_and(has_no_more);
    if is_expected { Ok(()) } else { Err(Refusal::FencedEpoch) }
}
