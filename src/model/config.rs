//! What configurations there are of topics and of groups: their names, types, defaults and bounds.
//!
//! A table for each says all there is to say about a configuration; validation, description and resolution read it.
//! Invariant: every default in the tables is valid.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{group_config, topic_config_table};

/// The longest value in bytes: more does not fit into an answer.
const CONFIG_VALUE_BYTES_MAX: usize = 0x7fff;

/// One configuration that a topic or a group can have.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDefinition {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: ConfigKind,
    /// The value when nobody set one.
    pub default: &'static str,
    /// The broker configuration that sets the default for all of them; empty when there is none.
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
pub enum InvalidConfig {
    /// There is none of that name.
    #[error("unknown configuration '{name}'")]
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// No value was given.
    #[error("configuration '{name}' needs a value")]
    Missing {
        /// The configuration.
        name: String,
    },
    /// The value is out of bounds or of another type.
    #[error("invalid value '{value}' for configuration '{name}': it must be {expected}")]
    Value {
        /// The configuration.
        name: String,
        /// The value that was given.
        value: String,
        /// What it takes.
        expected: String,
    },
    /// It asks for what this broker does not have.
    #[error("configuration '{name}' cannot be '{value}': {reason}")]
    Unsupported {
        /// The configuration.
        name: String,
        /// The value that was given.
        value: String,
        /// What is missing.
        reason: String,
    },
    /// Two values contradict each other.
    #[error("configuration '{name}' ({value}) must not exceed '{bound_name}' ({bound})")]
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
    /// One value is to be less than another.
    #[error("configuration '{name}' ({value}) must be less than '{bound_name}' ({bound})")]
    NotLess {
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
    #[error("the value of configuration '{name}' has {bytes} bytes, more than {CONFIG_VALUE_BYTES_MAX}")]
    TooLong {
        /// The configuration.
        name: String,
        /// How long it is.
        bytes: usize,
    },
}

impl ConfigDefinition {
    /// The definition of that name for topics.
    #[must_use]
    pub fn of_topic(name: &str) -> Option<&'static Self> {
        topic_config_table::DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    /// The definition of that name for groups.
    #[must_use]
    pub fn of_group(name: &str) -> Option<&'static Self> {
        group_config::DEFINITIONS.iter().find(|definition| definition.name == name)
    }

    /// The definition for topics whose default that broker configuration sets.
    #[must_use]
    pub fn with_synonym(synonym: &str) -> Option<&'static Self> {
        topic_config_table::DEFINITIONS
            .iter()
            .find(|definition| !definition.synonym.is_empty() && definition.synonym == synonym)
    }

    /// All that topics have, by name.
    #[must_use]
    pub fn of_topics() -> &'static [Self] {
        topic_config_table::DEFINITIONS
    }

    /// All that groups have, by name.
    #[must_use]
    pub fn of_groups() -> &'static [Self] {
        group_config::DEFINITIONS
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
    pub fn check(&self, value: &str) -> Result<String, InvalidConfig> {
        let kept = self.kind.kept(value);
        if kept.len() > CONFIG_VALUE_BYTES_MAX {
            return Err(InvalidConfig::TooLong { name: self.name.to_owned(), bytes: kept.len() });
        }
        if !self.kind.allows(&kept) {
            let expected = self.kind.expected();
            return Err(InvalidConfig::Value { name: self.name.to_owned(), value: value.to_owned(), expected });
        }
        let reason = match (self.name, kept.as_str()) {
            ("remote.storage.enable", "true") => "this broker has no remote storage",
            // Accepting it and then not doing it would be the worse answer (rule R17).
            ("unclean.leader.election.enable", "true") => "only replicas that hold all acknowledged records may lead",
            _ => return Ok(kept),
        };
        let (name, value, reason) = (self.name.to_owned(), value.to_owned(), reason.to_owned());
        Err(InvalidConfig::Unsupported { name, value, reason })
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
