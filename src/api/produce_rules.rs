//! What a topic's configuration asks of the batches produced to it.
//!
//! Called by `produce`. Resolving a topic's settings walks all of them, too much for every request: the rules are kept
//! as long as the image is the same. Invariant: says nothing that the topic's settings in that image do not say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::machines::metadata::Image;
use crate::model::TopicId;
use crate::model::{CompressionType, TimestampType as TopicTimestampType, TopicSettings};
use crate::records::{Codec, CompressionRule, ProduceRules, TimestampType};

/// From this version of Produce on, zstd may be used (KIP-110).
const ZSTD_FROM: i16 = 7;

/// The rules of the topics of one image.
#[derive(Debug, Default)]
pub(super) struct RulesCache {
    /// Guards the table only; held for one look-up, or for resolving one topic's settings after a change of the
    /// image. Bounded by the topics of the image.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    image: Option<Arc<Image>>,
    by_topic: HashMap<TopicId, ProduceRules>,
}

impl RulesCache {
    /// The rules of a topic for one request; `settings` resolves its settings in `image`.
    pub(super) fn rules(
        &self,
        image: &Arc<Image>,
        topic: TopicId,
        version: i16,
        settings: impl FnOnce() -> TopicSettings,
    ) -> ProduceRules {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.image.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, image)) {
            *kept = Kept { image: Some(Arc::clone(image)), by_topic: HashMap::new() };
        }
        let rules = *kept.by_topic.entry(topic).or_insert_with(|| produce_rules(&settings()));
        ProduceRules { zstd_allowed: version >= ZSTD_FROM, ..rules }
    }
}

fn produce_rules(settings: &TopicSettings) -> ProduceRules {
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
        zstd_allowed: true,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicConfigs;

    fn settings(max_message_bytes: &str) -> TopicSettings {
        let mut configs = TopicConfigs::new();
        configs.set("max.message.bytes", max_message_bytes).expect("the test's size is valid");
        configs.resolve(&TopicConfigs::new())
    }

    #[test]
    fn rules_are_resolved_once_for_an_image_and_anew_for_the_next() {
        let (cache, topic) = (RulesCache::default(), TopicId::new([7; 16]));
        let (first, second) = (Arc::new(Image::default()), Arc::new(Image::default()));
        let size = |image, text| cache.rules(image, topic, 13, || settings(text)).max_message_bytes;
        assert_eq!(size(&first, "100"), 100);
        assert_eq!(size(&first, "200"), 100);
        assert_eq!(size(&second, "200"), 200);
    }

    #[test]
    fn zstd_may_be_used_from_the_version_that_knows_it() {
        let (cache, image) = (RulesCache::default(), Arc::new(Image::default()));
        let allowed = |version| cache.rules(&image, TopicId::ZERO, version, || settings("1")).zstd_allowed;
        assert_eq!([3, 6, 7, 13].map(allowed), [false, false, true, true]);
    }
}
