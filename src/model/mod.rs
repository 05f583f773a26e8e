//! The nouns: identifiers, offsets, epochs, time. Everything imports this module; it holds no
//! behaviour beyond arithmetic, parsing and printing.
//!
//! Invariant: a raw integer becomes one of these types, or stops being one, only here and in the
//! wire and file encoders (style rule 5).

mod epoch;
mod group;
mod id;
mod name;
mod offset;
mod time;
mod config;
mod group_config;
mod topic_config;
mod topic_config_table;
mod topic_config_values;

pub use config::{ConfigDefinition, ConfigKind, InvalidConfig};
pub use epoch::{
    BootNumber, BrokerEpoch, CoordinatorEpoch, EpochHistory, EpochStart, LeaderEpoch, LogIndex, PartitionEpoch, Term,
};
pub use group::{Generation, GroupEpoch, GroupId, InstanceId, MemberId};
pub use group_config::GroupConfigs;
pub use id::{
    ClusterId, DirectoryId, IdError, NodeId, PartitionId, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId,
};
pub use name::{TopicName, TopicNameError};
pub use offset::Offset;
pub use time::{Instant, Now, Timestamp};
pub use topic_config::{TopicConfigs, TopicSettings};
pub use topic_config_values::{CleanupPolicy, CompressionType, FlushMode, TimestampType};

/// Declares a newtype over an integer with `new`, `get`, ordering, serde and plain printing.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);
        impl $name {
            /// Makes one from its number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }
            /// Its number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
pub(crate) use number;
