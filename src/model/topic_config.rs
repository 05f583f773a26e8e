//! The configurations of a topic: their names, types, defaults and bounds, and their resolved values.
//!
//! One table ([`DEFINITIONS`]) says all there is to say about a configuration; validation, description and
//! resolution read it. Invariant: every default in the table is valid, and [`TopicConfigs`] holds valid values only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::topic_config_table::DEFINITIONS;
use super::topic_config_values::{CleanupPolicy, CompressionType, FlushMode, TimestampType};

/// The longest value in bytes: more does not fit into an answer.
const CONFIG_VALUE_BYTES_MAX: usize = 0x7fff;

/// One configuration that a topic can have.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfigDefinition {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: ConfigKind,
    /// The value when nobody set one.
    pub default: &'static str,
    /// The broker configuration that sets the default for all topics; empty when there is none.
    pub synonym: &'static str,
    /// One line for people.
    pub doc: &'static str,
}

/// What values a configuration takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConfigKind {
    /// true or false.
    Boolean,
    /// A 32-bit integer within bounds.
    Int {
        /// The least.
        min: i32,
        /// The greatest.
        max: i32,
    },
    /// A 64-bit integer within bounds.
    Long {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// -1 for the codec's own default, or a level.
    GzipLevel,
    /// A fraction from 0 to 1.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any of these words, separated by commas.
    Words(&'static [&'static str]),
    /// `partition:broker` pairs separated by commas, or `*`.
    ThrottledReplicas,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TopicConfigError {
    /// There is none of that name.
    #[error("unknown topic configuration '{name}'")]
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// No value was given.
    #[error("topic configuration '{name}' needs a value")]
    Missing {
        /// The configuration.
        name: String,
    },
    /// The value is out of bounds or of another type.
    #[error("invalid value '{value}' for topic configuration '{name}': it must be {expected}")]
    Value {
        /// The configuration.
        name: String,
        /// The value that was given.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// It asks for what this broker does not have.
    #[error("topic configuration '{name}' cannot be '{value}': {reason}")]
    Unsupported {
        /// The configuration.
        name: String,
        /// The value that was given.
        value: String,
        /// What is missing.
        reason: String,
    },
    /// Two values contradict each other.
    #[error("topic configuration '{name}' ({value}) must not exceed '{bound_name}' ({bound})")]
    Conflict {
        /// The smaller one.
        name: String,
        /// Its value.
        value: i64,
        /// What bounds it.
        bound_name: String,
        /// The bound.
        bound: i64,
    },
    /// The value is longer than any may be.
    #[error("the value of topic configuration '{name}' has {bytes} bytes, more than {CONFIG_VALUE_BYTES_MAX}")]
    TooLong {
        /// The configuration.
        name: String,
        /// How long it is.
        bytes: usize,
    },
}

impl TopicConfigDefinition {
    /// The definition of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    /// The definition whose default that broker configuration sets.
    #[must_use]
    pub fn with_synonym(synonym: &str) -> Option<&'static Self> {
        DEFINITIONS.iter().find(|definition| !definition.synonym.is_empty() && definition.synonym == synonym)
    }

    /// All of them, by name.
    #[must_use]
    pub fn all() -> &'static [Self] {
        DEFINITIONS
    }

    /// Whether the values are a list, to which one may append (IncrementalAlterConfigs).
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.kind, ConfigKind::Words(_) | ConfigKind::ThrottledReplicas)
    }

    /// Checks a value. Returns it in the one form that is kept; Kafka reads others, too, such as ` 1000 ` and `TRUE`.
    ///
    /// # Errors
    /// What it must be instead.
    pub fn check(&self, value: &str) -> Result<String, TopicConfigError> {
        let kept = self.kind.kept(value);
        if kept.len() > CONFIG_VALUE_BYTES_MAX {
            return Err(TopicConfigError::TooLong { name: self.name.to_owned(), bytes: kept.len() });
        }
        if !self.kind.allows(&kept) {
            let expected = self.kind.expected();
            return Err(TopicConfigError::Value { name: self.name.to_owned(), value: value.to_owned(), expected });
        }
        let reason = match (self.name, kept.as_str()) {
            ("remote.storage.enable", "true") => "this broker has no remote storage",
            // Accepting it and then not doing it would be the worse answer (rule R17).
            ("unclean.leader.election.enable", "true") => "only replicas that hold all acknowledged records may lead",
            _ => return Ok(kept),
        };
        let (name, value, reason) = (self.name.to_owned(), value.to_owned(), reason.to_owned());
        Err(TopicConfigError::Unsupported { name, value, reason })
    }
}

