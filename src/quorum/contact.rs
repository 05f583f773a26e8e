//! Who was heard, and when: the follower's view of its leader, the leader's view of its followers.
//!
//! Written by `network.rs` (answers) and `rpc.rs` (requests); read by the guard, by elections and by `describe`.
//! Invariants: times are our own clock's, taken before a request was sent, so that an age is never underestimated,
//! not even by a process that was paused or a core that hangs in an fsync (openraft's own
//! figure is a sample that freezes); an answer counts for the leadership it was given to and no other.

use std::collections::{BTreeMap, BTreeSet};

use openraft::LeaderId;
use tokio::sync::watch;

use super::types::Vote;
use crate::model::{Instant, Now, Timestamp};
use crate::probe::{Mutant, planted};

/// The last sign of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// When; the start of the process counts as a sign, so that a node that has just started disturbs nobody.
    pub(crate) at: Instant,
    /// From whom; `None` since the start.
    pub(crate) leader: Option<LeaderId<u64>>,
    /// Since then its host has answered that nothing listens there.
    pub(crate) refused: bool,
    /// The vote that another asks of this node at present, or was given.
    pub(crate) asked: Option<Vote>,
}

/// What one follower or observer has acknowledged to this leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    leader: LeaderId<u64>,
    /// When the request was sent that it answered last.
    sent: Instant,
    /// One past the last entry it holds.
    pub(crate) end: u64,
    /// The wall-clock time of its last answer.
    pub(crate) answered: Timestamp,
    /// The same, when it last held all that this leader had.
    pub(crate) caught_up: Option<Timestamp>,
}

/// All contacts of one node.
#[derive(Debug)]
pub(crate) struct Contacts {
    heard: watch::Sender<Heard>,
    acks: watch::Sender<BTreeMap<u64, Ack>>,
}

/// A follower's answer to an append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) from: u64,
    pub(crate) vote: Vote,
    /// When the request was sent.
    pub(crate) sent: Instant,
    pub(crate) held: Held,
}

/// What a follower says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All below this index, as the leader has it.
    All(u64),
    /// Not what the leader has directly below this index.
    NotBelow(u64),
}

impl Contacts {
    /// No contact yet.
    pub(crate) fn new(now: Now) -> Self {
        let heard = Heard { at: now.instant, leader: None, refused: false, asked: None };
        Self { heard: watch::channel(heard).0, acks: watch::channel(BTreeMap::new()).0 }
    }

    /// A leader made itself heard.
    pub(crate) fn hear(&self, vote: &Vote, now: Instant) {
        self.heard.send_modify(|heard| {
            if heard.leader.is_none_or(|known| known <= vote.leader_id) {
                heard.at = heard.at.max(now);
                heard.leader = Some(vote.leader_id);
                heard.refused = false;
            }
        });
    }

    /// Nothing listens where the leader did, asked since it was last heard at `since`.
    pub(crate) fn refuse(&self, since: Instant) {
        self.heard.send_modify(|heard| heard.refused |= heard.at == since);
    }

    /// Another asks for this node's vote. Noted before openraft decides, whose change of mind is seen elsewhere first.
    pub(crate) fn begin_vote(&self, vote: Vote) {
        self.heard.send_modify(|heard| heard.asked = Some(vote));
    }

    /// It was not given.
    pub(crate) fn refuse_vote(&self, vote: Vote) {
        self.heard.send_modify(|heard| heard.asked = heard.asked.filter(|asked| *asked != vote));
    }

    /// The last sign of a leader.
    pub(crate) fn heard(&self) -> Heard {
        *self.heard.borrow()
    }

