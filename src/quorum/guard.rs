//! The guard of one node: heartbeats, check-quorum, elections, and what the rest of the program sees of leadership.
//!
//! One task, started by `start`. It looks whenever openraft has turned, a follower has answered, or time has passed.
//! Invariants: a leader counts as active only while a majority has followed it within the election timeout, judged by
//! our own clock; the heartbeat interval is ours, because openraft's is its append
//! timeout as well (rule S14) and is stretched by half.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Leadership;
use super::core::{Core, configs, is_voter, leads};
use super::election::{self, Poll};
use super::types::{Metrics, node_id};
use crate::env::Seed;
use crate::model::{Instant, Term};
use crate::probe::{Mutant, planted};

/// The guard's own state.
struct Guard {
    core: Arc<Core>,
    seed: Arc<dyn Seed>,
    next_heartbeat: Instant,
    /// When this voter last asked whether to campaign.
    asked: Instant,
    /// How long it lets the others be before it asks again.
    pause: Duration,
    /// How long a silence it bears.
    patience: Duration,
    /// Campaigns since a leader was heard.
    failures: u32,
    /// The sign of life since which the leader was probed.
    probed: Option<Instant>,
}

/// Runs until the raft core ends.
pub(crate) async fn run(core: Arc<Core>, seed: Arc<dyn Seed>) {
    let mut metrics = core.raft.metrics();
    let mut answers = core.links.contacts.answers();
    let patience = election::patience(&core, seed.number());
    let mut guard = Guard {
        core,
        seed,
        next_heartbeat: Instant::ZERO,
        asked: Instant::ZERO,
        pause: Duration::ZERO,
        patience,
        failures: 0,
        probed: None,
    };
    loop {
        guard.look().await;
        let pause = guard.tick();
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { break },
            _ = answers.changed() => {}
            () = guard.core.look.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        if metrics.borrow_and_update().running_state.is_err() {
            break;
        }
    }
    guard.core.leadership.send_if_modified(|known| std::mem::take(known).active);
}

impl Guard {
    /// Until something may be due without any event.
    fn tick(&self) -> Duration {
        let tick = self.core.links.options.heartbeat / 3;
        let due = self.next_heartbeat.since(self.core.now());
        if due.is_zero() { tick } else { due.min(tick) }.max(Duration::from_millis(1))
    }

    async fn look(&mut self) {
        let metrics = self.core.metrics();
        if leads(&metrics) {
            self.beat().await;
        } else if is_voter(&metrics, self.core.links.id()) {
            self.watch_leader(&metrics).await;
        }
        self.publish(&self.core.metrics());
    }

    /// Sends heartbeats when they are due.
    async fn beat(&mut self) {
        let now = self.core.now();
        if now >= self.next_heartbeat {
            self.next_heartbeat = now.plus(self.core.links.options.heartbeat);
            let _ = self.core.raft.trigger().heartbeat().await;
        }
    }

    /// Campaigns if a majority hears no leader (rule S17).
    async fn watch_leader(&mut self, metrics: &Metrics) {
        let is_alone = configs(metrics).iter().all(|voters| voters.len() == 1);
        if is_alone {
            if metrics.vote.leader_id.node_id != self.core.links.id() || self.is_rested() {
                self.asked = self.core.now();
                election::campaign(&self.core, self.vote_patience()).await;
            }
            return;
        }
        self.probe().await;
        let heard = self.core.links.contacts.heard();
        if heard.at > self.asked {
            self.failures = 0;
        }
        let is_leaderless = heard.refused || self.core.now().since(heard.at) >= self.patience;
        // A worse candidate that yields to this one waits for it.
        let is_nudged = self.core.nudged.swap(false, Ordering::Relaxed) && election::is_leaderless(&self.core);
        let is_due = is_nudged || is_leaderless && self.is_rested();
        if !is_due {
            return;
        }
        self.pause = self.core.links.options.election_timeout_min / 2;
        let patience = self.vote_patience();
        let unasked = planted(Mutant::CampaignsUnasked);
        match if unasked { Poll::Campaign } else { election::poll(&self.core, metrics, patience).await } {
            Poll::Campaign => {
                tracing::info!(term = metrics.current_term, "no leader heard by a majority, campaigning");
                self.failures = self.failures.saturating_add(1);
                election::campaign(&self.core, patience).await;
            }
            Poll::Yield => tracing::info!("no leader heard by a majority, a better candidate goes first"),
            // The others may have heard the leader a heartbeat later than this node: ask again soon.
            Poll::Stay => self.pause = self.core.links.options.heartbeat,
        }
        self.asked = self.core.now();
        self.patience = election::patience(&self.core, self.seed.number());
    }

    /// How long to wait for the others' votes: longer after each campaign that failed, for on a starved machine a round
    /// trip can take longer than any timeout that suits a healthy one.
    fn vote_patience(&self) -> Duration {
        self.core.links.options.election_timeout_min / 2 * (1 + self.failures.min(7))
    }

    /// Whether it is long enough since this voter asked last.
    fn is_rested(&self) -> bool {
        self.core.now().since(self.asked) >= self.pause
    }

    /// A leader that misses a heartbeat is dialled once: a refused connection proves that its process is gone.
    async fn probe(&mut self) {
        let heard = self.core.links.contacts.heard();
        let silent = self.core.now().since(heard.at) >= self.core.links.options.heartbeat * 3 / 2;
        if silent && !heard.refused && self.probed != Some(heard.at) {
            self.probed = Some(heard.at);
            election::probe_leader(&self.core).await;
        }
    }

    fn publish(&self, metrics: &Metrics) {
        let seen = leadership(&self.core, metrics);
        self.core.leadership.send_if_modified(|known| {
            let changed = *known != seen;
            if changed {
                tracing::info!(term = %seen.term, leader = ?seen.leader, active = seen.active, "quorum leadership");
                *known = seen;
            }
            changed
        });
    }
}

/// Leadership as it is at this moment.
pub(crate) fn leadership(core: &Core, metrics: &Metrics) -> Leadership {
    let is_known = leads(metrics) || !election::is_leaderless(core);
    Leadership {
        term: Term::new(metrics.current_term),
        leader: metrics.current_leader.filter(|_| is_known).map(node_id),
        active: leads(metrics)
            && has_applied_own_entry(metrics)
            && is_followed(core, metrics)
            && !core.leaving.load(Ordering::Relaxed),
    }
}

/// A new leader knows what is committed only once an entry of its own term is.
fn has_applied_own_entry(metrics: &Metrics) -> bool {
    metrics.vote.committed && metrics.last_applied.is_some_and(|id| id.leader_id == metrics.vote.leader_id)
}

/// Check-quorum: a majority has followed within the election timeout.
fn is_followed(core: &Core, metrics: &Metrics) -> bool {
    let now = core.now();
    let followed = core.links.contacts.quorum_time(&configs(metrics), &metrics.vote, core.links.id(), now);
    followed.is_some_and(|at| now.since(at) < core.links.options.election_timeout_min)
}
