//! The configurations of a topic: values that somebody set, and what is in force.
//!
//! Invariant: [`TopicConfigs`] holds valid values only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{ConfigDefinition, InvalidConfig};
use super::topic_config_values::{CleanupPolicy, CompressionType, FlushMode, TimestampType};

/// Values that somebody set, by name: of one topic, or of all topics by the broker's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TopicConfigs {
    values: BTreeMap<String, String>,
}

impl TopicConfigs {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Values that the metadata log holds; they were checked before they were written.
    #[must_use]
    pub fn from_checked<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let values = entries.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { values: values.collect() }
    }

    /// Checks and sets one value.
    ///
    /// # Errors
    /// What is wrong with it; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidConfig> {
        let definition = ConfigDefinition::of_topic(name);
        let definition = definition.ok_or_else(|| InvalidConfig::Unknown { name: name.to_owned() })?;
        self.values.insert(name.to_owned(), definition.check(value)?);
        Ok(())
    }

    /// Takes one value back.
    pub fn unset(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// The value that was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Checks values against each other, with `defaults` for what is not set.
    ///
    /// # Errors
    /// The two that contradict each other.
    pub fn check_together(&self, defaults: &Self) -> Result<(), InvalidConfig> {
        // Those of remote storage bind only a topic that has some (KIP-405), which none can have here.
        let (name, bound_name) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        let (value, bound) = (self.number(defaults, name), self.number(defaults, bound_name));
        if value <= bound {
            return Ok(());
        }
        let (name, bound_name) = (name.to_owned(), bound_name.to_owned());
        Err(InvalidConfig::Conflict { name, value, bound_name, bound })
    }

    /// The values in force: what this topic sets, else what `defaults` set, else the built-in default.
    #[must_use]
    pub fn resolve(&self, defaults: &Self) -> TopicSettings {
        let text = |name| self.effective(defaults, name);
        let number = |name| self.number(defaults, name);
        let flag = |name| text(name) == "true";
        TopicSettings {
            cleanup_policy: CleanupPolicy::parse(text("cleanup.policy")),
            compression_type: CompressionType::parse(text("compression.type")),
            compression_gzip_level: self.level(defaults, "compression.gzip.level"),
            compression_zstd_level: self.level(defaults, "compression.zstd.level"),
            delete_retention_ms: number("delete.retention.ms"),
            file_delete_delay_ms: number("file.delete.delay.ms"),
            flush_mode: FlushMode::parse(text("flush.mode")),
            index_interval_bytes: self.size(defaults, "index.interval.bytes"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            max_message_bytes: self.size(defaults, "max.message.bytes"),
            message_timestamp_after_ms_max: number("message.timestamp.after.max.ms"),
            message_timestamp_before_ms_max: number("message.timestamp.before.max.ms"),
            message_timestamp_type: TimestampType::parse(text("message.timestamp.type")),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").parse().expect("a checked ratio parses"),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            min_insync_replicas: usize::try_from(number("min.insync.replicas")).expect("a checked minimum is positive"),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            retention_ms: u64::try_from(number("retention.ms")).ok(),
            segment_bytes: self.size(defaults, "segment.bytes"),
            segment_index_bytes: self.size(defaults, "segment.index.bytes"),
            segment_jitter_ms: number("segment.jitter.ms"),
            segment_ms: number("segment.ms"),
            unclean_leader_election: flag("unclean.leader.election.enable"),
        }
    }

    fn effective<'a>(&'a self, defaults: &'a Self, name: &'static str) -> &'a str {
        self.get(name).or_else(|| defaults.get(name)).unwrap_or(definition(name).default)
    }

    fn number(&self, defaults: &Self, name: &'static str) -> i64 {
        let default = || definition(name).default.parse().expect("every default is valid");
        self.effective(defaults, name).parse().unwrap_or_else(|_| default())
    }

    fn level(&self, defaults: &Self, name: &'static str) -> i32 {
        i32::try_from(self.number(defaults, name)).expect("a checked level fits in an i32")
    }

    fn size(&self, defaults: &Self, name: &'static str) -> u32 {
        u32::try_from(self.number(defaults, name)).expect("a checked size fits in a u32")
    }
}

