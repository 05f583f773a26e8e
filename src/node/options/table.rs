//! Every option of a node but the defaults of topics, in the order in which `reference.toml` explains them.
//!
//! Names and defaults are Kafka's but for a few, for a reason each: shorter sessions
//! and lag, three replicas of which two must hold a record, bounded connections.

use super::key::{Key, Section, flag, list, number, text, word, words};
use super::topic_defaults::LOG;

/// The greatest value of a 32-bit number, which is what Kafka's clients and tools expect here.
pub(super) const INT_MAX: i64 = 2_147_483_647;
/// A day, in milliseconds: the longest deadline of a connection. The kernel holds such a time (TCP_USER_TIMEOUT) in 32
/// bits of milliseconds and refuses a longer one, after which no connection would live.
pub(super) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The options, by what they are about.
pub(super) const TABLE: &[(Section, &[Key])] = &[
    (Section::Node, NODE),
    (Section::Listeners, LISTENERS),
    (Section::Quorum, QUORUM),
    (Section::Topics, TOPICS),
    (Section::Groups, GROUPS),
    (Section::Replication, REPLICATION),
    (Section::Log, LOG),
    (Section::Network, NETWORK),
    (Section::Process, PROCESS),
];

const NODE: &[Key] = &[
    words(
        "process.roles",
        "",
        &["controller", "broker"],
        "What this node is: a voter of the metadata quorum, a broker that holds partitions, or both. Required.",
    )
    .example("controller,broker"),
    number("node.id", "", (0, INT_MAX), "Names this node in the cluster; no other node has the same. Required.")
        .alias("broker.id")
        .example("1"),
    text("broker.rack", "", "Where the node stands; replicas of a partition are spread over racks."),
    list("log.dirs", "", "The directory of the node's data: partitions, and metadata. One for now. Required.")
        .alias("log.dir")
        .example("/data"),
];

const LISTENERS: &[Key] = &[
    list(
        "listeners",
        "",
        "Where the node listens, as NAME://host:port. An empty host or 0.0.0.0 is every interface. The listener \
         named in controller.listener.names is for the other nodes and must be there on every node. Required.",
    )
    .example("PLAINTEXT://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093"),
    list(
        "advertised.listeners",
        "",
        "How clients and other nodes reach the listeners, by the same names. Needed for those that listen on every \
         interface; port 0 stands for the port that is bound.",
    )
    .example("PLAINTEXT://localhost:9092"),
    list(
        "listener.security.protocol.map",
        "",
        "The protocol of each listener, as NAME:PROTOCOL. Only PLAINTEXT for now, which is also what a name that is \
         not in the map gets.",
    ),
    text(
        "inter.broker.listener.name",
        "",
        "The listener over which brokers fetch from each other. Unset: the first that is not for controllers.",
    ),
    list(
        "controller.listener.names",
        "CONTROLLER",
        "The listener that nodes of this cluster use among themselves. One for now.",
    ),
    text(
        "admin.listener",
        "127.0.0.1:9644",
        "Where HTTP is served: health, metrics and administration, as host:port. Empty: nowhere.",
    ),
];

const QUORUM: &[Key] = &[
    list(
        "controller.quorum.voters",
        "",
        "Every voter of the metadata quorum, as id@host:port of its controller listener; the same on every node. \
         Required.",
    )
    .example("1@localhost:9093"),
    number(
        "controller.quorum.heartbeat.interval.ms",
        "75",
        (1, 60_000),
        "How often the quorum's leader is heard by the others. Must exceed a round trip and a disk flush.",
    ),
    number(
        "controller.quorum.election.timeout.ms",
        "400",
        (2, 600_000),
        "For how long a voter that hears no leader still counts on it.",
    ),
    number(
        "controller.quorum.election.timeout.max.ms",
        "500",
        (2, 600_000),
        "A voter stands for election after a random time between the two.",
    ),
    number(
        "broker.heartbeat.interval.ms",
        "250",
        (1, 600_000),
        "How often a broker tells every voter that it is alive and makes progress.",
    ),
    number("broker.session.timeout.ms", "2000", (1, 3_600_000), "How long a broker may be silent before it is fenced."),
    number(
        "broker.reconnect.grace.ms",
        "150",
        (0, 600_000),
        "How long a broker whose liveness connection closed, and that is not known to be dead, may take to come \
         back.",
    ),
];

const TOPICS: &[Key] = &[
    flag("auto.create.topics.enable", true, "Whether a client's first use of a topic creates it."),
    number("num.partitions", "1", (1, 100_000), "The partitions of a topic that is created without a number of them."),
    number(
        "default.replication.factor",
        "3",
        (1, 32_767),
        "The replicas of a topic that is created without a number of them. While fewer brokers are registered, \
         creating it fails, so that no topic is weaker than it looks.",
    ),
];

