//! What this broker says at every beat of its liveness connections: who it is and how it gets on, as of now.
//!
//! Called by the liveness thread, which waits for nothing: the locks here are held for one copy.
//! Invariant: nothing of it is kept from an earlier beat, so that a stuck thread shows though nothing else of the broker
//! moves (rule S11), and what moves shows though its heartbeats are stuck.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

use super::calls;
use super::lifecycle::BrokerLife;
use super::progress::Progress;
use crate::env::Clock;
use crate::machines::controller::{Progress as Told, SignOfLife};
use crate::machines::metadata::Image;
use crate::model::{BrokerEpoch, NodeId};
use crate::transport::BeatSource;

/// The source of beats; silent until the broker has registered.
#[derive(Debug, Default)]
pub struct Beats {
    broker: OnceLock<BeatingBroker>,
}

/// Where a running broker's state is seen.
#[derive(Debug)]
pub(super) struct BeatingBroker {
    pub(super) node: NodeId,
    pub(super) epoch: watch::Receiver<Option<BrokerEpoch>>,
    pub(super) reconciled: watch::Receiver<Arc<Image>>,
    pub(super) life: watch::Receiver<BrokerLife>,
    pub(super) progress: Arc<Progress>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Beats {
    /// The broker runs.
    pub(super) fn begin(&self, broker: BeatingBroker) {
        assert!(self.broker.set(broker).is_ok(), "a node starts its broker once");
    }
}

impl BeatingBroker {
    fn sign(&self) -> Option<SignOfLife> {
        let broker_epoch = (*self.epoch.borrow())?;
        if self.life.borrow().may_stop {
            // Whoever still counts on this broker is to find out.
            return None;
        }
        let now = self.clock.now().instant;
        let progress = Told {
            applied: self.reconciled.borrow().last_applied(),
            oldest_flush: self.progress.flush_age(now),
            oldest_turn: self.progress.turn_age(now),
        };
        Some(SignOfLife { node: self.node, broker_epoch, progress })
    }
}

impl BeatSource for Beats {
    fn beat(&self) -> Bytes {
        let sign = self.broker.get().and_then(BeatingBroker::sign);
        sign.and_then(|sign| calls::pack_sign(&sign)).unwrap_or_default()
    }
}
