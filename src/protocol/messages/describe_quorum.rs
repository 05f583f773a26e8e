//! DescribeQuorum: the voters and observers of the metadata log, and how far each is.

use crate::codec::message;
use crate::model::DirectoryId;
use crate::protocol::ErrorCode;

message! {
    /// The logs asked for: partition 0 of `__cluster_metadata`.
    DescribeQuorumRequest, versions 0..=2, flexible from 0 {
        topics: Vec<TopicRequest>;
    }

    /// A topic's part of the request.
    TopicRequest {
        topic_name: String;
        partitions: Vec<PartitionRequest>;
    }

    /// A partition asked for.
    PartitionRequest {
        partition_index: i32;
    }
}

message! {
    /// The quorum.
    DescribeQuorumResponse, versions 0..=2, flexible from 0 {
        error_code: ErrorCode;
        error_message: Option<String>, in 2..;
        topics: Vec<TopicResponse>;
        nodes: Vec<Node>, in 2..;
    }

    /// A topic's part of the response.
    TopicResponse {
        topic_name: String;
        partitions: Vec<PartitionResponse>;
    }

    /// The quorum of one log.
    PartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<String>, in 2..;
        leader_id: i32;
        leader_epoch: i32;
        high_watermark: i64;
        current_voters: Vec<ReplicaState>;
        observers: Vec<ReplicaState>;
    }

    /// How far a replica of the log is.
    ReplicaState {
        replica_id: i32;
        replica_directory_id: DirectoryId, in 2..;
        log_end_offset: i64;
        last_fetch_timestamp: i64 = -1, in 1..;
        last_caught_up_timestamp: i64 = -1, in 1..;
    }

    /// A node of the quorum.
    Node {
        node_id: i32;
        listeners: Vec<Listener>;
    }

    /// An endpoint of a node.
    Listener {
        name: String;
        host: String;
        port: u16;
    }
}
