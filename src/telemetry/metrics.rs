//! The metrics of one node, and their text form.
//!
//! Every part of `Metrics` is a bundle of cheap handles: cloning one shares its numbers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::groups::{GroupCollector, GroupMetrics};
use super::process::ProcessCollector;

/// All metrics of a node. `node` makes it, passes clones of the parts on and gives the whole to `admin`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sockets, requests and peers.
    pub transport: TransportMetrics,
    /// What this broker leads, follows and elects.
    pub broker: BrokerMetrics,
    /// Appends, reads and flushes.
    pub partition: PartitionMetrics,
    /// Compaction.
    pub cleaner: CleanerMetrics,
    /// Groups and their lag.
    pub groups: GroupMetrics,
}

impl Metrics {
    /// Fresh metrics, all zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        // By the names that every process has them under.
        registry.register_collector(Box::new(ProcessCollector));
        let ours = registry.sub_registry_with_prefix("ottla");
        let transport = TransportMetrics::register(ours);
        let broker = BrokerMetrics::register(ours);
        let partition = PartitionMetrics::register(ours);
        let cleaner = CleanerMetrics::register(ours);
        let groups = GroupMetrics::default();
        ours.register_collector(Box::new(GroupCollector(groups.clone())));
        Self { registry, transport, broker, partition, cleaner, groups }
    }

    /// The text that `/metrics` serves (OpenMetrics 1.0).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    /// The content type of that text.
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The label of what belongs to a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

/// The labels of a request. The names come from our own table of APIs, never from the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: &'static str,
}

/// The label of something that went wrong, or of its cause.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The label of a count of ISR members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SizeLabel {
    size: u32,
}

/// Handles for `transport`.
#[derive(Clone, Debug)]
pub struct TransportMetrics {
    connections: Family<ListenerLabel, Gauge>,
    accepted: Family<ListenerLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    closed: Family<ReasonLabel, Counter>,
    requests: Family<ApiLabel, Counter>,
    errors: Family<ApiLabel, Counter>,
    latency: Family<ApiLabel, Histogram>,
    /// Bytes of requests and responses read from clients and peers.
    pub received_bytes: Counter,
    /// Bytes of requests and responses written.
    pub sent_bytes: Counter,
    /// Handlers that panicked; each cost one connection.
    pub panics: Counter,
    /// Bytes of requests that are being received or served and count against the budget.
    pub budget_used_bytes: Gauge,
    /// Calls to peers that failed.
    peer_errors: Family<ReasonLabel, Counter>,
}

impl TransportMetrics {
    fn register(registry: &mut Registry) -> Self {
        let latency = Family::new_with_constructor(latency_histogram as fn() -> Histogram);
        let metrics = Self { latency, ..Self::unregistered() };
        let r = registry;
        r.register("connections", "Open client connections", metrics.connections.clone());
        r.register("connections_accepted", "Connections accepted", metrics.accepted.clone());
        r.register("connections_refused", "Connections refused at once, by reason", metrics.refused.clone());
        r.register("connections_closed", "Connections closed by this node, by reason", metrics.closed.clone());
        r.register("requests", "Requests handled", metrics.requests.clone());
        r.register("request_errors", "Requests that ended without their answer", metrics.errors.clone());
        let help = "From the last byte of a request to the last byte of its response";
        r.register_with_unit("request_latency", help, Unit::Seconds, metrics.latency.clone());
        let help = "Bytes of frames read from sockets";
        r.register_with_unit("received", help, Unit::Bytes, metrics.received_bytes.clone());
        let help = "Bytes of frames written to sockets";
        r.register_with_unit("sent", help, Unit::Bytes, metrics.sent_bytes.clone());
        r.register("handler_panics", "Request handlers that panicked", metrics.panics.clone());
        let help = "Bytes of requests in flight that count against the budget";
        r.register_with_unit("request_budget_used", help, Unit::Bytes, metrics.budget_used_bytes.clone());
        r.register("peer_call_errors", "Calls to peers that failed, by reason", metrics.peer_errors.clone());
        metrics
    }

    /// Handles that belong to no registry, for tests and tools.
    #[must_use]
    pub fn unregistered() -> Self {
        Self {
            connections: Family::default(),
            accepted: Family::default(),
            refused: Family::default(),
            closed: Family::default(),
            requests: Family::default(),
            errors: Family::default(),
            latency: Family::new_with_constructor(latency_histogram as fn() -> Histogram),
            received_bytes: Counter::default(),
            sent_bytes: Counter::default(),
            panics: Counter::default(),
            budget_used_bytes: Gauge::default(),
            peer_errors: Family::default(),
        }
    }

