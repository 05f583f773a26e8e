//! The configuration of a node, as types, checked as a whole.
//!
//! Made by `cli` from the file, the environment and the command line; taken apart by `node`, which gives each part its
//! own. Invariant: what contradicts itself never becomes a `Config`; every refusal names the option and what to do.

mod groups;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::{ConfigDefinition, InvalidConfig, NodeId};
use crate::telemetry::{LogFormat, LogOptions};
use crate::transport::{HostPort, HostPortError};

use super::options::{Key, ListenerError, Listeners, Settings, SettingsError, Source, Sources, parse_voters};

pub(super) use groups::GroupOptions;

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the node is.
    pub roles: Roles,
    /// Who it is.
    pub node: NodeId,
    /// Where it stands.
    pub rack: Option<String>,
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub listeners: Listeners,
    /// Where it serves HTTP.
    pub admin: Option<HostPort>,
    /// Every voter of the quorum, by id.
    pub voters: Vec<(NodeId, HostPort)>,
    /// The quorum's times.
    pub quorum: QuorumTimes,
    /// The times of failure detection.
    pub liveness: LivenessTimes,
    /// How topics are made.
    pub topics: TopicOptions,
    /// How groups of consumers are kept.
    pub groups: GroupOptions,
    /// How it fetches from leaders.
    pub replication: ReplicationOptions,
    /// How it serves fetches.
    pub fetch: FetchOptions,
    /// Bounds of connections.
    pub network: NetworkOptions,
    /// How often logs are looked at for retention.
    pub retention_check_interval: Duration,
    /// How long a partition remembers a silent idempotent producer.
    pub producer_expiration: Duration,
    /// `log.cleaner.*`.
    pub cleaner: CleanerConfig,
    /// Shard threads; `None` for one for each core.
    pub shards: Option<usize>,
    /// Network threads; `None` for one for each core.
    pub network_threads: Option<usize>,
    /// What is logged.
    pub logging: LogOptions,
    /// All of it as text.
    pub settings: Settings,
}

/// What a node is; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// A voter of the metadata quorum.
    pub controller: bool,
    /// A holder of partitions.
    pub broker: bool,
}

/// The quorum's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumTimes {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// The least wait of a voter that hears no leader.
    pub election_timeout_min: Duration,
    /// The greatest.
    pub election_timeout_max: Duration,
}

/// The times of failure detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessTimes {
    /// Between two beats of a broker.
    pub heartbeat_interval: Duration,
    /// After this silence a broker is fenced.
    pub session_timeout: Duration,
    /// To come back after a closed connection.
    pub reconnect_grace: Duration,
}

/// How topics are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// Whether first use creates a topic.
    pub auto_create: bool,
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// The defaults of topic configurations that this node's options set, by the names that topics have for them.
    pub defaults: BTreeMap<&'static str, String>,
}

/// How a follower fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicationOptions {
    /// `replica.lag.time.max.ms`.
    pub lag_time_max: Duration,
    /// `replica.fetch.wait.max.ms`.
    pub fetch_wait_max: Duration,
    /// `replica.fetch.max.bytes`.
    pub partition_bytes_max: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_bytes_max: i32,
    /// `replica.fetch.backoff.ms`.
    pub backoff: Duration,
    /// `replica.socket.timeout.ms`.
    pub response_timeout: Duration,
}

/// How logs are compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanerConfig {
    /// `log.cleaner.backoff.ms`; `None` with `log.cleaner.enable=false`.
    pub interval: Option<Duration>,
    /// `log.cleaner.dedupe.buffer.size`.
    pub keys_bytes_max: usize,
    /// `log.cleaner.io.max.bytes.per.second`; `None` is no bound.
    pub bytes_per_second_max: Option<u64>,
}

/// How fetches are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// `fetch.max.bytes`.
    pub response_bytes_max: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub sessions_max: usize,
}

