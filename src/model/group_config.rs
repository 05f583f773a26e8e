//! The configurations of a group of KIP-848: what its members are told, where it is not what all groups are told.
//!
//! Invariant: [`GroupConfigs`] holds valid values only, whose session is longer than the time between two heartbeats.

use std::time::Duration;

use super::config::{ConfigDefinition, ConfigKind, InvalidConfig};

/// How often a member is heard.
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
/// How long a member may be silent.
const SESSION: &str = "consumer.session.timeout.ms";

/// Every configuration a group can have, by name.
pub(super) const DEFINITIONS: &[ConfigDefinition] = &[
    ConfigDefinition {
        name: HEARTBEAT,
        kind: ConfigKind::Int { min: 100, max: 60_000 },
        default: "500",
        synonym: "group.consumer.min.heartbeat.interval.ms",
        doc: "How often a member sends a heartbeat while the coordinator's budget allows.",
    },
    ConfigDefinition {
        name: SESSION,
        kind: ConfigKind::Int { min: 1_000, max: 1_800_000 },
        default: "45000",
        synonym: "group.consumer.session.timeout.ms",
        doc: "How long a member may be silent before its partitions go to others.",
    },
];

/// What one group sets for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GroupConfigs {
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Option<Duration>,
    /// `consumer.session.timeout.ms`.
    pub session_timeout: Option<Duration>,
}

impl GroupConfigs {
    /// Values that the metadata log holds; they were checked before they were written.
    #[must_use]
    pub fn from_checked<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut configs = Self::default();
        for (name, value) in entries {
            let span = value.parse().ok().map(Duration::from_millis);
            match name {
                HEARTBEAT => configs.heartbeat_interval = span,
                SESSION => configs.session_timeout = span,
                _ => {}
            }
        }
        configs
    }

    /// Checks values against each other, with `defaults` for what is not set.
    ///
    /// # Errors
    /// The two that contradict each other.
    pub fn check_together(&self, defaults: &Self) -> Result<(), InvalidConfig> {
        let heartbeat = self.heartbeat_interval.or(defaults.heartbeat_interval).unwrap_or_default();
        let session = self.session_timeout.or(defaults.session_timeout).unwrap_or(Duration::MAX);
        if heartbeat < session {
            return Ok(());
        }
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Err(InvalidConfig::NotLess {
            name: HEARTBEAT.to_owned(),
            value: millis(heartbeat),
            bound_name: SESSION.to_owned(),
            bound: millis(session),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(heartbeat: &str, session: &str) -> GroupConfigs {
        GroupConfigs::from_checked([(HEARTBEAT, heartbeat), (SESSION, session)])
    }

    #[test]
    fn every_default_is_valid_and_the_table_is_sorted() {
        assert!(DEFINITIONS.iter().all(|definition| definition.check(definition.default).is_ok()));
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.name));
    }

    #[test]
    fn a_session_is_longer_than_the_time_between_two_heartbeats() {
        let none = GroupConfigs::default();
        assert_eq!(configs("1000", "1001").check_together(&none), Ok(()));
        let refused = configs("1000", "1000").check_together(&none).expect_err("no heartbeat would be in time");
        let told = "configuration 'consumer.heartbeat.interval.ms' (1000) must be less than 'consumer.session.timeout.ms' (1000)";
        assert_eq!(refused.to_string(), told);
    }

    #[test]
    fn what_a_group_does_not_set_is_what_all_have() {
        let defaults = configs("500", "5000");
        let own = GroupConfigs::from_checked([(HEARTBEAT, "6000")]);
        assert!(own.check_together(&defaults).is_err());
        assert_eq!(GroupConfigs::from_checked([(HEARTBEAT, "4000")]).check_together(&defaults), Ok(()));
    }
}
