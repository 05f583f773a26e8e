//! ListOffsets: the offset of a timestamp, or of one of the special timestamps below zero.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The timestamps to look up.
    ListOffsetsRequest, versions 1..=11, flexible from 6 {
        replica_id: i32;
        isolation_level: i8, in 2..;
        topics: Vec<ListOffsetsTopic>;
        timeout_ms: i32, in 10..;
    }

    /// A topic's part of the request.
    ListOffsetsTopic {
        name: String;
        partitions: Vec<ListOffsetsPartition>;
    }

    /// The timestamp to look up in one partition.
    ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32 = -1, in 4..;
        timestamp: i64;
    }
}

message! {
    /// The offsets found.
    ListOffsetsResponse, versions 1..=11, flexible from 6 {
        throttle_time_ms: i32, in 2..;
        topics: Vec<ListOffsetsTopicResponse>;
    }

    /// A topic's part of the response.
    ListOffsetsTopicResponse {
        name: String;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// The offset found in one partition.
    ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        timestamp: i64 = -1;
        offset: i64 = -1;
        leader_epoch: i32 = -1, in 4..;
    }
}
