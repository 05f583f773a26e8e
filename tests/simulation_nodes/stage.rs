//! A cluster with its clients, in the hands of a plan.

use std::time::Duration;

use ottla::verify::{Invariant, Violation};

use crate::board::Shared;
use crate::cluster::{Cluster, Failed};
use crate::desk::{Answer, Order, SharedDesk};

/// The longest that the desk may take for one order.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// How often an order is given again that failed.
const INSISTENCE: u32 = 20;

/// Why a run goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A plan saw what must not be.
    Broken(Violation),
    /// Somebody failed.
    Failed(Failed),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// What a plan has to do with.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) board: Shared,
    pub(crate) desk: SharedDesk,
}

impl Stage {
    /// Lets time pass.
    pub(crate) fn run_for(&mut self, span: Duration) -> Result<(), Stop> {
        let end = self.cluster.sim.elapsed() + span;
        while self.cluster.sim.elapsed() < end {
            self.cluster.step()?;
        }
        Ok(())
    }

    /// Orders something of the desk, which has nothing else to do.
    pub(crate) fn order(&mut self, order: Order) {
        let mut desk = self.desk.borrow_mut();
        assert!(desk.order.is_none(), "one order at a time");
        desk.answer = None;
        desk.order = Some(order);
    }

    /// Waits for what came of the order.
    pub(crate) fn answer(&mut self) -> Result<Answer, Stop> {
        let end = self.cluster.sim.elapsed() + ANSWER_MAX;
        while self.cluster.sim.elapsed() < end {
            let answer = self.desk.borrow_mut().answer.take();
            if let Some(answer) = answer {
                return Ok(answer);
            }
            self.cluster.step()?;
        }
        Err(self.stuck("an order is not carried out").into())
    }

    /// Orders something until it is done.
    pub(crate) fn insist(&mut self, order: &Order) -> Result<Answer, Stop> {
        let mut last = None;
        for _ in 0..INSISTENCE {
            self.order(order.clone());
            let answer = self.answer()?;
            if !matches!(answer, Answer::Failed(_)) {
                return Ok(answer);
            }
            last = Some(answer);
            self.run_for(Duration::from_millis(100))?;
        }
        Err(self.stuck(&format!("{order:?} fails again and again: {last:?}")).into())
    }

    /// Whether a node counts a broker in, as it tells clients.
    pub(crate) fn counts_in(&mut self, node: i32, broker: i32) -> Result<bool, Stop> {
        let counted = self.insist(&Order::Brokers { node })?;
        Ok(matches!(counted, Answer::Counts(brokers) if brokers.contains(&broker)))
    }

    /// Something takes too long.
    pub(crate) fn stuck(&self, what: &str) -> Violation {
        Violation { invariant: Invariant::F3, message: format!("at {:?}: {what}", self.cluster.sim.elapsed()) }
    }
}
