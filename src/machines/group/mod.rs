//! Groups of consumers and what they have committed: the facts in `__consumer_offsets` and the state that they make.
//!
//! Contract: the leader of a partition of that topic replays its records, in the order of the log, into [`Groups`];
//! [`Groups::replay`] is the only thing that changes them, and whoever replays the same records holds the same groups. A
//! [`Record`] is a fact, never a command, in Kafka's own bytes.

mod record;
mod state;

pub use record::{Encoded, Record, RecordFault};
pub use state::{ClassicGroup, Client, Committed, Group, Groups, Offsets, StoredMember};
