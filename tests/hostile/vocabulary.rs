//! Plausible and extreme values for the fields of requests, by the names of the fields.
//!
//! Waits are short: a test has better things to do than to wait for what it asked for.

use ottla::protocol::ApiKey;

use crate::draft::Place;
use crate::random::Random;
use crate::world::{GOOD_GROUP, GROUPS, INSTANCES, World};

const EXTREMES: [i64; 8] =
    [0, -1, i64::MAX, i64::MIN, 0x7fff_ffff_7fff_ffff, 0x8000_0000_8000, 0x7ff8_0000_0000_0000, 0x7fff];

/// A number for a field. The lower bytes are taken where the field is narrower.
pub(crate) fn number(place: Place<'_>, random: &mut Random) -> i64 {
    let sane: &[i64] = match place.name {
        "partition" | "partition_index" | "index" | "partitions" => &[0, 0, 0, 1, 1, 2],
        "max_wait_ms" => &[0, 1, 5, 20],
        "session_timeout_ms" => &[100, 300, 1_000, 6_000],
        "rebalance_timeout_ms" => &[1, 10, 20, 50],
        "generation_id" | "generation_id_or_member_epoch" => &[-1, -1, 0, 1, 2, 3, 100],
        "member_epoch" => &[0, 0, 0, 1, 2, -1, -2],
        "timeout_ms" | "transaction_timeout_ms" => &[0, 100, 1_000, 30_000],
        "min_bytes" => &[0, 1, 1_000],
        "max_bytes" | "partition_max_bytes" => &[0, 1, 1_024, 1 << 16],
        "fetch_offset" => &[0, 1, 5, 100, 1_000],
        "log_start_offset" | "current_leader_epoch" | "last_fetched_epoch" | "leader_epoch" => &[-1, -1, 0, 1],
        "session_id" => &[0, 0, 0, 1, 2],
        "session_epoch" => &[-1, 0, 0, 1, 2],
        "acks" => &[-1, -1, -1, 1, 1, 0, 2],
        "timestamp" => &[-1, -2, -3, -4, -5, -6, -100, 0, 1_700_000_000_000],
        "replica_id" => &[-1, -1, -1, -1, -2, 0, 1, 5],
        "replica_epoch" | "producer_id" | "producer_epoch" => &[-1, 0, 1],
        "num_partitions" => &[1, 1, 2, 3, -1],
        "count" => &[1, 2, 3, 4, 1_000_000],
        "config_operation" => &[0, 0, 0, 1, 2, 3, 4],
        "replication_factor" => &[1, 1, -1, 2],
        "broker_ids" => &[1, 1, 1, 2, 0],
        "isolation_level" | "key_type" | "endpoint_type" => &[0, 1, 2],
        "resource_type" => &[2, 2, 4, 8, 16, 32, 0],
        "response_partition_limit" => &[0, 1, 2_000],
        _ => &[0, 1, 2, 100],
    };
    random.mostly(sane, &EXTREMES)
}

/// A text for a field.
pub(crate) fn text(api: ApiKey, place: Place<'_>, world: &World, random: &mut Random) -> String {
    match (place.parent, place.name) {
        ("configs", "name") | (_, "configuration_keys") => {
            let names = ["retention.ms", "retention.bytes", "max.message.bytes", "compression.type", "cleanup.policy"];
            let odd = ["", "no.such.config", "min.insync.replicas", "message.timestamp.type", "log.dirs"];
            let names = if random.chance(4) { odd } else { names };
            (*random.pick(&names)).to_owned()
        }
        ("configs", "value") => {
            let values =
                ["1000000", "zstd", "gzip", "compact", "delete", "-1", "", "NaN", "1e308", "-0", "file:///etc"];
            (*random.pick(&values)).to_owned()
        }
        ("protocols", "name") => (*random.pick(&["range", "range", "range", "roundrobin", "sticky", ""])).to_owned(),
        (_, "name" | "topic" | "topic_name" | "topic_names") => world.name(random),
        (_, "resource_name") if random.chance(3) => (*random.pick(&["1", "0", "-1", "99", ""])).to_owned(),
        (_, "resource_name") => world.name(random),
        (_, "group_id" | "group_ids" | "groups" | "groups_names") => match random.below(12) {
            0 => String::new(),
            1 => GOOD_GROUP.to_owned(),
            _ => (*random.pick(&GROUPS)).to_owned(),
        },
        (_, "member_id") => (*random.pick(&["", "", "", "member", "instance-a-0"])).to_owned(),
        (_, "group_instance_id" | "instance_id") => (*random.pick(&INSTANCES)).to_owned(),
        (_, "server_assignor") => (*random.pick(&["uniform", "range", "", "none"])).to_owned(),
        (_, "subscribed_topic_names") => world.name(random),
        (_, "subscribed_topic_regex") => (*random.pick(&["hostile-.*", ".*", "", "[", "(a+)+$"])).to_owned(),
        (_, "protocol_type") => (*random.pick(&["consumer", "consumer", "consumer", "connect", ""])).to_owned(),
        (_, "protocol_name") => (*random.pick(&["range", "range", "roundrobin", ""])).to_owned(),
        (_, "states_filter") => (*random.pick(&["Stable", "empty", "PreparingRebalance", "None", ""])).to_owned(),
        (_, "types_filter") => (*random.pick(&["classic", "Consumer", "none", ""])).to_owned(),
        (_, "client_software_name" | "client_software_version") if api == ApiKey::ApiVersions => {
            (*random.pick(&["hostile", "1.0", "", "-", "a b", "\u{7f}"])).to_owned()
        }
        _ => (*random.pick(&["", "group", "transaction", "\u{202e}", "漢字", "nul\0"])).to_owned(),
    }
}
