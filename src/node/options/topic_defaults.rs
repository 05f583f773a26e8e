//! The options that set the defaults of topic configurations, and how a partition's log is kept.
//!
//! `topic` names the topic configuration whose default the option is; time spans that Kafka gives three names have
//! theirs in `config`.

use super::key::{Key, flag, number, ratio, word, words};
use super::table::INT_MAX;

/// The options.
pub(super) const LOG: &[Key] = &[
    number(
        "min.insync.replicas",
        "2",
        (1, 32_767),
        "With acks=all, the least replicas that must hold a record before it counts; the replication factor where \
         that is smaller. The cluster keeps the value of its first start: from then on it counts on every node, and \
         another one here changes nothing.",
    )
    .topic("min.insync.replicas"),
    flag(
        "unclean.leader.election.enable",
        false,
        "Whether a replica that may lack acknowledged records may lead when no other is there.",
    )
    .topic("unclean.leader.election.enable"),
    word(
        "log.flush.mode",
        "durable",
        &["durable", "kafka"],
        "durable: acknowledged is what is on the disk of every in-sync replica. kafka: what is in their page caches.",
    )
    .topic("flush.mode"),
    number("message.max.bytes", "1048588", (0, INT_MAX), "The largest record batch that is accepted.")
        .topic("max.message.bytes"),
    word(
        "compression.type",
        "producer",
        &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"],
        "How batches are compressed in the log; producer keeps what the producer chose.",
    )
    .topic("compression.type"),
    words(
        "log.cleanup.policy",
        "delete",
        &["delete", "compact"],
        "Whether old segments are deleted, old values of a key removed, both, or neither.",
    )
    .topic("cleanup.policy"),
    number("log.retention.hours", "168", (-1, INT_MAX), "How long records are kept; -1 for ever."),
    number("log.retention.minutes", "", (-1, INT_MAX), "As log.retention.hours, in minutes; wins over it."),
    number("log.retention.ms", "", (-1, i64::MAX), "As log.retention.hours, in milliseconds; wins over both."),
    number("log.retention.bytes", "-1", (-1, i64::MAX), "How many bytes of a partition are kept; -1 for all.")
        .topic("retention.bytes"),
    number(
        "log.retention.check.interval.ms",
        "300000",
        (1, INT_MAX),
        "How often segments are looked at for retention.",
    ),
    number("log.segment.bytes", "1073741824", (1_048_576, INT_MAX), "A segment holds at most this much.")
        .topic("segment.bytes"),
    number("log.roll.hours", "168", (1, INT_MAX), "A segment spans at most this much time."),
    number("log.roll.ms", "", (1, i64::MAX), "As log.roll.hours, in milliseconds; wins over it."),
    number(
        "log.roll.jitter.hours",
        "0",
        (0, INT_MAX),
        "Up to this much less, so that segments do not all roll at once.",
    ),
    number("log.roll.jitter.ms", "", (0, i64::MAX), "As log.roll.jitter.hours, in milliseconds; wins over it."),
    number("log.index.size.max.bytes", "10485760", (4, INT_MAX), "An offset index holds at most this much.")
        .topic("segment.index.bytes"),
    number(
        "log.index.interval.bytes",
        "4096",
        (0, INT_MAX),
        "How many bytes of records lie between two entries of an index.",
    )
    .topic("index.interval.bytes"),
    number(
        "log.segment.delete.delay.ms",
        "60000",
        (0, i64::MAX),
        "How long a removed file waits before it is deleted.",
    )
    .topic("file.delete.delay.ms"),
    word(
        "log.message.timestamp.type",
        "CreateTime",
        &["CreateTime", "LogAppendTime"],
        "Whose clock stamps the records: the producer's or the leader's.",
    )
    .topic("message.timestamp.type"),
    number(
        "log.message.timestamp.before.max.ms",
        "9223372036854775807",
        (0, i64::MAX),
        "How far a record's timestamp may lie behind the leader's clock.",
    )
    .topic("message.timestamp.before.max.ms"),
    number(
        "log.message.timestamp.after.max.ms",
        "3600000",
        (0, i64::MAX),
        "How far a record's timestamp may lie ahead of the leader's clock.",
    )
    .topic("message.timestamp.after.max.ms"),
    number(
        "log.cleaner.delete.retention.ms",
        "86400000",
        (0, i64::MAX),
        "How long a compacted topic keeps the marks of deleted keys.",
    )
    .topic("delete.retention.ms"),
    ratio(
        "log.cleaner.min.cleanable.ratio",
        "0.5",
        "How much of a compacted log must be uncompacted before it is compacted again.",
    )
    .topic("min.cleanable.dirty.ratio"),
    number("log.cleaner.min.compaction.lag.ms", "0", (0, i64::MAX), "How long a record stays uncompacted at least.")
        .topic("min.compaction.lag.ms"),
    number(
        "log.cleaner.max.compaction.lag.ms",
        "9223372036854775807",
        (1, i64::MAX),
        "How long a record stays uncompacted at most.",
    )
    .topic("max.compaction.lag.ms"),
    flag("log.cleaner.enable", true, "Whether this node compacts logs of topics whose cleanup.policy says so."),
    number(
        "log.cleaner.backoff.ms",
        "15000",
        (1, INT_MAX),
        "How often logs are looked at for compaction when none was dirty enough.",
    ),
    number(
        "log.cleaner.dedupe.buffer.size",
        "134217728",
        (1_048_576, i64::MAX),
        "How much memory the keys of a log may take while it is compacted: some 36 bytes each. With more keys a log is \
         compacted in several rounds.",
    ),
    number(
        "log.cleaner.io.max.bytes.per.second",
        "9223372036854775807",
        (1, i64::MAX),
        "How much compaction may read and write.",
    ),
    number(
        "producer.id.expiration.ms",
        "86400000",
        (1, INT_MAX),
        "How long a partition remembers an idempotent producer that is silent.",
    ),
];
