//! What a topic's configuration says about its logs.

use std::time::Duration;

use super::compact::CompactionOptions;

/// Settings of one log, named as Kafka's of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// `segment.bytes`: a segment holds at most this much.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment spans at most this much time.
    pub segment_span: Duration,
    /// `segment.jitter.ms`: up to this much less, differing by segment, so that they do not all roll at once.
    pub segment_jitter: Duration,
    /// `segment.index.bytes`: an offset index holds at most this much.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: one index entry for about this much log.
    pub index_interval_bytes: u32,
    /// `retention.bytes`; `None` is no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` is no limit.
    pub retention_span: Option<Duration>,
    /// `cleanup.policy`.
    pub cleanup: Cleanup,
    /// What `cleanup.policy=compact` goes by.
    pub compaction: CompactionOptions,
    /// Whether the topic was compacted by an earlier configuration: then offsets may be missing in any copy.
    pub was_compacted: bool,
    /// `file.delete.delay.ms`.
    pub file_delete_delay: Duration,
    /// `producer.id.expiration.ms`.
    pub producer_expiration: Duration,
    /// How much log may lie behind the last point as of which indexes, epochs and producers are on the disk; it
    /// bounds the work of a start after a crash. Not a setting of Kafka's.
    pub derived_interval_bytes: u64,
}

/// `cleanup.policy`: none, one or both (KIP-1130 allows none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// Whether old segments are deleted by size and time.
    pub delete: bool,
    /// Whether records are removed that a later one of the same key replaces.
    pub compact: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            segment_bytes: 1 << 30,
            segment_span: 7 * DAY,
            segment_jitter: Duration::ZERO,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_bytes: None,
            retention_span: Some(7 * DAY),
            cleanup: Cleanup { delete: true, compact: false },
            compaction: CompactionOptions::default(),
            was_compacted: false,
            file_delete_delay: Duration::from_secs(60),
            producer_expiration: DAY,
            derived_interval_bytes: 4 << 20,
        }
    }
}
