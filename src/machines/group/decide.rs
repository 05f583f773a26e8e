//! Decides: a call and the groups it is decided on come in, records and replies go out.
//!
//! Invariant: the only place where a group's live part is taken out and put back; what it needs of timers and of counts is
//! right again when a decision leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::call::{Call, Join, Refusal, Reply, Waiter};
use super::classic::{Desk, Live};
use super::consumer::{Adopted, Beat, ConsumerGroup, Presence, Work, adoptable};
use super::offsets;
use super::options::Options;
use super::record::Record;
use super::state::Groups;
use super::timers::{Timer, Timers};
use super::view;
use crate::machines::metadata::Image;
use crate::model::{Generation, GroupEpoch, GroupId, Instant, Now, TopicName};

/// What a decision is made on.
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    /// The facts, with all that was decided before.
    pub groups: &'a Groups,
    /// The time.
    pub now: Now,
    /// The settings.
    pub options: &'a Options,
    /// The cluster's metadata: which topics there are.
    pub image: &'a Image,
}

impl<'a> Present<'a> {
    /// What is known of a group of KIP-848.
    pub(super) fn consumers(&self, group: &GroupId) -> Option<&'a ConsumerGroup> {
        self.groups.get(group).and_then(|group| group.consumer.as_ref())
    }
}

/// What follows from an event.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// To be replayed at once, and written.
    pub records: Vec<Record>,
    /// Who is answered what, as soon as all that was written before and with it is committed.
    pub replies: Vec<(Waiter, Reply)>,
}

/// What a coordinator knows beyond the facts: who waits, whose session ends when. A new coordinator begins with
/// [`Soft::restored`] and loses nothing but time.
#[derive(Clone, Debug, Default)]
pub struct Soft {
    live: BTreeMap<GroupId, Box<Live>>,
    consumers: BTreeMap<GroupId, Box<Presence>>,
    timers: Timers,
    /// How many members all classic groups have.
    members: usize,
    /// How many members all groups of KIP-848 have.
    consuming: usize,
    sweep: offsets::Sweep,
}

impl Soft {
    /// For a coordinator that has read the facts.
    #[must_use]
    pub fn restored(present: Present<'_>) -> Self {
        let mut soft = Self { sweep: offsets::Sweep::first(present), ..Self::default() };
        for (id, group) in present.groups.iter() {
            if group.consumer.is_some() {
                let mut nothing = Decision::default();
                soft.work(present, id, &mut nothing, |work| work.resume());
                assert!(nothing.records.is_empty() && nothing.replies.is_empty(), "to go on decides nothing");
            }
            let Some(stored) = group.classic.as_ref().filter(|stored| !stored.members.is_empty()) else { continue };
            let mut live = Live::restored(id, stored);
            let mut nothing = Decision::default();
            live.resume(&mut soft.desk(present, &mut nothing));
            assert!(nothing.records.is_empty() && nothing.replies.is_empty(), "to go on decides nothing");
            soft.put(live);
        }
        soft
    }

