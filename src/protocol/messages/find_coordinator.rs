//! FindCoordinator: the broker that coordinates a group, a transaction or a share group's partition.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The keys to look up: one up to version 3, many from version 4 on.
    FindCoordinatorRequest, versions 0..=6, flexible from 3 {
        key: String, in ..=3;
        key_type: i8, in 1..;
        coordinator_keys: Vec<String>, in 4..;
    }
}

message! {
    /// The coordinators found.
    FindCoordinatorResponse, versions 0..=6, flexible from 3 {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode, in ..=3;
        error_message: Option<String>, in 1..=3;
        node_id: i32, in ..=3;
        host: String, in ..=3;
        port: i32, in ..=3;
        coordinators: Vec<Coordinator>, in 4..;
    }

    /// The coordinator of one key.
    Coordinator {
        key: String;
        node_id: i32;
        host: String;
        port: i32;
        error_code: ErrorCode;
        error_message: Option<String>;
    }
}
