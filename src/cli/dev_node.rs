//! One node of `ottla dev`: its files, its process, its end.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::terminal::complain;
use crate::node::Key;

/// How long a node may take to stop before it is killed. A clean stop moves leaders and flushes; that takes well
/// below a second when the cluster is healthy.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a failed node's log is shown.
const LOG_TAIL_LINES: usize = 20;
/// How far back those lines are looked for.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// Where one node listens, always on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct DevPorts {
    pub(super) client: u16,
    pub(super) admin: u16,
    pub(super) controller: u16,
}

/// How a node's process ended.
#[derive(Debug)]
pub(super) struct Exit {
    status: ExitStatus,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.signal(), self.status.code()) {
            (Some(signal), _) => write!(f, "was ended by signal {signal}"),
            (None, Some(code)) => write!(f, "exited with {code}"),
            (None, None) => write!(f, "exited"),
        }
    }
}

/// One node: its directory and, while it runs, its process.
pub(super) struct DevNode {
    pub(super) id: u16,
    pub(super) ports: DevPorts,
    directory: PathBuf,
    /// Variables of our environment that name an option of the node's file: they would win over it.
    overruling: Vec<OsString>,
    child: Option<Child>,
}

impl DevNode {
    pub(super) fn new(id: u16, ports: DevPorts, data: &Path) -> Self {
        Self { id, ports, directory: data.join(format!("node-{id}")), overruling: Vec::new(), child: None }
    }

    /// Writes the node's configuration.
    pub(super) fn configure(&mut self, nodes: u16, voters: &str, set: &[String]) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let DevPorts { client, admin, controller } = self.ports;
        let replication = nodes.min(3);
        let data = self.directory.join("data");
        let data = data.to_str().context("the data directory's path is UTF-8")?;
        let pairs = [
            ("node.id", self.id.to_string()),
            ("process.roles", "broker,controller".to_owned()),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}")),
            // Empty, which is where they listen: named here, no variable makes them say another place.
            ("advertised.listeners", String::new()),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("controller.quorum.voters", voters.to_owned()),
            ("log.dirs", data.to_owned()),
            ("admin.listener", format!("127.0.0.1:{admin}")),
            ("default.replication.factor", replication.to_string()),
            ("offsets.topic.replication.factor", replication.to_string()),
            // The first consumer of a new cluster is not to wait.
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            ("min.insync.replicas", replication.min(2).to_string()),
        ];
        let entry = |(key, value): (&str, String)| (key.to_owned(), toml::Value::String(value));
        let mut table: toml::Table = pairs.into_iter().map(entry).collect();
        for pair in set {
            let (key, value) = pair.split_once('=').with_context(|| format!("--set {pair}: want KEY=VALUE"))?;
            table.insert(key.trim().to_owned(), toml::Value::String(value.to_owned()));
        }
        fs::write(self.config_path(), format!("# Written by `ottla dev`.\n{}", toml::to_string(&table)?))?;
        self.overruling = overruling(&table, env::vars_os().map(|(name, _)| name));
        Ok(())
    }

    fn config_path(&self) -> PathBuf {
        self.directory.join("ottla.toml")
    }

    /// Starts the process; its log goes to `ottla.log`, its number to `ottla.pid`.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "node {} runs", self.id);
        let log = File::options().create(true).append(true).open(self.directory.join("ottla.log"))?;
        let mut command = Command::new(env::current_exe()?);
        for variable in &self.overruling {
            command.env_remove(variable);
        }
        let child = command
            .arg("server")
            .arg("--config")
            .arg(self.config_path())
            .env(crate::node::PARENT_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start node {}", self.id))?;
        let pid = child.id().context("a child that has just started has a number")?;
        fs::write(self.directory.join("ottla.pid"), format!("{pid}\n"))?;
        self.child = Some(child);
        Ok(())
    }

    /// How the process ended, if it has.
    pub(super) fn exited(&mut self) -> anyhow::Result<Option<Exit>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        Ok(child.try_wait()?.map(|status| Exit { status }))
    }

    /// Takes note that the process is gone.
    pub(super) fn forget(&mut self) {
        self.child = None;
    }

    /// The last lines of the node's log.
    pub(super) fn log_tail(&self) -> String {
        self.log_end().unwrap_or_else(|error| format!("cannot read the log: {error}"))
    }

    fn log_end(&self) -> io::Result<String> {
        let mut log = File::open(self.directory.join("ottla.log"))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut end = Vec::new();
        log.take(LOG_TAIL_BYTES).read_to_end(&mut end)?;
        let end = String::from_utf8_lossy(&end);
        let lines: Vec<&str> = end.lines().collect();
        Ok(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"))
    }

    /// Sends SIGTERM.
    pub(super) fn ask_to_stop(&self) {
        let pid = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            complain(format_args!("ottla dev: cannot stop node {}: {error}", self.id));
        }
    }

    /// Waits for the end; kills the process when it takes too long.
    pub(super) async fn await_end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
            complain(format_args!("ottla dev: node {} does not stop, killing it", self.id));
            if let Err(error) = child.kill().await {
                complain(format_args!("ottla dev: cannot kill node {}: {error}", self.id));
            }
        }
    }
}

