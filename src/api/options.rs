//! What the APIs may be set to.
//!
//! Invariant: read once at the start by `node`; nothing changes it later.

use std::time::Duration;

/// The options of the APIs; each has the name and meaning of the configuration in its comment.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `controller.listener.names`
    pub controller_listener: String,
    /// `fetch.max.bytes`
    pub fetch_bytes_max: usize,
    /// The longest that a fetch waits, whatever the client asks for.
    pub fetch_wait_max: Duration,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_sessions_max: usize,
    /// `queued.max.request.bytes`: what large requests may take, decoded and served.
    pub requests_bytes_max: usize,
    /// `max.request.partition.size.limit`
    pub described_partitions_max: i32,
    /// The longest that a change of topics waits for a controller, whatever the client asks for.
    pub change_wait_max: Duration,
    /// What this node's configuration file and defaults say, for DescribeConfigs.
    pub broker_configs: Vec<BrokerConfig>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            auto_create_topics: true,
            controller_listener: "CONTROLLER".to_owned(),
            fetch_bytes_max: 57_671_680,
            fetch_wait_max: Duration::from_secs(300),
            fetch_sessions_max: 1_000,
            requests_bytes_max: 256 << 20,
            described_partitions_max: 2_000,
            change_wait_max: Duration::from_secs(300),
            broker_configs: Vec::new(),
        }
    }
}

/// A configuration of this node that is not the default of a topic's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Its name.
    pub name: String,
    /// What the configuration file or the environment says.
    pub value: Option<String>,
    /// What holds otherwise.
    pub default: Option<String>,
    /// What its values are.
    pub kind: BrokerConfigKind,
    /// One line for people.
    pub doc: String,
}

/// What values a configuration of a node takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerConfigKind {
    /// true or false.
    Boolean,
    /// Any text.
    Text,
    /// A 32-bit integer.
    Int,
    /// A 64-bit integer.
    Long,
    /// A number with a fraction.
    Double,
    /// Words separated by commas.
    List,
    /// A secret: never shown.
    Password,
}
