//! Judges a history: what clients were told, what nodes hold, what the metadata says.
//!
//! Called by the simulation, and later by whoever breaks a real cluster. Invariant: knows nothing of how the cluster
//! works; what it judges are facts that anybody outside could have noted.

pub mod history;

pub use history::History;