    /// When `tick` has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.timers.next(), Some(self.sweep.due())].into_iter().flatten().min()
    }

    /// What it does, if anybody is or will be in it.
    pub(super) fn live(&self, group: &GroupId) -> Option<&Live> {
        self.live.get(group).map(|live| &**live)
    }

    /// Those of which more is known than the facts say.
    pub(super) fn all_live(&self) -> impl Iterator<Item = (&GroupId, &Live)> {
        self.live.iter().map(|(id, live)| (id, &**live))
    }

    /// The same behind one of them, by id; all without one.
    pub(super) fn live_after(&self, after: Option<&GroupId>) -> impl Iterator<Item = (&GroupId, &Live)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.live.range::<GroupId, _>((after, Bound::Unbounded)).map(|(id, live)| (id, &**live))
    }

    /// Takes the group's live part, made from its facts if there is none.
    fn take(&mut self, group: &GroupId, groups: &Groups) -> Live {
        let live = self.live.remove(group).map(|live| *live);
        let live =
            live.unwrap_or_else(|| Live::empty(group, groups.get(group).and_then(|known| known.classic.as_ref())));
        self.members -= live.size();
        live
    }

    fn put(&mut self, live: Live) {
        self.members += live.size();
        if !live.is_idle() {
            self.live.insert(live.id().clone(), Box::new(live));
        }
    }

    /// Lets `act` work on a group of KIP-848, be it there or not.
    fn work<T>(
        &mut self,
        present: Present<'_>,
        id: &GroupId,
        out: &mut Decision,
        act: impl FnOnce(&mut Work<'_>) -> T,
    ) -> T {
        let mut presence = self.consumers.remove(id).unwrap_or_default();
        self.consuming -= presence.size();
        let group = present.consumers(id).cloned().unwrap_or_default();
        let (others, timers) = (self.consuming, &mut self.timers);
        let value = act(&mut Work { id, group, presence: &mut presence, present, timers, out, others });
        self.consuming += presence.size();
        if !presence.is_idle() {
            self.consumers.insert(id.clone(), presence);
        }
        value
    }

    fn desk<'a>(&'a mut self, present: Present<'a>, decision: &'a mut Decision) -> Desk<'a> {
        Desk { now: present.now, options: present.options, timers: &mut self.timers, decision }
    }

    /// Lets `act` work on a group's live part.
    pub(super) fn with<T>(
        &mut self,
        present: Present<'_>,
        group: &GroupId,
        decision: &mut Decision,
        act: impl FnOnce(&mut Live, &mut Desk<'_>) -> T,
    ) -> T {
        let mut live = self.take(group, present.groups);
        let value = act(&mut live, &mut self.desk(present, decision));
        self.put(live);
        value
    }
}

/// Decides what a call does. `waiter` is answered by this decision or by a later one.
#[must_use]
pub fn decide(present: Present<'_>, soft: &mut Soft, waiter: Waiter, call: Call) -> Decision {
    let mut decision = Decision::default();
    if let Some(reply) = refuse(present, soft, &call) {
        decision.replies.push((waiter, reply));
        return decision;
    }
    let out = &mut decision;
    match call {
        Call::Join(join) => {
            let group = join.group.clone();
            if has_consumers(present, &group) {
                soft.work(present, &group, out, |work| work.join(&join, waiter));
                return decision;
            }
            soft.with(present, &group, out, |live, desk| live.join(join, waiter, desk));
            let is_refused = out.replies.iter().any(|(_, reply)| matches!(reply, Reply::Join(Err(_))));
            if !is_refused {
                become_classic(present, &group, out);
            }
        }
        Call::Sync(sync) if has_consumers(present, &sync.identity.group) => {
            soft.work(present, &sync.identity.group, out, |work| work.sync(&sync, waiter));
        }
        Call::Sync(sync) => {
            let group = sync.identity.group.clone();
            soft.with(present, &group, out, |live, desk| live.sync(sync, waiter, desk));
        }
        Call::Heartbeat(identity) if has_consumers(present, &identity.group) => {
            soft.work(present, &identity.group, out, |work| work.heartbeat(&identity, waiter));
        }
        Call::Heartbeat(identity) => {
            soft.with(present, &identity.group, out, |live, desk| live.heartbeat(&identity, waiter, desk));
        }
        Call::Leave(leave) if has_consumers(present, &leave.group) => {
            soft.work(present, &leave.group, out, |work| work.part(&leave, waiter));
        }
        Call::Leave(leave) => {
            soft.with(present, &leave.group, out, |live, desk| live.leave(&leave, waiter, desk));
        }
        Call::Beat(beat) => hear(present, soft, waiter, &beat, out),
        Call::Commit(commit) => offsets::commit(present, soft, waiter, commit, out),
        Call::Fetch(fetch) => out.replies.push((waiter, Reply::Fetch(offsets::fetch(present, &fetch)))),
        Call::Forget(forget) => offsets::forget(present, soft, waiter, &forget, out),
        Call::Describe(group) => out.replies.push((waiter, view::describe(present, soft, &group))),
        Call::DescribeConsumers(group) => out.replies.push((waiter, view::describe_consumers(present, &group))),
        Call::List => out.replies.push((waiter, Reply::List(Ok(view::list(present, soft))))),
        Call::Survey(survey) => out.replies.push((waiter, Reply::Survey(Ok(view::survey(present, soft, &survey))))),
        Call::Delete(group) => delete(present, soft, waiter, &group, out),
    }
    decision
}

