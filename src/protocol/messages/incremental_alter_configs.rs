//! IncrementalAlterConfigs (KIP-339): single settings of topics, brokers and groups.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The changes to make.
    IncrementalAlterConfigsRequest, versions 0..=1, flexible from 1 {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    /// A resource, and the changes to it: all are made or none.
    AlterConfigsResource {
        resource_type: i8;
        resource_name: String;
        configs: Vec<AlterableConfig>;
    }

    /// A change of one setting.
    AlterableConfig {
        name: String;
        /// 0 sets, 1 deletes, 2 appends to a list, 3 takes from it.
        config_operation: i8;
        value: Option<String>;
    }
}

message! {
    /// What became of each resource.
    IncrementalAlterConfigsResponse, versions 0..=1, flexible from 1 {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    /// What became of one resource.
    AlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<String>;
        resource_type: i8;
        resource_name: String;
    }
}
