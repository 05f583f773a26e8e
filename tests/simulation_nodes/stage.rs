//! A cluster with its clients, in the hands of a plan.

use std::time::Duration;

use ottla::verify::{Invariant, Violation};

use crate::cluster::Cluster;
use crate::desk::{Answer, Order, SharedDesk};
use crate::workload::Shared;

/// The longest that the desk may take for one order.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// How often an order is given again that failed.
const INSISTENCE: u32 = 20;

/// What a plan has to do with.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) board: Shared,
    pub(crate) desk: SharedDesk,
}

impl Stage {
    /// Lets time pass.
    pub(crate) fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
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
    pub(crate) fn answer(&mut self) -> Result<Answer, Violation> {
        let end = self.cluster.sim.elapsed() + ANSWER_MAX;
        while self.cluster.sim.elapsed() < end {
            let answer = self.desk.borrow_mut().answer.take();
            if let Some(answer) = answer {
                return Ok(answer);
            }
            self.cluster.step()?;
        }
        Err(self.stuck("an order is not carried out"))
    }

    /// Orders something until it is done.
    pub(crate) fn insist(&mut self, order: &Order) -> Result<Answer, Violation> {
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
        Err(self.stuck(&format!("{order:?} fails again and again: {last:?}")))
    }

    /// Whether a node counts a broker in, as it tells clients.
    pub(crate) fn counts_in(&mut self, node: i32, broker: i32) -> Result<bool, Violation> {
        let counted = self.insist(&Order::Brokers { node })?;
        Ok(matches!(counted, Answer::Counts(brokers) if brokers.contains(&broker)))
    }

    /// Every node knows a topic that was promised.
    pub(crate) fn expect_topic(&mut self, name: &str) -> Result<(), Violation> {
        for node in Cluster::nodes() {
            if self.insist(&Order::Look { name: name.to_owned(), node })? == Answer::Knows(false) {
                let message = format!("topic {name} was promised, and node {node} does not know it");
                return Err(Violation { invariant: Invariant::E7, message });
            }
        }
        Ok(())
    }

    /// Something takes too long.
    pub(crate) fn stuck(&self, what: &str) -> Violation {
        Violation { invariant: Invariant::F3, message: format!("at {:?}: {what}", self.cluster.sim.elapsed()) }
    }
}
