//! When each node's processes began and ended, and how.
//!
//! Read by the invariants that hold within one life of a process. Invariant: in the order of the history's events.

use std::collections::BTreeMap;

use crate::model::{Instant, NodeId};
use crate::verify::history::{NodeEvent, NodeEventKind};

/// The lives of all nodes.
pub(crate) struct Lives {
    of: BTreeMap<NodeId, Vec<(Instant, Turn)>>,
}

/// What happened to a node's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It began.
    Began,
    /// It ended; what it had written stays.
    Ended,
    /// It ended with the machine's power; what was not synced may be gone.
    LostPower,
}

impl Lives {
    pub(super) fn new(events: &[NodeEvent]) -> Self {
        let mut of: BTreeMap<NodeId, Vec<(Instant, Turn)>> = BTreeMap::new();
        for event in events {
            if let Some(turn) = turn(&event.what) {
                of.entry(event.node).or_default().push((event.at, turn));
            }
        }
        Self { of }
    }

    /// Whether a process of a node began in a span of time, its ends included.
    pub(crate) fn began_within(&self, node: NodeId, begin: Instant, end: Instant) -> bool {
        let Some(turns) = self.of.get(&node) else { return false };
        let from = turns.partition_point(|(at, _)| *at < begin);
        turns[from..].iter().take_while(|(at, _)| *at <= end).any(|(_, turn)| *turn == Turn::Began)
    }

    /// The nodes whose processes run at the end.
    pub(crate) fn running(&self) -> impl Iterator<Item = NodeId> {
        let runs = |turns: &Vec<(Instant, Turn)>| turns.last().is_some_and(|(_, turn)| *turn == Turn::Began);
        self.of.iter().filter(move |(_, turns)| runs(turns)).map(|(node, _)| *node)
    }

    /// The times in which a process was down.
    pub(crate) fn outages(&self, ended_at: Instant) -> impl Iterator<Item = (Instant, Instant)> {
        self.of.values().flat_map(move |turns| {
            turns.iter().enumerate().filter(|(_, (_, turn))| *turn != Turn::Began).map(move |(at, (begin, _))| {
                let end = turns[at..].iter().find(|(_, turn)| *turn == Turn::Began);
                (*begin, end.map_or(ended_at, |(end, _)| *end))
            })
        })
    }
}

/// What an event says of its node's process.
pub(crate) const fn turn(what: &NodeEventKind) -> Option<Turn> {
    match what {
        NodeEventKind::Started => Some(Turn::Began),
        NodeEventKind::Killed
        | NodeEventKind::Exited { .. }
        | NodeEventKind::Stopped
        | NodeEventKind::Panicked { .. } => Some(Turn::Ended),
        NodeEventKind::PowerLost => Some(Turn::LostPower),
        NodeEventKind::Leads { .. }
        | NodeEventKind::Recovered { .. }
        | NodeEventKind::Applied { .. }
        | NodeEventKind::Told { .. }
        | NodeEventKind::Controls { .. } => None,
    }
}
