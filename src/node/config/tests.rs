//! What configurations are taken and refused, and that the files of `cluster-config` are among the former.

use std::path::Path;

use super::*;
use crate::node::options::{Kind, reference};

const BASE: &str = r#"
process.roles = "controller,broker"
node.id = 1
log.dirs = "/data"
listeners = "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
controller.quorum.voters = "1@127.0.0.1:9093"
"#;

fn read_with(overrides: &[&str]) -> Result<Config, ConfigError> {
    Config::read(&Sources {
        file: Some(("node.toml".to_owned(), BASE.to_owned())),
        command_line: overrides.iter().map(|&setting| setting.to_owned()).collect(),
        ..Sources::default()
    })
}

fn check_refused(overrides: &[&str], words: &str) {
    let error = read_with(overrides).expect_err(words).to_string();
    assert!(error.contains(words), "{overrides:?}: {error}");
}

fn cluster_config(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster-config").join(name);
    let text = std::fs::read_to_string(&path).expect("the file is in the repository");
    let sources = Sources { file: Some((name.to_owned(), text)), ..Sources::default() };
    Config::read(&sources).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_minimal_file_gets_safe_defaults() {
    let config = read_with(&[]).expect("valid");
    assert_eq!(config.topics.replication_factor, 3);
    assert_eq!(config.topics.defaults["min.insync.replicas"], "2");
    assert_eq!(config.topics.defaults["flush.mode"], "durable");
    assert_eq!(config.topics.defaults["unclean.leader.election.enable"], "false");
    assert_eq!(config.topics.defaults["retention.ms"], "604800000");
    assert_eq!(config.topics.defaults["segment.ms"], "604800000");
    assert_eq!(config.replication.lag_time_max, Duration::from_secs(5));
    assert_eq!(config.network.request_bytes_max, 100 * 1024 * 1024);
    assert_eq!(config.listeners.inter_broker.as_deref(), Some("PLAINTEXT"));
    assert_eq!(config.controller_address(), HostPort::new("127.0.0.1", 9093));
    assert_eq!((config.shards, config.rack), (None, None));
}

#[test]
fn the_finest_of_several_time_spans_wins() {
    let spans = ["log.retention.hours=2", "log.retention.minutes=3", "log.roll.hours=1", "log.roll.ms=7"];
    let defaults = read_with(&spans).expect("valid").topics.defaults;
    assert_eq!((defaults["retention.ms"].as_str(), defaults["segment.ms"].as_str()), ("180000", "7"));
    let for_ever = read_with(&["log.retention.minutes=-1"]).expect("valid").topics.defaults;
    assert_eq!(for_ever["retention.ms"], "-1");
}

#[test]
fn records_are_kept_for_ever_or_for_some_time() {
    check_refused(&["log.retention.hours=0"], "\"log.retention.hours\" cannot be 0");
    check_refused(&["log.retention.minutes=0"], "\"log.retention.minutes\" cannot be 0");
    check_refused(&["log.retention.ms=0", "log.retention.hours=1"], "\"log.retention.ms\" cannot be 0");
    let finest = read_with(&["log.retention.ms=1", "log.retention.hours=0"]).expect("the finest counts");
    assert_eq!(finest.topics.defaults["retention.ms"], "1");
}

#[test]
fn what_is_missing_or_not_there_yet_is_named() {
    check_refused(&["node.id="], "\"node.id\" is not set");
    check_refused(&["process.roles="], "\"process.roles\" is not set");
    check_refused(&["log.dirs="], "\"log.dirs\" is not set");
    check_refused(&["listeners="], "\"listeners\" is not set");
    check_refused(&["controller.quorum.voters="], "\"controller.quorum.voters\" is not set");
    check_refused(&["log.dirs=/a,/b"], "one directory for now, not 2");
    check_refused(&["listener.security.protocol.map=PLAINTEXT:SSL"], "only PLAINTEXT");
    check_refused(&["listeners=SSL://h:1,CONTROLLER://h:2"], "only PLAINTEXT");
    check_refused(&["admin.listener=9644"], "\"admin.listener\"");
}

#[test]
fn roles_voters_and_listeners_must_agree() {
    check_refused(&["node.id=2"], "node 2 is a controller, but");
    check_refused(&["process.roles=broker"], "lack controller");
    check_refused(&["process.roles=controller"], "serves no clients");
    check_refused(&["listeners=CONTROLLER://h:1"], "a broker needs a listener for clients");
    check_refused(&["listeners=A://h:1"], "every node needs the listener \"CONTROLLER\"");
    check_refused(&["listeners=A://0.0.0.0:1,CONTROLLER://h:2"], "no address that others can dial");
    check_refused(&["listeners=A://h:1,A://h:2,CONTROLLER://h:3"], "the name \"A\" stands twice");
    check_refused(&["listeners=A://h:1,CONTROLLER://h:1"], "the address h:1 stands twice");
    check_refused(&["listeners=h:1"], "NAME://host:port");
    check_refused(&["advertised.listeners=B://h:1"], "there is no listener \"B\"");
    check_refused(&["inter.broker.listener.name=CONTROLLER"], "brokers fetch over one for clients");
    check_refused(&["inter.broker.listener.name=B"], "there is no listener \"B\"");
    check_refused(&["controller.quorum.voters=1@a:1,1@b:1"], "node 1 stands twice");
    check_refused(&["controller.quorum.voters=1@a:1,2@a:1"], "the address a:1 stands twice");
    check_refused(&["controller.quorum.voters=a:1"], "id@host:port");
}

#[test]
fn a_broker_is_reached_by_nodes_where_it_is_reached_by_brokers() {
    let config = read_with(&[
        "process.roles=broker",
        "node.id=4",
        "listeners=A://0.0.0.0:1,B://0.0.0.0:3,CONTROLLER://0.0.0.0:2",
        "advertised.listeners=A://elsewhere:9,B://b1:3",
        "inter.broker.listener.name=B",
    ]);
    assert_eq!(config.expect("valid").controller_address(), HostPort::new("b1", 2));
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    check_refused(
        &["broker.heartbeat.interval.ms=1500"],
        "(1500) times 2 must not exceed \"broker.session.timeout.ms\"",
    );
    check_refused(&["replica.fetch.wait.max.ms=6000"], "\"replica.socket.timeout.ms\" (5000)");
    check_refused(
        &["replica.fetch.wait.max.ms=6000", "replica.socket.timeout.ms=9000"],
        "\"replica.lag.time.max.ms\" (5000)",
    );
    check_refused(&["controller.quorum.election.timeout.ms=900"], "controller.quorum.election.timeout.max.ms");
    check_refused(&["socket.request.max.bytes=500000000"], "queued.max.request.bytes");
}

#[test]
fn a_default_that_topics_cannot_have_is_refused_once() {
    let error = read_with(&["unclean.leader.election.enable=true"]).map(|_| ()).map_err(anyhow::Error::new);
    let said = format!("{:#}", error.expect_err("no unclean elections"));
    assert!(said.starts_with("\"unclean.leader.election.enable\", a default of topics: "), "{said}");
    assert_eq!(said.matches("only replicas that hold all acknowledged records").count(), 1, "{said}");
}

#[test]
fn an_option_that_is_set_to_nothing_is_named_or_does_without() {
    for key in Key::all() {
        let environment = vec![(key.variable(), String::new())];
        let file = Some(("node.toml".to_owned(), BASE.to_owned()));
        if let Err(error) = Config::read(&Sources { file, environment, ..Sources::default() }) {
            let said = error.to_string();
            assert!(said.contains(key.name), "{}: {said}", key.name);
        }
    }
    check_refused(&["log.retention.hours="], "\"log.retention.hours\" is not set (--set leaves it empty)");
    check_refused(&["log.roll.hours="], "\"log.roll.hours\" is not set");
    check_refused(&["process.roles=broker", "controller.quorum.voters=,"], "\"controller.quorum.voters\" is not set");
    let finer = read_with(&["log.retention.hours=", "log.retention.ms=5"]).expect("a finer one is set");
    assert_eq!(finer.topics.defaults["retention.ms"], "5");
}

#[test]
fn an_empty_log_filter_is_the_documented_one() {
    for overrides in [&[][..], &["logging.filter="]] {
        assert_eq!(read_with(overrides).expect("valid").logging, LogOptions::default());
    }
}

#[test]
fn a_time_that_the_kernel_or_a_timer_cannot_hold_is_refused() {
    for name in ["socket.send.deadline.ms", "socket.receive.deadline.ms"] {
        for value in [i64::MAX, 4_294_967_296, 86_400_001] {
            check_refused(&[&format!("{name}={value}")], "it must be a whole number from 1 to 86400000");
        }
        read_with(&[&format!("{name}=86400000")]).expect("a day");
    }
    let topic_times = [
        "log.retention.ms",
        "log.roll.ms",
        "log.roll.jitter.ms",
        "log.segment.delete.delay.ms",
        "log.message.timestamp.before.max.ms",
        "log.message.timestamp.after.max.ms",
        "log.cleaner.delete.retention.ms",
        "log.cleaner.min.compaction.lag.ms",
        "log.cleaner.max.compaction.lag.ms",
    ];
    for key in Key::all().filter(|key| key.name.ends_with(".ms") && !topic_times.contains(&key.name)) {
        let Kind::Number { max, .. } = key.kind else { panic!("{} is a number", key.name) };
        assert!(max <= i64::from(i32::MAX), "{} has no bound", key.name);
    }
}

#[test]
fn the_bounds_of_every_number_fit_what_it_is_read_into() {
    for key in Key::all() {
        let Kind::Number { min, max } = key.kind else { continue };
        for value in [min, max] {
            // Refused or taken: what is asked is that it does not panic.
            let _ = read_with(&[&format!("{}={value}", key.name)]);
        }
    }
}

#[test]
fn port_zero_may_be_advertised_for_the_port_that_is_bound() {
    let config = read_with(&["listeners=A://127.0.0.1:0,B://127.0.0.1:0,CONTROLLER://127.0.0.1:0"]).expect("valid");
    assert_eq!(config.listeners.client.len(), 2);
    assert_eq!(config.listeners.client[1].advertised, HostPort::new("127.0.0.1", 0));
}

#[test]
fn every_file_of_cluster_config_is_valid_and_keeps_topics_safe() {
    for (prefix, first_id, roles) in [
        ("node", 1, Roles { controller: true, broker: true }),
        ("controller", 1, Roles { controller: true, broker: false }),
        ("broker", 4, Roles { controller: false, broker: true }),
    ] {
        let voters = cluster_config(&format!("{prefix}-1.toml")).voters;
        assert_eq!(voters.len(), 3);
        for index in 0..3 {
            let config = cluster_config(&format!("{prefix}-{}.toml", index + 1));
            assert_eq!((config.node.get(), config.roles), (first_id + index, roles));
            assert_eq!(config.voters, voters);
            assert_eq!((config.topics.replication_factor, config.topics.auto_create), (3, true));
            assert!(
                config.controller_address().host.ends_with(char::from_digit(index as u32 + 1, 10).expect("a digit"))
            );
        }
    }
    let single = cluster_config("single.toml");
    assert_eq!(single.topics.replication_factor, 1);
    let container = cluster_config("container.toml");
    assert_eq!(container.topics.replication_factor, 1);
    assert_eq!(container.listeners.client[0].advertised, HostPort::new("127.0.0.1", 9092));
    cluster_config("reference.toml");
}

#[test]
fn reference_toml_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster-config/reference.toml");
    if std::env::var_os("OTTLA_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, reference()).expect("the repository can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let advice = "cluster-config/reference.toml is stale: OTTLA_WRITE_REFERENCE=1 cargo test --lib node::config";
    assert!(written == reference(), "{advice}");
}
