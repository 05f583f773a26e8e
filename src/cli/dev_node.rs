//! One node of `ottla dev`: its files, its process, its end.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a node may take to stop before it is killed. A clean stop moves leaders and flushes; that takes well
/// below a second when the cluster is healthy.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a failed node's log is shown.
const LOG_TAIL_LINES: usize = 20;

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
    child: Option<Child>,
}

impl DevNode {
    pub(super) fn new(id: u16, ports: DevPorts, data: &Path) -> Self {
        Self { id, ports, directory: data.join(format!("node-{id}")), child: None }
    }

    /// Writes the node's configuration.
    pub(super) fn configure(&self, nodes: u16, voters: &str, set: &[String]) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let DevPorts { client, admin, controller } = self.ports;
        let replication = nodes.min(3);
        let data = self.directory.join("data");
        let mut lines = vec![
            format!("\"node.id\" = {}", self.id),
            "\"process.roles\" = \"broker,controller\"".to_owned(),
            format!("listeners = \"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}\""),
            "\"controller.listener.names\" = \"CONTROLLER\"".to_owned(),
            format!("\"controller.quorum.voters\" = \"{voters}\""),
            format!("\"log.dirs\" = {:?}", data.display().to_string()),
            format!("\"admin.listener\" = \"127.0.0.1:{admin}\""),
            format!("\"default.replication.factor\" = {replication}"),
            format!("\"min.insync.replicas\" = {}", replication.min(2)),
        ];
        for pair in set {
            let (key, value) = pair.split_once('=').with_context(|| format!("--set {pair}: want KEY=VALUE"))?;
            lines.retain(|line| !line.starts_with(&format!("{key} ")) && !line.starts_with(&format!("\"{key}\" ")));
            lines.push(format!("{key:?} = {value:?}"));
        }
        let mut file = File::create(self.config_path())?;
        writeln!(file, "# Written by `ottla dev`.\n{}", lines.join("\n"))?;
        Ok(())
    }

    fn config_path(&self) -> PathBuf {
        self.directory.join("ottla.toml")
    }

    /// Starts the process; its log goes to `ottla.log`, its number to `ottla.pid`.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.is_none(), "node {} runs", self.id);
        let log = File::options().create(true).append(true).open(self.directory.join("ottla.log"))?;
        let child = Command::new(std::env::current_exe()?)
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
        let log = fs::read_to_string(self.directory.join("ottla.log")).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Sends SIGTERM.
    pub(super) fn ask_to_stop(&self) {
        let pid = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            eprintln!("ottla dev: cannot stop node {}: {error}", self.id);
        }
    }

    /// Waits for the end; kills the process when it takes too long.
    pub(super) async fn await_end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
            eprintln!("ottla dev: node {} does not stop, killing it", self.id);
            if let Err(error) = child.kill().await {
                eprintln!("ottla dev: cannot kill node {}: {error}", self.id);
            }
        }
    }
}
