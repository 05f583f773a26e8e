//! The simulated network: what happens to a message between two endpoints.
//!
//! Invariant: a message arrives late, twice, in any order or never; it is never changed. Requests may overtake each
//! other, as those of two connections do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::message::Endpoint;
use crate::model::NodeId;
use crate::testing::Chance;

/// What a direction between two nodes does to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing arrives, and nobody is told.
    Silent,
    /// The sender is told at once that there is no connection.
    Refused,
    /// What is sent waits until the link is released.
    Held,
}

/// Every link, and the weather.
#[derive(Debug)]
pub(super) struct Network {
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// Nodes to and from which replication is held up.
    data_held: BTreeSet<NodeId>,
    delay: (Duration, Duration),
    /// Percent of messages that are lost, and of requests that arrive twice.
    loss: usize,
    doubles: usize,
    /// Extra delay of everything.
    slow: Duration,
}

/// What becomes of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives after each of these.
    Arrives(Vec<Duration>),
    /// It never does.
    Lost,
    /// The sender learns after this that it does not.
    Refused(Duration),
    /// It waits for the link.
    Held,
}

impl Network {
    pub(super) fn new(delay: (Duration, Duration)) -> Self {
        Self { links: BTreeMap::new(), data_held: BTreeSet::new(), delay, loss: 0, doubles: 0, slow: Duration::ZERO }
    }

    pub(super) fn set(&mut self, from: NodeId, to: NodeId, link: Option<Link>) {
        match link {
            Some(link) => self.links.insert((from, to), link),
            None => self.links.remove(&(from, to)),
        };
    }

    pub(super) fn set_weather(&mut self, loss: usize, doubles: usize, slow: Duration) {
        (self.loss, self.doubles, self.slow) = (loss, doubles, slow);
    }

    /// Replication from and to a node waits.
    pub(super) fn hold_data(&mut self, node: NodeId) {
        self.data_held.insert(node);
    }

    pub(super) fn release_data(&mut self, node: NodeId) {
        self.data_held.remove(&node);
    }

    pub(super) fn is_data_held(&self, node: NodeId) -> bool {
        self.data_held.contains(&node)
    }

    /// Whether replication between two nodes waits.
    pub(super) fn holds_data(&self, from: Endpoint, to: Endpoint) -> bool {
        let (Endpoint::Node(from), Endpoint::Node(to)) = (from, to) else { return false };
        self.data_held.contains(&from) || self.data_held.contains(&to)
    }

    /// Whether nothing is lost or late.
    pub(super) fn is_calm(&self) -> bool {
        self.loss == 0 && self.slow.is_zero()
    }

    /// Everything works.
    pub(super) fn heal(&mut self) {
        self.links.clear();
        self.data_held.clear();
        self.set_weather(0, 0, Duration::ZERO);
    }

    /// Whether messages of one node reach another now.
    pub(super) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        from == to || !self.links.contains_key(&(from, to))
    }

    pub(super) fn link(&self, from: Endpoint, to: Endpoint) -> Option<Link> {
        match (from, to) {
            (Endpoint::Node(from), Endpoint::Node(to)) if from != to => self.links.get(&(from, to)).copied(),
            (Endpoint::Node(_), Endpoint::Node(_) | Endpoint::Client(_)) | (Endpoint::Client(_), _) => None,
        }
    }

    /// What becomes of a message; `may_double` for what is safe to be told twice on a second connection.
    pub(super) fn fate(&self, from: Endpoint, to: Endpoint, may_double: bool, chance: &mut Chance) -> Fate {
        let delay = self.one_way(chance);
        match self.link(from, to) {
            Some(Link::Silent) => return Fate::Lost,
            Some(Link::Refused) => return Fate::Refused(delay),
            Some(Link::Held) => return Fate::Held,
            None => {}
        }
        if from == to {
            return Fate::Arrives(vec![Duration::from_micros(20)]);
        }
        // What a client has sent and lost stops its connection: nothing sent later comes without it.
        if chance.percent(self.loss) && matches!(from, Endpoint::Node(_)) {
            return Fate::Lost;
        }
        let mut arrivals = vec![delay];
        if may_double && chance.percent(self.doubles) {
            arrivals.push(delay + chance.millis(1, 3000));
        }
        Fate::Arrives(arrivals)
    }

    /// How long a message takes now.
    pub(super) fn one_way(&self, chance: &mut Chance) -> Duration {
        chance.span(self.delay.0, self.delay.1) + self.slow
    }
}
