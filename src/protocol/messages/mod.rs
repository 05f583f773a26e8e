//! The messages, one file per API, each a table that reads like the protocol guide.
//!
//! A nullable field is an `Option` whose default is `None`, also where Kafka's default is empty.
//!
//! Invariant: every request and response is listed below, with the key that its header carries.

pub mod api_versions;
pub mod produce;
pub mod fetch;
pub mod list_offsets;
pub mod offset_for_leader_epoch;
pub mod init_producer_id;
pub mod find_coordinator;
pub mod join_group;
pub mod sync_group;
pub mod heartbeat;
pub mod leave_group;
pub mod offset_commit;
pub mod offset_fetch;
pub mod offset_delete;
pub mod describe_groups;
pub mod list_groups;
pub mod delete_groups;
pub mod consumer_group_heartbeat;
pub mod consumer_group_describe;
pub mod metadata;
pub mod describe_topic_partitions;
pub mod describe_cluster;
pub mod describe_quorum;
pub mod describe_configs;
pub mod incremental_alter_configs;
pub mod create_topics;
pub mod create_partitions;
pub mod delete_topics;
pub mod leader_hint;

use super::{ApiKey, Request, Response};
use crate::codec::Message;

/// Ties each request and response to its API.
macro_rules! apis {
    ($($key:ident: $module:ident, $request:ident => $response:ident;)*) => {
        $(
            impl Request for $module::$request {
                const KEY: ApiKey = ApiKey::$key;
                type Response = $module::$response;
            }
            impl Response for $module::$response {
                const KEY: ApiKey = ApiKey::$key;
            }
            const _: () = {
                type Asked = $module::$request;
                type Answered = $module::$response;
                assert!(Asked::FLEXIBLE_FROM == ApiKey::$key.flexible_from());
                assert!(Answered::FLEXIBLE_FROM == ApiKey::$key.flexible_from());
                assert!(Asked::VERSIONS.min == Answered::VERSIONS.min);
                assert!(Asked::VERSIONS.max == Answered::VERSIONS.max);
            };
        )*
    };
}

apis! {
    Produce: produce, ProduceRequest => ProduceResponse;
    Fetch: fetch, FetchRequest => FetchResponse;
    ListOffsets: list_offsets, ListOffsetsRequest => ListOffsetsResponse;
    Metadata: metadata, MetadataRequest => MetadataResponse;
    OffsetCommit: offset_commit, OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch: offset_fetch, OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator: find_coordinator, FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup: join_group, JoinGroupRequest => JoinGroupResponse;
    Heartbeat: heartbeat, HeartbeatRequest => HeartbeatResponse;
    LeaveGroup: leave_group, LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup: sync_group, SyncGroupRequest => SyncGroupResponse;
    DescribeGroups: describe_groups, DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups: list_groups, ListGroupsRequest => ListGroupsResponse;
    ApiVersions: api_versions, ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics: create_topics, CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics: delete_topics, DeleteTopicsRequest => DeleteTopicsResponse;
    InitProducerId: init_producer_id, InitProducerIdRequest => InitProducerIdResponse;
    OffsetForLeaderEpoch: offset_for_leader_epoch, OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    DescribeConfigs: describe_configs, DescribeConfigsRequest => DescribeConfigsResponse;
    CreatePartitions: create_partitions, CreatePartitionsRequest => CreatePartitionsResponse;
    DeleteGroups: delete_groups, DeleteGroupsRequest => DeleteGroupsResponse;
    IncrementalAlterConfigs: incremental_alter_configs,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    OffsetDelete: offset_delete, OffsetDeleteRequest => OffsetDeleteResponse;
    DescribeQuorum: describe_quorum, DescribeQuorumRequest => DescribeQuorumResponse;
    DescribeCluster: describe_cluster, DescribeClusterRequest => DescribeClusterResponse;
    ConsumerGroupHeartbeat: consumer_group_heartbeat,
        ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse;
    ConsumerGroupDescribe: consumer_group_describe, ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse;
    DescribeTopicPartitions: describe_topic_partitions,
        DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse;
}
