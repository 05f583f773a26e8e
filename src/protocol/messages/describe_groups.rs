//! DescribeGroups: classic groups and their members.

use bytes::Bytes;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The groups asked for.
    DescribeGroupsRequest, versions 0..=6, flexible from 5 {
        groups: Vec<String>;
        include_authorized_operations: bool, in 3..;
    }
}

message! {
    /// The groups found.
    DescribeGroupsResponse, versions 0..=6, flexible from 5 {
        throttle_time_ms: i32, in 1..;
        groups: Vec<DescribedGroup>;
    }

    /// A group.
    DescribedGroup {
        error_code: ErrorCode;
        error_message: Option<String>, in 6..;
        group_id: String;
        group_state: String;
        protocol_type: String;
        /// The name of the protocol that was chosen.
        protocol_data: String;
        members: Vec<DescribedGroupMember>;
        authorized_operations: i32 = i32::MIN, in 3..;
    }

    /// A member.
    DescribedGroupMember {
        member_id: String;
        group_instance_id: Option<String>, in 4..;
        client_id: String;
        client_host: String;
        member_metadata: Bytes;
        member_assignment: Bytes;
    }
}
