//! SyncGroup: the leader brings the assignments, everybody takes theirs.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::call::{Identity, Refusal, Reply, Sync, Synced, Waiter};
use super::Desk;
use super::live::{Live, Phase};
use crate::model::MemberId;
use crate::probe::{Mutant, planted};

impl Live {
    /// Answers a sync, or parks it until the leader has assigned.
    pub(in super::super) fn sync(&mut self, sync: Sync, waiter: Waiter, desk: &mut Desk<'_>) {
        if let Err(refusal) = self.check_sync(&sync) {
            desk.answer(waiter, Reply::Sync(Err(refusal)));
            return;
        }
        let id = sync.identity.member.clone();
        match self.phase {
            Phase::Empty | Phase::Preparing { .. } => desk.answer(waiter, Reply::Sync(Err(Refusal::Rebalancing))),
            Phase::Stable => {
                self.has_synced(&id, desk);
                self.renew(&id, desk);
                let told = self.synced(&id);
                desk.answer(waiter, Reply::Sync(Ok(told)));
            }
            Phase::Completing => {
                let is_leader = self.leader.as_ref() == Some(&id);
                let size: usize = sync.assignments.iter().map(|(_, bytes)| bytes.len()).sum();
                if is_leader && self.bytes.saturating_add(size) > desk.options.group_bytes_max {
                    desk.answer(waiter, Reply::Sync(Err(Refusal::TooLarge)));
                    return;
                }
                self.has_synced(&id, desk);
                self.park_sync(&id, waiter, desk);
                if is_leader {
                    self.assign(sync.assignments, desk);
                }
            }
        }
    }

    /// Members did not sync in time: they are taken out, and the others begin anew.
    pub(super) fn on_sync_due(&mut self, desk: &mut Desk<'_>) {
        if !matches!(self.phase, Phase::Completing | Phase::Stable) || self.unsynced.is_empty() {
            return;
        }
        let late = std::mem::take(&mut self.unsynced);
        late.iter().for_each(|id| self.dismiss(id, desk));
        self.prepare(desk);
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), Refusal> {
        let Identity { member, instance, generation, .. } = &sync.identity;
        self.check(member, instance.as_ref())?;
        if *generation != self.generation && !planted(Mutant::StaleGenerationSyncs) {
            return Err(Refusal::Generation);
        }
        let differs = |asked: &Option<String>, ours: Option<&str>| match (asked, ours) {
            (Some(asked), Some(ours)) => asked != ours,
            (Some(_) | None, _) => false,
        };
        if differs(&sync.protocol_type, self.protocol_type.as_deref())
            || differs(&sync.protocol, self.protocol.as_deref())
        {
            return Err(Refusal::Protocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, id: &MemberId, waiter: Waiter, desk: &mut Desk<'_>) {
        let former = self.members.get_mut(id).and_then(|member| member.sync.replace(waiter));
        if let Some(former) = former {
            desk.answer(former, Reply::Sync(Err(Refusal::Rebalancing)));
        }
    }

    /// The assignments of the leader stand; whoever waits gets his.
    fn assign(&mut self, assignments: Vec<(MemberId, Bytes)>, desk: &mut Desk<'_>) {
        let mut given: BTreeMap<MemberId, Bytes> = assignments.into_iter().collect();
        let members: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &members {
            let assignment = given.remove(id).unwrap_or_default();
            self.change(id, |member| member.assignment = assignment);
        }
        self.phase = Phase::Stable;
        desk.record(self);
        for id in &members {
            if let Some(waiter) = self.members.get_mut(id).and_then(|member| member.sync.take()) {
                let told = self.synced(id);
                desk.answer(waiter, Reply::Sync(Ok(told)));
                self.renew(id, desk);
            }
        }
    }

    fn has_synced(&mut self, id: &MemberId, desk: &mut Desk<'_>) {
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            self.set_sync_due(desk, None);
        }
    }

    fn synced(&self, id: &MemberId) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
