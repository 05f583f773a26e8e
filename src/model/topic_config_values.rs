//! The words that topic configurations take, as types.
//!
//! Invariant: `parse` is total over what the table of definitions lets through.

/// `cleanup.policy`: neither keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments go.
    pub delete: bool,
    /// Old values of a key go.
    pub compact: bool,
}

/// `compression.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent it.
    Producer,
    /// Not at all.
    Uncompressed,
    /// gzip
    Gzip,
    /// snappy
    Snappy,
    /// lz4
    Lz4,
    /// zstd
    Zstd,
}

/// `message.timestamp.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's time.
    CreateTime,
    /// The leader's time at the append.
    LogAppendTime,
}

/// `flush.mode`: when an append counts (ADR 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// Once it is flushed on every in-sync replica.
    Durable,
    /// Once it is in the page cache of every in-sync replica, as Kafka's.
    Kafka,
}

impl CleanupPolicy {
    pub(super) fn parse(text: &str) -> Self {
        let has = |word| text.split(',').any(|part| part.trim() == word);
        Self { delete: has("delete"), compact: has("compact") }
    }
}

impl CompressionType {
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "uncompressed" => Self::Uncompressed,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => Self::Producer,
        }
    }
}

impl TimestampType {
    pub(super) fn parse(text: &str) -> Self {
        if text == "LogAppendTime" { Self::LogAppendTime } else { Self::CreateTime }
    }
}

impl FlushMode {
    pub(super) fn parse(text: &str) -> Self {
        if text == "kafka" { Self::Kafka } else { Self::Durable }
    }
}
