//! SyncGroup: the leader of a classic group gives each member its part, and each member waits for its own.

use bytes::Bytes;

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who asks, and from the leader the parts of all.
    SyncGroupRequest, versions 0..=5, flexible from 4 {
        group_id: String;
        generation_id: i32;
        member_id: String;
        group_instance_id: Option<String>, in 3..;
        protocol_type: Option<String>, in 5..;
        protocol_name: Option<String>, in 5..;
        assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// One member's part.
    SyncGroupRequestAssignment {
        member_id: String;
        assignment: Bytes;
    }
}

message! {
    /// The member's own part.
    SyncGroupResponse, versions 0..=5, flexible from 4 {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        protocol_type: Option<String>, in 5..;
        protocol_name: Option<String>, in 5..;
        assignment: Bytes;
    }
}
