//! JoinGroup: a member wants to be in the next generation, or is told the one that stands.

use std::collections::BTreeSet;

use super::super::call::{Join, Joined, Refusal, Reply, Waiter};
use super::super::timers::Timer;
use super::live::{First, Live, Member, Phase, millis, said};
use super::{Desk, rebalance};
use crate::model::{Instant, MemberId};
use crate::probe::{Mutant, planted};

impl Live {
    /// Answers a join, or parks it until the next generation.
    pub(in super::super) fn join(&mut self, mut join: Join, waiter: Waiter, desk: &mut Desk<'_>) {
        let mut seen = BTreeSet::new();
        join.protocols.retain(|(name, _)| seen.insert(name.clone()));
        if let Err(refusal) = self.admits(&join, desk) {
            desk.refuse_join(waiter, refusal);
        } else if !self.suits(&join.protocol_type, &join.protocols) {
            desk.refuse_join(waiter, Refusal::Protocol);
        } else if join.member.as_str().is_empty() {
            self.join_anew(join, waiter, desk);
        } else if self.pending.contains_key(&join.member) && join.instance.is_none() {
            let member = join.member.clone();
            self.drop_pending(&member, desk);
            self.enter(member, join, waiter, desk);
        } else {
            self.join_again(join, waiter, desk);
        }
    }

    /// Whether there is room for the member and for what it says.
    fn admits(&self, join: &Join, desk: &Desk<'_>) -> Result<(), Refusal> {
        let known = self.members.get(&join.member);
        let has_room = match self.phase {
            Phase::Empty => true,
            Phase::Preparing { .. } => {
                known.is_some_and(|member| member.join.is_some()) || self.joining() < desk.options.size_max
            }
            Phase::Completing | Phase::Stable => known.is_some() || self.members.len() < desk.options.size_max,
        };
        let is_pending = self.pending.contains_key(&join.member);
        if !has_room || !is_pending && known.is_none() && self.pending.len() >= desk.options.size_max {
            return Err(Refusal::GroupFull);
        }
        let replaced = known.map_or(0, Member::said);
        if self.bytes - replaced + said(&join.client, join.instance.as_ref(), &join.protocols)
            > desk.options.group_bytes_max
        {
            return Err(Refusal::TooLarge);
        }
        Ok(())
    }

    /// A member without an id.
    fn join_anew(&mut self, join: Join, waiter: Waiter, desk: &mut Desk<'_>) {
        let fresh = join.fresh.clone();
        if let Some(instance) = &join.instance {
            match self.statics.get(instance).cloned().filter(|_| !planted(Mutant::InstanceUnfenced)) {
                Some(before) => self.replace(&before, join, waiter, desk),
                None => self.enter(fresh, join, waiter, desk),
            }
            return;
        }
        if !join.requires_known_member {
            self.enter(fresh, join, waiter, desk);
            return;
        }
        let until = desk.after(millis(join.session_timeout_ms));
        let slot = self.pending.entry(fresh.clone()).or_default();
        desk.timers.set(&self.id, Timer::Pending(fresh.clone()), slot, until);
        desk.refuse_join(waiter, Refusal::MemberIdRequired(fresh));
    }

    /// A member with an id that is, or should be, in the group.
    fn join_again(&mut self, join: Join, waiter: Waiter, desk: &mut Desk<'_>) {
        if let Err(refusal) = self.check(&join.member, join.instance.as_ref()) {
            desk.refuse_join(waiter, refusal);
            return;
        }
        let says_the_same = self.members[&join.member].protocols == join.protocols;
        let is_leader = self.leader.as_ref() == Some(&join.member);
        let is_told = match self.phase {
            Phase::Empty | Phase::Preparing { .. } => false,
            Phase::Completing => says_the_same,
            // A leader joins again because it wants to assign anew.
            Phase::Stable => says_the_same && !is_leader,
        };
        if is_told {
            let told = self.joined(&join.member);
            desk.answer(waiter, Reply::Join(Ok(told)));
            return;
        }
        let member = join.member.clone();
        self.update(&member, join, waiter, desk);
        self.rebalance_or_complete(desk);
    }

