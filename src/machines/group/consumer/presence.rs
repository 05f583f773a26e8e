//! What a coordinator knows of a group beyond its facts: whose session ends when, and what is due.
//!
//! Invariant: whoever is a member is present, and nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::timers::Timer;
use super::Work;
use super::facts::MemberState;
use super::pattern::Pattern;
use crate::model::{GroupConfigs, Instant, MemberId};

/// Of one group.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Presence {
    members: BTreeMap<MemberId, Vital>,
    /// What all members say of themselves, in bytes.
    pub(super) bytes: usize,
    /// When the group is compared with the image.
    pub(super) refresh_at: Option<Instant>,
    /// Not before this is it assigned again.
    pub(super) assign_from: Instant,
    /// The regular expressions of its members.
    pub(super) patterns: BTreeMap<Arc<str>, Pattern>,
}

/// A member's times.
#[derive(Clone, Debug, Default)]
struct Vital {
    /// How large what it says is.
    size: usize,
    /// When its session ends.
    session_end: Instant,
    /// When that is looked at: not after it ends.
    looked_at: Option<Instant>,
    /// Until when it is to have given its partitions back.
    revoke_by: Option<Instant>,
}

impl Presence {
    /// How many members are present.
    pub(in super::super) fn size(&self) -> usize {
        self.members.len()
    }

    /// Whether nothing is known beyond the facts.
    pub(in super::super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.refresh_at.is_none()
    }

    /// A member is present, and says so much.
    pub(super) fn enter(&mut self, id: &MemberId, size: usize) {
        let vital = self.members.entry(id.clone()).or_default();
        self.bytes = self.bytes - vital.size + size;
        vital.size = size;
    }

    /// How large what a member says is; 0 for one that is not present.
    pub(super) fn size_of(&self, id: &MemberId) -> usize {
        self.members.get(id).map_or(0, |vital| vital.size)
    }
}

impl Work<'_> {
    /// A sign of life: the session goes on. It is looked at when it may have ended, not at every sign.
    pub(super) fn renew(&mut self, id: &MemberId) {
        let words = self.group.members().get(id).and_then(|member| member.classic.as_ref());
        let asked = words.and_then(|words| u64::try_from(words.session_timeout_ms).ok()).map(Duration::from_millis);
        let span = asked.or(self.own_configs().session_timeout);
        let span = span.unwrap_or(self.present.options.consumer_session_timeout);
        let end = self.present.now.instant.plus(span);
        let Some(vital) = self.presence.members.get_mut(id) else { return };
        vital.session_end = end;
        if vital.looked_at.is_none_or(|at| at > end) {
            self.timers.set(self.id, Timer::Beat(id.clone()), &mut vital.looked_at, Some(end));
        }
    }

    /// A session may have ended.
    pub(super) fn on_session_due(&mut self, id: &MemberId) {
        let Some(vital) = self.presence.members.get_mut(id) else { return };
        vital.looked_at = None;
        if vital.session_end > self.present.now.instant {
            let at = Some(vital.session_end);
            self.timers.set(self.id, Timer::Beat(id.clone()), &mut vital.looked_at, at);
        } else {
            self.remove(id);
            self.settle_anew();
        }
    }

    /// Whoever is to give partitions back has so long for it as it said itself.
    pub(super) fn limit_revocation(&mut self, id: &MemberId) {
        let is_unrevoked = self.group.current(id).is_some_and(|current| current.state == MemberState::Unrevoked);
        let span = self.group.members().get(id).map_or(0, |member| member.rebalance_timeout_ms);
        let span = Duration::from_millis(u64::try_from(span).unwrap_or(0));
        let at = is_unrevoked.then(|| self.present.now.instant.plus(span));
        let Some(vital) = self.presence.members.get_mut(id) else { return };
        self.timers.set(self.id, Timer::Revoke(id.clone()), &mut vital.revoke_by, at);
    }

    /// A member has not given its partitions back: it is out, and they go to others.
    pub(super) fn on_revocation_due(&mut self, id: &MemberId) {
        let Some(vital) = self.presence.members.get_mut(id) else { return };
        vital.revoke_by = None;
        if self.group.current(id).is_some_and(|current| current.state == MemberState::Unrevoked) {
            self.remove(id);
            self.settle_anew();
        }
    }

    /// A member is present no more.
    pub(super) fn depart(&mut self, id: &MemberId) {
        let Some(mut vital) = self.presence.members.remove(id) else { return };
        self.presence.bytes -= vital.size;
        self.timers.set(self.id, Timer::Beat(id.clone()), &mut vital.looked_at, None);
        self.timers.set(self.id, Timer::Revoke(id.clone()), &mut vital.revoke_by, None);
    }

    /// Takes every timer back: the group is gone, and has no members.
    pub(in super::super) fn disarm(&mut self) {
        assert!(self.presence.members.is_empty(), "a group that is gone has no members");
        self.timers.set(self.id, Timer::Refresh, &mut self.presence.refresh_at, None);
    }

    /// The group is to be compared with the image.
    pub(in super::super) fn refresh_soon(&mut self) {
        let at = Some(self.present.now.instant.max(self.presence.assign_from));
        self.timers.set(self.id, Timer::Refresh, &mut self.presence.refresh_at, at);
    }

    /// What operators set of this group.
    fn own_configs(&self) -> GroupConfigs {
        self.present.image.configs().group_configs(self.id)
    }

    /// After how long a member is to be heard again: all members together stay within the budget. One that waits for
    /// what others give back is heard sooner.
    pub(super) fn interval(&self, state: MemberState) -> Duration {
        let options = self.present.options;
        let crowd = u32::try_from(self.others + self.presence.size()).unwrap_or(u32::MAX);
        let fair = Duration::from_secs(1) * crowd / options.heartbeats_per_second.max(1);
        let wanted = self.own_configs().heartbeat_interval.unwrap_or(options.heartbeat_interval_min);
        let least = match state {
            MemberState::Stable | MemberState::Unrevoked => wanted,
            MemberState::Unreleased => wanted / WAITING_SOONER,
        };
        fair.clamp(least, options.heartbeat_interval_max.max(least))
    }
}

/// How many times as often as others a member that waits for partitions is heard.
const WAITING_SOONER: u32 = 5;