/// A heartbeat of KIP-848. A group that has no members is of whatever protocol its next member speaks.
fn hear(present: Present<'_>, soft: &mut Soft, waiter: Waiter, beat: &Beat, out: &mut Decision) {
    let group = &beat.group;
    let classic = present.groups.get(group).and_then(|known| known.classic.as_ref());
    if soft.live(group).is_some_and(|live| live.size() > 0) {
        let adopted = classic.and_then(|classic| Some((classic.generation, adoptable(classic, present.image)?)));
        let is_stable = soft.live(group).is_some_and(Live::is_stable);
        let refusal = match (beat.epoch, &adopted) {
            (GroupEpoch::NONE, Some(_)) if is_stable => None,
            // It will stand in a moment, and can be upgraded then.
            (GroupEpoch::NONE, Some(_)) => Some(Refusal::Unavailable),
            (_, _) => Some(Refusal::GroupNotFound),
        };
        if let Some(refusal) = refusal {
            out.replies.push((waiter, Reply::Beat(Err(refusal))));
            return;
        }
        let (generation, members) = adopted.expect("it is there, or the heartbeat is refused");
        if let Some(refusal) = refuses_upgrade(present, soft, beat, (generation, members.clone())) {
            out.replies.push((waiter, Reply::Beat(Err(refusal))));
            return;
        }
        soft.with(present, group, out, Live::dissolve);
        out.records.push(Record::Classic { group: group.clone(), state: None });
        soft.work(present, group, out, |work| {
            work.adopt(generation, members);
            work.beat(beat, waiter);
        });
        return;
    }
    soft.work(present, group, out, |work| work.beat(beat, waiter));
    // One that is refused decides nothing.
    if classic.is_some() && !out.records.is_empty() {
        out.records.insert(0, Record::Classic { group: group.clone(), state: None });
    }
}

/// Whether the group would refuse the heartbeat once it is one of KIP-848: then it stays what it is.
fn refuses_upgrade(
    present: Present<'_>,
    soft: &Soft,
    beat: &Beat,
    (generation, members): (Generation, Vec<Adopted>),
) -> Option<Refusal> {
    let (mut presence, mut timers, mut out) = (Presence::default(), Timers::default(), Decision::default());
    let (group, others) = (ConsumerGroup::default(), soft.consuming);
    let mut work =
        Work { id: &beat.group, group, presence: &mut presence, present, timers: &mut timers, out: &mut out, others };
    work.adopt(generation, members);
    work.beat(beat, Waiter(0));
    out.replies.into_iter().find_map(|(_, reply)| reply.beat().err())
}

/// Whether a group of KIP-848 has members, be they of the classic protocol.
fn has_consumers(present: Present<'_>, group: &GroupId) -> bool {
    present.consumers(group).is_some_and(|group| !group.members().is_empty())
}

/// As `hear`, for a member of the classic protocol that was let in.
fn become_classic(present: Present<'_>, group: &GroupId, out: &mut Decision) {
    let facts = present.consumers(group).into_iter().flat_map(ConsumerGroup::tombstones);
    let records: Vec<Record> = facts.map(|fact| Record::Consumer { group: group.clone(), fact }).collect();
    out.records.splice(0..0, records);
}

/// Topics of these names came, went, or have other partitions: whoever reads them is assigned anew, by the next ticks.
pub fn topics_changed(present: Present<'_>, soft: &mut Soft, names: &BTreeSet<TopicName>) {
    let reads = |group: &ConsumerGroup| {
        group.matchers().next().is_some() || names.iter().any(|name| group.reads(name.as_str()))
    };
    let groups = soft.consumers.keys().filter(|id| present.consumers(id).is_some_and(reads));
    for id in groups.cloned().collect::<Vec<_>>() {
        let mut nothing = Decision::default();
        soft.work(present, &id, &mut nothing, |work| work.refresh_soon());
        assert!(nothing.records.is_empty() && nothing.replies.is_empty(), "what changes is decided when it is due");
    }
}

