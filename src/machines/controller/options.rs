//! What the controller may be set to.

use std::time::Duration;

use crate::model::{GroupConfigs, TopicConfigs};

/// The controller's options; each has the name and meaning of the configuration in its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `broker.session.timeout.ms`: how long a silent broker stays unfenced.
    pub session_timeout: Duration,
    /// `broker.heartbeat.interval.ms`: how often brokers speak.
    pub heartbeat_interval: Duration,
    /// `broker.reconnect.grace.ms`: how long a broker whose connection closed has to come back.
    pub reconnect_grace: Duration,
    /// How old a broker's oldest unfinished flush, turn or apply may be before it is fenced (rule S11).
    pub stall_max: Duration,
    /// How long after one leader was found unreachable no other is moved for that (rule S12): where nobody reaches
    /// anybody, leaderships must not go round in circles.
    pub unreachable_hold: Duration,
    /// How often some leaderships return to preferred replicas.
    pub preferred_interval: Duration,
    /// How long a broker must have been well before leaderships return to it.
    pub preferred_calm: Duration,
    /// How many return at once.
    pub preferred_moves_max: usize,
    /// How many bytes of records a proposal may hold (rule S14).
    pub proposal_bytes_max: usize,
    /// How many partitions one request may create.
    pub request_partitions_max: usize,
    /// The defaults of topics.
    pub defaults: Defaults,
}

/// What a topic gets when nobody says otherwise: the node's own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `default.replication.factor` (rule S4).
    pub replication_factor: i16,
    /// `num.partitions`.
    pub partitions: i32,
    /// The node's defaults of topic configurations, by the topic's names of them.
    pub topic: TopicConfigs,
    /// What groups of KIP-848 get that set nothing.
    pub group: GroupConfigs,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(250),
            reconnect_grace: Duration::from_millis(150),
            stall_max: Duration::from_secs(3),
            unreachable_hold: Duration::from_secs(5),
            preferred_interval: Duration::from_secs(5),
            preferred_calm: Duration::from_secs(60),
            preferred_moves_max: 50,
            proposal_bytes_max: 128 * 1024,
            request_partitions_max: 10_000,
            defaults: Defaults::default(),
        }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self { replication_factor: 3, partitions: 1, topic: TopicConfigs::new(), group: GroupConfigs::default() }
    }
}
