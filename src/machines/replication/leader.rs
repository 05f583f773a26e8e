//! The leader of one partition: what is committed, who is in sync, which produce may be acknowledged.
//!
//! Driven by `partition/replica.rs`; the contract stands in `mod.rs`. Invariant: the high watermark never falls, and is
//! at most the flushed end of every member of the maximal ISR (committed and proposed together, rule R7).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Instant, LeaderEpoch, NodeId, Offset, PartitionEpoch};
use crate::probe::{Mark, Mutant, mark, planted};

use super::effect::{
    Acks, Ending, FetchFault, FollowerFetch, FollowerState, IsrMember, IsrOutcome, IsrProposal, LeaderEffect,
    Leadership, LogEnds, NotEnough, Ticket,
};
use super::progress::Progress;
use super::proof::Proofs;
use super::waiters::{Need, Waiters};

/// How long a refused or unanswered proposal rests before the next.
const PROPOSAL_REST: Duration = Duration::from_millis(50);

/// Who is in sync and has not fetched for longer may be dead, and only not fenced yet: several times as long as a fetch
/// waits at its leader, and a session lasts.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Leads one partition in one or more consecutive epochs.
#[derive(Clone, Debug)]
pub struct Leader {
    node: NodeId,
    lag_max: Duration,
    epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    /// Where the log ended when this epoch began (LESO, rules R2, R8, R18).
    epoch_start: Offset,
    log_end: Offset,
    flushed_end: Offset,
    high_watermark: Offset,
    /// The committed ISR: from orders and accepted proposals only.
    isr: BTreeSet<NodeId>,
    isr_min: usize,
    recovering: bool,
    pending: Option<Pending>,
    /// No proposal before this.
    rest_until: Instant,
    /// Every replica but this one.
    followers: BTreeMap<NodeId, Progress>,
    /// Who of them could lead though it is not in sync (rule R11).
    eligible: BTreeSet<NodeId>,
    /// This broker's own registration, for proposals.
    own: Option<IsrMember>,
    waiters: Waiters,
    proofs: Proofs,
}

/// A proposal that the metadata has not confirmed. One at a time (rule R9).
#[derive(Clone, Debug)]
struct Pending {
    proposal: IsrProposal,
    /// Who may be in the ISR because of it or of an earlier sending: counted as in sync until an epoch says otherwise.
    members: BTreeSet<NodeId>,
    /// An earlier sending may still be decided: a refusal of this one settles nothing.
    ambiguous: bool,
    /// When to send it again; `None` while an answer is awaited, or the image.
    resend_at: Option<Instant>,
}

impl Leader {
    /// Takes over in a new epoch. What was known of the followers does not count: every one must fetch in this epoch
    /// (rule R2). `high_watermark` is what this broker knew as a follower.
    #[must_use]
    pub fn take_over(
        node: NodeId,
        lag_max: Duration,
        order: &Leadership,
        log: LogEnds,
        high_watermark: Offset,
        now: Instant,
        effects: &mut Vec<LeaderEffect>,
    ) -> Self {
        assert!(log.flushed_end <= log.end, "what is flushed was written");
        assert!(high_watermark <= log.end, "a follower's high watermark is at most its own end (rule R6)");
        let mut leader = Self {
            node,
            lag_max,
            epoch: order.leader_epoch,
            partition_epoch: order.partition_epoch,
            epoch_start: begin_of_epoch(log.end),
            log_end: log.end,
            flushed_end: log.flushed_end,
            high_watermark,
            isr: order.isr.iter().copied().collect(),
            isr_min: order.isr_min,
            recovering: order.recovering,
            pending: None,
            rest_until: Instant::ZERO,
            followers: BTreeMap::new(),
            eligible: BTreeSet::new(),
            own: None,
            waiters: Waiters::default(),
            proofs: Proofs::default(),
        };
        leader.take_replicas(order, now);
        leader.grant_isr(now);
        leader.declare_recovered(effects);
        leader.advance(now, effects);
        leader
    }

