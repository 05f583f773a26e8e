//! Heartbeat: a member of a classic group is alive, and learns whether the group rebalances.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who is alive, in which generation.
    HeartbeatRequest, versions 0..=4, flexible from 4 {
        group_id: String;
        generation_id: i32;
        member_id: String;
        group_instance_id: Option<String>, in 3..;
    }
}

message! {
    /// Whether the member goes on.
    HeartbeatResponse, versions 0..=4, flexible from 4 {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
    }
}
