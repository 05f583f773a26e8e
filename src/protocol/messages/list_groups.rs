//! ListGroups: the groups that the broker asked coordinates.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The states and types asked for: none asks for all.
    ListGroupsRequest, versions 0..=5, flexible from 3 {
        states_filter: Vec<String>, in 4..;
        types_filter: Vec<String>, in 5..;
    }
}

message! {
    /// The groups found.
    ListGroupsResponse, versions 0..=5, flexible from 3 {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        groups: Vec<ListedGroup>;
    }

    /// A group.
    ListedGroup {
        group_id: String;
        protocol_type: String;
        group_state: String, in 4..;
        group_type: String, in 5..;
    }
}