/// Those of the variables that set an option which the table sets.
fn overruling(table: &toml::Table, variables: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let set: Vec<&str> = table.keys().filter_map(|name| Key::named(name)).map(|key| key.name).collect();
    let sets = |variable: &OsString| {
        let key = variable.to_str().and_then(Key::of_variable);
        key.is_some_and(|key| set.contains(&key.name))
    };
    variables.filter(sets).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_wins_over_what_a_node_of_dev_is_told() {
        let table = "'node.id' = '1'\n'log.dir' = '/a'\n'num.partitions' = '2'\n'logging.filter' = 'info'\n'x' = '1'";
        let table: toml::Table = table.parse().expect("valid");
        let removed = ["OTTLA_NODE_ID", "OTTLA_BROKER_ID", "OTTLA_LOG_DIRS", "OTTLA_NUM_PARTITIONS", "OTTLA_LOG"]
            .map(OsString::from);
        let kept = ["OTTLA_LISTENERS", "OTTLA_X", "OTTLA_IMAGE", "PATH"].map(OsString::from);
        assert_eq!(overruling(&table, removed.iter().chain(&kept).cloned()), removed);
    }

    #[test]
    fn a_node_is_configured_with_any_path_and_value() {
        let scratch = tempfile::tempdir().expect("a directory");
        let data = scratch.path().join("a \"b\" \\ 'c' \'\'\'d\'\'\' \u{e4}\u{1f41f} \t\u{7f}");
        let mut node = DevNode::new(2, DevPorts { client: 1, admin: 2, controller: 3 }, &data);
        let set = ["broker.rack=r\\\"\u{e4}".to_owned(), "min.insync.replicas=1".to_owned()];
        node.configure(3, "1@127.0.0.1:9,2@127.0.0.1:3", &set).expect("written");
        let text = fs::read_to_string(node.config_path()).expect("there");
        let sources = crate::node::Sources { file: Some(("dev".to_owned(), text)), ..Default::default() };
        let config = crate::node::Config::read(&sources).expect("valid");
        assert_eq!(config.data_dir, data.join("node-2/data"));
        assert_eq!(config.listeners.client[0].advertised.to_string(), "127.0.0.1:1");
        assert_eq!(config.rack.as_deref(), Some("r\\\"\u{e4}"));
        assert_eq!(config.topics.defaults["min.insync.replicas"], "1");
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines_whatever_its_bytes() {
        let scratch = tempfile::tempdir().expect("a directory");
        let node = DevNode::new(1, DevPorts { client: 1, admin: 2, controller: 3 }, scratch.path());
        assert!(node.log_tail().starts_with("cannot read the log"));
        fs::create_dir_all(&node.directory).expect("made");
        let log = [&[b'x'; 100_000][..], b"\n\xff\n", &b"line\n".repeat(19)].concat();
        fs::write(node.directory.join("ottla.log"), log).expect("written");
        let tail = node.log_tail();
        assert_eq!(tail.lines().count(), LOG_TAIL_LINES);
        assert!(tail.starts_with('\u{fffd}') && tail.ends_with("line"), "{tail}");
    }
}
