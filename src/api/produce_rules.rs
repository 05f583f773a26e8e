//! What a topic's configuration asks of the batches produced to it.
//!
//! Invariant: says nothing that the topic's settings do not say.

use crate::model::{CompressionType, TimestampType as TopicTimestampType, TopicSettings};
use crate::records::{Codec, CompressionRule, ProduceRules, TimestampType};

/// From this version of Produce on, zstd may be used (KIP-110).
const ZSTD_FROM: i16 = 7;

/// The rules of a topic for one request.
pub(super) fn produce_rules(settings: &TopicSettings, version: i16) -> ProduceRules {
    ProduceRules {
        max_message_bytes: size(settings.max_message_bytes),
        segment_bytes_max: size(settings.segment_bytes),
        compression: compression(settings),
        timestamp_type: match settings.message_timestamp_type {
            TopicTimestampType::CreateTime => TimestampType::Create,
            TopicTimestampType::LogAppendTime => TimestampType::LogAppend,
        },
        timestamp_before_max_ms: settings.message_timestamp_before_ms_max,
        timestamp_after_max_ms: settings.message_timestamp_after_ms_max,
        compacted: settings.cleanup_policy.compact,
        zstd_allowed: version >= ZSTD_FROM,
    }
}

fn compression(settings: &TopicSettings) -> CompressionRule {
    CompressionRule::Fixed(match settings.compression_type {
        CompressionType::Producer => return CompressionRule::Producer,
        CompressionType::Uncompressed => Codec::None,
        CompressionType::Gzip => Codec::Gzip { level: settings.compression_gzip_level },
        CompressionType::Snappy => Codec::Snappy,
        CompressionType::Lz4 => Codec::Lz4,
        CompressionType::Zstd => Codec::Zstd { level: settings.compression_zstd_level },
    })
}

fn size(bytes: u32) -> usize {
    usize::try_from(bytes).expect("a usize has at least 32 bits")
}
