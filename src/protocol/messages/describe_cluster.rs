//! DescribeCluster: the brokers, or the controllers, for administration.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// What to tell.
    DescribeClusterRequest, versions 0..=2, flexible from 0 {
        include_cluster_authorized_operations: bool;
        endpoint_type: i8 = 1, in 1..;
        include_fenced_brokers: bool, in 2..;
    }
}

message! {
    /// The cluster.
    DescribeClusterResponse, versions 0..=2, flexible from 0 {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<String>;
        endpoint_type: i8 = 1, in 1..;
        cluster_id: String;
        controller_id: i32 = -1;
        brokers: Vec<DescribeClusterBroker>;
        cluster_authorized_operations: i32 = i32::MIN;
    }

    /// A broker and how to reach it.
    DescribeClusterBroker {
        broker_id: i32;
        host: String;
        port: i32;
        rack: Option<String>;
        is_fenced: bool, in 2..;
    }
}
