//! Every decision the system makes, as pure functions: no clock, no chance, no I/O, no sibling.

pub mod metadata;
pub mod controller;
pub mod replication;
pub mod group;
