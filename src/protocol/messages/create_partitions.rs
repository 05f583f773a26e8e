//! CreatePartitions: more partitions for topics.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The topics to grow.
    CreatePartitionsRequest, versions 0..=3, flexible from 2 {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        validate_only: bool;
    }

    /// A topic, how many partitions it shall have, and the replicas of the new ones where the client chooses.
    CreatePartitionsTopic {
        name: String;
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>>;
    }

    /// The brokers of one new partition.
    CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }
}

message! {
    /// What became of each topic.
    CreatePartitionsResponse, versions 0..=3, flexible from 2 {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }

    /// What became of one topic.
    CreatePartitionsTopicResult {
        name: String;
        error_code: ErrorCode;
        error_message: Option<String>;
    }
}
