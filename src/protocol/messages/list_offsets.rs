//! ListOffsets: the offset of a timestamp, or of one of the special timestamps below zero.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The timestamps to look up.
    ListOffsetsRequest, versions 0..=11, flexible from 6 {
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
        max_num_offsets: i32 = 1, in ..=0;
    }
}

message! {
    /// The offsets found.
    ListOffsetsResponse, versions 0..=11, flexible from 6 {
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
        /// At most as many as were asked for, falling.
        old_style_offsets: Vec<i64>, in ..=0;
        timestamp: i64 = -1, in 1..;
        offset: i64 = -1, in 1..;
        leader_epoch: i32 = -1, in 4..;
    }
}