    /// The gauge of a listener's open connections.
    #[must_use]
    pub fn connections(&self, listener: &str) -> Gauge {
        self.connections.get_or_create_owned(&ListenerLabel { listener: listener.to_owned() })
    }

    /// Counts an accepted connection.
    pub fn count_accepted(&self, listener: &str) {
        self.accepted.get_or_create(&ListenerLabel { listener: listener.to_owned() }).inc();
    }

    /// Counts a connection that was refused at once.
    pub fn count_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a connection that this node closed.
    pub fn count_closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a request that was answered, or that wants no answer.
    pub fn count_request(&self, api: &'static str, latency: Duration) {
        self.requests.get_or_create(&ApiLabel { api }).inc();
        self.latency.get_or_create(&ApiLabel { api }).observe(latency.as_secs_f64());
    }

    /// Counts a request whose connection was closed instead of an answer.
    pub fn count_request_error(&self, api: &'static str) {
        self.errors.get_or_create(&ApiLabel { api }).inc();
    }

    /// Counts a call to a peer that failed.
    pub fn count_peer_error(&self, reason: &'static str) {
        self.peer_errors.get_or_create(&ReasonLabel { reason }).inc();
    }
}

/// Handles for `broker`.
#[derive(Clone, Debug, Default)]
pub struct BrokerMetrics {
    /// Partitions that this broker leads.
    pub leaders: Gauge,
    /// Partitions that this broker has a replica of.
    pub replicas: Gauge,
    isr_sizes: Family<SizeLabel, Gauge>,
    /// Partitions led here whose ISR is smaller than their replica set.
    pub under_replicated: Gauge,
    /// Partitions led here whose ISR is below `min.insync.replicas`.
    pub under_min_isr: Gauge,
    /// Partitions of the cluster without a leader, as the active controller sees them; 0 elsewhere.
    pub offline: Gauge,
    elections: Family<ReasonLabel, Counter>,
    /// Brokers that are fenced, as the active controller sees them; 0 elsewhere.
    pub fenced_brokers: Gauge,
    /// 1 on the active controller.
    pub active_controller: Gauge,
    /// The last metadata index that this node has applied.
    pub applied_index: Gauge,
}

impl BrokerMetrics {
    fn register(r: &mut Registry) -> Self {
        let metrics = Self::default();
        r.register("leaders", "Partitions led by this broker", metrics.leaders.clone());
        r.register("replicas", "Replicas on this broker", metrics.replicas.clone());
        r.register("isr_size_partitions", "Partitions led here, by the size of their ISR", metrics.isr_sizes.clone());
        r.register("under_replicated_partitions", "ISR below replica set", metrics.under_replicated.clone());
        r.register("under_min_isr_partitions", "ISR below min.insync.replicas", metrics.under_min_isr.clone());
        r.register("offline_partitions", "Partitions without a leader", metrics.offline.clone());
        r.register("elections", "Leader elections by the active controller, by cause", metrics.elections.clone());
        r.register("fenced_brokers", "Fenced brokers", metrics.fenced_brokers.clone());
        r.register("active_controller", "1 on the active controller", metrics.active_controller.clone());
        r.register("applied_index", "Last metadata index applied here", metrics.applied_index.clone());
        metrics
    }

    /// Sets how many partitions led here have an ISR of `size`.
    pub fn set_isr_size(&self, size: u32, partitions: i64) {
        self.isr_sizes.get_or_create(&SizeLabel { size }).set(partitions);
    }

    /// Counts elections, by what caused them.
    pub fn count_elections(&self, reason: &'static str, partitions: u64) {
        self.elections.get_or_create(&ReasonLabel { reason }).inc_by(partitions);
    }
}

/// Handles for `partition` and the threads that run it.
#[derive(Clone, Debug)]
pub struct PartitionMetrics {
    /// Bytes of batches appended as leader.
    pub appended_bytes: Counter,
    /// Batches appended as leader.
    pub appended_batches: Counter,
    /// Bytes of batches appended as follower.
    pub replicated_bytes: Counter,
    /// Bytes read for consumers and followers.
    pub read_bytes: Counter,
    flush_seconds: Histogram,
    /// Flush groups that failed; each fences its directory.
    pub flush_failures: Counter,
    turn_seconds: Histogram,
    copy_faults: Family<ReasonLabel, Counter>,
}

