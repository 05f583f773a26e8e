//! From one generation to the next: when members are waited for, and when that ends.

use std::time::Duration;

use bytes::Bytes;

use super::super::call::{Refusal, Reply, Waiter};
use super::Desk;
use super::live::{Live, Member, Phase};
use crate::model::MemberId;
use crate::probe::{Mutant, planted};

/// By how much the first rebalance may wait longer than the delay.
pub(super) fn extension(rebalance_timeout: Duration, delay: Duration) -> Duration {
    rebalance_timeout.saturating_sub(delay)
}

impl Live {
    /// Begins a rebalance, or looks whether the one under way is complete.
    pub(super) fn rebalance_or_complete(&mut self, desk: &mut Desk<'_>) {
        match self.phase {
            Phase::Empty | Phase::Completing | Phase::Stable => self.prepare(desk),
            Phase::Preparing { first: Some(_) } => {}
            Phase::Preparing { first: None } if self.all_joined() => self.complete(desk),
            Phase::Preparing { first: None } => {}
        }
    }

    /// Members are to join again.
    pub(super) fn prepare(&mut self, desk: &mut Desk<'_>) {
        self.release_syncs(desk);
        self.unsynced.clear();
        self.set_sync_due(desk, None);
        if self.phase == Phase::Empty {
            self.phase = Phase::Preparing { first: Some(self.first(desk)) };
            let due = desk.after(desk.options.initial_delay);
            self.set_join_due(desk, due);
            return;
        }
        self.phase = Phase::Preparing { first: None };
        if self.all_joined() {
            self.complete(desk);
        } else {
            let due = desk.after(self.rebalance_timeout());
            self.set_join_due(desk, due);
        }
    }

    /// Members have been waited for.
    pub(super) fn on_join_due(&mut self, desk: &mut Desk<'_>) {
        if let Phase::Preparing { first: Some(first) } = &mut self.phase
            && first.grew
            && !first.left.is_zero()
        {
            let longer = desk.options.initial_delay.min(first.left);
            first.grew = false;
            first.left = first.left.saturating_sub(desk.options.initial_delay);
            let due = desk.after(longer);
            self.set_join_due(desk, due);
        } else if matches!(self.phase, Phase::Preparing { .. }) {
            self.complete(desk);
        }
    }

    /// The next generation, of those who have joined and of static members, who may be away.
    pub(super) fn complete(&mut self, desk: &mut Desk<'_>) {
        self.set_join_due(desk, None);
        let missing = self.members.iter().filter(|(_, member)| member.join.is_none() && member.instance.is_none());
        let missing: Vec<MemberId> = missing.map(|(id, _)| id.clone()).collect();
        missing.iter().for_each(|id| self.dismiss(id, desk));
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members, all of them away: they have their sessions.
            let due = desk.after(self.rebalance_timeout());
            self.set_join_due(desk, due);
            return;
        }
        self.generation = self.generation.next();
        self.protocol = self.elect_protocol();
        self.unsynced.clear();
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            desk.record(self);
            return;
        }
        self.phase = Phase::Completing;
        let members: Vec<MemberId> = self.members.keys().cloned().collect();
        self.unsynced = members.iter().cloned().collect();
        let begin = |member: &mut Member| {
            member.assignment = Bytes::new();
            member.is_new = false;
            member.join.take()
        };
        let joined = members.iter().filter_map(|id| Some((id, self.change(id, begin).flatten()?)));
        let joined: Vec<(&MemberId, Waiter)> = joined.collect();
        if !planted(Mutant::GenerationReused) {
            desk.record(self);
        }
        for (id, waiter) in joined {
            let told = self.joined(id);
            desk.answer(waiter, Reply::Join(Ok(told)));
            self.renew(id, desk);
        }
        let due = desk.after(self.rebalance_timeout());
        self.set_sync_due(desk, due);
    }

    /// Takes the request that waits for a member's next generation.
    pub(super) fn take_join(&mut self, id: &MemberId) -> Option<Waiter> {
        self.change(id, |member| member.join.take()).flatten()
    }

    /// Who waits for an assignment of this generation has to join again.
    fn release_syncs(&mut self, desk: &mut Desk<'_>) {
        let parked = self.members.iter_mut().filter_map(|(id, member)| Some((id.clone(), member.sync.take()?)));
        let parked: Vec<(MemberId, Waiter)> = parked.collect();
        for (id, waiter) in parked {
            desk.answer(waiter, Reply::Sync(Err(Refusal::Rebalancing)));
            self.renew(&id, desk);
        }
    }

    /// Keeps the leader if it has joined, or makes another one that has. False when none has.
    fn elect_leader(&mut self) -> bool {
        let has_joined = |id: &MemberId| self.members.get(id).is_some_and(|member| member.join.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.iter().find(|(_, member)| member.join.is_some());
        match joined.map(|(id, _)| id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }
}
