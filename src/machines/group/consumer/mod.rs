//! The "consumer" protocol (KIP-848): members say in heartbeats what they want and have, the coordinator assigns, and each
//! member goes to its part by itself.
//!
//! Kafka's rules: a group epoch for every state of the group, a target assignment for an epoch, and every member on its
//! own way there (`reconcile.rs`). Three things are ours. The group follows the metadata as soon as the image changes, not
//! at a member's next heartbeat. Members are heard more often, as often as the coordinator's budget of heartbeats
//! allows (`Options::heartbeats_per_second`), so that a rebalance does not wait for them; no heartbeat is ever held back,
//! which would delay the commits behind it on its connection. And a group that is large is assigned less often, so that
//! what a burst of changes costs is bounded.

mod facts;
mod call;
mod pattern;
mod reconcile;
mod presence;
mod beat;
mod leave;
mod target;
mod classic;
mod commit;
mod view;

pub use call::{Beat, ConsumerDescription, DescribedConsumer, Told};
pub use facts::{ClassicWords, ConsumerGroup, Current, MemberState, Resolved, Subscriber};

pub(super) use classic::{Adopted, adoptable};
pub(super) use commit::{allow_commit, allow_fetch};
pub(super) use presence::Presence;
pub(super) use view::{describe, state};

use super::call::{Reply, Waiter};
use super::decide::{Decision, Present};
use super::record::{ConsumerFact, Record};
use super::timers::{Timer, Timers};
use crate::model::{GroupId, MemberId};

/// One group under one decision.
pub(super) struct Work<'a> {
    pub(super) id: &'a GroupId,
    /// The group as the decision makes it.
    pub(super) group: ConsumerGroup,
    pub(super) presence: &'a mut Presence,
    pub(super) present: Present<'a>,
    pub(super) timers: &'a mut Timers,
    pub(super) out: &'a mut Decision,
    /// How many members the other groups of this coordinator have.
    pub(super) others: usize,
}

impl Work<'_> {
    /// Decides on a fact.
    fn put(&mut self, fact: ConsumerFact) {
        self.group.replay(&fact);
        self.out.records.push(Record::Consumer { group: self.id.clone(), fact });
    }

    fn answer(&mut self, waiter: Waiter, reply: Reply) {
        self.out.replies.push((waiter, reply));
    }

    /// What is due happens.
    pub(super) fn on_timer(&mut self, timer: &Timer) {
        match timer {
            Timer::Beat(member) => self.on_session_due(member),
            Timer::Revoke(member) => self.on_revocation_due(member),
            Timer::Refresh => {
                self.presence.refresh_at = None;
                self.settle();
            }
            Timer::Join | Timer::Sync | Timer::Session(_) | Timer::Pending(_) => {
                unreachable!("the classic protocol has timers of its own")
            }
        }
    }

    /// A coordinator that has just read the group gives every member its whole session, and compares the group with the
    /// image, which may be another than its predecessor's.
    pub(super) fn resume(&mut self) {
        let members: Vec<MemberId> = self.group.members().keys().cloned().collect();
        for id in &members {
            self.presence.enter(id, self.group.members()[id].size());
            self.renew(id);
            self.limit_revocation(id);
        }
        self.refresh_soon();
    }
}
