//! What the members of a quorum say, written down for the judge of runs (`src/verify`).
//!
//! Invariant: holds no member alive; of each life the first thing noted is with which voters its log begins.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::env::Clock;
use crate::machines::metadata::Image;
use crate::model::{DirectoryId, LogIndex, NodeId};
use crate::quorum::{Leadership, Quorum, QuorumDescription};
use crate::verify::history::{History, NodeEvent, NodeEventKind};

/// Where everything is written down; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    clock: Arc<dyn Clock>,
    /// Held for one entry.
    events: Arc<Mutex<Vec<NodeEvent>>>,
}

impl Recorder {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, events: Arc::default() }
    }

    fn note(&self, node: NodeId, what: NodeEventKind) {
        let mut events = self.events.lock().unwrap();
        events.push(NodeEvent { node, at: self.clock.now().instant, what });
    }

    pub(crate) fn killed(&self, node: NodeId) {
        self.note(node, NodeEventKind::Killed);
    }

    pub(crate) fn ended(&self, node: NodeId, reason: String) {
        self.note(node, NodeEventKind::Exited { reason, expected: false });
    }

    /// Writes down what a life of a node says, until it ends.
    pub(crate) fn follow(&self, node: NodeId, quorum: &Quorum) {
        self.note(node, NodeEventKind::Started);
        let (images, leadership) = (quorum.images(), quorum.leadership());
        let metrics = quorum.core.raft.metrics();
        let recorder = self.clone();
        tokio::spawn(async move {
            recorder.founded(node, metrics).await;
            tokio::join!(recorder.applied(node, images), recorder.controls(node, leadership));
        });
    }

    /// Entry 0 of the log is the founding: who the voters are, and on which disks.
    async fn founded(&self, node: NodeId, mut metrics: watch::Receiver<crate::quorum::types::Metrics>) {
        let is_founded = |metrics: &crate::quorum::types::Metrics| {
            let membership = metrics.membership_config.membership();
            membership.voter_ids().next().is_some()
        };
        let Ok(metrics) = metrics.wait_for(is_founded).await.map(|metrics| metrics.clone()) else { return };
        let membership = metrics.membership_config.membership();
        let directory = |id: u64| membership.get_node(&id).map(|member| member.directory);
        let voters: BTreeMap<u64, Option<DirectoryId>> = membership.voter_ids().map(|id| (id, directory(id))).collect();
        self.note(node, NodeEventKind::Applied { index: LogIndex::new(0), digest: digest(&voters) });
    }

    async fn applied(&self, node: NodeId, mut images: watch::Receiver<Arc<Image>>) {
        loop {
            let image = Arc::clone(&images.borrow_and_update());
            if image.last_applied() > LogIndex::new(0) {
                self.note(node, NodeEventKind::Applied { index: image.last_applied(), digest: digest(&image) });
            }
            if images.changed().await.is_err() {
                return;
            }
        }
    }

    async fn controls(&self, node: NodeId, mut leadership: watch::Receiver<Leadership>) {
        loop {
            let Leadership { term, active, .. } = *leadership.borrow_and_update();
            if active {
                self.note(node, NodeEventKind::Controls { term });
            }
            if leadership.changed().await.is_err() {
                return;
            }
        }
    }

    /// All of it, up to now.
    pub(crate) fn history(&self) -> History {
        let node_events = self.events.lock().unwrap().clone();
        History { node_events, ended_at: self.clock.now().instant, ..History::default() }
    }
}

/// A number for what a thing is; equal things print alike.
fn digest(thing: &impl std::fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(format!("{thing:?}").as_bytes());
    hasher.finish()
}

/// Whether a node knows the voters of a quorum.
pub(crate) fn is_founded(described: &QuorumDescription) -> bool {
    !described.voters.is_empty()
}
