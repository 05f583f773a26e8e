//! Heartbeats, sessions that end, members that leave.

use super::super::call::{Identity, Leave, Refusal, Reply, Waiter};
use super::super::timers::Timer;
use super::Desk;
use super::live::{Live, Phase};
use crate::model::{Generation, InstanceId, MemberId};
use crate::probe::{Mutant, planted};

impl Live {
    /// Answers a sign of life.
    pub(in super::super) fn heartbeat(&mut self, identity: &Identity, waiter: Waiter, desk: &mut Desk<'_>) {
        let outcome = self.check_generation(identity, Mutant::StaleGenerationLives).and_then(|()| {
            self.renew(&identity.member, desk);
            if matches!(self.phase, Phase::Preparing { .. }) { Err(Refusal::Rebalancing) } else { Ok(()) }
        });
        desk.answer(waiter, Reply::Heartbeat(outcome));
    }

    /// Whether a commit is its group's; then it is a sign of life, too.
    ///
    /// # Errors
    /// Why it is not.
    pub(in super::super) fn allow_commit(&mut self, identity: &Identity, desk: &mut Desk<'_>) -> Result<(), Refusal> {
        if self.phase == Phase::Empty && identity.generation < Generation::NONE {
            return Ok(());
        }
        // Whoever names nobody is not known either.
        self.check_generation(identity, Mutant::StaleGenerationCommits)?;
        if self.phase == Phase::Completing {
            return Err(Refusal::Rebalancing);
        }
        self.renew(&identity.member, desk);
        Ok(())
    }

    /// Takes members out; one outcome for each.
    pub(in super::super) fn leave(&mut self, leave: &Leave, waiter: Waiter, desk: &mut Desk<'_>) {
        let size = self.members.len();
        let outcomes = leave.members.iter().map(|(id, instance)| self.leave_one(id, instance.as_ref(), desk)).collect();
        desk.answer(waiter, Reply::Leave(Ok(outcomes)));
        if self.members.len() < size {
            self.after_departure(desk);
        } else {
            self.after_absence(desk);
        }
    }

    /// A member's session may have ended.
    pub(super) fn on_session_due(&mut self, id: &MemberId, desk: &mut Desk<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.looked_at = None;
        if member.session_end > desk.now.instant {
            let at = Some(member.session_end);
            desk.timers.set(&self.id, Timer::Session(id.clone()), &mut member.looked_at, at);
            return;
        }
        // Who waits for an answer of ours cannot give a sign of life, unless it is new: its client may be gone.
        let waits = !member.is_new && (member.join.is_some() || member.sync.is_some());
        if !waits {
            self.dismiss(id, desk);
            self.after_departure(desk);
        }
    }

    /// Somebody was told an id and did not come back with it.
    pub(super) fn on_pending_due(&mut self, id: &MemberId, desk: &mut Desk<'_>) {
        self.pending.remove(id);
        self.after_absence(desk);
    }

    /// What is due happens.
    pub(in super::super) fn on_timer(&mut self, timer: &Timer, desk: &mut Desk<'_>) {
        match timer {
            Timer::Join => {
                self.join_due = None;
                self.on_join_due(desk);
            }
            Timer::Sync => {
                self.sync_due = None;
                self.on_sync_due(desk);
            }
            Timer::Session(id) => self.on_session_due(id, desk),
            Timer::Pending(id) => self.on_pending_due(id, desk),
            Timer::Beat(_) | Timer::Revoke(_) | Timer::Refresh => {
                unreachable!("groups of KIP-848 have timers of their own")
            }
        }
    }

    fn leave_one(&mut self, id: &MemberId, instance: Option<&InstanceId>, desk: &mut Desk<'_>) -> Result<(), Refusal> {
        if id.as_str().is_empty() {
            let holder = instance.and_then(|instance| self.statics.get(instance)).cloned();
            self.dismiss(&holder.ok_or(Refusal::UnknownMember)?, desk);
            return Ok(());
        }
        if self.pending.contains_key(id) {
            self.drop_pending(id, desk);
            return Ok(());
        }
        self.check(id, instance)?;
        self.dismiss(id, desk);
        Ok(())
    }

    /// A member is gone.
    fn after_departure(&mut self, desk: &mut Desk<'_>) {
        match self.phase {
            Phase::Completing | Phase::Stable => self.prepare(desk),
            Phase::Empty | Phase::Preparing { .. } => self.after_absence(desk),
        }
    }

    /// Somebody is gone who was to become a member.
    fn after_absence(&mut self, desk: &mut Desk<'_>) {
        match self.phase {
            Phase::Preparing { .. } => self.rebalance_or_complete(desk),
            Phase::Empty | Phase::Completing | Phase::Stable => {}
        }
    }

    fn check_generation(&self, identity: &Identity, without: Mutant) -> Result<(), Refusal> {
        self.check(&identity.member, identity.instance.as_ref())?;
        let is_present = identity.generation == self.generation || planted(without);
        if is_present { Ok(()) } else { Err(Refusal::Generation) }
    }
}
