//! Produce: append record batches. From version 13 topics are named by id only.

use bytes::Bytes;

use super::leader_hint::{LeaderIdAndEpoch, NodeEndpoint};
use crate::codec::message;
use crate::model::TopicId;
use crate::protocol::ErrorCode;

message! {
    /// Batches to append; with `acks` 0 no response is sent.
    ProduceRequest, versions 3..=13, flexible from 9 {
        transactional_id: Option<String>;
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData>;
    }

    /// A topic's part of the request.
    TopicProduceData {
        name: String, in ..=12;
        topic_id: TopicId, in 13..;
        partition_data: Vec<PartitionProduceData>;
    }

    /// The batches for one partition.
    PartitionProduceData {
        index: i32;
        records: Option<Bytes>;
    }
}

message! {
    /// Where the batches went.
    ProduceResponse, versions 3..=13, flexible from 9 {
        responses: Vec<TopicProduceResponse>;
        throttle_time_ms: i32;
        node_endpoints: Vec<NodeEndpoint>, in 10.., tag 0;
    }

    /// A topic's part of the response.
    TopicProduceResponse {
        name: String, in ..=12;
        topic_id: TopicId, in 13..;
        partition_responses: Vec<PartitionProduceResponse>;
    }

    /// What became of one partition's batches.
    PartitionProduceResponse {
        index: i32;
        error_code: ErrorCode;
        base_offset: i64;
        log_append_time_ms: i64 = -1;
        log_start_offset: i64 = -1, in 5..;
        record_errors: Vec<BatchIndexAndErrorMessage>, in 8..;
        error_message: Option<String>, in 8..;
        current_leader: LeaderIdAndEpoch, in 10.., tag 0;
    }

    /// A record that made its batch be refused.
    BatchIndexAndErrorMessage {
        batch_index: i32;
        batch_index_error_message: Option<String>;
    }
}
