//! Proof that nobody else leads: the other members of the ISR are asked whether they still follow, round by round.
//!
//! Used by `leader.rs` only. A coordinator's read needs it (rule S6): a leader that was paused does not know that it was
//! replaced, and what it reads would be stale. Whoever vouches follows this leader in this epoch at that moment, so that
//! whatever another leader acknowledges comes later than the question.
//! Invariant: a ticket is proven by a round that began after it was parked; a ticket parked here leaves exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Instant, NodeId, Offset};

use super::effect::{ProofRound, Ticket};

/// After how long a member that has not vouched is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The reads of one partition that wait for proof.
#[derive(Clone, Debug, Default)]
pub(super) struct Proofs {
    /// The last round that was begun.
    last: u64,
    /// The last round of which every member vouched.
    proven: u64,
    open: Option<Open>,
    /// By the round that proves them, with where what they saw ends, and when they end at the latest.
    waiting: BTreeMap<(u64, Ticket), (Offset, Instant)>,
    by_deadline: BTreeSet<(Instant, u64, Ticket)>,
}

/// The round under way.
#[derive(Clone, Debug)]
struct Open {
    missing: BTreeSet<NodeId>,
    ask_again_at: Instant,
}

impl Proofs {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let again = self.open.as_ref().map(|open| open.ask_again_at);
        self.by_deadline.first().map(|entry| entry.0).into_iter().chain(again).min()
    }

    /// Parks a read that saw the log up to `end`; the next round proves it.
    pub(super) fn park(&mut self, ticket: Ticket, end: Offset, deadline: Instant) {
        let round = self.last + 1;
        let before = self.waiting.insert((round, ticket), (end, deadline));
        assert!(before.is_none(), "a ticket is parked once");
        self.by_deadline.insert((deadline, round, ticket));
    }

    /// Another epoch: whoever vouched for the former is asked anew.
    pub(super) fn restart(&mut self) {
        self.open = None;
    }

    /// A member follows this leader, as it says in answer to a round. Answers to any but the round under way come late.
    pub(super) fn vouched(&mut self, round: u64, node: NodeId) {
        if round == self.last
            && let Some(open) = &mut self.open
        {
            open.missing.remove(&node);
        }
    }

    /// Ends the round under way if it can, begins the next if somebody needs it, asks again whoever is late. `others` is
    /// the maximal ISR without this leader: who has left it need not vouch.
    pub(super) fn go_on(&mut self, others: &BTreeSet<NodeId>, now: Instant) -> Option<ProofRound> {
        loop {
            match &mut self.open {
                Some(open) => {
                    open.missing.retain(|node| others.contains(node));
                    if open.missing.is_empty() {
                        self.proven = self.last;
                        self.open = None;
                    } else if open.ask_again_at <= now {
                        open.ask_again_at = now.plus(ASK_AGAIN_AFTER);
                        return Some(ProofRound { round: self.last, members: open.missing.iter().copied().collect() });
                    } else {
                        return None;
                    }
                }
                None => {
                    let needs_more = self.waiting.keys().next_back().is_some_and(|(round, _)| *round > self.proven);
                    if !needs_more {
                        return None;
                    }
                    self.last += 1;
                    // Due at once: the loop asks.
                    self.open = Some(Open { missing: others.clone(), ask_again_at: now });
                }
            }
        }
    }

    /// Takes out those that are proven and saw nothing above `committed`, in the order in which they came.
    pub(super) fn release(&mut self, committed: Offset) -> Vec<Ticket> {
        let proven = self.waiting.range(..=(self.proven, Ticket(u64::MAX)));
        let released = proven.filter(|(_, (end, _))| *end <= committed).map(|(key, (_, at))| (*key, *at));
        let released: Vec<((u64, Ticket), Instant)> = released.collect();
        for (key, deadline) in &released {
            self.waiting.remove(key);
            self.by_deadline.remove(&(*deadline, key.0, key.1));
        }
        released.into_iter().map(|((_, ticket), _)| ticket).collect()
    }

    /// Takes out those whose deadline is not after `now`, by deadline in order.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ticket> {
        let mut expired = Vec::new();
        while let Some(&(deadline, round, ticket)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            self.by_deadline.pop_first();
            self.waiting.remove(&(round, ticket));
            expired.push(ticket);
        }
        expired
    }

    /// Takes out all, in the order in which they came.
    pub(super) fn drain(&mut self) -> Vec<Ticket> {
        self.by_deadline.clear();
        std::mem::take(&mut self.waiting).into_keys().map(|key| key.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(numbers: &[i32]) -> BTreeSet<NodeId> {
        numbers.iter().map(|number| NodeId::new(*number)).collect()
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO.plus(Duration::from_millis(ms))
    }

    fn parked(proofs: &mut Proofs, ticket: u64, end: i64) {
        proofs.park(Ticket(ticket), Offset::new(end), at(5_000));
    }

    fn round(number: u64, members: &[i32]) -> Option<ProofRound> {
        Some(ProofRound { round: number, members: nodes(members).into_iter().collect() })
    }

    #[test]
    fn a_read_is_proven_by_a_round_that_began_after_it() {
        let (mut proofs, others) = (Proofs::default(), nodes(&[2, 3]));
        parked(&mut proofs, 1, 0);
        assert_eq!(proofs.go_on(&others, at(0)), round(1, &[2, 3]));
        // It comes while others are asked: what they say may be older than what it saw.
        parked(&mut proofs, 2, 0);
        proofs.vouched(1, NodeId::new(2));
        assert_eq!((proofs.go_on(&others, at(1)), proofs.release(Offset::new(9))), (None, vec![]));
        proofs.vouched(1, NodeId::new(3));
        assert_eq!(proofs.go_on(&others, at(1)), round(2, &[2, 3]));
        assert_eq!(proofs.release(Offset::new(9)), [Ticket(1)]);
        proofs.vouched(1, NodeId::new(2));
        proofs.vouched(2, NodeId::new(3));
        assert_eq!((proofs.go_on(&others, at(1)), proofs.release(Offset::new(9))), (None, vec![]));
        proofs.vouched(2, NodeId::new(2));
        assert_eq!((proofs.go_on(&others, at(1)), proofs.release(Offset::new(9))), (None, vec![Ticket(2)]));
        assert_eq!((proofs.len(), proofs.deadline()), (0, None));
    }

    #[test]
    fn what_is_proven_waits_for_what_it_saw_to_be_committed() {
        let (mut proofs, others) = (Proofs::default(), nodes(&[2]));
        parked(&mut proofs, 1, 7);
        assert_eq!(proofs.go_on(&others, at(0)), round(1, &[2]));
        proofs.vouched(1, NodeId::new(2));
        assert_eq!((proofs.go_on(&others, at(0)), proofs.release(Offset::new(6))), (None, vec![]));
        assert_eq!(proofs.release(Offset::new(7)), [Ticket(1)]);
    }

    #[test]
    fn who_is_late_is_asked_again_and_who_has_left_is_not_waited_for() {
        let (mut proofs, others) = (Proofs::default(), nodes(&[2, 3]));
        parked(&mut proofs, 1, 0);
        assert_eq!(proofs.go_on(&others, at(0)), round(1, &[2, 3]));
        proofs.vouched(1, NodeId::new(2));
        assert_eq!(proofs.go_on(&others, at(99)), None);
        assert_eq!(proofs.go_on(&others, at(100)), round(1, &[3]));
        assert_eq!(proofs.go_on(&nodes(&[2]), at(101)), None);
        assert_eq!(proofs.release(Offset::ZERO), [Ticket(1)]);
    }

    #[test]
    fn alone_a_leader_needs_nobody() {
        let mut proofs = Proofs::default();
        parked(&mut proofs, 1, 0);
        assert_eq!((proofs.go_on(&nodes(&[]), at(0)), proofs.release(Offset::ZERO)), (None, vec![Ticket(1)]));
    }

    #[test]
    fn nobody_vouches_for_another_epoch() {
        let (mut proofs, others) = (Proofs::default(), nodes(&[2]));
        parked(&mut proofs, 1, 0);
        assert_eq!(proofs.go_on(&others, at(0)), round(1, &[2]));
        proofs.restart();
        proofs.vouched(1, NodeId::new(2));
        assert_eq!(proofs.go_on(&others, at(1)), round(2, &[2]));
        proofs.vouched(1, NodeId::new(2));
        assert_eq!((proofs.go_on(&others, at(1)), proofs.release(Offset::ZERO)), (None, vec![]));
    }

    #[test]
    fn what_is_not_proven_in_time_ends() {
        let (mut proofs, others) = (Proofs::default(), nodes(&[2]));
        parked(&mut proofs, 1, 0);
        proofs.go_on(&others, at(0));
        assert_eq!((proofs.expire(at(4_999)), proofs.expire(at(5_000))), (vec![], vec![Ticket(1)]));
        parked(&mut proofs, 2, 0);
        assert_eq!((proofs.drain(), proofs.len()), (vec![Ticket(2)], 0));
    }
}
