//! The options a node has: one table, where their values come from, and what they are as text.
//!
//! Invariant: a key that is not in the table is an error wherever a person writes it, with the key that was probably
//! meant.

mod key;
mod listeners;
mod reference;
mod settings;
mod table;
mod topic_defaults;

pub use key::{Key, Kind, Section};
pub(super) use listeners::parse_voters;
pub use listeners::{ListenerConfig, ListenerError, Listeners};
pub use reference::reference;
pub(super) use settings::VARIABLE_PREFIX;
pub use settings::{Setting, Settings, SettingsError, Source, Sources};
