//! OffsetFetch: how far groups have read: one up to version 7, many from version 8 on; topics by id from version 10 on.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The groups and partitions asked for; no topics (null) asks for all that a group has.
    OffsetFetchRequest, versions 1..=10, flexible from 6 {
        group_id: String, in ..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>>, in ..=7, null in 2..=7;
        groups: Vec<OffsetFetchRequestGroup>, in 8..;
        require_stable: bool, in 7..;
    }

    /// The partitions of a topic, of the only group.
    OffsetFetchRequestTopic {
        name: String;
        partition_indexes: Vec<i32>;
    }

    /// A group, and from version 9 on the member of it that asks.
    OffsetFetchRequestGroup {
        group_id: String;
        member_id: Option<String>, in 9..;
        member_epoch: i32 = -1, in 9..;
        topics: Option<Vec<OffsetFetchRequestTopics>>;
    }

    /// The partitions of a topic, of one group among many.
    OffsetFetchRequestTopics {
        name: String, in ..=9;
        topic_id: TopicId, in 10..;
        partition_indexes: Vec<i32>;
    }
}

message! {
    /// The offsets found.
    OffsetFetchResponse, versions 1..=10, flexible from 6 {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetFetchResponseTopic>, in ..=7;
        error_code: ErrorCode, in 2..=7;
        groups: Vec<OffsetFetchResponseGroup>, in 8..;
    }

    /// The offsets in a topic, of the only group.
    OffsetFetchResponseTopic {
        name: String;
        partitions: Vec<OffsetFetchResponsePartition>;
    }

    /// The offset in a partition, of the only group: -1 when it has none.
    OffsetFetchResponsePartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, in 5..;
        metadata: Option<String>;
        error_code: ErrorCode;
    }

    /// The offsets of one group among many.
    OffsetFetchResponseGroup {
        group_id: String;
        topics: Vec<OffsetFetchResponseTopics>;
        error_code: ErrorCode;
    }

    /// The offsets in a topic, of one group among many.
    OffsetFetchResponseTopics {
        name: String, in ..=9;
        topic_id: TopicId, in 10..;
        partitions: Vec<OffsetFetchResponsePartitions>;
    }

    /// The offset in a partition, of one group among many: -1 when it has none.
    OffsetFetchResponsePartitions {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1;
        metadata: Option<String>;
        error_code: ErrorCode;
    }
}