const GROUPS: &[Key] = &[
    number(
        "offsets.topic.num.partitions",
        "50",
        (1, 100_000),
        "The partitions of __consumer_offsets, which keeps groups and committed offsets. Has its effect when the first \
         group is used.",
    ),
    number(
        "offsets.topic.replication.factor",
        "3",
        (1, 32_767),
        "The replicas of __consumer_offsets. While fewer brokers are registered no group can be used, so that no commit \
         is weaker than it looks.",
    ),
    number(
        "offsets.topic.segment.bytes",
        "104857600",
        (1_048_576, INT_MAX),
        "The segment size of __consumer_offsets: what a new coordinator reads is compacted when a segment is full.",
    ),
    number(
        "offsets.retention.minutes",
        "10080",
        (1, INT_MAX),
        "For how long committed offsets are kept that no member uses: since the group is empty, or since the commit.",
    ),
    number(
        "offsets.retention.check.interval.ms",
        "600000",
        (1, DAY_MS),
        "How often committed offsets are looked at for that.",
    ),
    number(
        "offset.metadata.max.bytes",
        "4096",
        (0, 1_048_576),
        "How long the text may be that a client commits beside an offset, in characters.",
    ),
    number(
        "group.min.session.timeout.ms",
        "6000",
        (1, INT_MAX),
        "The least time that a member may ask to be silent for.",
    ),
    number("group.max.session.timeout.ms", "1800000", (1, INT_MAX), "The greatest."),
    number(
        "group.initial.rebalance.delay.ms",
        "3000",
        (0, 600_000),
        "How long the first member of a group waits for others, so that a group that is started as a whole is assigned once.",
    ),
    number("group.max.size", "10000", (1, 100_000), "How many members a group may have."),
    number(
        "group.lag.interval.ms",
        "5000",
        (0, DAY_MS),
        "How often a broker measures how far the groups that it coordinates are behind what they read, for /metrics. 0: \
         never.",
    ),
    number(
        "group.consumer.max.size",
        "10000",
        (1, 100_000),
        "How many members a group of the consumer protocol (KIP-848) may have.",
    ),
    number(
        "group.consumer.session.timeout.ms",
        "45000",
        (1000, DAY_MS),
        "How long a member of such a group may be silent.",
    ),
    number(
        "group.consumer.min.heartbeat.interval.ms",
        "500",
        (50, 600_000),
        "How often such a member is heard while there are few: a rebalance takes about two such intervals. A member that \
         waits for partitions of others is heard five times as often.",
    ),
    number(
        "group.consumer.max.heartbeat.interval.ms",
        "15000",
        (50, 600_000),
        "How rarely such a member is heard, however many there are. A third of the session timeout at most, or members \
         are lost with one heartbeat.",
    ),
    number(
        "group.consumer.heartbeats.per.second",
        "1000",
        (1, 1_000_000),
        "How many heartbeats the members of all such groups of one partition of __consumer_offsets send together. With \
         more members than that allows, each is told to send them less often: 5000 members every 5 s.",
    ),
];

const REPLICATION: &[Key] = &[
    number(
        "replica.lag.time.max.ms",
        "5000",
        (1, 3_600_000),
        "A follower that has not caught up for this long leaves the in-sync replicas.",
    ),
    number(
        "replica.fetch.wait.max.ms",
        "500",
        (0, 600_000),
        "How long a leader may hold a follower's fetch when there is nothing new.",
    ),
    number(
        "replica.fetch.max.bytes",
        "1048576",
        (0, INT_MAX),
        "How much of one partition a follower fetches at once; a larger batch comes whole.",
    ),
    number(
        "replica.fetch.response.max.bytes",
        "10485760",
        (0, INT_MAX),
        "How much of all partitions a follower fetches at once.",
    ),
    number("replica.fetch.backoff.ms", "50", (0, 600_000), "How long a follower waits after a failed fetch."),
    number(
        "replica.socket.timeout.ms",
        "5000",
        (1, 3_600_000),
        "How long a follower waits for the answer to a fetch before it dials again.",
    ),
];

const NETWORK: &[Key] = &[
    number(
        "socket.request.max.bytes",
        "104857600",
        (1024, INT_MAX),
        "The largest request; a larger one closes its connection.",
    ),
    number(
        "queued.max.request.bytes",
        "268435456",
        (1_048_576, i64::MAX),
        "The bytes of requests in flight over all connections; at the bound nothing more is read until some are \
         answered. What large requests take while they are served is bounded by as much again.",
    ),
    number(
        "max.connections",
        "8000",
        (1, INT_MAX),
        "Connections of clients on each listener; further ones are closed at once. All listeners together have at most half \
         of the process's descriptors.",
    ),
    number("max.connections.per.ip", "2147483647", (1, INT_MAX), "Connections from one address on each listener."),
    number(
        "connections.max.idle.ms",
        "600000",
        (1, INT_MAX),
        "A connection without a request for this long is closed.",
    ),
    number(
        "socket.receive.deadline.ms",
        "30000",
        (1, DAY_MS),
        "How long a request may take to arrive once its first byte is there.",
    ),
    number("socket.send.deadline.ms", "30000", (1, DAY_MS), "How long a client may leave its responses unread."),
    number(
        "socket.listen.backlog.size",
        "1024",
        (1, INT_MAX),
        "Connections that the kernel holds until they are accepted.",
    ),
    number("fetch.max.bytes", "57671680", (1024, INT_MAX), "The most that one fetch of a consumer gets."),
    number(
        "max.incremental.fetch.session.cache.slots",
        "1000",
        (0, 1_000_000),
        "Fetch sessions that are remembered; older ones make room.",
    ),
];

const PROCESS: &[Key] = &[
    number("num.shards", "0", (0, 1024), "Threads that own partitions; 0 for one for each core."),
    number("num.network.threads", "0", (0, 1024), "Threads that serve connections; 0 for one for each core."),
    text(
        "logging.filter",
        "info,openraft=error,openraft::replication=off",
        "What is logged, as tracing's directives: info, or info,ottla::quorum=debug. OTTLA_LOG sets it too.",
    ),
    word("logging.format", "human", &["human", "json"], "How a line of the log looks."),
];
