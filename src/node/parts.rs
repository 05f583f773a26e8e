//! Takes the configuration apart: each part of the node gets its own options.
//!
//! Invariant: no option is read anywhere else; what a part does not get here, it cannot depend on.

use super::config::Config;
use super::options::Kind;
use crate::api::{ApiOptions, BrokerConfig, BrokerConfigKind};
use crate::broker::{BrokerOptions, CleanerOptions, FetchOptions};
use crate::machines::controller::{Defaults, Options as ControllerOptions};
use crate::machines::metadata::Listener;
use crate::model::{GroupConfigs, TopicConfigs};
use crate::quorum::{QuorumOptions, Voter};
use crate::storage::DataDir;
use crate::transport::{HostPort, LivenessOptions, ServerOptions};

pub(super) fn defaults(config: &Config) -> Defaults {
    Defaults {
        replication_factor: config.topics.replication_factor,
        partitions: config.topics.partitions,
        topic: TopicConfigs::from_checked(config.topics.defaults.iter().map(|(name, value)| (*name, value.as_str()))),
        group: GroupConfigs {
            heartbeat_interval: Some(config.groups.coordinator.heartbeat_interval_min),
            session_timeout: Some(config.groups.coordinator.consumer_session_timeout),
        },
    }
}

pub(super) fn quorum_options(config: &Config, directory: &DataDir) -> QuorumOptions {
    let voters = config.voters.iter().map(|(node, address)| Voter { node: *node, address: address.to_string() });
    let mut options = QuorumOptions::new(
        config.node,
        directory.directory_id(),
        config.controller_address().to_string(),
        voters.collect(),
        config.data_dir.join(DataDir::METADATA_DIRECTORY),
    );
    options.heartbeat = config.quorum.heartbeat;
    options.election_timeout_min = config.quorum.election_timeout_min;
    options.election_timeout_max = config.quorum.election_timeout_max;
    options
}

pub(super) fn liveness_options(config: &Config) -> LivenessOptions {
    LivenessOptions {
        interval: config.liveness.heartbeat_interval,
        silence_max: config.liveness.session_timeout,
        ..LivenessOptions::new(config.node)
    }
}

pub(super) fn controller_options(config: &Config) -> ControllerOptions {
    ControllerOptions {
        session_timeout: config.liveness.session_timeout,
        heartbeat_interval: config.liveness.heartbeat_interval,
        reconnect_grace: config.liveness.reconnect_grace,
        defaults: defaults(config),
        ..ControllerOptions::default()
    }
}

pub(super) fn broker_options(config: &Config) -> BrokerOptions {
    let listener = |name: &str, address: &HostPort| Listener {
        name: name.to_owned(),
        host: address.host.clone(),
        port: address.port,
    };
    let clients = config.listeners.client.iter().map(|l| listener(&l.name, &l.advertised));
    let controller = listener(&config.listeners.controller.name, &config.controller_address());
    BrokerOptions {
        advertised: clients.chain([controller]).collect(),
        rack: config.rack.clone(),
        inter_broker_listener: config.listeners.inter_broker.clone().unwrap_or_default(),
        controller_listener: config.listeners.controller.name.clone(),
        heartbeat_interval: config.liveness.heartbeat_interval,
        session_timeout: config.liveness.session_timeout,
        shards: config.shards.unwrap_or_else(cores),
        lag_max: config.replication.lag_time_max,
        retention_interval: config.retention_check_interval,
        producer_expiration: config.producer_expiration,
        groups: config.groups.coordinator.clone(),
        groups_topic: config.groups.topic,
        cleaner: CleanerOptions {
            interval: config.cleaner.interval,
            keys_bytes_max: config.cleaner.keys_bytes_max,
            bytes_per_second_max: config.cleaner.bytes_per_second_max,
        },
        group_lag_interval: config.groups.lag_interval,
        fetch: FetchOptions {
            wait_max: config.replication.fetch_wait_max,
            partition_bytes_max: config.replication.partition_bytes_max,
            response_bytes_max: config.replication.response_bytes_max,
            backoff: config.replication.backoff,
            response_timeout: config.replication.response_timeout,
        },
    }
}

pub(super) fn api_options(config: &Config) -> ApiOptions {
    ApiOptions {
        auto_create_topics: config.topics.auto_create,
        controller_listener: config.listeners.controller.name.clone(),
        fetch_bytes_max: usize::try_from(config.fetch.response_bytes_max).unwrap_or_default(),
        fetch_sessions_max: config.fetch.sessions_max,
        requests_bytes_max: config.network.requests_inflight_bytes_max,
        broker_configs: broker_configs(config),
        ..ApiOptions::default()
    }
}

pub(super) fn server_options(config: &Config, listener: &str) -> ServerOptions {
    ServerOptions {
        request_bytes_max: config.network.request_bytes_max,
        connections_max: config.network.connections_max,
        connections_per_ip_max: config.network.connections_per_ip_max,
        idle_max: config.network.idle_max,
        receive_deadline: config.network.receive_deadline,
        stall_deadline: config.network.send_deadline,
        ..ServerOptions::new(listener)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// This node's own settings, for DescribeConfigs; the defaults of topics are told through their definitions.
fn broker_configs(config: &Config) -> Vec<BrokerConfig> {
    let own = config.settings.describe().filter(|(key, _)| key.topic.is_empty());
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    own.map(|(key, setting)| BrokerConfig {
        name: key.name.to_owned(),
        value: config.settings.is_set(key.name).then(|| text(&setting.value)).flatten(),
        default: text(key.default),
        kind: config_kind(key.kind),
        doc: key.doc.to_owned(),
    })
    .collect()
}

fn config_kind(kind: Kind) -> BrokerConfigKind {
    match kind {
        Kind::Boolean => BrokerConfigKind::Boolean,
        Kind::Number { max, .. } if max <= i64::from(i32::MAX) => BrokerConfigKind::Int,
        Kind::Number { .. } => BrokerConfigKind::Long,
        Kind::Ratio => BrokerConfigKind::Double,
        Kind::Word(_) | Kind::Text => BrokerConfigKind::Text,
        Kind::Words(_) | Kind::List => BrokerConfigKind::List,
    }
}
