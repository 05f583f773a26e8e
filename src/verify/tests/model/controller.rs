//! The model's controller: fences, elects, shrinks and grows ISRs, by the rules of KIP-966.

use super::World;
use crate::model::{BrokerEpoch, LeaderEpoch, NodeId, Term};
use crate::verify::history::{MetadataFact, NodeEventKind, PartitionState};

impl World {
    /// One decision.
    pub(super) fn control(&mut self) {
        let node = self.some_node();
        match self.random.below(7) {
            0 => self.change_controller(),
            1 => self.fence(node),
            2 => self.unfence(node),
            3 => self.shrink(),
            4 | 5 => self.grow(),
            _ => self.elect_another(),
        }
    }

    fn change_controller(&mut self) {
        self.term += 1;
        let node = self.some_node();
        self.note(node, NodeEventKind::Controls { term: Term::new(self.term) });
    }

    /// A broker is taken out, because it is down or seems so.
    pub(super) fn fence(&mut self, node: NodeId) {
        let seems_down = self.random.chance(20);
        if self.nodes[&node].is_fenced || (self.nodes[&node].is_up && !seems_down) {
            return;
        }
        self.nodes.get_mut(&node).expect("it is a node").is_fenced = true;
        let mut facts = vec![MetadataFact::Fenced { node }];
        if self.random.chance(50) {
            // What is owed follows in an entry of its own.
            self.commit(facts);
            facts = Vec::new();
        }
        for at in self.living() {
            facts.extend(self.settle(at, |member| member != node));
        }
        self.commit(facts);
    }

    /// A broker that knows the metadata may serve again.
    pub(super) fn unfence(&mut self, node: NodeId) {
        let at_work = |world: &Self| world.nodes[&node].is_up && world.nodes[&node].is_fenced;
        if !at_work(self) || self.partitions.iter().any(|p| !p.is_deleted && p.replicas[&node].view.is_none()) {
            return;
        }
        self.nodes.get_mut(&node).expect("it is a node").is_fenced = false;
        let mut facts = vec![MetadataFact::Unfenced { node }];
        for at in self.living() {
            facts.extend(self.settle(at, |_| true));
        }
        self.commit(facts);
    }

    pub(super) fn register(&mut self, node: NodeId) {
        let epoch = BrokerEpoch::new(i64::try_from(self.index().get() + 10).expect("an index is small"));
        self.commit(vec![MetadataFact::Registered { node, epoch }]);
    }

    /// Somebody other than the leader leaves the ISR.
    fn shrink(&mut self) {
        let Some(at) = self.some_partition() else { return };
        let state = &self.partitions[at].state;
        let members: Vec<NodeId> = state.isr.iter().copied().filter(|node| Some(*node) != state.leader).collect();
        let Some(gone) = self.random.pick(&members).copied() else { return };
        let fact = self.settle(at, |member| member != gone);
        self.commit(fact.into_iter().collect());
    }

    /// A follower joins that its leader proposes: it has fetched all that is committed, and from where the epoch began.
    pub(super) fn grow(&mut self) {
        let Some(at) = self.some_partition() else { return };
        let node = self.some_node();
        self.grow_by(at, node);
    }

    pub(super) fn grow_by(&mut self, at: usize, node: NodeId) {
        let partition = &self.partitions[at];
        let (state, Some(leader)) = (&partition.state, partition.state.leader) else { return };
        let source = &partition.replicas[&leader];
        let (Some(lead), Some(view)) = (&source.lead, &source.view) else { return };
        let is_current = self.nodes[&leader].is_up && view == state;
        let follows = partition.replicas[&node].view.as_ref().map(|view| view.leader_epoch) == Some(lead.epoch);
        let has_all = lead.progress.get(&node).is_some_and(|end| *end >= lead.begin.max(source.watermark));
        if !is_current || !follows || !has_all || state.isr.contains(&node) || self.nodes[&node].is_fenced {
            return;
        }
        let mut isr = state.isr.clone();
        isr.push(node);
        let mut after = with_isr(state, isr);
        after.partition_epoch = state.partition_epoch.next();
        self.partitions[at].state = after.clone();
        // It was proposed by the leader, who has counted the member since.
        let replica = self.partitions[at].replicas.get_mut(&leader).expect("every node has a replica");
        replica.view = Some(after.clone());
        self.commit(vec![MetadataFact::Partition(after)]);
    }

    /// Another of the ISR leads; the old leader may hear of it late.
    fn elect_another(&mut self) {
        let Some(at) = self.some_partition() else { return };
        let state = self.partitions[at].state.clone();
        let strangers = self.options.unclean && self.random.chance(50);
        let among = if strangers { &state.replicas } else { &state.isr };
        let may_lead = |node: &NodeId| !self.nodes[node].is_fenced && state.leader != Some(*node);
        let able: Vec<NodeId> = among.iter().copied().filter(may_lead).collect();
        let Some(leader) = self.random.pick(&able).copied() else { return };
        let mut after = state.clone();
        if !state.isr.contains(&leader) {
            after = PartitionState { isr: vec![leader], elr: Vec::new(), ..after };
        }
        after.leader = Some(leader);
        self.enact(at, after, state.leader_epoch.next());
        let fact = MetadataFact::Partition(self.partitions[at].state.clone());
        self.commit(vec![fact]);
    }

    /// What becomes of a partition of whose ISR only some stay; nothing, if nothing changes.
    fn settle(&mut self, at: usize, stays: impl Fn(NodeId) -> bool) -> Option<MetadataFact> {
        let before = self.partitions[at].state.clone();
        let able = |node: &NodeId| !self.nodes[node].is_fenced;
        let isr = before.isr.iter().copied().filter(|node| stays(*node) && able(node)).collect();
        let mut after = with_isr(&before, isr);
        let current = before.leader.filter(|leader| after.isr.contains(leader));
        after.leader = current.or_else(|| after.isr.first().copied());
        if after.isr.is_empty()
            && let Some(eligible) = after.elr.iter().copied().find(able)
        {
            after = PartitionState { leader: Some(eligible), ..with_isr(&after, vec![eligible]) };
        }
        if after == before {
            return None;
        }
        let epoch = if after.leader == before.leader { before.leader_epoch } else { before.leader_epoch.next() };
        self.enact(at, after, epoch);
        Some(MetadataFact::Partition(self.partitions[at].state.clone()))
    }

    fn enact(&mut self, at: usize, after: PartitionState, epoch: LeaderEpoch) {
        let partition_epoch = self.partitions[at].state.partition_epoch.next();
        self.partitions[at].state = PartitionState { leader_epoch: epoch, partition_epoch, ..after };
    }
}

/// Another ISR, and the ELR that follows from it.
fn with_isr(before: &PartitionState, isr: Vec<NodeId>) -> PartitionState {
    let enough = isr.len() >= before.isr_min;
    let held = |node: &NodeId| before.isr.contains(node) || before.elr.contains(node);
    let stays = |node: &NodeId| !enough && held(node) && !isr.contains(node);
    let elr = before.replicas.iter().copied().filter(stays).collect();
    PartitionState { isr, elr, ..before.clone() }
}
