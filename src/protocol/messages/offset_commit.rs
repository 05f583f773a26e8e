//! OffsetCommit: how far a group has read. From version 10 on topics go by id.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The offsets to keep, and who says so: a member of a generation or epoch, or with -1 and no member anybody.
    OffsetCommitRequest, versions 2..=10, flexible from 8 {
        group_id: String;
        generation_id_or_member_epoch: i32 = -1;
        member_id: String;
        group_instance_id: Option<String>, in 7..;
        retention_time_ms: i64 = -1, in ..=4;
        topics: Vec<OffsetCommitRequestTopic>;
    }

    /// A topic's part of the request.
    OffsetCommitRequestTopic {
        name: String, in ..=9;
        topic_id: TopicId, in 10..;
        partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// The offset to keep for one partition.
    OffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, in 6..;
        committed_metadata: Option<String>;
    }
}

message! {
    /// Which offsets are kept.
    OffsetCommitResponse, versions 2..=10, flexible from 8 {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetCommitResponseTopic>;
    }

    /// A topic's part of the response.
    OffsetCommitResponseTopic {
        name: String, in ..=9;
        topic_id: TopicId, in 10..;
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// Whether the offset of one partition is kept.
    OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