impl ConfigKind {
    /// The form that is kept of a value, if it is one of this kind's: no spaces around, numbers as they are printed,
    /// true and false in small letters, nothing twice in a list.
    fn kept(self, value: &str) -> String {
        let value = value.trim();
        let kept = match self {
            Self::Boolean => Some(value.to_ascii_lowercase()),
            Self::Int { .. } | Self::Long { .. } | Self::GzipLevel => {
                value.parse().ok().map(|number: i64| number.to_string())
            }
            Self::Ratio => value.parse().ok().map(|ratio: f64| format!("{ratio:?}")),
            Self::Word(_) => None,
            Self::Words(_) | Self::ThrottledReplicas => {
                let mut seen = BTreeSet::new();
                let words: Vec<&str> = value.split(',').map(str::trim).filter(|word| seen.insert(*word)).collect();
                Some(words.join(","))
            }
        };
        kept.unwrap_or_else(|| value.to_owned())
    }

    /// Whether that is a value in the form that is kept.
    fn allows(self, value: &str) -> bool {
        match self {
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Int { min, max } => value.parse().is_ok_and(|number: i32| (min..=max).contains(&number)),
            Self::Long { min, max } => value.parse().is_ok_and(|number: i64| (min..=max).contains(&number)),
            Self::GzipLevel => value.parse().is_ok_and(|level: i32| level == -1 || (1..=9).contains(&level)),
            Self::Ratio => value.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio)),
            Self::Word(words) => words.contains(&value),
            Self::Words(words) => value.is_empty() || value.split(',').all(|word| words.contains(&word)),
            Self::ThrottledReplicas => value.is_empty() || value == "*" || value.split(',').all(is_pair),
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Int { min, max: i32::MAX } => format!("an integer of at least {min}"),
            Self::Int { min, max } => format!("an integer from {min} to {max}"),
            Self::Long { min: i64::MIN, .. } => "an integer".to_owned(),
            Self::Long { min, max: i64::MAX } => format!("an integer of at least {min}"),
            Self::Long { min, max } => format!("an integer from {min} to {max}"),
            Self::GzipLevel => "-1 or an integer from 1 to 9".to_owned(),
            Self::Ratio => "a fraction from 0 to 1".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Words(words) => format!("a list of {}", words.join(", ")),
            Self::ThrottledReplicas => "'*' or a list of partition:broker".to_owned(),
        }
    }
}

fn is_pair(text: &str) -> bool {
    let parts = text.split_once(':');
    parts.is_some_and(|(partition, broker)| partition.parse::<i32>().is_ok() && broker.parse::<i32>().is_ok())
}

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
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), TopicConfigError> {
        let definition = TopicConfigDefinition::named(name);
        let definition = definition.ok_or_else(|| TopicConfigError::Unknown { name: name.to_owned() })?;
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
    pub fn check_together(&self, defaults: &Self) -> Result<(), TopicConfigError> {
        // Those of remote storage bind only a topic that has some (KIP-405), which none can have here.
        let (name, bound_name) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
        let (value, bound) = (self.number(defaults, name), self.number(defaults, bound_name));
        if value <= bound {
            return Ok(());
        }
        let (name, bound_name) = (name.to_owned(), bound_name.to_owned());
        Err(TopicConfigError::Conflict { name, value, bound_name, bound })
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

fn definition(name: &'static str) -> &'static TopicConfigDefinition {
    TopicConfigDefinition::named(name).expect("the table has every name that is resolved")
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
        for definition in DEFINITIONS {
            assert_eq!(definition.check(definition.default), Ok(definition.default.to_owned()), "{}", definition.name);
        }
        assert!(DEFINITIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
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
        assert_eq!(refused("message.format.version", "3"), "unknown topic configuration 'message.format.version'");
        let text = refused("segment.bytes", "1000");
        assert_eq!(
            text,
            "invalid value '1000' for topic configuration 'segment.bytes': it must be an integer of at least 1048576"
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
        let error = TopicConfigError::TooLong { name: name.to_owned(), bytes: 32_775 };
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
            "topic configuration 'min.compaction.lag.ms' (10) must not exceed 'max.compaction.lag.ms' (9)"
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
