//! The classic protocol: members join, their leader assigns, and all begin anew when anything changes.
//!
//! Kafka's rules, as its clients know them (`JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`; KIP-345, KIP-394, KIP-814).
//! One is ours: a generation is a fact as soon as its members are, before its leader has assigned, so that no coordinator
//! after this one gives its number again.

mod live;
mod join;
mod rebalance;
mod sync;
mod presence;

pub(super) use live::Live;

use std::time::Duration;

use super::call::{Refusal, Reply, Waiter};
use super::decide::Decision;
use super::options::Options;
use super::record::Record;
use super::timers::{Timer, Timers};
use crate::model::{Instant, MemberId, Now};

/// What deciding about one group needs beside it.
pub(super) struct Desk<'a> {
    pub(super) now: Now,
    pub(super) options: &'a Options,
    pub(super) timers: &'a mut Timers,
    pub(super) decision: &'a mut Decision,
}

impl Desk<'_> {
    fn answer(&mut self, waiter: Waiter, reply: Reply) {
        self.decision.replies.push((waiter, reply));
    }

    fn refuse_join(&mut self, waiter: Waiter, refusal: Refusal) {
        self.answer(waiter, Reply::Join(Err(refusal)));
    }

    /// The group as it is now becomes a fact.
    fn record(&mut self, live: &Live) {
        let state = Some(live.stored(self.now.timestamp));
        self.decision.records.push(Record::Classic { group: live.id.clone(), state });
    }

    fn after(&self, span: Duration) -> Option<Instant> {
        Some(self.now.instant.plus(span))
    }
}

impl Live {
    fn set_join_due(&mut self, desk: &mut Desk<'_>, at: Option<Instant>) {
        desk.timers.set(&self.id, Timer::Join, &mut self.join_due, at);
    }

    fn set_sync_due(&mut self, desk: &mut Desk<'_>, at: Option<Instant>) {
        desk.timers.set(&self.id, Timer::Sync, &mut self.sync_due, at);
    }

    /// A sign of life: the member's session goes on for `span`. It is looked at when it may have ended, not at every sign.
    fn keep_alive(&mut self, id: &MemberId, span: Duration, desk: &mut Desk<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.session_end = desk.now.instant.plus(span);
        if member.looked_at.is_none_or(|at| at > member.session_end) {
            let at = Some(member.session_end);
            desk.timers.set(&self.id, Timer::Session(id.clone()), &mut member.looked_at, at);
        }
    }

    /// As `keep_alive`, for as long as the member asked for.
    fn renew(&mut self, id: &MemberId, desk: &mut Desk<'_>) {
        let Some(member) = self.members.get(id) else { return };
        self.keep_alive(id, live::millis(member.session_timeout_ms), desk);
    }

    /// Takes a member out, with its timer; whoever waits for it is told that it is not known.
    fn dismiss(&mut self, id: &MemberId, desk: &mut Desk<'_>) {
        let Some(mut member) = self.remove(id) else { return };
        desk.timers.set(&self.id, Timer::Session(id.clone()), &mut member.looked_at, None);
        if let Some(waiter) = member.join {
            desk.refuse_join(waiter, Refusal::UnknownMember);
        }
        if let Some(waiter) = member.sync {
            desk.answer(waiter, Reply::Sync(Err(Refusal::UnknownMember)));
        }
    }

    /// Forgets an id that was told to somebody.
    fn drop_pending(&mut self, id: &MemberId, desk: &mut Desk<'_>) {
        if let Some(mut slot) = self.pending.remove(id) {
            desk.timers.set(&self.id, Timer::Pending(id.clone()), &mut slot, None);
        }
    }

    /// A coordinator that has just read the group gives every member its whole session, and a leader that still has to
    /// assign its time.
    pub(super) fn resume(&mut self, desk: &mut Desk<'_>) {
        let members: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &members {
            self.renew(id, desk);
        }
        if !self.unsynced.is_empty() {
            let due = desk.after(self.rebalance_timeout());
            self.set_sync_due(desk, due);
        }
    }

    /// The group goes on by another protocol: nothing is left of it here. Nobody waits while it stands.
    pub(super) fn dissolve(&mut self, desk: &mut Desk<'_>) {
        assert!(self.is_stable(), "a group is upgraded while it stands");
        self.disarm(desk);
        self.phase = live::Phase::Empty;
    }

    /// Takes every timer back: the group is gone.
    pub(super) fn disarm(&mut self, desk: &mut Desk<'_>) {
        self.set_join_due(desk, None);
        self.set_sync_due(desk, None);
        let pending: Vec<MemberId> = self.pending.keys().cloned().collect();
        pending.iter().for_each(|id| self.drop_pending(id, desk));
        let members: Vec<MemberId> = self.members.keys().cloned().collect();
        members.iter().for_each(|id| self.dismiss(id, desk));
    }
}
