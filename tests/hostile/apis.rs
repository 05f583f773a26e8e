//! The APIs that are attacked, without their types.

use bytes::Bytes;
use ottla::codec::{DecodeError, Kind, Versions};
use ottla::protocol::{ApiKey, Request, decode_request, decode_response};

/// An API that the node serves. A new one is attacked once it stands in `all`.
pub(crate) struct Api {
    pub(crate) key: ApiKey,
    pub(crate) versions: Versions,
    pub(crate) flexible_from: i16,
    pub(crate) kind: Kind,
    /// Reads a request and drops it.
    pub(crate) decode: fn(i16, Bytes) -> Result<(), DecodeError>,
    /// Reads a response and drops it.
    pub(crate) decode_response: fn(i16, Bytes) -> Result<(), DecodeError>,
}

impl Api {
    fn of<R: Request>() -> Self {
        Self {
            key: R::KEY,
            versions: R::VERSIONS,
            flexible_from: R::FLEXIBLE_FROM,
            kind: R::kind(),
            decode: |version, body| decode_request::<R>(version, body).map(drop),
            decode_response: |version, frame| decode_response::<R::Response>(version, frame).map(drop),
        }
    }
}

/// Every API that the node serves.
pub(crate) fn all() -> Vec<Api> {
    macro_rules! list {
        ($($module:ident $name:ident,)*) => {
            vec![$(Api::of::<ottla::protocol::messages::$module::$name>()),*]
        };
    }
    list! {
        api_versions ApiVersionsRequest,
        consumer_group_describe ConsumerGroupDescribeRequest,
        consumer_group_heartbeat ConsumerGroupHeartbeatRequest,
        create_partitions CreatePartitionsRequest,
        create_topics CreateTopicsRequest,
        delete_groups DeleteGroupsRequest,
        delete_topics DeleteTopicsRequest,
        describe_cluster DescribeClusterRequest,
        describe_configs DescribeConfigsRequest,
        describe_groups DescribeGroupsRequest,
        describe_quorum DescribeQuorumRequest,
        describe_topic_partitions DescribeTopicPartitionsRequest,
        fetch FetchRequest,
        find_coordinator FindCoordinatorRequest,
        heartbeat HeartbeatRequest,
        incremental_alter_configs IncrementalAlterConfigsRequest,
        init_producer_id InitProducerIdRequest,
        join_group JoinGroupRequest,
        leave_group LeaveGroupRequest,
        list_groups ListGroupsRequest,
        list_offsets ListOffsetsRequest,
        metadata MetadataRequest,
        offset_commit OffsetCommitRequest,
        offset_delete OffsetDeleteRequest,
        offset_fetch OffsetFetchRequest,
        offset_for_leader_epoch OffsetForLeaderEpochRequest,
        produce ProduceRequest,
        sync_group SyncGroupRequest,
    }
}
