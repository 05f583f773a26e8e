//! CreateTopics. From version 4 on -1 partitions or replicas ask for the broker's default.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The topics to create.
    CreateTopicsRequest, versions 2..=7, flexible from 5 {
        topics: Vec<CreatableTopic>;
        timeout_ms: i32 = 60_000;
        validate_only: bool;
    }

    /// A topic to create.
    CreatableTopic {
        name: String;
        num_partitions: i32;
        replication_factor: i16;
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig>;
    }

    /// The brokers of one partition, chosen by the client.
    CreatableReplicaAssignment {
        partition_index: i32;
        broker_ids: Vec<i32>;
    }

    /// A setting of the topic.
    CreatableTopicConfig {
        name: String;
        value: Option<String>;
    }
}

message! {
    /// What became of each topic.
    CreateTopicsResponse, versions 2..=7, flexible from 5 {
        throttle_time_ms: i32;
        topics: Vec<CreatableTopicResult>;
    }

    /// What became of one topic.
    CreatableTopicResult {
        name: String;
        topic_id: TopicId, in 7..;
        error_code: ErrorCode;
        error_message: Option<String>;
        topic_config_error_code: ErrorCode, in 5.., tag 0;
        num_partitions: i32 = -1, in 5..;
        replication_factor: i16 = -1, in 5..;
        configs: Option<Vec<CreatableTopicConfigs>>, in 5..;
    }

    /// A setting that the topic has.
    CreatableTopicConfigs {
        name: String;
        value: Option<String>;
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
    }
}