fn definition(name: &'static str) -> &'static ConfigDefinition {
    ConfigDefinition::of_topic(name).expect("the table has every name that is resolved")
}

/// A topic's configurations, resolved and typed. Those of remote storage and those that have no effect are not among
/// them: nobody reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `compression.gzip.level`; -1 is the codec's own default.
    pub compression_gzip_level: i32,
    /// `compression.zstd.level`
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `flush.mode`
    pub flush_mode: FlushMode,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`
    pub max_message_bytes: u32,
    /// `message.timestamp.after.max.ms`
    pub message_timestamp_after_ms_max: i64,
    /// `message.timestamp.before.max.ms`
    pub message_timestamp_before_ms_max: i64,
    /// `message.timestamp.type`
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`, before the replication factor bounds it.
    pub min_insync_replicas: usize,
    /// `retention.bytes`; `None` keeps any amount.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` keeps for ever.
    pub retention_ms: Option<u64>,
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> String {
        TopicConfigs::new().set(name, value).expect_err("the test's value is invalid").to_string()
    }

    #[test]
    fn every_default_is_valid_and_names_rise() {
        for definition in ConfigDefinition::of_topics() {
            assert_eq!(definition.check(definition.default), Ok(definition.default.to_owned()), "{}", definition.name);
        }
        assert!(ConfigDefinition::of_topics().windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn what_has_no_effect_says_so_in_its_description_and_in_the_readme() {
        let readme = include_str!("../../README.md");
        let row = readme.lines().find(|line| line.starts_with("| Topic configurations without effect")).unwrap();
        for name in [
            "compression.lz4.level",
            "flush.messages",
            "flush.ms",
            "follower.replication.throttled.replicas",
            "leader.replication.throttled.replicas",
            "preallocate",
        ] {
            assert!(row.contains(&format!("`{name}`")), "{name}");
            assert!(definition(name).doc.starts_with("Accepted for Kafka's sake; "), "{name}");
        }
    }

    #[test]
    fn the_defaults_are_safe() {
        let settings = TopicConfigs::new().resolve(&TopicConfigs::new());
        assert_eq!(settings.min_insync_replicas, 2);
        assert_eq!(settings.flush_mode, FlushMode::Durable);
        assert!(!settings.unclean_leader_election);
        assert_eq!(settings.retention_ms, Some(604_800_000));
        assert_eq!(settings.retention_bytes, None);
        assert_eq!(settings.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    }

    #[test]
    fn a_topic_overrides_the_broker_which_overrides_the_table() {
        let mut broker = TopicConfigs::new();
        broker.set("retention.ms", "1000").unwrap();
        broker.set("segment.ms", "500").unwrap();
        let mut topic = TopicConfigs::new();
        topic.set("retention.ms", "-1").unwrap();
        let settings = topic.resolve(&broker);
        assert_eq!((settings.retention_ms, settings.segment_ms), (None, 500));
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        assert_eq!(refused("message.format.version", "3"), "unknown configuration 'message.format.version'");
        let text = refused("segment.bytes", "1000");
        assert_eq!(
            text,
            "invalid value '1000' for configuration 'segment.bytes': it must be an integer of at least 1048576"
        );
        assert!(refused("cleanup.policy", "delete,shrink").ends_with("it must be a list of delete, compact"));
        assert!(refused("compression.gzip.level", "0").ends_with("-1 or an integer from 1 to 9"));
        assert!(refused("min.cleanable.dirty.ratio", "NaN").ends_with("a fraction from 0 to 1"));
        assert!(refused("leader.replication.throttled.replicas", "1").ends_with("partition:broker"));
        assert!(refused("remote.storage.enable", "true").contains("no remote storage"));
        assert!(refused("flush.mode", "sometimes").ends_with("one of durable, kafka"));
    }

    /// As Apache Kafka 4.3 does; it shows them so, too.
    #[test]
    fn a_value_is_read_with_spaces_around_and_in_any_case_and_kept_in_one_form() {
        for (name, value, kept) in [
            ("retention.ms", " 1000 ", "1000"),
            ("retention.ms", "+1000", "1000"),
            ("retention.ms", "\t7\n", "7"),
            ("preallocate", "TRUE", "true"),
            ("unclean.leader.election.enable", " False ", "false"),
            ("compression.type", " gzip", "gzip"),
            ("compression.gzip.level", " 3", "3"),
            ("min.cleanable.dirty.ratio", "1e-1", "0.1"),
            ("cleanup.policy", " delete , compact ", "delete,compact"),
            ("cleanup.policy", "delete,delete", "delete"),
            ("cleanup.policy", " ", ""),
            ("follower.replication.throttled.replicas", " * ", "*"),
            ("leader.replication.throttled.replicas", " 0:1 , 1:2 ", "0:1,1:2"),
        ] {
            let mut topic = TopicConfigs::new();
            assert_eq!(topic.set(name, value), Ok(()), "{name}={value:?}");
            assert_eq!(topic.get(name), Some(kept), "{name}={value:?}");
        }
        for (name, value) in [
            ("retention.ms", ""),
            ("retention.ms", "1_000"),
            ("preallocate", "yes"),
            ("compression.type", "GZIP"),
            ("cleanup.policy", "delete,,compact"),
            ("min.cleanable.dirty.ratio", "inf"),
        ] {
            assert!(refused(name, value).starts_with("invalid value"), "{name}={value:?}");
        }
        assert!(refused("remote.storage.enable", "TRUE").contains("no remote storage"));
    }

    #[test]
    fn a_value_longer_than_an_answer_holds_is_refused() {
        let name = "leader.replication.throttled.replicas";
        let pairs = |count: usize| (10_000..).take(count).map(|n| format!("{n}:1")).collect::<Vec<_>>().join(",");
        assert_eq!(TopicConfigs::new().set(name, &pairs(4_096)), Ok(()));
        let error = InvalidConfig::TooLong { name: name.to_owned(), bytes: 32_775 };
        assert_eq!(TopicConfigs::new().set(name, &pairs(4_097)), Err(error));
    }

    #[test]
    fn local_retention_binds_nothing_without_remote_storage() {
        for (name, value) in [("local.retention.ms", "999999999999"), ("local.retention.bytes", "5000")] {
            let mut topic = TopicConfigs::new();
            topic.set(name, value).unwrap();
            topic.set("retention.bytes", "100").unwrap();
            assert_eq!(topic.check_together(&TopicConfigs::new()), Ok(()), "{name}");
        }
    }

    #[test]
    fn lags_may_not_cross() {
        let mut topic = TopicConfigs::new();
        topic.set("min.compaction.lag.ms", "10").unwrap();
        assert_eq!(topic.check_together(&TopicConfigs::new()), Ok(()));
        topic.set("max.compaction.lag.ms", "9").unwrap();
        let error = topic.check_together(&TopicConfigs::new()).expect_err("10 is above 9");
        assert_eq!(
            error.to_string(),
            "configuration 'min.compaction.lag.ms' (10) must not exceed 'max.compaction.lag.ms' (9)"
        );
    }

    #[test]
    fn an_empty_cleanup_policy_keeps_everything() {
        let mut topic = TopicConfigs::new();
        topic.set("cleanup.policy", "").unwrap();
        let policy = topic.resolve(&TopicConfigs::new()).cleanup_policy;
        assert_eq!(policy, CleanupPolicy { delete: false, compact: false });
        topic.set("cleanup.policy", "compact, delete").unwrap();
        let policy = topic.resolve(&TopicConfigs::new()).cleanup_policy;
        assert_eq!(policy, CleanupPolicy { delete: true, compact: true });
    }
}
