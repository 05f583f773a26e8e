//! Every message and every version against two judges, and against bytes that nobody should have sent.
//!
//! * `oracle`: the `kafka-protocol` crate, generated from Kafka's own schemas, must read what we write and write what
//!   we read, byte for byte and name for name.
//! * `golden`: bytes that Apache Kafka 4.3.1 read and wrote unchanged.
//! * `malformed`: mutated and random bytes must be refused without a panic and without more memory than they earn.
//!
//! `make` writes valid bodies from the layout of a table, so that a new table is tested once `messages!` names it.

mod make;
mod debug;
mod oracle;
mod golden;
mod malformed;

use std::fmt::Debug;

use bytes::Bytes;
use ottla::codec::{DecodeError, Kind, Message, Versions, Writer};

/// Calls a macro with every message: its module, its name (ours and the crate's).
macro_rules! messages {
    ($callback:ident) => {
        $callback! {
            api_versions ApiVersionsRequest, api_versions ApiVersionsResponse,
            produce ProduceRequest, produce ProduceResponse,
            fetch FetchRequest, fetch FetchResponse,
            list_offsets ListOffsetsRequest, list_offsets ListOffsetsResponse,
            offset_for_leader_epoch OffsetForLeaderEpochRequest, offset_for_leader_epoch OffsetForLeaderEpochResponse,
            init_producer_id InitProducerIdRequest, init_producer_id InitProducerIdResponse,
            find_coordinator FindCoordinatorRequest, find_coordinator FindCoordinatorResponse,
            join_group JoinGroupRequest, join_group JoinGroupResponse,
            sync_group SyncGroupRequest, sync_group SyncGroupResponse,
            heartbeat HeartbeatRequest, heartbeat HeartbeatResponse,
            leave_group LeaveGroupRequest, leave_group LeaveGroupResponse,
            offset_commit OffsetCommitRequest, offset_commit OffsetCommitResponse,
            offset_fetch OffsetFetchRequest, offset_fetch OffsetFetchResponse,
            offset_delete OffsetDeleteRequest, offset_delete OffsetDeleteResponse,
            describe_groups DescribeGroupsRequest, describe_groups DescribeGroupsResponse,
            list_groups ListGroupsRequest, list_groups ListGroupsResponse,
            delete_groups DeleteGroupsRequest, delete_groups DeleteGroupsResponse,
            consumer_group_heartbeat ConsumerGroupHeartbeatRequest,
            consumer_group_heartbeat ConsumerGroupHeartbeatResponse,
            consumer_group_describe ConsumerGroupDescribeRequest, consumer_group_describe ConsumerGroupDescribeResponse,
            metadata MetadataRequest, metadata MetadataResponse,
            describe_topic_partitions DescribeTopicPartitionsRequest,
            describe_topic_partitions DescribeTopicPartitionsResponse,
            describe_cluster DescribeClusterRequest, describe_cluster DescribeClusterResponse,
            describe_quorum DescribeQuorumRequest, describe_quorum DescribeQuorumResponse,
            describe_configs DescribeConfigsRequest, describe_configs DescribeConfigsResponse,
            incremental_alter_configs IncrementalAlterConfigsRequest,
            incremental_alter_configs IncrementalAlterConfigsResponse,
            create_partitions CreatePartitionsRequest, create_partitions CreatePartitionsResponse,
            create_topics CreateTopicsRequest, create_topics CreateTopicsResponse,
            delete_topics DeleteTopicsRequest, delete_topics DeleteTopicsResponse,
        }
    };
}
pub(crate) use messages;

/// A message without its type.
pub(crate) struct Subject {
    pub name: &'static str,
    pub versions: Versions,
    pub flexible_from: i16,
    pub kind: Kind,
    /// Decodes and drops.
    pub decode: fn(i16, Bytes) -> Result<(), DecodeError>,
    /// Decodes, encodes, and asserts that the result decodes to the same value.
    pub again: fn(i16, Bytes) -> Result<Bytes, DecodeError>,
}

impl Subject {
    fn of<M: Message + PartialEq + Debug>(name: &'static str) -> Self {
        Self {
            name,
            versions: M::VERSIONS,
            flexible_from: M::FLEXIBLE_FROM,
            kind: M::kind(),
            decode: |version, bytes| M::decode_body(version, bytes).map(drop),
            again: |version, bytes| {
                let message = M::decode_body(version, bytes)?;
                let encoded = encode(version, &message);
                assert_eq!(M::decode_body(version, encoded.clone()).as_ref(), Ok(&message), "version {version}");
                Ok(encoded)
            },
        }
    }

    /// A valid body of a version.
    pub(crate) fn make(&self, version: i16, random: &mut make::Random) -> Vec<u8> {
        make::body(&self.kind, version, version >= self.flexible_from, random)
    }
}

/// All messages, without their types.
pub(crate) fn subjects() -> Vec<Subject> {
    macro_rules! list {
        ($($module:ident $name:ident,)*) => {
            vec![$(Subject::of::<ottla::protocol::messages::$module::$name>(stringify!($name))),*]
        };
    }
    messages!(list)
}

/// The body of a message in one piece.
pub(crate) fn encode<M: Message>(version: i16, message: &M) -> Bytes {
    let mut writer = Writer::new();
    message.encode_body(version, &mut writer);
    writer.into_bytes()
}