/// One thing that is due; `None` when nothing is. To be called again, once its records are replayed.
#[must_use]
pub fn tick(present: Present<'_>, soft: &mut Soft) -> Option<Decision> {
    let mut decision = Decision::default();
    if let Some((group, timer)) = soft.timers.pop_due(present.now.instant) {
        match timer {
            Timer::Join | Timer::Sync | Timer::Session(_) | Timer::Pending(_) => {
                soft.with(present, &group, &mut decision, |live: &mut Live, desk| live.on_timer(&timer, desk));
            }
            Timer::Beat(_) | Timer::Revoke(_) | Timer::Refresh => {
                soft.work(present, &group, &mut decision, |work| work.on_timer(&timer));
            }
        }
        return Some(decision);
    }
    if soft.sweep.due() > present.now.instant {
        return None;
    }
    offsets::sweep(present, soft, &mut decision);
    Some(decision)
}

impl Soft {
    /// Everybody who waits for what only this coordinator could tell, each with the answer to be refused.
    #[must_use]
    pub fn abandon(self) -> Vec<(Waiter, Reply)> {
        self.live.into_values().flat_map(|live| live.waiters()).collect()
    }

    pub(super) fn sweep(&mut self) -> &mut offsets::Sweep {
        &mut self.sweep
    }
}

/// What is wrong with a call, whatever the group is like.
fn refuse(present: Present<'_>, soft: &Soft, call: &Call) -> Option<Reply> {
    match call {
        Call::Join(join) => refuse_join(present, soft, join).map(|refusal| call.refused(refusal)),
        Call::Sync(sync) if sync.identity.group.as_str().is_empty() => Some(call.refused(Refusal::GroupId)),
        Call::Heartbeat(identity) if identity.group.as_str().is_empty() => Some(call.refused(Refusal::GroupId)),
        Call::Leave(leave) if leave.group.as_str().is_empty() => Some(call.refused(Refusal::GroupId)),
        Call::Leave(leave) if !exists(present, soft, &leave.group) => Some(call.refused(Refusal::UnknownMember)),
        // A group without a name exists for those who commit to it, and can be deleted.
        Call::Forget(forget) if forget.group.as_str().is_empty() => Some(call.refused(Refusal::GroupId)),
        Call::DescribeConsumers(group) if group.as_str().is_empty() => Some(call.refused(Refusal::GroupId)),
        Call::Sync(_)
        | Call::Heartbeat(_)
        | Call::Leave(_)
        | Call::Beat(_)
        | Call::Commit(_)
        | Call::Fetch(_)
        | Call::Forget(_)
        | Call::Describe(_)
        | Call::DescribeConsumers(_)
        | Call::List
        | Call::Survey(_)
        | Call::Delete(_) => None,
    }
}

fn refuse_join(present: Present<'_>, soft: &Soft, join: &Join) -> Option<Refusal> {
    if join.group.as_str().is_empty() {
        return Some(Refusal::GroupId);
    }
    let asked = u128::try_from(join.session_timeout_ms).unwrap_or(0);
    let options = present.options;
    if asked < options.session_timeout_min.as_millis() || asked > options.session_timeout_max.as_millis() {
        return Some(Refusal::SessionTimeout);
    }
    (soft.members + soft.consuming >= options.members_max && join.member.as_str().is_empty())
        .then_some(Refusal::GroupFull)
}

/// Whether anything is known of a group.
pub(super) fn exists(present: Present<'_>, soft: &Soft, group: &GroupId) -> bool {
    present.groups.get(group).is_some() || soft.live(group).is_some()
}

fn delete(present: Present<'_>, soft: &mut Soft, waiter: Waiter, group: &GroupId, out: &mut Decision) {
    let outcome = if !exists(present, soft, group) {
        Err(Refusal::GroupNotFound)
    } else if soft.live(group).is_some_and(|live| live.size() > 0)
        || present.consumers(group).is_some_and(|group| !group.members().is_empty())
    {
        Err(Refusal::NonEmpty)
    } else {
        if soft.live(group).is_some() {
            soft.with(present, group, out, Live::disarm);
        }
        soft.work(present, group, out, |work| work.disarm());
        out.records.extend(offsets::tombstones(present, group));
        Ok(())
    };
    out.replies.push((waiter, Reply::Delete(outcome)));
}
