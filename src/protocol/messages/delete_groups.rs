//! DeleteGroups: groups without members go, and their offsets with them.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The groups to delete.
    DeleteGroupsRequest, versions 0..=2, flexible from 2 {
        groups_names: Vec<String>;
    }
}

message! {
    /// What became of each group.
    DeleteGroupsResponse, versions 0..=2, flexible from 2 {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult>;
    }

    /// What became of one group.
    DeletableGroupResult {
        group_id: String;
        error_code: ErrorCode;
    }
}
