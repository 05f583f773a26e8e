//! Builds the process from its configuration and takes it down again.
//!
//! Called by `cli`, and by the simulation of whole nodes.

mod config;
mod descriptors;
mod min_isr;
mod options;
mod parts;
mod process;
mod running;

pub use config::{
    Config, ConfigError, FetchOptions, LivenessTimes, NetworkOptions, QuorumTimes, ReplicationOptions, Roles,
    TopicOptions,
};
pub use options::{
    Key, Kind, ListenerConfig, ListenerError, Listeners, Section, Setting, Settings, SettingsError, Source, Sources,
    reference,
};
pub use process::{HEALTH_VARIABLE, PARENT_VARIABLE, run};
pub use running::{Node, NodeWorld};
