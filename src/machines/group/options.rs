//! What operators set of groups.
//!
//! Invariant: the defaults are Kafka's, but for the bounds that Kafka does not have.

use std::time::Duration;

/// The settings of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.initial.rebalance.delay.ms`: how long the first member of a group waits for others.
    pub initial_delay: Duration,
    /// `group.max.size`: how many members a group may have, and as many that were told an id and have not joined yet.
    pub size_max: usize,
    /// What all members of a group may say and be given, together, in bytes: it becomes one record.
    pub group_bytes_max: usize,
    /// How many members all groups of one partition may have together.
    pub members_max: usize,
    /// `group.consumer.max.size`: how many members a group of KIP-848 may have.
    pub consumer_size_max: usize,
    /// `group.consumer.session.timeout.ms`: how long a member of KIP-848 may be silent.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.min.heartbeat.interval.ms`: how often a member is heard while the budget allows.
    pub heartbeat_interval_min: Duration,
    /// `group.consumer.max.heartbeat.interval.ms`: how rarely, whatever the budget says.
    pub heartbeat_interval_max: Duration,
    /// `group.consumer.heartbeats.per.second`: how many heartbeats all members of the groups of one partition of
    /// `__consumer_offsets` may send together; at more members each is heard less often.
    pub heartbeats_per_second: u32,
    /// How long a new member waits for its first generation.
    pub new_member_wait: Duration,
    /// `offsets.retention.minutes`.
    pub retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check: Duration,
    /// `offset.metadata.max.bytes`: in fact UTF-16 code units, as Kafka counts them.
    pub metadata_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            initial_delay: Duration::from_secs(3),
            size_max: 10_000,
            group_bytes_max: 16 << 20,
            members_max: 100_000,
            consumer_size_max: 10_000,
            consumer_session_timeout: Duration::from_secs(45),
            heartbeat_interval_min: Duration::from_millis(500),
            heartbeat_interval_max: Duration::from_secs(15),
            heartbeats_per_second: 1_000,
            new_member_wait: Duration::from_secs(5 * 60),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            retention_check: Duration::from_secs(10 * 60),
            metadata_max: 4_096,
        }
    }
}
