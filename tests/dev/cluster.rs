//! An `ottla dev` of our own, with its folder and its ports.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// How long nodes of a debug build may take to start, to stop or to notice.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// The first port that is tried, by the first process that runs these tests; below those that the kernel hands out.
const FIRST_PORT: u16 = 12_000;

/// A running `ottla dev`.
#[derive(Debug)]
pub(crate) struct Dev {
    process: Child,
    data: PathBuf,
}

impl Dev {
    /// Starts it on `data` and waits until it is ready.
    pub(crate) async fn start(data: &Path, nodes: u16, set: &[&str]) -> Self {
        Self::spawn(data, nodes, set).ready().await
    }

    async fn ready(mut self) -> Self {
        let mut lines = BufReader::new(self.process.stdout.take().expect("it is piped")).lines();
        let first = timeout(TIMEOUT, lines.next_line()).await.expect("it starts in time").expect("a line");
        assert!(first.as_deref().is_some_and(|line| line.starts_with("ready:")), "it said {first:?}");
        self
    }

    /// Starts one without `--data`, whose temporary directory is in `parent`, and waits until it is ready.
    pub(crate) async fn start_temporary(parent: &Path) -> Self {
        let mut command = command(1);
        let process = command.env("TMPDIR", parent).spawn().expect("the binary was built with this test");
        Self { process, data: parent.to_owned() }.ready().await
    }

    /// Starts it on `data`, ready or not.
    pub(crate) fn spawn(data: &Path, nodes: u16, set: &[&str]) -> Self {
        let mut command = command(nodes);
        command.arg("--data").arg(data).args(set.iter().flat_map(|pair| ["--set", pair]));
        let process = command.spawn().expect("the binary was built with this test");
        Self { process, data: data.to_owned() }
    }

    /// Its standard error; dropped, it is closed.
    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.process.stderr.take().expect("it is taken once")
    }

    fn read(&self, node: u16, file: &str) -> String {
        std::fs::read_to_string(self.data.join(format!("node-{node}")).join(file)).expect("dev has made it")
    }

    /// The next line of its standard error.
    pub(crate) async fn complaint(&mut self) -> String {
        let stderr = self.process.stderr.as_mut().expect("it is not closed");
        let mut line = Vec::new();
        let read = async {
            while line.last() != Some(&b'\n') {
                line.push(stderr.read_u8().await.expect("a whole line"));
            }
        };
        timeout(TIMEOUT, read).await.expect("in time");
        String::from_utf8(line).expect("text").trim_end().to_owned()
    }

    /// The number of a node's process.
    pub(crate) fn pid(&self, node: u16) -> i32 {
        self.read(node, "ottla.pid").trim().parse().expect("a number")
    }

    /// What a node has logged, over all its lives.
    pub(crate) fn log(&self, node: u16) -> String {
        self.read(node, "ottla.log")
    }

    /// Kills a node.
    pub(crate) fn kill(&self, node: u16) {
        let pid = Pid::from_raw(self.pid(node)).expect("no process has the number 0");
        kill_process(pid, Signal::KILL).expect("the node is ours");
    }

    /// What `dev restart` prints.
    pub(crate) async fn restart(&self, node: u16) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(["dev", "restart", &node.to_string(), "--data"]).arg(&self.data);
        let output = timeout(TIMEOUT, command.output()).await.expect("in time").expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Stops it, as `kill` does; it must end well.
    pub(crate) async fn stop(mut self) {
        let pid = self.process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("dev runs");
        kill_process(pid, Signal::TERM).expect("dev is ours");
        let status = timeout(TIMEOUT, self.process.wait()).await.expect("it stops in time").expect("a status");
        assert!(status.success(), "{status}");
    }
}

/// `ottla dev` on ports of its own.
fn command(nodes: u16) -> Command {
    let [port, admin] = [(); 2].map(|()| free_run(nodes).to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command
        .args(["dev", "--nodes", &nodes.to_string(), "--port", &port, "--admin-port", &admin])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(timeout(TIMEOUT, wait).await.is_ok(), "waited in vain: {what}");
}

/// The first of `length` neighbouring ports that nobody listens on; another at each call.
fn free_run(length: u16) -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 100).expect("below 100") * 150;
    loop {
        let first = FIRST_PORT + spread + TAKEN.fetch_add(length, Ordering::Relaxed);
        if (first..first + length).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}