    /// A new member, which waits for its first generation.
    fn enter(&mut self, id: MemberId, join: Join, waiter: Waiter, desk: &mut Desk<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if let Phase::Preparing { first: Some(first) } = &mut self.phase {
            first.grew = true;
        }
        let member = Member {
            instance: join.instance,
            client: join.client,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: bytes::Bytes::new(),
            join: Some(waiter),
            sync: None,
            is_new: true,
            session_end: Instant::ZERO,
            looked_at: None,
        };
        self.insert(id.clone(), member);
        // Its client may have given up; nobody would ever take it out.
        self.keep_alive(&id, desk.options.new_member_wait, desk);
        self.rebalance_or_complete(desk);
    }

    /// What a member says now; it waits for the next generation.
    fn update(&mut self, id: &MemberId, join: Join, waiter: Waiter, desk: &mut Desk<'_>) {
        let before = self.change(id, |member| {
            member.protocols = join.protocols;
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.session_timeout_ms = join.session_timeout_ms;
            member.join.replace(waiter)
        });
        // It asked twice: the former request has nobody to answer to.
        if let Some(former) = before.flatten() {
            desk.refuse_join(former, Refusal::Rebalancing);
        }
    }

    /// A static member came back without its id (KIP-345): the old id is fenced, the assignment stays.
    fn replace(&mut self, before: &MemberId, join: Join, waiter: Waiter, desk: &mut Desk<'_>) {
        let (fresh, skips) = (join.fresh.clone(), join.skips_assignment);
        let leader_before = self.leader.clone();
        let was_leader = leader_before.as_ref() == Some(before);
        let was_unsynced = self.unsynced.contains(before);
        let Some(mut member) = self.remove(before) else { return };
        desk.timers.set(&self.id, Timer::Session(before.clone()), &mut member.looked_at, None);
        if let Some(former) = member.join.take() {
            desk.refuse_join(former, Refusal::FencedInstance);
        }
        if let Some(former) = member.sync.take() {
            desk.answer(former, Reply::Sync(Err(Refusal::FencedInstance)));
        }
        member.client = join.client.clone();
        self.insert(fresh.clone(), member);
        if was_leader {
            self.leader = Some(fresh.clone());
        }
        if was_unsynced {
            self.unsynced.insert(fresh.clone());
        }
        self.update(&fresh, join, waiter, desk);
        self.renew(&fresh, desk);
        match self.phase {
            Phase::Stable if self.elect_protocol() == self.protocol => {
                self.take_join(&fresh);
                desk.record(self);
                let mut told = self.joined(&fresh);
                if skips {
                    told.skip_assignment = was_leader;
                } else {
                    // Older clients would assign if they were told that they lead: they are told of their former self.
                    told.members.clear();
                    told.leader = leader_before.unwrap_or(told.leader);
                }
                desk.answer(waiter, Reply::Join(Ok(told)));
            }
            Phase::Completing => self.prepare(desk),
            Phase::Stable | Phase::Empty | Phase::Preparing { .. } => self.rebalance_or_complete(desk),
        }
    }

    /// The generation that stands, as a member is told of it.
    pub(super) fn joined(&self, id: &MemberId) -> Joined {
        let is_leader = self.leader.as_ref() == Some(id);
        Joined {
            member: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| MemberId::new("")),
            members: if is_leader { self.roll() } else { Vec::new() },
            skip_assignment: false,
        }
    }

    /// The first rebalance of a group that was empty waits for more members, for a while.
    pub(super) fn first(&self, desk: &Desk<'_>) -> First {
        First { left: rebalance::extension(self.rebalance_timeout(), desk.options.initial_delay), grew: false }
    }
}
