//! Metric handles and log set-up; knows no other module.
//!
//! Called by `node`, which makes one `Metrics` and hands clones of its parts to those who count. Invariant: no
//! handle is global, and every label has few values: nothing but groups is labelled with names of clients' making, and of those no more
//! than the broker bounds; nothing at all with a client or an address.

mod log;
mod metrics;
mod process;
mod groups;

pub use groups::{GroupMetrics, GroupPartitionSample, GroupSample, GroupsSample};
pub use log::{LogError, LogFormat, LogOptions, start_log};
pub use metrics::{BrokerMetrics, CleanerMetrics, Metrics, PartitionMetrics, TransportMetrics};
pub use process::ProcessSample;