    /// Takes an order of the same or a later epoch; lower ones are ignored. Waiters stay (rule S18).
    pub fn on_order(&mut self, order: &Leadership, now: Instant, effects: &mut Vec<LeaderEffect>) {
        let is_older = order.partition_epoch < self.partition_epoch;
        if is_older && !planted(Mutant::OlderImageTaken) || order.leader_epoch < self.epoch {
            return;
        }
        self.take_replicas(order, now);
        if order.partition_epoch > self.partition_epoch || is_older {
            // The metadata has confirmed or overtaken the proposal, of which every sending is stale now (rule R9).
            self.partition_epoch = order.partition_epoch;
            let before = std::mem::replace(&mut self.isr, order.isr.iter().copied().collect());
            for node in self.isr.difference(&before) {
                self.followers.entry(*node).and_modify(|progress| progress.grant(now));
            }
            // The controller may have removed it because its copy is broken (rule S3): only another fetch shows that
            // it is not.
            for node in before.difference(&self.isr).filter(|_| !planted(Mutant::RemovedKeepsProgress)) {
                self.followers.entry(*node).and_modify(Progress::forget);
            }
            self.recovering = order.recovering;
            self.pending = None;
        }
        self.isr_min = order.isr_min;
        if order.leader_epoch > self.epoch {
            self.begin_epoch(order.leader_epoch, now);
        }
        self.declare_recovered(effects);
        // Who was fenced when it last fetched may join now; its next fetch may be parked for long.
        self.propose_growth(None, now, effects);
        self.advance(now, effects);
        self.prove(now, effects);
    }

    /// `min.insync.replicas` changed.
    pub fn set_isr_min(&mut self, isr_min: usize, now: Instant, effects: &mut Vec<LeaderEffect>) {
        self.isr_min = isr_min;
        self.advance(now, effects);
    }

    /// Whether a produce may be written (rule R19).
    ///
    /// # Errors
    /// Too few replicas are in sync for acks=all.
    pub fn may_append(&self, acks: Acks) -> Result<(), NotEnough> {
        if acks == Acks::All && !self.enough_in_sync() && !planted(Mutant::AppendBelowMinIsr) {
            return Err(NotEnough { isr: self.isr.len(), isr_min: self.isr_min });
        }
        Ok(())
    }

    /// Records were written up to `end`.
    pub fn on_append(&mut self, end: Offset) {
        assert!(end >= self.log_end, "a leader's log only grows");
        self.log_end = end;
    }

    /// Parks a produce until its records, which end at `end`, are as durable as asked. A duplicate is parked at the
    /// original's end (rule S2).
    pub fn park(
        &mut self,
        ticket: Ticket,
        acks: Acks,
        end: Offset,
        deadline: Instant,
        effects: &mut Vec<LeaderEffect>,
    ) {
        assert!(end <= self.log_end, "a produce waits for what was written");
        let (need, reached) = match acks {
            Acks::None => (Need::Flush, end),
            Acks::Leader => (Need::Flush, self.flushed_end),
            Acks::All if planted(Mutant::AllIsLeader) => (Need::Flush, self.flushed_end),
            Acks::All => (Need::Commit, self.high_watermark),
        };
        if reached < end {
            self.waiters.park(need, end, ticket, deadline);
            return;
        }
        let ending = if acks == Acks::All { self.committed_ending() } else { Ending::Done };
        effects.push(LeaderEffect::Complete(ticket, ending));
    }

    /// Parks a read that saw the log up to `end`, until that is committed and it is proven that nobody else led when
    /// this was asked (rule S6).
    pub fn confirm(
        &mut self,
        ticket: Ticket,
        end: Offset,
        deadline: Instant,
        now: Instant,
        effects: &mut Vec<LeaderEffect>,
    ) {
        assert!(end <= self.log_end, "a read saw what was written");
        self.proofs.park(ticket, end, deadline);
        self.prove(now, effects);
    }

    /// A member follows this leader in this epoch, as it says in answer to a round.
    pub fn on_vouched(
        &mut self,
        (epoch, round): (LeaderEpoch, u64),
        node: NodeId,
        now: Instant,
        effects: &mut Vec<LeaderEffect>,
    ) {
        if epoch == self.epoch {
            self.proofs.vouched(round, node);
            self.prove(now, effects);
        }
    }

