//! Topic configurations as the shards, the produce checks and the controller want them.
//!
//! Invariant: precedence is topic override, then cluster-wide override, then this node's configuration, then the
//! built-in default.

use std::time::Duration;

use crate::machines::controller::{Defaults, effective_min_isr};
use crate::machines::metadata::Image;
use crate::model::{FlushMode as TopicFlushMode, TopicConfigs, TopicId, TopicSettings};
use crate::partition::FlushMode;
use crate::storage::{Cleanup, CompactionOptions, LogOptions};

/// What a shard needs to know of a partition's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionSettings {
    pub(crate) log: LogOptions,
    pub(crate) flush: FlushMode,
    pub(crate) isr_min: usize,
}

/// The configuration in force for a topic.
#[must_use]
pub fn topic_settings(image: &Image, defaults: &Defaults, topic: TopicId) -> TopicSettings {
    image.configs().topic_settings(topic, &defaults.topic)
}

pub(crate) fn partition_settings(
    image: &Image,
    defaults: &Defaults,
    producer_expiration: Duration,
    topic: TopicId,
) -> PartitionSettings {
    let settings = topic_settings(image, defaults, topic);
    PartitionSettings {
        log: LogOptions {
            producer_expiration,
            was_compacted: image.configs().was_compacted(topic),
            ..log_options(&settings)
        },
        flush: match settings.flush_mode {
            TopicFlushMode::Durable => FlushMode::Durable,
            TopicFlushMode::Kafka => FlushMode::Kafka,
        },
        isr_min: effective_min_isr(image, defaults, topic),
    }
}

/// How long the files of a deleted partition wait. Its topic is gone and says no more: the broker's default counts, as
/// in Kafka.
pub(crate) fn file_delete_delay(defaults: &Defaults) -> Duration {
    span(TopicConfigs::new().resolve(&defaults.topic).file_delete_delay_ms)
}

fn log_options(settings: &TopicSettings) -> LogOptions {
    LogOptions {
        segment_bytes: settings.segment_bytes,
        segment_span: segment_span(settings),
        segment_jitter: span(settings.segment_jitter_ms),
        segment_index_bytes: settings.segment_index_bytes,
        index_interval_bytes: settings.index_interval_bytes,
        retention_bytes: settings.retention_bytes,
        retention_span: settings.retention_ms.map(Duration::from_millis),
        cleanup: Cleanup { delete: settings.cleanup_policy.delete, compact: settings.cleanup_policy.compact },
        compaction: compaction_options(settings),
        file_delete_delay: span(settings.file_delete_delay_ms),
        ..LogOptions::default()
    }
}

/// A segment that is not closed cannot be compacted: in a compacted topic it closes in time for the largest lag.
fn segment_span(settings: &TopicSettings) -> Duration {
    let lag_max = if settings.cleanup_policy.compact { settings.max_compaction_lag_ms } else { i64::MAX };
    span(settings.segment_ms.min(lag_max))
}

fn compaction_options(settings: &TopicSettings) -> CompactionOptions {
    CompactionOptions {
        dirty_ratio_min_millionths: millionths(settings.min_cleanable_dirty_ratio),
        delete_retention: span(settings.delete_retention_ms),
        lag_min: span(settings.min_compaction_lag_ms),
        lag_max: (settings.max_compaction_lag_ms < i64::MAX).then(|| span(settings.max_compaction_lag_ms)),
    }
}

/// Of a ratio that was checked to lie between 0 and 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and a million")]
fn millionths(ratio: f64) -> u32 {
    (ratio.clamp(0.0, 1.0) * 1_000_000.0).round() as u32
}

fn span(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
