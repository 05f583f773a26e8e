//! Metadata: brokers, topics, leaders.

use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// The topics asked for: `None` asks for all, and so does an empty list in version 0.
    MetadataRequest, versions 0..=13, flexible from 9 {
        topics: Option<Vec<MetadataRequestTopic>>, null in 1..;
        allow_auto_topic_creation: bool = true, in 4..;
        include_cluster_authorized_operations: bool, in 8..=10;
        include_topic_authorized_operations: bool, in 8..;
    }

    /// A topic by name, or from version 12 on by id.
    MetadataRequestTopic {
        topic_id: TopicId, in 10..;
        name: Option<String>, null in 10..;
    }
}

message! {
    /// What this broker knows of the cluster.
    MetadataResponse, versions 0..=13, flexible from 9 {
        throttle_time_ms: i32, in 3..;
        brokers: Vec<MetadataResponseBroker>;
        cluster_id: Option<String>, in 2..;
        controller_id: i32 = -1, in 1..;
        topics: Vec<MetadataResponseTopic>;
        cluster_authorized_operations: i32 = i32::MIN, in 8..=10;
        error_code: ErrorCode, in 13..;
    }

    /// A broker and how to reach it.
    MetadataResponseBroker {
        node_id: i32;
        host: String;
        port: i32;
        rack: Option<String>, in 1..;
    }

    /// A topic.
    MetadataResponseTopic {
        error_code: ErrorCode;
        name: Option<String>, null in 12..;
        topic_id: TopicId, in 10..;
        is_internal: bool, in 1..;
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN, in 8..;
    }

    /// A partition, its leader and its replicas.
    MetadataResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1, in 7..;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32>, in 5..;
    }
}
