//! ApiVersions: what the broker speaks. The first request of every connection; its response has header version 0 in
//! every version, and version 0 of the body answers a version that the broker does not know.

use crate::codec::message;
use crate::protocol::ErrorCode;

message! {
    /// Who asks.
    ApiVersionsRequest, versions 0..=4, flexible from 3 {
        client_software_name: String, in 3..;
        client_software_version: String, in 3..;
    }
}

message! {
    /// The APIs and the features of the cluster.
    ApiVersionsResponse, versions 0..=4, flexible from 3 {
        error_code: ErrorCode;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32, in 1..;
        supported_features: Vec<SupportedFeatureKey>, in 3.., tag 0;
        finalized_features_epoch: i64 = -1, in 3.., tag 1;
        finalized_features: Vec<FinalizedFeatureKey>, in 3.., tag 2;
        zk_migration_ready: bool, in 3.., tag 3;
    }

    /// The versions of one API.
    ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }

    /// The levels of a feature that this broker could take.
    SupportedFeatureKey {
        name: String;
        min_version: i16;
        max_version: i16;
    }

    /// The level of a feature that the cluster has.
    FinalizedFeatureKey {
        name: String;
        max_version_level: i16;
        min_version_level: i16;
    }
}
