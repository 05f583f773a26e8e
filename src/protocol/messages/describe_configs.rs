//! DescribeConfigs: the settings of topics and brokers, and where each comes from.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// The resources asked for.
    DescribeConfigsRequest, versions 1..=4, flexible from 4 {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool;
        include_documentation: bool, in 3..;
    }

    /// A resource, and the settings asked for: `None` asks for all.
    DescribeConfigsResource {
        resource_type: i8;
        resource_name: String;
        configuration_keys: Option<Vec<String>>;
    }
}

message! {
    /// The settings found.
    DescribeConfigsResponse, versions 1..=4, flexible from 4 {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }

    /// The settings of one resource.
    DescribeConfigsResult {
        error_code: ErrorCode;
        error_message: Option<String>;
        resource_type: i8;
        resource_name: String;
        configs: Vec<DescribeConfigsResourceResult>;
    }

    /// A setting.
    DescribeConfigsResourceResult {
        name: String;
        value: Option<String>;
        read_only: bool;
        config_source: i8 = -1;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym>;
        config_type: i8, in 3..;
        documentation: Option<String>, in 3..;
    }

    /// A place that could give the setting its value, the one that does first.
    DescribeConfigsSynonym {
        name: String;
        value: Option<String>;
        source: i8;
    }
}
