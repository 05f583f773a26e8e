//! Every decision the system makes, as pure functions over state, event and `now`.

pub mod metadata;
pub mod controller;
pub mod replication;
