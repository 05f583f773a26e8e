//! The model's nodes: what they learn of the metadata, how they go down and come back.

use std::collections::BTreeMap;

use super::replicas::Lead;
use super::{World, offset};
use crate::model::NodeId;
use crate::verify::history::NodeEventKind;
use crate::verify::tests::random::mixed;

impl World {
    pub(super) fn learn_somewhere(&mut self) {
        let node = self.some_node();
        if self.nodes[&node].is_up {
            self.learn(node);
        }
    }

    /// A node applies all of the metadata log, and does what it says.
    pub(super) fn learn(&mut self, node: NodeId) {
        let index = self.index();
        self.note(node, NodeEventKind::Applied { index, digest: mixed(index.get()) });
        for at in self.living() {
            let partition = &mut self.partitions[at];
            let replica = partition.replicas.get_mut(&node).expect("every node has a replica");
            replica.view = Some(partition.state.clone());
            let epoch = partition.state.leader_epoch;
            if partition.state.leader != Some(node) {
                replica.lead = None;
            } else if replica.leads_in() != Some(epoch) {
                let begin = replica.log.len();
                replica.lead = Some(Lead { epoch, begin, progress: BTreeMap::new() });
                let (id, end) = (partition.id, offset(begin));
                self.note(node, NodeEventKind::Leads { partition: id, epoch, end });
            }
            let replica = self.partitions[at].replicas.get_mut(&node).expect("every node has a replica");
            replica.advance(node);
        }
    }

    pub(super) fn crash_or_restart(&mut self) {
        let node = self.some_node();
        if self.nodes[&node].is_up {
            self.crash(node);
        } else {
            self.restart(node);
        }
    }

    fn crash(&mut self, node: NodeId) {
        let what = match self.random.below(4) {
            0 | 1 => NodeEventKind::Killed,
            2 => NodeEventKind::PowerLost,
            _ => NodeEventKind::Exited { reason: "the disk failed".to_owned(), expected: true },
        };
        let loses = what == NodeEventKind::PowerLost;
        self.note(node, what);
        self.nodes.get_mut(&node).expect("it is a node").is_up = false;
        for at in self.living() {
            let replica = self.partitions[at].replicas.get_mut(&node).expect("every node has a replica");
            if loses {
                // A torn batch is no batch.
                let kept = self.random.between(replica.flushed, replica.log.len());
                let torn = kept.checked_sub(1).map_or(0, |last| replica.log[last].behind);
                let before = kept.checked_sub(1).map_or(0, |last| replica.log[last].before);
                let kept = if torn > 0 { kept - 1 - before } else { kept };
                replica.log.truncate(kept.max(replica.flushed));
                replica.flushed = replica.flushed.min(replica.log.len());
            }
            let known = replica.watermark.min(replica.flushed);
            replica.watermark = self.random.between(replica.start.min(known), known).max(replica.start);
            (replica.view, replica.lead) = (None, None);
        }
    }

    /// Comes back once it is fenced, so that its old life is over.
    pub(super) fn restart(&mut self, node: NodeId) {
        if !self.nodes[&node].is_fenced {
            return;
        }
        self.note(node, NodeEventKind::Started);
        let place = self.nodes.get_mut(&node).expect("it is a node");
        place.is_up = true;
        place.life += 1;
        for at in self.living() {
            let partition = &mut self.partitions[at];
            let id = partition.id;
            let replica = partition.replicas.get_mut(&node).expect("every node has a replica");
            let (end, attested) = (replica.log.len(), replica.flushed);
            replica.flushed = end;
            let durable = self.random.chance(50).then_some(offset(end));
            let (end, attested) = (offset(end), offset(attested));
            self.note(node, NodeEventKind::Recovered { partition: id, end, attested, durable, suspected: false });
        }
        self.register(node);
        if self.random.chance(50) {
            self.learn(node);
        }
    }

    /// A node tells somebody what it knows.
    pub(super) fn tell(&mut self) {
        let (Some(at), node) = (self.some_partition(), self.some_node()) else { return };
        let partition = &self.partitions[at];
        let Some(view) = partition.replicas[&node].view.as_ref().filter(|_| self.nodes[&node].is_up) else { return };
        let (leader_epoch, partition_epoch) = (view.leader_epoch, view.partition_epoch);
        self.note(node, NodeEventKind::Told { partition: partition.id, leader_epoch, partition_epoch });
    }
}