    /// The log is durable up to `end`.
    pub fn on_flushed(&mut self, end: Offset, now: Instant, effects: &mut Vec<LeaderEffect>) {
        assert!(end <= self.log_end, "what is flushed was written");
        if end <= self.flushed_end {
            return;
        }
        self.flushed_end = end;
        let released = self.waiters.release(Need::Flush, end);
        effects.extend(released.into_iter().map(|ticket| LeaderEffect::Complete(ticket, Ending::Done)));
        self.advance(now, effects);
    }

    /// Whether a fetch comes from a replica in its registered life.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_fetch(&self, fetch: &FollowerFetch) -> Result<(), FetchFault> {
        let Some(progress) = self.followers.get(&fetch.node) else {
            return Err(FetchFault::NotReplica);
        };
        let is_stale = fetch.broker_epoch != progress.broker_epoch && !planted(Mutant::StaleBrokerFetches);
        if progress.broker_epoch.is_none() || is_stale {
            mark(Mark::StaleBrokerFetch);
            return Err(FetchFault::StaleBroker);
        }
        Ok(())
    }

    /// A follower fetched in this epoch, from where its log agrees with this one up to its flushed end. The owner has
    /// called `check_fetch` and compared the epochs.
    pub fn on_fetch(&mut self, fetch: &FollowerFetch, now: Instant, effects: &mut Vec<LeaderEffect>) {
        assert!(fetch.offset <= self.log_end, "an offset beyond the log is refused before");
        let log_end = self.log_end;
        let progress = self.followers.get_mut(&fetch.node).expect("check_fetch found the follower");
        progress.on_fetch(fetch.offset, log_end, now);
        // Joining first, so that the high watermark then counts the new member (rule R7).
        self.propose_growth(Some(fetch.node), now, effects);
        self.advance(now, effects);
    }

    /// A proposal was answered; answers to any but the pending one are ignored.
    pub fn on_isr_answer(
        &mut self,
        base: (LeaderEpoch, PartitionEpoch),
        outcome: IsrOutcome,
        now: Instant,
        effects: &mut Vec<LeaderEffect>,
    ) {
        let Some(pending) = &mut self.pending else { return };
        let asked = (pending.proposal.leader_epoch, pending.proposal.partition_epoch);
        if base != asked && !planted(Mutant::AnyAnswerSettles) {
            mark(Mark::LateIsrAnswer);
            return;
        }
        match outcome {
            IsrOutcome::Accepted { partition_epoch, isr } => {
                self.recovering &= !pending.proposal.recovered;
                self.partition_epoch = self.partition_epoch.max(partition_epoch);
                self.isr = isr.into_iter().collect();
                self.pending = None;
                self.propose_growth(None, now, effects);
                // Only now may the high watermark move with a smaller ISR (rule R10).
                self.advance(now, effects);
            }
            IsrOutcome::Ineligible => self.withdraw(now),
            IsrOutcome::Stale if planted(Mutant::StaleSettles) => self.pending = None,
            // Stays pending until the image tells what is (rule R9).
            IsrOutcome::Stale => pending.resend_at = None,
            IsrOutcome::Retry => {
                mark(Mark::ProposalAmbiguous);
                pending.ambiguous = !planted(Mutant::RetryForgetsSending);
                pending.resend_at = Some(now.plus(PROPOSAL_REST)).filter(|_| !planted(Mutant::ProposalNotResent));
            }
        }
    }

    /// Time passed: overdue produces end, a resting proposal is sent again, laggards are proposed out of the ISR.
    pub fn on_tick(&mut self, now: Instant, effects: &mut Vec<LeaderEffect>) {
        let expired = if planted(Mutant::OverdueProduceStays) { Vec::new() } else { self.waiters.expire(now) };
        let expired = expired.into_iter().chain(self.proofs.expire(now));
        effects.extend(expired.map(|ticket| LeaderEffect::Complete(ticket, Ending::TimedOut)));
        self.prove(now, effects);
        if let Some(pending) = &mut self.pending {
            if pending.resend_at.is_some_and(|at| at <= now) {
                pending.resend_at = None;
                effects.push(LeaderEffect::Propose(pending.proposal.clone()));
            }
            return;
        }
        self.declare_recovered(effects);
        self.propose_shrink(now, effects);
        self.propose_growth(None, now, effects);
        // A laggard outside the ISR may have held the watermark while it looked as if it would join.
        self.advance(now, effects);
    }

    /// Ends every waiting produce: the leadership or the log is lost.
    pub fn resign(&mut self, ending: Ending, effects: &mut Vec<LeaderEffect>) {
        let waiting = self.waiters.drain().into_iter().chain(self.proofs.drain());
        effects.extend(waiting.map(|ticket| LeaderEffect::Complete(ticket, ending)));
    }

    /// When `on_tick` has something to do for a waiter or a proposal; lag is looked for at the owner's own pace.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let resend = self.pending.as_ref().and_then(|pending| pending.resend_at);
        [self.waiters.deadline(), self.proofs.deadline(), resend].into_iter().flatten().min()
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The partition epoch of the committed ISR.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Consumers read up to here.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether everything that an earlier leader may have acknowledged is known to be committed: until then the latest
    /// offset is not available (rule R18, KIP-207).
    #[must_use]
    pub fn knows_committed(&self) -> bool {
        self.high_watermark >= self.epoch_start || planted(Mutant::LatestBeforeKnown)
    }

    /// The committed ISR.
    #[must_use]
    pub fn isr(&self) -> Vec<NodeId> {
        self.isr.iter().copied().collect()
    }

    /// Whether another that is in sync or eligible can lead in this one's place, as its fetches of late show. While another
    /// ISR is asked for, perhaps not.
    #[must_use]
    pub fn is_replaceable(&self, now: Instant) -> bool {
        let lives = |node| self.followers.get(node).is_some_and(|progress| progress.has_fetched(now, SILENCE_MAX));
        let is_asked = planted(Mutant::EligibleNotAsked);
        self.pending.is_none() && self.isr.iter().chain(self.eligible.iter().filter(|_| !is_asked)).any(lives)
    }

    /// Who counts as in sync because another ISR is asked for; `None` while none is.
    #[must_use]
    pub fn pending(&self) -> Option<Vec<NodeId>> {
        self.pending.as_ref().map(|pending| pending.members.iter().copied().collect())
    }

    /// How many produces and reads wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiters.len() + self.proofs.len()
    }

    /// What is known of the followers, by node in order.
    #[must_use]
    pub fn followers(&self) -> Vec<FollowerState> {
        self.followers
            .iter()
            .map(|(&node, progress)| FollowerState { node, flushed_end: progress.flushed_end() })
            .collect()
    }

    fn enough_in_sync(&self) -> bool {
        self.isr.len() >= self.isr_min || planted(Mutant::MinIsrIsOne)
    }

    fn committed_ending(&self) -> Ending {
        if self.enough_in_sync() { Ending::Done } else { Ending::NotEnoughReplicas }
    }

    fn take_replicas(&mut self, order: &Leadership, now: Instant) {
        let others = order.replicas.iter().filter(|replica| replica.node != self.node);
        let kept: BTreeSet<NodeId> = others.clone().map(|replica| replica.node).collect();
        self.followers.retain(|node, _| kept.contains(node));
        self.eligible = others.clone().filter(|replica| replica.is_eligible).map(|replica| replica.node).collect();
        for replica in others {
            let fresh = Progress::new(replica.broker_epoch);
            let progress = self.followers.entry(replica.node).or_insert_with(|| fresh.clone());
            if planted(Mutant::ProgressOutlivesRegistration) {
                progress.broker_epoch = replica.broker_epoch;
            }
            if progress.broker_epoch != replica.broker_epoch {
                // Another life of that broker: what the old one had flushed is no promise of the new one (R8, R14).
                *progress = fresh;
                if self.isr.contains(&replica.node) {
                    progress.grant(now);
                }
            }
            progress.may_join = replica.may_join;
        }
        let own = order.replicas.iter().find(|replica| replica.node == self.node);
        self.own = own.and_then(|r| r.broker_epoch).map(|epoch| IsrMember { node: self.node, broker_epoch: epoch });
    }

    /// The same leader, a later epoch: the members of the ISR are still known, as they followed nobody else; if one
    /// was missed, another may have led, and nothing is known (rules R2, S18).
    fn begin_epoch(&mut self, epoch: LeaderEpoch, now: Instant) {
        let consecutive = epoch == self.epoch.next();
        for (node, progress) in &mut self.followers {
            if (!consecutive || !self.isr.contains(node)) && !planted(Mutant::EpochKeepsProgress) {
                progress.forget();
            }
        }
        self.epoch = epoch;
        self.epoch_start = begin_of_epoch(self.log_end);
        self.proofs.restart();
        self.pending = None;
        self.grant_isr(now);
    }

    fn grant_isr(&mut self, now: Instant) {
        for (node, progress) in &mut self.followers {
            if self.isr.contains(node) {
                progress.grant(now);
            }
        }
    }

    /// Moves the high watermark to the least flushed end of the maximal ISR, if it is known (rule R7).
    fn advance(&mut self, now: Instant, effects: &mut Vec<LeaderEffect>) {
        if !self.enough_in_sync() && !planted(Mutant::WatermarkMovesBelowMinIsr) {
            return;
        }
        let Some(reached) = self.least_flushed(now) else { return };
        let falls = reached < self.high_watermark && planted(Mutant::WatermarkFalls);
        if reached <= self.high_watermark && !falls {
            return;
        }
        assert!(reached <= self.flushed_end, "the leader is a member of its own ISR");
        self.high_watermark = reached;
        effects.push(LeaderEffect::HighWatermark(reached));
        let ending = self.committed_ending();
        let released = self.waiters.release(Need::Commit, reached);
        effects.extend(released.into_iter().map(|ticket| LeaderEffect::Complete(ticket, ending)));
        self.prove(now, effects);
    }

    /// Asks whoever is to vouch, and lets the reads go that are proven. The committed ISR must be large enough: with fewer
    /// in sync one that was could be elected (rule R11), which is asked no more.
    fn prove(&mut self, now: Instant, effects: &mut Vec<LeaderEffect>) {
        if self.proofs.len() == 0 {
            return;
        }
        if !self.enough_in_sync() {
            // Nobody is asked, and nothing is due for it; a round begins anew when there are enough.
            self.proofs.restart();
            return;
        }
        let pending = self.pending.iter().flat_map(|pending| &pending.members);
        let others = self.isr.iter().chain(pending).filter(|node| **node != self.node).copied().collect();
        effects.extend(self.proofs.go_on(&others, now).map(LeaderEffect::Ask));
        let released = self.proofs.release(self.high_watermark);
        effects.extend(released.into_iter().map(|ticket| LeaderEffect::Complete(ticket, Ending::Done)));
    }

    /// Over the maximal ISR, committed and proposed; `None` while a member has not fetched in this epoch.
    fn least_flushed(&self, now: Instant) -> Option<Offset> {
        let mut least = self.flushed_end;
        if planted(Mutant::WatermarkIgnoresFollowers) {
            return Some(least);
        }
        let pending = self.pending.iter().filter(|_| !planted(Mutant::WatermarkIgnoresPending));
        let pending = pending.flat_map(|pending| pending.members.iter());
        for node in self.isr.iter().chain(pending).filter(|node| **node != self.node) {
            let flushed_end = self.followers.get(node).and_then(Progress::flushed_end);
            if flushed_end.is_none() && planted(Mutant::WatermarkIgnoresUnseen)
                || planted(Mutant::ShrinkMovesWatermark) && self.is_leaving(*node)
            {
                continue;
            }
            least = least.min(flushed_end?);
        }
        // Who is about to join is waited for, or it would run after a moving watermark for ever.
        let joining = self.followers.values().filter(|f| f.may_join && f.is_caught_up(self.log_end, now, self.lag_max));
        let joining = joining.filter_map(Progress::flushed_end).min();
        Some(joining.map_or(least, |end| least.min(end)))
    }

    /// Whether the pending proposal is without it.
    fn is_leaving(&self, node: NodeId) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.members.contains(&node))
    }

    /// After an unclean election the leader first declares itself recovered, alone; only then the ISR grows.
    fn declare_recovered(&mut self, effects: &mut Vec<LeaderEffect>) {
        if self.recovering && self.pending.is_none() {
            self.propose(self.isr.clone(), effects);
        }
    }

    /// Proposes the followers into the ISR that hold all that may be committed (rule R8): who has just fetched, and
    /// who has of late and would not at once be a laggard again.
    fn propose_growth(&mut self, fetched: Option<NodeId>, now: Instant, effects: &mut Vec<LeaderEffect>) {
        if self.pending.is_some() || self.recovering || now < self.rest_until {
            return;
        }
        let watermark = if planted(Mutant::JoinBelowWatermark) { self.epoch_start } else { self.high_watermark };
        let start = if planted(Mutant::JoinBelowEpochStart) { self.high_watermark } else { self.epoch_start };
        let least = watermark.max(start);
        let joins = |(node, progress): &(&NodeId, &Progress)| {
            let is_unseen = planted(Mutant::JoinUnseen) && progress.flushed_end().is_none();
            let may_join = progress.may_join || planted(Mutant::JoinFenced);
            let holds_all = progress.flushed_end().is_some_and(|end| end >= least);
            let is_steady =
                || progress.has_fetched(now, self.lag_max) && progress.is_caught_up(self.log_end, now, self.lag_max);
            may_join && (is_unseen || holds_all && (fetched == Some(**node) || is_steady()))
        };
        let mut wanted = self.isr.clone();
        wanted.extend(self.followers.iter().filter(joins).map(|(node, _)| *node));
        if wanted.len() > self.isr.len() {
            mark(Mark::GrowthProposed);
            self.propose(wanted, effects);
        }
    }

    /// Proposes all laggards out of the ISR in one go. They count until the controller has committed it (rule R10).
    fn propose_shrink(&mut self, now: Instant, effects: &mut Vec<LeaderEffect>) {
        if self.pending.is_some() || now < self.rest_until {
            return;
        }
        let caught_up = |node: &NodeId| {
            let progress = self.followers.get(node);
            *node == self.node || progress.is_some_and(|p| p.is_caught_up(self.log_end, now, self.lag_max))
        };
        let wanted: BTreeSet<NodeId> = self.isr.iter().filter(|node| caught_up(node)).copied().collect();
        if wanted.len() < self.isr.len() {
            mark(Mark::ShrinkProposed);
            self.propose(wanted, effects);
        }
    }

    /// Sends a wish; nothing, if a wanted member has no registration: then the image is about to change anyway.
    fn propose(&mut self, wanted: BTreeSet<NodeId>, effects: &mut Vec<LeaderEffect>) {
        assert!(self.pending.is_none(), "one proposal at a time (rule R9)");
        let member = |node: &NodeId| {
            let epoch = self.followers.get(node).and_then(|progress| progress.broker_epoch);
            let other = epoch.map(|broker_epoch| IsrMember { node: *node, broker_epoch });
            if *node == self.node { self.own } else { other }
        };
        let Some(isr) = wanted.iter().map(member).collect::<Option<Vec<IsrMember>>>() else { return };
        let proposal = IsrProposal {
            leader_epoch: self.epoch,
            partition_epoch: self.partition_epoch,
            isr,
            recovered: self.recovering,
        };
        effects.push(LeaderEffect::Propose(proposal.clone()));
        self.pending = Some(Pending { proposal, members: wanted, ambiguous: false, resend_at: None });
    }

    /// The controller refused. If no earlier sending can still be decided, the committed ISR is all there is. Otherwise
    /// the committed ISR is itself proposed: once accepted, it has raised the partition epoch and so made every earlier
    /// sending stale; until then their members count.
    fn withdraw(&mut self, now: Instant) {
        let resend_at = now.plus(PROPOSAL_REST);
        self.rest_until = resend_at;
        let Some(mut pending) = self.pending.take() else { return };
        if !pending.ambiguous {
            return;
        }
        mark(Mark::ProposalWithdrawn);
        let mut again = Vec::new();
        self.propose(self.isr.clone(), &mut again);
        match &mut self.pending {
            Some(renewed) => pending.proposal = renewed.proposal.clone(),
            // A member without registration: the image is about to change; the members stay counted.
            None => assert!(again.is_empty(), "no proposal, no effect"),
        }
        pending.resend_at = Some(resend_at);
        self.pending = Some(pending);
    }
}

#[cfg(test)]
mod tests;

/// Where an epoch begins whose leader's log ends here (rule R2).
fn begin_of_epoch(end: Offset) -> Offset {
    if planted(Mutant::EpochBeginsAtZero) { Offset::ZERO } else { end }
}
