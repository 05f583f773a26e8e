//! DescribeTopicPartitions: topics in pages, with the eligible leaders of KIP-966.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The topics asked for (none: all) and where the page starts.
    DescribeTopicPartitionsRequest, versions 0..=0, flexible from 0 {
        topics: Vec<TopicRequest>;
        response_partition_limit: i32 = 2000;
        cursor: Option<Cursor>;
    }

    /// A topic by name.
    TopicRequest {
        name: String;
    }

    /// The first partition of a page.
    Cursor {
        topic_name: String;
        partition_index: i32;
    }
}

message! {
    /// A page, and where the next one starts.
    DescribeTopicPartitionsResponse, versions 0..=0, flexible from 0 {
        throttle_time_ms: i32;
        topics: Vec<DescribeTopicPartitionsResponseTopic>;
        next_cursor: Option<Cursor>;
    }

    /// A topic.
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode;
        name: Option<String>;
        topic_id: TopicId;
        is_internal: bool;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN;
    }

    /// A partition.
    DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        eligible_leader_replicas: Option<Vec<i32>>;
        last_known_elr: Option<Vec<i32>>;
        offline_replicas: Vec<i32>;
    }
}