impl PartitionMetrics {
    fn register(r: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        r.register_with_unit("appended", "Appended as leader", Unit::Bytes, metrics.appended_bytes.clone());
        r.register("appended_batches", "Batches appended as leader", metrics.appended_batches.clone());
        r.register_with_unit("replicated", "Appended as follower", Unit::Bytes, metrics.replicated_bytes.clone());
        r.register_with_unit("read", "Read from partitions", Unit::Bytes, metrics.read_bytes.clone());
        r.register_with_unit("flush", "Time of a group flush", Unit::Seconds, metrics.flush_seconds.clone());
        r.register("flush_failures", "Group flushes that failed", metrics.flush_failures.clone());
        r.register_with_unit("shard_turn", "Time of a shard's turn", Unit::Seconds, metrics.turn_seconds.clone());
        let help = "Copies of partitions found to be not what they should be, by what was seen";
        r.register("copy_faults", help, metrics.copy_faults.clone());
        metrics
    }

    /// Handles that belong to no registry, for tests and tools.
    #[must_use]
    pub fn unregistered() -> Self {
        Self {
            appended_bytes: Counter::default(),
            appended_batches: Counter::default(),
            replicated_bytes: Counter::default(),
            read_bytes: Counter::default(),
            flush_seconds: latency_histogram(),
            flush_failures: Counter::default(),
            turn_seconds: latency_histogram(),
            copy_faults: Family::default(),
        }
    }

    /// Notes how long a group flush took.
    pub fn observe_flush(&self, span: Duration) {
        self.flush_seconds.observe(span.as_secs_f64());
    }

    /// Counts what somebody has to look at: a copy of a partition that is not what it should be.
    pub fn count_copy_fault(&self, reason: &'static str) {
        self.copy_faults.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Notes how long a shard's turn took.
    pub fn observe_turn(&self, span: Duration) {
        self.turn_seconds.observe(span.as_secs_f64());
    }
}

/// Handles for the thread that compacts.
#[derive(Clone, Debug, Default)]
pub struct CleanerMetrics {
    rounds: Family<ReasonLabel, Counter>,
    round_milliseconds: Counter,
    /// Bytes of segments that were written anew.
    pub bytes_in: Counter,
    /// Bytes of what they became.
    pub bytes_out: Counter,
    /// Records in those segments.
    pub records_in: Counter,
    /// Records that stayed.
    pub records_out: Counter,
    dirty_percent: Gauge,
}

impl CleanerMetrics {
    fn register(r: &mut Registry) -> Self {
        let metrics = Self::default();
        r.register("compactions", "Rounds of compaction, by how they ended", metrics.rounds.clone());
        let help = "Milliseconds that rounds of compaction took";
        r.register("compaction_milliseconds", help, metrics.round_milliseconds.clone());
        r.register_with_unit("compaction_in", "Segments written anew", Unit::Bytes, metrics.bytes_in.clone());
        r.register_with_unit("compaction_out", "What they became", Unit::Bytes, metrics.bytes_out.clone());
        r.register("compaction_records_in", "Records in segments written anew", metrics.records_in.clone());
        r.register("compaction_records_out", "Records that stayed", metrics.records_out.clone());
        let help = "Dirty part of the dirtiest log that was compacted last, in percent";
        r.register("compaction_dirty_percent", help, metrics.dirty_percent.clone());
        metrics
    }

    /// Counts a round, by how it ended.
    pub fn count_round(&self, outcome: &'static str, span: Duration) {
        self.rounds.get_or_create(&ReasonLabel { reason: outcome }).inc();
        self.round_milliseconds.inc_by(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    /// Notes how dirty a log was, as it is compacted.
    pub fn observe_dirt(&self, ratio_millionths: u32) {
        self.dirty_percent.set(i64::from(ratio_millionths / 10_000));
    }
}

/// From 50 µs to 26 s in 20 steps of two.
fn latency_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_numbers_with_the_text() {
        let metrics = Metrics::new();
        let transport = metrics.transport.clone();
        transport.count_request("Produce", Duration::from_millis(3));
        transport.connections("EXTERNAL").inc();
        metrics.broker.clone().set_isr_size(3, 7);
        let text = metrics.encode();
        for line in [
            "ottla_requests_total{api=\"Produce\"} 1",
            "ottla_connections{listener=\"EXTERNAL\"} 1",
            "ottla_isr_size_partitions{size=\"3\"} 7",
            "ottla_request_latency_seconds_count{api=\"Produce\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn every_scrape_tells_memory_processor_time_and_descriptors() {
        let text = Metrics::new().encode();
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
            let is_told = text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
            assert!(is_told, "{name} is missing in:\n{text}");
        }
    }
}
