//! ApiVersions: what this broker speaks, and what the cluster has agreed on.
//!
//! Invariant: the list is the table of `api` and nothing else.

use super::call::Caller;
use super::context::Context;
use super::{Row, TABLE, row};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::protocol::{ApiKey, ErrorCode};

/// A feature, and the levels of it that this broker can work at.
struct Feature {
    name: &'static str,
    min: i16,
    max: i16,
}

/// Those of Kafka's features that this broker has: a level that it does not have must not be offered, as clients act
/// on it (`transaction.version`).
const FEATURES: &[Feature] = &[
    Feature { name: "eligible.leader.replicas.version", min: 0, max: 1 },
    Feature { name: "metadata.version", min: 7, max: 30 },
];

/// Serves the request.
pub(super) async fn api_versions(context: Context, caller: Caller, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if caller.version >= 3 && !names.into_iter().all(|name| is_software_name(name)) {
        return ApiVersionsResponse { error_code: ErrorCode::InvalidRequest, ..ApiVersionsResponse::default() };
    }
    let image = context.image();
    let finalized = image.features().filter(|(_, level)| *level > 0).map(|(name, level)| {
        let level = i16::try_from(level).unwrap_or(i16::MAX);
        FinalizedFeatureKey { name: name.to_owned(), max_version_level: level, min_version_level: level }
    });
    ApiVersionsResponse {
        api_keys: TABLE.iter().map(version).collect(),
        supported_features: supported_features(caller.version),
        // From 0 on: below it clients take the features as unknown.
        finalized_features_epoch: i64::try_from(image.last_accepted().get()).unwrap_or(i64::MAX),
        finalized_features: finalized.collect(),
        ..ApiVersionsResponse::default()
    }
}

/// The answer, in version 0, to a version that is not served: which are.
pub(super) fn unsupported() -> ApiVersionsResponse {
    let own = row(ApiKey::ApiVersions).map(version);
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        api_keys: own.into_iter().collect(),
        ..ApiVersionsResponse::default()
    }
}

fn version(row: &Row) -> ApiVersion {
    ApiVersion { api_key: row.key.number(), min_version: row.advertised_min, max_version: row.max }
}

/// Java clients before version 4 cannot read a feature that begins at level 0.
fn supported_features(version: i16) -> Vec<SupportedFeatureKey> {
    let shown = FEATURES.iter().filter(|feature| version >= 4 || feature.min > 0);
    let key = |f: &Feature| SupportedFeatureKey { name: f.name.to_owned(), min_version: f.min, max_version: f.max };
    shown.map(key).collect()
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_name(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    let ends = text.as_bytes().first().zip(text.as_bytes().last());
    ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
        && text.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_served_is_answered_with_the_one_key_that_helps() {
        let response = unsupported();
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion);
        assert_eq!(response.api_keys, [ApiVersion { api_key: 18, min_version: 0, max_version: 4 }]);
    }

    #[test]
    fn features_that_begin_at_level_zero_are_hidden_from_old_clients() {
        assert!(supported_features(3).iter().all(|feature| feature.min_version > 0));
        assert!(supported_features(4).iter().any(|feature| feature.min_version == 0));
    }

    #[test]
    fn a_software_name_begins_and_ends_with_a_letter_or_digit() {
        assert!(["librdkafka", "2.10.0", "a", "apache-kafka-java"].into_iter().all(is_software_name));
        assert!(!["", "-a", "a.", "a b", "é"].into_iter().any(is_software_name));
    }
}
