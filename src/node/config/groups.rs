//! What the options say of groups of consumers.
//!
//! Invariant: what the coordinator does not let operators set has its bound there.

use super::{ConfigError, Values};
use crate::broker::GroupsTopic;
use crate::machines::group;

/// How groups are kept and coordinated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// What the coordinator goes by.
    pub coordinator: group::Options,
    /// How `__consumer_offsets` is made.
    pub topic: GroupsTopic,
    /// How often lag is measured; `None` when it is not.
    pub lag_interval: Option<std::time::Duration>,
}

impl Values<'_> {
    pub(super) fn groups(&self) -> Result<GroupOptions, ConfigError> {
        let minutes: u64 = self.number_of("offsets.retention.minutes")?;
        Ok(GroupOptions {
            coordinator: group::Options {
                session_timeout_min: self.span("group.min.session.timeout.ms")?,
                session_timeout_max: self.span("group.max.session.timeout.ms")?,
                initial_delay: self.span("group.initial.rebalance.delay.ms")?,
                consumer_size_max: self.number_of("group.consumer.max.size")?,
                consumer_session_timeout: self.span("group.consumer.session.timeout.ms")?,
                heartbeat_interval_min: self.span("group.consumer.min.heartbeat.interval.ms")?,
                heartbeat_interval_max: self.span("group.consumer.max.heartbeat.interval.ms")?,
                heartbeats_per_second: self.number_of("group.consumer.heartbeats.per.second")?,
                size_max: self.number_of("group.max.size")?,
                retention: std::time::Duration::from_secs(minutes.saturating_mul(60)),
                retention_check: self.span("offsets.retention.check.interval.ms")?,
                metadata_max: self.number_of("offset.metadata.max.bytes")?,
                ..group::Options::default()
            },
            topic: GroupsTopic {
                partitions: self.number_of("offsets.topic.num.partitions")?,
                replication_factor: self.number_of("offsets.topic.replication.factor")?,
                segment_bytes: self.number_of("offsets.topic.segment.bytes")?,
            },
            lag_interval: Some(self.span("group.lag.interval.ms")?).filter(|interval| !interval.is_zero()),
        })
    }
}