/// Bounds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`: over all connections.
    pub requests_inflight_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// `socket.receive.deadline.ms`.
    pub receive_deadline: Duration,
    /// `socket.send.deadline.ms`.
    pub send_deadline: Duration,
    /// `socket.listen.backlog.size`.
    pub backlog: u32,
}

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An option is unknown or has a value that is not of its kind.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The listeners or voters cannot be so.
    #[error(transparent)]
    Listeners(#[from] ListenerError),
    /// A required option is not set.
    #[error("\"{name}\" is not set{}: {doc}", who_empties(emptied_by.as_ref()))]
    Missing {
        /// The option.
        name: &'static str,
        /// Who set it to nothing; `None` when nobody set it.
        emptied_by: Option<Source>,
        /// What it means.
        doc: &'static str,
    },
    /// An address is not understood.
    #[error("\"{name}\": {reason}")]
    Address {
        /// The option.
        name: &'static str,
        /// Why.
        reason: HostPortError,
    },
    /// A default that topics cannot have.
    #[error("\"{option}\", a default of topics: {reason}")]
    TopicDefault {
        /// The option.
        option: &'static str,
        /// Why. Not the error's source: the message has it, and a chain of causes would say it twice.
        reason: InvalidConfig,
    },
    /// Records that are kept for no time. A topic may ask for that; as a default it is a mistake, as in Kafka.
    #[error("\"{option}\" cannot be 0: records are kept for ever (-1), or for 1 at least")]
    NoRetention {
        /// The option.
        option: &'static str,
    },
    /// More than one data directory.
    #[error("\"log.dirs\": one directory for now, not {count} (a comma stands between two)")]
    Directories {
        /// How many there are.
        count: usize,
    },
    /// A controller that is no voter.
    #[error("node {node} is a controller, but \"controller.quorum.voters\" does not name it: add {node}@host:port")]
    NotVoter {
        /// The node.
        node: NodeId,
    },
    /// A voter that is no controller.
    #[error("\"controller.quorum.voters\" names node {node}, but its \"process.roles\" lack controller")]
    NotController {
        /// The node.
        node: NodeId,
    },
    /// A value that must not exceed another.
    #[error("\"{lesser}\" ({lesser_value}){times} must not exceed \"{greater}\" ({greater_value})")]
    Order {
        /// The option that is too great.
        lesser: &'static str,
        /// Its value.
        lesser_value: String,
        /// " times 2", or nothing.
        times: &'static str,
        /// The option that it exceeds.
        greater: &'static str,
        /// Its value.
        greater_value: String,
    },
}

fn who_empties(place: Option<&Source>) -> String {
    place.map_or_else(String::new, |place| format!(" ({place} leaves it empty)"))
}

