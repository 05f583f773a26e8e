//! OffsetDelete: a group forgets how far it has read.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The offsets to forget.
    OffsetDeleteRequest, versions 0..=0, never flexible {
        group_id: String;
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// A topic's part of the request.
    OffsetDeleteRequestTopic {
        name: String;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// A partition.
    OffsetDeleteRequestPartition {
        partition_index: i32;
    }
}

message! {
    /// Which offsets are forgotten.
    OffsetDeleteResponse, versions 0..=0, never flexible {
        error_code: ErrorCode;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// A topic's part of the response.
    OffsetDeleteResponseTopic {
        name: String;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// Whether the offset of one partition is forgotten.
    OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
