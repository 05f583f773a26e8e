//! A node as a process, seen from outside.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a node of a debug build may take to start, or to stop.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Groups whose members need not wait for each other: attackers come alone.
const SETTINGS: [&str; 3] =
    ["group.initial.rebalance.delay.ms=10", "group.min.session.timeout.ms=10", "offsets.topic.num.partitions=4"];

/// `ottla dev` and its one node.
#[derive(Debug)]
pub(crate) struct Node {
    dev: Child,
    directory: TempDir,
    /// Where clients connect.
    pub(crate) port: u16,
    /// Where HTTP is served.
    pub(crate) admin: u16,
    /// Where nodes talk to each other.
    pub(crate) controller: u16,
    /// The node's process.
    pub(crate) pid: u32,
}

impl Node {
    /// Starts one and waits until it is ready.
    pub(crate) async fn start() -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_ottla"))).await
    }

    /// Starts one that may open this many files and sockets.
    pub(crate) async fn start_with_descriptors(count: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh", &count.to_string()]);
        shell.arg(env!("CARGO_BIN_EXE_ottla"));
        Self::start_by(shell).await
    }

    async fn start_by(mut command: Command) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [port, admin] = free_ports();
        let mut dev = command
            .args(["dev", "--nodes", "1", "--port", &port.to_string(), "--admin-port", &admin.to_string(), "--data"])
            .arg(directory.path())
            .args(SETTINGS.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built with this test");
        let mut lines = BufReader::new(dev.stdout.take().expect("it is piped")).lines();
        let first = timeout(START_TIMEOUT, lines.next_line()).await.expect("it starts in time").expect("a line");
        assert!(first.as_deref().is_some_and(|line| line.starts_with("ready:")), "it said {first:?}");
        let mut node = Self { dev, directory, port, admin, controller: 0, pid: 0 };
        node.pid = node.pid_now();
        node.controller = node.controller_port();
        node
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("node-1").join(name)
    }

    /// The number of the process as its keeper wrote it down.
    pub(crate) fn pid_now(&self) -> u32 {
        let text = fs::read_to_string(self.file("ottla.pid")).expect("the node's number is written down");
        text.trim().parse().expect("a number")
    }

    fn controller_port(&self) -> u16 {
        let config = fs::read_to_string(self.file("ottla.toml")).expect("the node's configuration");
        let (_, rest) = config.split_once("CONTROLLER://127.0.0.1:").expect("a listener for nodes");
        rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Whether the process that was started is still there.
    pub(crate) fn is_alive(&self) -> bool {
        self.pid_now() == self.pid
            && fs::read_to_string(format!("/proc/{}/stat", self.pid)).is_ok_and(|s| !s.contains(") Z "))
    }

    /// Everything it logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("ottla.log")).expect("the node's log")).into_owned()
    }

    /// Bytes of a field of its status, given in KiB there.
    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of /proc/PID/status");
        let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib << 10
    }

    /// Its resident memory.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The most resident memory since the start or the last `forget_peak`.
    pub(crate) fn resident_peak(&self) -> u64 {
        self.status("VmHWM")
    }

    /// Starts the peak anew.
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("the node is ours");
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the node is ours").count()
    }

    /// A metric of its, the sum over all labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await;
        let values =
            text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with([' ', '{']));
        let values: Vec<f64> = values.filter_map(|rest| rest.rsplit(' ').next()?.parse().ok()).collect();
        values.iter().sum()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await.expect("the admin port is open");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        text
    }

    /// Stops it, as Ctrl-C does; it must end well.
    pub(crate) async fn stop(mut self) {
        let pid = self.dev.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("dev runs");
        kill_process(pid, Signal::TERM).expect("dev is ours");
        let status = timeout(START_TIMEOUT, self.dev.wait()).await.expect("it stops in time").expect("a status");
        assert!(status.success(), "{status}");
        assert!(!fs::exists(format!("/proc/{}", self.pid)).expect("/proc is there"), "the node went with it");
    }
}

/// Ports that nobody listens on.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