    /// Notes a follower's answer. Returns whether it is credible: within one leadership a follower never loses what
    /// it has acknowledged (rule S13).
    pub(crate) fn acknowledge(&self, answered: Answered, log_end: u64, now: Now) -> bool {
        let mut credible = true;
        self.acks.send_modify(|acks| {
            let before = acks.get(&answered.from).filter(|ack| ack.leader == answered.vote.leader_id).copied();
            let acked = before.map_or(0, |ack| ack.end);
            let end = match answered.held {
                Held::All(end) => acked.max(end),
                Held::NotBelow(end) if end > acked => acked,
                Held::NotBelow(_) if planted(Mutant::RegressionBelieved) => acked,
                Held::NotBelow(_) => {
                    credible = false;
                    return;
                }
            };
            let caught_up = if end >= log_end { Some(now.timestamp) } else { before.and_then(|ack| ack.caught_up) };
            let sent = before.map_or(answered.sent, |ack| ack.sent.max(answered.sent));
            let ack = Ack { leader: answered.vote.leader_id, sent, end, answered: now.timestamp, caught_up };
            acks.insert(answered.from, ack);
        });
        credible
    }

    /// Forgets a member that was removed: under a new identity it begins anew.
    pub(crate) fn forget(&self, member: u64) {
        self.acks.send_modify(|acks| {
            acks.remove(&member);
        });
    }

    /// What `member` has acknowledged to the leadership of `vote`.
    pub(crate) fn ack(&self, member: u64, vote: &Vote) -> Option<Ack> {
        self.acks.borrow().get(&member).filter(|ack| ack.leader == vote.leader_id).copied()
    }

    /// Wakes when a follower has answered.
    pub(crate) fn answers(&self) -> watch::Receiver<BTreeMap<u64, Ack>> {
        self.acks.subscribe()
    }

    /// The latest time at which a majority of every config is known to have followed `vote`, `me` counting as now.
    pub(crate) fn quorum_time(&self, configs: &[BTreeSet<u64>], vote: &Vote, me: u64, now: Instant) -> Option<Instant> {
        let acks = self.acks.borrow();
        let time_of = |&member: &u64| match acks.get(&member) {
            _ if member == me => Some(now),
            Some(ack) if ack.leader == vote.leader_id => Some(ack.sent),
            Some(_) | None => None,
        };
        configs.iter().map(|voters| majority_time(voters.iter().map(time_of).collect())).min().flatten()
    }
}

/// The greatest time that a majority has reached.
fn majority_time(mut times: Vec<Option<Instant>>) -> Option<Instant> {
    times.sort_unstable_by(|a, b| b.cmp(a));
    times.get(times.len() / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn answered(from: u64, term: u64, sent: u64, held: Held) -> Answered {
        Answered { from, vote: Vote::new_committed(term, 1), sent: at(sent), held }
    }

    fn quorum_time(contacts: &Contacts, term: u64) -> Option<Instant> {
        let voters = BTreeSet::from([1, 2, 3]);
        contacts.quorum_time(&[voters], &Vote::new_committed(term, 1), 1, at(100))
    }

    #[test]
    fn the_quorum_was_last_with_us_when_the_best_follower_was() {
        let contacts = Contacts::new(Now::default());
        assert_eq!(quorum_time(&contacts, 5), None);
        assert!(contacts.acknowledge(answered(2, 5, 40, Held::All(4)), 4, Now::default()));
        assert!(contacts.acknowledge(answered(3, 5, 10, Held::All(4)), 4, Now::default()));
        assert_eq!(quorum_time(&contacts, 5), Some(at(40)));
        assert_eq!(quorum_time(&contacts, 6), None, "answers to an older leadership do not count");
    }

    #[test]
    fn a_follower_that_lost_what_it_acknowledged_is_noticed() {
        let contacts = Contacts::new(Now::default());
        let refuse = |term, end| contacts.acknowledge(answered(2, term, 1, Held::NotBelow(end)), 4, Now::default());
        assert!(refuse(5, 3), "at first anything may be missing");
        assert!(contacts.acknowledge(answered(2, 5, 2, Held::All(3)), 4, Now::default()));
        assert!(refuse(5, 4), "the fourth it never had");
        assert!(!refuse(5, 3));
        assert!(refuse(6, 3), "a new leadership begins anew");
    }

    #[test]
    fn a_majority_of_four_is_three() {
        let times = vec![Some(at(4)), Some(at(3)), Some(at(2)), Some(at(1))];
        assert_eq!(majority_time(times), Some(at(2)));
        assert_eq!(majority_time(vec![Some(at(4))]), Some(at(4)));
        assert_eq!(majority_time(vec![Some(at(4)), None]), None);
    }
}
