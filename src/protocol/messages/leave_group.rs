//! LeaveGroup: members leave a group: one up to version 2, many from version 3 on.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who leaves.
    LeaveGroupRequest, versions 0..=5, flexible from 4 {
        group_id: String;
        member_id: String, in ..=2;
        members: Vec<MemberIdentity>, in 3..;
    }

    /// A member by its id, by its instance or by both.
    MemberIdentity {
        member_id: String;
        group_instance_id: Option<String>;
        reason: Option<String>, in 5..;
    }
}

message! {
    /// Who has left.
    LeaveGroupResponse, versions 0..=5, flexible from 4 {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        members: Vec<MemberResponse>, in 3..;
    }

    /// Whether one member has left.
    MemberResponse {
        member_id: String;
        group_instance_id: Option<String>;
        error_code: ErrorCode;
    }
}