impl Config {
    /// Makes the configuration of a node.
    ///
    /// # Errors
    /// The first thing that is not understood, missing or contradictory.
    pub fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let settings = Settings::read(sources)?;
        let values = Values { settings: &settings };
        let roles = values.roles()?;
        let config = Self {
            roles,
            node: NodeId::new(values.number_of::<i32>("node.id")?),
            rack: settings.get("broker.rack").map(str::to_owned),
            data_dir: values.data_dir()?,
            listeners: {
                values.required("listeners")?;
                Listeners::read(&settings, roles.broker)?
            },
            admin: values.address("admin.listener")?,
            voters: {
                values.required("controller.quorum.voters")?;
                parse_voters(&settings)?
            },
            quorum: values.quorum()?,
            liveness: values.liveness()?,
            topics: values.topics()?,
            groups: values.groups()?,
            replication: values.replication()?,
            fetch: FetchOptions {
                response_bytes_max: values.number_of("fetch.max.bytes")?,
                sessions_max: values.number_of("max.incremental.fetch.session.cache.slots")?,
            },
            network: values.network()?,
            retention_check_interval: values.span("log.retention.check.interval.ms")?,
            producer_expiration: values.span("producer.id.expiration.ms")?,
            cleaner: values.cleaner()?,
            shards: values.number_of("num.shards").map(|count: usize| (count > 0).then_some(count))?,
            network_threads: values
                .number_of("num.network.threads")
                .map(|count: usize| (count > 0).then_some(count))?,
            logging: values.logging(),
            settings: settings.clone(),
        };
        config.check()?;
        Ok(config)
    }

    /// The address under which other nodes reach this node's controller listener. Port 0 stands for the bound port.
    #[must_use]
    pub fn controller_address(&self) -> HostPort {
        let voter = self.voters.iter().find(|(node, _)| *node == self.node);
        voter.map_or_else(|| self.listeners.controller.advertised.clone(), |(_, address)| address.clone())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let is_voter = self.voters.iter().any(|(node, _)| *node == self.node);
        match (self.roles.controller, is_voter) {
            (true, false) => return Err(ConfigError::NotVoter { node: self.node }),
            (false, true) => return Err(ConfigError::NotController { node: self.node }),
            (true, true) | (false, false) => {}
        }
        let Listeners { controller, .. } = &self.listeners;
        if !is_voter && !controller.advertised_is_dialable() {
            let (name, address) = (controller.name.clone(), controller.advertised.clone());
            return Err(ListenerError::NotDialable { name, address }.into());
        }
        self.check_order()
    }

    /// Kafka's cross checks, and those of our own times.
    fn check_order(&self) -> Result<(), ConfigError> {
        let pairs = [
            ("broker.heartbeat.interval.ms", 2, "broker.session.timeout.ms"),
            ("broker.reconnect.grace.ms", 1, "broker.session.timeout.ms"),
            ("replica.fetch.wait.max.ms", 1, "replica.socket.timeout.ms"),
            ("replica.fetch.wait.max.ms", 1, "replica.lag.time.max.ms"),
            ("controller.quorum.heartbeat.interval.ms", 2, "controller.quorum.election.timeout.ms"),
            ("controller.quorum.election.timeout.ms", 1, "controller.quorum.election.timeout.max.ms"),
            ("group.min.session.timeout.ms", 1, "group.max.session.timeout.ms"),
            ("socket.request.max.bytes", 1, "queued.max.request.bytes"),
            ("message.max.bytes", 1, "socket.request.max.bytes"),
        ];
        let values = Values { settings: &self.settings };
        for (lesser, times, greater) in pairs {
            let (least, most) = (values.number(lesser)?, values.number(greater)?);
            if least.saturating_mul(times) > most {
                return Err(ConfigError::Order {
                    lesser,
                    lesser_value: least.to_string(),
                    times: if times == 2 { " times 2" } else { "" },
                    greater,
                    greater_value: most.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// Typed reading of settings whose kinds have been checked.
struct Values<'a> {
    settings: &'a Settings,
}

impl Values<'_> {
    fn required(&self, name: &'static str) -> Result<&str, ConfigError> {
        let value = self.settings.get(name).filter(|value| value.chars().any(|letter| letter != ','));
        value.ok_or_else(|| ConfigError::Missing {
            name,
            emptied_by: self.settings.set_by(name).cloned(),
            doc: Key::named(name).map_or("", |key| key.doc),
        })
    }

    fn number(&self, name: &'static str) -> Result<i64, ConfigError> {
        Ok(self.required(name)?.parse().expect("the settings hold only whole numbers for this kind"))
    }

    fn number_of<T: TryFrom<i64>>(&self, name: &'static str) -> Result<T, ConfigError> {
        let number = T::try_from(self.number(name)?);
        Ok(number.unwrap_or_else(|_| unreachable!("the bounds of {name} in the table fit its type")))
    }

    fn span(&self, name: &'static str) -> Result<Duration, ConfigError> {
        Ok(Duration::from_millis(self.number_of(name)?))
    }

    fn roles(&self) -> Result<Roles, ConfigError> {
        self.required("process.roles")?;
        let roles = self.settings.list("process.roles");
        Ok(Roles { controller: roles.contains(&"controller"), broker: roles.contains(&"broker") })
    }

    fn data_dir(&self) -> Result<PathBuf, ConfigError> {
        self.required("log.dirs")?;
        let directories = self.settings.list("log.dirs");
        match directories.as_slice() {
            [directory] => Ok(PathBuf::from(directory)),
            several => Err(ConfigError::Directories { count: several.len() }),
        }
    }

    fn address(&self, name: &'static str) -> Result<Option<HostPort>, ConfigError> {
        let address = self.settings.get(name).map(str::parse).transpose();
        address.map_err(|reason| ConfigError::Address { name, reason })
    }

    fn quorum(&self) -> Result<QuorumTimes, ConfigError> {
        Ok(QuorumTimes {
            heartbeat: self.span("controller.quorum.heartbeat.interval.ms")?,
            election_timeout_min: self.span("controller.quorum.election.timeout.ms")?,
            election_timeout_max: self.span("controller.quorum.election.timeout.max.ms")?,
        })
    }

    fn liveness(&self) -> Result<LivenessTimes, ConfigError> {
        Ok(LivenessTimes {
            heartbeat_interval: self.span("broker.heartbeat.interval.ms")?,
            session_timeout: self.span("broker.session.timeout.ms")?,
            reconnect_grace: self.span("broker.reconnect.grace.ms")?,
        })
    }

    fn topics(&self) -> Result<TopicOptions, ConfigError> {
        Ok(TopicOptions {
            auto_create: self.required("auto.create.topics.enable")? == "true",
            partitions: self.number_of("num.partitions")?,
            replication_factor: self.number_of("default.replication.factor")?,
            defaults: self.topic_defaults()?,
        })
    }

    fn topic_defaults(&self) -> Result<BTreeMap<&'static str, String>, ConfigError> {
        const HOUR: i64 = 60 * 60 * 1000;
        let named = Key::all().filter(|key| !key.topic.is_empty());
        let named = named.map(|key| (key.topic, key.name, self.settings.get(key.name).unwrap_or("").to_owned()));
        let retention = [("log.retention.ms", 1), ("log.retention.minutes", HOUR / 60), ("log.retention.hours", HOUR)];
        let jitter = [("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR)];
        let spans = [
            self.finest("retention.ms", &retention)?,
            self.finest("segment.ms", &[("log.roll.ms", 1), ("log.roll.hours", HOUR)])?,
            self.finest("segment.jitter.ms", &jitter)?,
        ];
        let mut defaults = BTreeMap::new();
        for (topic, option, value) in named.chain(spans) {
            if topic == "retention.ms" && value == "0" {
                return Err(ConfigError::NoRetention { option });
            }
            let definition = ConfigDefinition::of_topic(topic).expect("the options name configurations of topics");
            let kept = definition.check(&value).map_err(|reason| ConfigError::TopicDefault { option, reason })?;
            defaults.insert(topic, kept);
        }
        Ok(defaults)
    }

    /// A default of topics by the first of these options that has a value, in milliseconds; -1 stays what it is. The
    /// last, which has a default, is missing when somebody emptied it and nobody set a finer one.
    fn finest(
        &self,
        topic: &'static str,
        options: &[(&'static str, i64)],
    ) -> Result<(&'static str, &'static str, String), ConfigError> {
        let coarsest = options[options.len() - 1];
        let set = options.iter().find(|(name, _)| self.settings.get(name).is_some());
        let (name, unit) = *set.unwrap_or(&coarsest);
        let value = self.number(name)?;
        Ok((topic, name, if value < 0 { value } else { value.saturating_mul(unit) }.to_string()))
    }

    fn cleaner(&self) -> Result<CleanerConfig, ConfigError> {
        let interval = self.span("log.cleaner.backoff.ms")?;
        let rate: u64 = self.number_of("log.cleaner.io.max.bytes.per.second")?;
        Ok(CleanerConfig {
            interval: (self.required("log.cleaner.enable")? == "true").then_some(interval),
            keys_bytes_max: self.number_of("log.cleaner.dedupe.buffer.size")?,
            bytes_per_second_max: (rate < i64::MAX.unsigned_abs()).then_some(rate),
        })
    }

    fn replication(&self) -> Result<ReplicationOptions, ConfigError> {
        Ok(ReplicationOptions {
            lag_time_max: self.span("replica.lag.time.max.ms")?,
            fetch_wait_max: self.span("replica.fetch.wait.max.ms")?,
            partition_bytes_max: self.number_of("replica.fetch.max.bytes")?,
            response_bytes_max: self.number_of("replica.fetch.response.max.bytes")?,
            backoff: self.span("replica.fetch.backoff.ms")?,
            response_timeout: self.span("replica.socket.timeout.ms")?,
        })
    }

    fn network(&self) -> Result<NetworkOptions, ConfigError> {
        Ok(NetworkOptions {
            request_bytes_max: self.number_of("socket.request.max.bytes")?,
            requests_inflight_bytes_max: self.number_of("queued.max.request.bytes")?,
            connections_max: self.number_of("max.connections")?,
            connections_per_ip_max: self.number_of("max.connections.per.ip")?,
            idle_max: self.span("connections.max.idle.ms")?,
            receive_deadline: self.span("socket.receive.deadline.ms")?,
            send_deadline: self.span("socket.send.deadline.ms")?,
            backlog: self.number_of("socket.listen.backlog.size")?,
        })
    }

    fn logging(&self) -> LogOptions {
        // OTTLA_LOG= means what its absence means.
        let filter = self.settings.get("logging.filter").map_or_else(|| LogOptions::default().filter, str::to_owned);
        let is_json = self.settings.get("logging.format") == Some("json");
        LogOptions { filter, format: if is_json { LogFormat::Json } else { LogFormat::Human } }
    }
}

#[cfg(test)]
mod tests;
