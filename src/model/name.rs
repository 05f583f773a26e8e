//! Topic names and their rules.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, neither "." nor "..".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// Why a text cannot name a topic.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicNameError {
    /// Nothing was given.
    #[error("a topic's name is empty")]
    Empty,
    /// "." or "..".
    #[error("a topic cannot be named '.' or '..'")]
    Dots,
    /// More than 249 characters.
    #[error("a topic's name has {length} characters, more than 249")]
    Long {
        /// How many there were.
        length: usize,
    },
    /// A character outside the set.
    #[error("a topic's name holds '{character}'; allowed are letters, digits, '.', '_' and '-'")]
    Character {
        /// The first one that is not allowed.
        character: char,
    },
    /// The metadata log's name: the directory of its partition is the quorum's.
    #[error("'{}' is the metadata log, which is no topic", TopicName::METADATA)]
    Metadata,
}

impl TopicName {
    /// What Kafka calls the metadata log: no topic can have its name.
    pub const METADATA: &'static str = "__cluster_metadata";
    /// Where groups of consumers and their committed offsets are kept.
    pub const CONSUMER_OFFSETS: &'static str = "__consumer_offsets";
    /// The longest name, in characters.
    pub const LENGTH_MAX: usize = 249;

    /// Checks a text.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn new(text: &str) -> Result<Self, TopicNameError> {
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        if text == "." || text == ".." {
            return Err(TopicNameError::Dots);
        }
        if text == Self::METADATA {
            return Err(TopicNameError::Metadata);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(character) = text.chars().find(|c| !allowed(*c)) {
            return Err(TopicNameError::Character { character });
        }
        if text.len() > Self::LENGTH_MAX {
            return Err(TopicNameError::Long { length: text.len() });
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with '.' read as '_': two topics may not share it, as their metrics would collide in Kafka.
    #[must_use]
    pub fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }

    /// Whether groups of consumers and their committed offsets are kept here.
    #[must_use]
    pub fn is_consumer_offsets(&self) -> bool {
        &*self.0 == Self::CONSUMER_OFFSETS
    }

    /// Whether the broker itself keeps its state in this topic.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(&*self.0, Self::CONSUMER_OFFSETS | "__transaction_state" | "__share_group_state")
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicNameError;
    fn try_from(text: String) -> Result<Self, TopicNameError> {
        Self::new(&text)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_rules_are_refused_with_the_rule() {
        assert_eq!(TopicName::new(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::new(".."), Err(TopicNameError::Dots));
        assert_eq!(TopicName::new("../etc"), Err(TopicNameError::Character { character: '/' }));
        assert_eq!(TopicName::new(&"a".repeat(250)), Err(TopicNameError::Long { length: 250 }));
        assert_eq!(TopicName::new("__cluster_metadata"), Err(TopicNameError::Metadata));
        assert!(TopicName::new("Orders.v2_x-1").is_ok());
    }
}
