//! Which brokers keep a new partition: striped over racks and brokers.
//!
//! Invariant: no partition has two replicas on a broker, nor two in a rack while another rack with a broker of the
//! same state is free; the first replica, which will lead, is active.

use std::collections::BTreeMap;

use crate::machines::metadata::{Broker, Image};
use crate::model::NodeId;

/// Gives new partitions their replicas.
pub(super) struct Placer {
    racks: Vec<Rack>,
    random: Random,
    placed: usize,
}

struct Rack {
    active: Vec<NodeId>,
    /// Fenced or shutting down: they come back, and are taken when there are not enough others.
    resting: Vec<NodeId>,
}

/// Why no partition can be placed: who would lead it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NobodyActive;

impl Placer {
    /// A placer over all registered brokers; `seed` decides where it starts.
    pub(super) fn new(image: &Image, seed: u64) -> Result<Self, NobodyActive> {
        let mut by_rack: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for broker in image.brokers().iter() {
            let rack =
                by_rack.entry(broker.rack.as_deref()).or_insert(Rack { active: Vec::new(), resting: Vec::new() });
            let list = if broker.is_active() { &mut rack.active } else { &mut rack.resting };
            list.push(broker.node);
        }
        if !image.brokers().iter().any(Broker::is_active) {
            return Err(NobodyActive);
        }
        let mut placer = Self { racks: by_rack.into_values().collect(), random: Random(seed), placed: 0 };
        let turn = placer.random.below(placer.racks.len());
        placer.racks.rotate_left(turn);
        placer.shuffle();
        Ok(placer)
    }

    /// The replicas of the next partition, `count` of them, the preferred leader first.
    pub(super) fn place(&mut self, count: usize) -> Vec<NodeId> {
        let actives: usize = self.racks.iter().map(|rack| rack.active.len()).sum();
        if self.placed == actives {
            // Else the same brokers would follow the same leaders for ever, and take over all it led together.
            self.shuffle();
        }
        let active = self.striped(|rack| &rack.active);
        let resting = self.striped(|rack| &rack.resting);
        self.placed += 1;
        let mut chosen: Vec<(usize, NodeId)> = Vec::with_capacity(count);
        for spread in [true, false] {
            for candidate in active.iter().chain(&resting) {
                let is_taken =
                    chosen.iter().any(|(rack, node)| *node == candidate.1 || (spread && *rack == candidate.0));
                if chosen.len() < count && !is_taken {
                    chosen.push(*candidate);
                }
            }
        }
        assert_eq!(chosen.len(), count, "the caller asks for no more replicas than brokers are registered");
        chosen.into_iter().map(|(_, node)| node).collect()
    }

    /// The brokers in the order in which this partition asks them: one of each rack in turn, starting one rack and,
    /// after all racks, one broker further for each partition.
    fn striped(&self, list: impl Fn(&Rack) -> &Vec<NodeId>) -> Vec<(usize, NodeId)> {
        let racks: Vec<usize> = (0..self.racks.len()).filter(|rack| !list(&self.racks[*rack]).is_empty()).collect();
        let deepest = racks.iter().map(|rack| list(&self.racks[*rack]).len()).max().unwrap_or(0);
        let mut order = Vec::new();
        for step in 0..racks.len() * deepest {
            let rack = racks[(self.placed + step) % racks.len()];
            let brokers = list(&self.racks[rack]);
            let depth = step / racks.len();
            if depth < brokers.len() {
                order.push((rack, brokers[(self.placed / racks.len() + depth) % brokers.len()]));
            }
        }
        order
    }

    fn shuffle(&mut self) {
        self.placed = 0;
        for rack in &mut self.racks {
            self.random.shuffle(&mut rack.active);
            self.random.shuffle(&mut rack.resting);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a usize fits in 64 bits");
        usize::try_from(self.next() % end).expect("a remainder by a usize fits in it")
    }

    fn shuffle(&mut self, nodes: &mut [NodeId]) {
        for at in (1..nodes.len()).rev() {
            nodes.swap(at, self.below(at + 1));
        }
    }
}
