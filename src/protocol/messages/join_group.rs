//! JoinGroup: a member enters a classic group or its next generation, and waits for the others.

use bytes::Bytes;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who joins, and the protocols that it can follow, the dearest first.
    JoinGroupRequest, versions 0..=9, flexible from 6 {
        group_id: String;
        session_timeout_ms: i32;
        /// -1 where the version has none: then the session's timeout counts.
        rebalance_timeout_ms: i32 = -1, in 1..;
        member_id: String;
        group_instance_id: Option<String>, in 5..;
        protocol_type: String;
        protocols: Vec<JoinGroupRequestProtocol>;
        reason: Option<String>, in 8..;
    }

    /// A protocol, and what its leader must know of this member.
    JoinGroupRequestProtocol {
        name: String;
        metadata: Bytes;
    }
}

message! {
    /// The generation and its leader; only the leader is told the members.
    JoinGroupResponse, versions 0..=9, flexible from 6 {
        throttle_time_ms: i32, in 2..;
        error_code: ErrorCode;
        generation_id: i32 = -1;
        protocol_type: Option<String>, in 7..;
        protocol_name: Option<String>, null in 7..;
        leader: String;
        skip_assignment: bool, in 9..;
        member_id: String;
        members: Vec<JoinGroupResponseMember>;
    }

    /// A member, with its metadata for the protocol that was chosen.
    JoinGroupResponseMember {
        member_id: String;
        group_instance_id: Option<String>, in 5..;
        metadata: Bytes;
    }
}
