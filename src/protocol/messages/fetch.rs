//! Fetch: read record batches; replicas fetch with it, too. From version 13 topics are named by id only.
//!
//! `last_batch_crc` is ours, between brokers (rule R21); Kafka's tags are small numbers given out in turn.

use super::leader_hint::{LeaderIdAndEpoch, NodeEndpoint};
use crate::codec::{Payload, message};
use crate::model::{DirectoryId, TopicId};
use crate::protocol::ErrorCode;

message! {
    /// What to read, and how long to wait for how much.
    FetchRequest, versions 4..=18, flexible from 12 {
        cluster_id: Option<String>, in 12.., tag 0;
        replica_id: i32 = -1, in ..=14;
        replica_state: ReplicaState, in 15.., tag 1;
        max_wait_ms: i32;
        min_bytes: i32;
        max_bytes: i32 = i32::MAX;
        isolation_level: i8;
        session_id: i32, in 7..;
        session_epoch: i32 = -1, in 7..;
        topics: Vec<FetchTopic>;
        forgotten_topics_data: Vec<ForgottenTopic>, in 7..;
        rack_id: String, in 11..;
    }

    /// Who fetches, when it is a replica.
    ReplicaState {
        replica_id: i32 = -1;
        replica_epoch: i64 = -1;
    }

    /// A topic's part of the request.
    FetchTopic {
        topic: String, in ..=12;
        topic_id: TopicId, in 13..;
        partitions: Vec<FetchPartition>;
    }

    /// From where to read one partition.
    FetchPartition {
        partition: i32;
        current_leader_epoch: i32 = -1, in 9..;
        fetch_offset: i64;
        last_fetched_epoch: i32 = -1, in 12..;
        log_start_offset: i64 = -1, in 5..;
        partition_max_bytes: i32;
        replica_directory_id: DirectoryId, in 17.., tag 0;
        high_watermark: i64 = i64::MAX, in 18.., tag 1;
        last_batch_crc: i64 = -1, in 12.., tag 10000;
    }

    /// Partitions to drop from the fetch session.
    ForgottenTopic {
        topic: String, in ..=12;
        topic_id: TopicId, in 13..;
        partitions: Vec<i32>;
    }
}

message! {
    /// The batches read.
    FetchResponse, versions 4..=18, flexible from 12 {
        throttle_time_ms: i32;
        error_code: ErrorCode, in 7..;
        session_id: i32, in 7..;
        responses: Vec<FetchableTopicResponse>;
        node_endpoints: Vec<NodeEndpoint>, in 16.., tag 0;
    }

    /// A topic's part of the response.
    FetchableTopicResponse {
        topic: String, in ..=12;
        topic_id: TopicId, in 13..;
        partitions: Vec<PartitionData>;
    }

    /// What was read from one partition.
    PartitionData {
        partition_index: i32;
        error_code: ErrorCode;
        high_watermark: i64;
        last_stable_offset: i64 = -1;
        log_start_offset: i64 = -1, in 5..;
        diverging_epoch: EpochEndOffset, in 12.., tag 0;
        current_leader: LeaderIdAndEpoch, in 12.., tag 1;
        snapshot_id: SnapshotId, in 12.., tag 2;
        aborted_transactions: Option<Vec<AbortedTransaction>>;
        preferred_read_replica: i32 = -1, in 11..;
        records: Option<Payload>;
    }

    /// Where the fetcher's last epoch ends in the leader's log, when their logs differ.
    EpochEndOffset {
        epoch: i32 = -1;
        end_offset: i64 = -1;
    }

    /// The snapshot to fetch instead; of the metadata log only.
    SnapshotId {
        end_offset: i64 = -1;
        epoch: i32 = -1;
    }

    /// A transaction whose records a committed read leaves out.
    AbortedTransaction {
        producer_id: i64;
        first_offset: i64;
    }
}
