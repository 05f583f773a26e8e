//! Members that leave, for good or for a while, and what a member leaves behind.

use std::sync::Arc;
use std::time::Duration;

use super::super::call::Refusal;
use super::super::record::ConsumerFact;
use super::Work;
use super::call::{Beat, Told};
use super::facts::{Current, MemberState};
use crate::model::{GroupEpoch, MemberId};

impl Work<'_> {
    /// Takes a leave.
    pub(super) fn leave(&mut self, beat: &Beat) -> Result<Told, Refusal> {
        if self.present.consumers(self.id).is_none() {
            return Err(Refusal::GroupNotFound);
        }
        if let Some(instance) = &beat.instance {
            match self.group.holder_of(instance) {
                None => return Err(Refusal::UnknownMember),
                Some(holder) if *holder != beat.member => return Err(Refusal::FencedInstance),
                Some(_) => {}
            }
        }
        if !self.group.members().contains_key(&beat.member) {
            return Err(Refusal::UnknownMember);
        }
        if beat.epoch == GroupEpoch::AWAY && beat.instance.is_some() {
            self.go_away(&beat.member);
        } else {
            self.remove(&beat.member);
            self.settle_anew();
        }
        Ok(Told {
            member: beat.member.clone(),
            epoch: beat.epoch,
            interval: Duration::ZERO,
            assignment: None,
            is_known: false,
        })
    }

    /// A static member keeps what it has for as long as its session goes on; what it was to give back, it has.
    fn go_away(&mut self, id: &MemberId) {
        let current = self.group.current(id).cloned().unwrap_or_default();
        let away = Current {
            epoch: GroupEpoch::AWAY,
            state: MemberState::Stable,
            revoking: std::collections::BTreeMap::new(),
            ..(*current).clone()
        };
        self.put(ConsumerFact::Current(id.clone(), Some(Arc::new(away))));
        self.limit_revocation(id);
    }

    /// Takes a member out, with all that is known of it. The group has then to be settled.
    pub(super) fn remove(&mut self, id: &MemberId) {
        self.depart(id);
        if self.group.current(id).is_some() {
            self.put(ConsumerFact::Current(id.clone(), None));
        }
        if self.group.target(id).is_some() {
            self.put(ConsumerFact::Target(id.clone(), None));
        }
        if self.group.members().contains_key(id) {
            self.put(ConsumerFact::Member(id.clone(), None));
        }
    }
}
