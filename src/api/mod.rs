//! The Kafka APIs, one file each: translate, ask the broker, translate back.
//!
//! Called by `transport` through [`Dispatch`]; `node` makes one per node. Invariants: this file's table is the only
//! place that says which APIs and versions are served; nothing here keeps state of its own; every refusal of the
//! domain becomes an error code in `error` and nowhere else.

mod options;
mod context;
mod dispatch;
mod heavy;
mod call;
mod error;

mod api_versions;
mod metadata;
mod topic_view;
mod create_topics;
mod create_partitions;
mod delete_topics;
mod describe_topic_partitions;
mod describe_cluster;
mod config_resource;
mod describe_configs;
mod incremental_alter_configs;
mod describe_quorum;
mod produce;
mod produce_rules;
mod long_work;
mod fetch;
mod fetch_answer;
mod list_offsets;
mod offset_for_leader_epoch;
mod init_producer_id;
mod find_coordinator;
mod groups;
mod join_group;
mod sync_group;
mod heartbeat;
mod leave_group;
mod offset_commit;
mod offset_fetch;
mod offset_delete;
mod describe_groups;
mod list_groups;
mod delete_groups;
mod consumer_group_heartbeat;
mod consumer_group_describe;

pub use dispatch::Dispatch;
pub use options::{ApiOptions, BrokerConfig, BrokerConfigKind};

use crate::codec::DecodeError;
use crate::protocol::ApiKey;
use call::{Call, Started};

/// An API that is served.
struct Row {
    key: ApiKey,
    /// The oldest version that clients are told of; below `min` only for Produce.
    advertised_min: i16,
    /// The oldest version that is served.
    min: i16,
    /// The newest.
    max: i16,
    /// Reads the body, does what must be done in the order of the connection's requests, and gives the rest.
    start: fn(Call) -> Result<Started, DecodeError>,
}

impl Row {
    const fn new(key: ApiKey, min: i16, max: i16, start: fn(Call) -> Result<Started, DecodeError>) -> Self {
        Self { key, advertised_min: min, min, max, start }
    }

    fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// Everything that is served, by number.
static TABLE: &[Row] = &[
    // librdkafka takes a broker for an old one when Produce starts above 0 (KAFKA-18659), so it is told of versions
    // that close the connection.
    Row { advertised_min: 0, ..Row::new(ApiKey::Produce, 3, 13, produce::start) },
    Row::new(ApiKey::Fetch, 4, 18, fetch::start),
    // Kafka 4 serves no version 0, but Burrow asks in it for the ends from which it computes lags.
    Row::new(ApiKey::ListOffsets, 0, 11, |call| call.serve(list_offsets::list_offsets)),
    Row::new(ApiKey::Metadata, 0, 13, |call| call.serve(metadata::metadata)),
    Row::new(ApiKey::OffsetCommit, 2, 10, |call| call.serve(offset_commit::offset_commit)),
    Row::new(ApiKey::OffsetFetch, 1, 10, |call| call.serve(offset_fetch::offset_fetch)),
    Row::new(ApiKey::FindCoordinator, 0, 6, |call| call.serve(find_coordinator::find_coordinator)),
    Row::new(ApiKey::JoinGroup, 0, 9, |call| call.serve(join_group::join_group)),
    Row::new(ApiKey::Heartbeat, 0, 4, |call| call.serve(heartbeat::heartbeat)),
    Row::new(ApiKey::LeaveGroup, 0, 5, |call| call.serve(leave_group::leave_group)),
    Row::new(ApiKey::SyncGroup, 0, 5, |call| call.serve(sync_group::sync_group)),
    Row::new(ApiKey::DescribeGroups, 0, 6, |call| call.serve(describe_groups::describe_groups)),
    Row::new(ApiKey::ListGroups, 0, 5, |call| call.serve(list_groups::list_groups)),
    Row::new(ApiKey::ApiVersions, 0, 4, |call| call.serve(api_versions::api_versions)),
    Row::new(ApiKey::CreateTopics, 2, 7, |call| call.serve(create_topics::create_topics)),
    Row::new(ApiKey::DeleteTopics, 1, 6, |call| call.serve(delete_topics::delete_topics)),
    Row::new(ApiKey::InitProducerId, 0, 5, |call| call.serve(init_producer_id::init_producer_id)),
    Row::new(ApiKey::OffsetForLeaderEpoch, 2, 4, |call| call.serve(offset_for_leader_epoch::offset_for_leader_epoch)),
    Row::new(ApiKey::DescribeConfigs, 1, 4, |call| call.serve(describe_configs::describe_configs)),
    Row::new(ApiKey::CreatePartitions, 0, 3, |call| call.serve(create_partitions::create_partitions)),
    Row::new(ApiKey::DeleteGroups, 0, 2, |call| call.serve(delete_groups::delete_groups)),
    Row::new(ApiKey::IncrementalAlterConfigs, 0, 1, |call| {
        call.serve(incremental_alter_configs::incremental_alter_configs)
    }),
    Row::new(ApiKey::OffsetDelete, 0, 0, |call| call.serve(offset_delete::offset_delete)),
    Row::new(ApiKey::DescribeQuorum, 0, 2, |call| call.serve(describe_quorum::describe_quorum)),
    Row::new(ApiKey::DescribeCluster, 0, 2, |call| call.serve(describe_cluster::describe_cluster)),
    Row::new(ApiKey::ConsumerGroupHeartbeat, 0, 1, |call| {
        call.serve(consumer_group_heartbeat::consumer_group_heartbeat)
    }),
    Row::new(ApiKey::ConsumerGroupDescribe, 0, 1, |call| call.serve(consumer_group_describe::consumer_group_describe)),
    Row::new(ApiKey::DescribeTopicPartitions, 0, 0, |call| {
        call.serve(describe_topic_partitions::describe_topic_partitions)
    }),
];

fn row(key: ApiKey) -> Option<&'static Row> {
    TABLE.binary_search_by_key(&key.number(), |row| row.key.number()).ok().map(|at| &TABLE[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_rises_so_that_a_row_is_found() {
        assert!(TABLE.windows(2).all(|pair| pair[0].key.number() < pair[1].key.number()));
        for entry in TABLE {
            assert!(row(entry.key).is_some_and(|found| found.key == entry.key));
        }
        assert!(row(ApiKey::AddPartitionsToTxn).is_none());
    }

    #[test]
    fn only_produce_advertises_what_is_not_served() {
        for entry in TABLE {
            assert!(entry.min <= entry.max);
            assert_eq!(entry.advertised_min != entry.min, entry.key == ApiKey::Produce, "{}", entry.key.name());
        }
        let produce = row(ApiKey::Produce).expect("Produce is served");
        assert!(!produce.serves(2) && produce.serves(3) && produce.serves(13) && !produce.serves(14));
    }
}
