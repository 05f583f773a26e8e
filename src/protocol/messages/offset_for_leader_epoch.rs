//! OffsetForLeaderEpoch: where a leader epoch ends, so that a reader can see that the log was truncated.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The epochs asked for.
    OffsetForLeaderEpochRequest, versions 2..=4, flexible from 4 {
        replica_id: i32 = -2, in 3..;
        topics: Vec<OffsetForLeaderTopic>;
    }

    /// A topic's part of the request.
    OffsetForLeaderTopic {
        topic: String;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// The epoch asked for in one partition.
    OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32 = -1;
        leader_epoch: i32;
    }
}

message! {
    /// Where the epochs end.
    OffsetForLeaderEpochResponse, versions 2..=4, flexible from 4 {
        throttle_time_ms: i32;
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// A topic's part of the response.
    OffsetForLeaderTopicResult {
        topic: String;
        partitions: Vec<EpochEndOffset>;
    }

    /// The largest known epoch up to the one asked for, and its end.
    EpochEndOffset {
        error_code: ErrorCode;
        partition: i32;
        leader_epoch: i32 = -1;
        end_offset: i64 = -1;
    }
}
