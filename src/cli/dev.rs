//! `ottla dev`: a cluster of child processes on this machine, without any configuration.
//!
//! Invariant: whatever ends this process ends its children too: Ctrl-C and SIGTERM stop them cleanly, and a child
//! whose parent is gone gets SIGTERM from the kernel.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DevRunArgs;
use super::dev_node::{DevNode, DevPorts, Exit};
use super::http;

/// How often a node that is not ready yet is asked again.
const READY_POLL: Duration = Duration::from_millis(10);
/// How long the cluster may take to become ready before `dev` gives up.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest request on the control socket.
const CONTROL_BYTES_MAX: u64 = 64;
/// The control socket's name in the data directory.
const CONTROL_SOCKET: &str = "dev.sock";

/// Runs the cluster until a signal stops it.
///
/// # Errors
/// When a node cannot be started or does not become ready.
pub(super) fn run(args: &DevRunArgs) -> anyhow::Result<ExitCode> {
    let directory = DataDirectory::of(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut cluster = Cluster::start(args, &directory.path)?;
        let outcome = cluster.serve(&directory.path).await;
        cluster.stop().await;
        outcome
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the `dev` that runs on `data` to start a killed node again.
///
/// # Errors
/// When no `dev` runs there, or it refuses.
pub(super) fn restart(node: u16, data: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let socket = data.join(CONTROL_SOCKET);
        let mut stream =
            UnixStream::connect(&socket).await.with_context(|| format!("no `ottla dev` runs on {}", data.display()))?;
        stream.write_all(format!("restart {node}\n").as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.take(1024).read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    })?;
    println!("{}", answer.trim_end());
    Ok(if answer.starts_with("started") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the nodes keep their data; a temporary one goes when this value does.
struct DataDirectory {
    path: PathBuf,
    is_temporary: bool,
}

impl DataDirectory {
    fn of(args: &DevRunArgs) -> anyhow::Result<Self> {
        let (path, is_temporary) = match &args.data {
            Some(path) => (path.clone(), false),
            None => (std::env::temp_dir().join(format!("ottla-dev-{}", std::process::id())), true),
        };
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize()?;
        Ok(Self { path, is_temporary })
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("ottla dev: cannot remove {}: {error}", self.path.display());
        }
    }
}

struct Cluster {
    nodes: Vec<DevNode>,
}

impl Cluster {
    fn start(args: &DevRunArgs, data: &Path) -> anyhow::Result<Self> {
        let controllers = free_ports(args.nodes)?;
        let voters = (1..=args.nodes).zip(&controllers).map(|(id, port)| format!("{id}@127.0.0.1:{port}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        let mut cluster = Self { nodes: Vec::new() };
        for (index, controller) in (0..args.nodes).zip(controllers) {
            let port = |base: u16| base.checked_add(index).context("a port would pass 65535");
            let ports = DevPorts { client: port(args.port)?, admin: port(args.admin_port)?, controller };
            let mut node = DevNode::new(index + 1, ports, data);
            node.configure(args.nodes, &voters, &args.set)?;
            node.start()?;
            cluster.nodes.push(node);
        }
        Ok(cluster)
    }

    fn bootstrap(&self) -> String {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports.client)).collect::<Vec<_>>().join(",")
    }

    async fn serve(&mut self, data: &Path) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        tokio::select! {
            ready = tokio::time::timeout(READY_TIMEOUT, self.ready()) => ready.context("the cluster is not ready in time")??,
            () = interrupts.next() => return Ok(()),
        }
        let socket = data.join(CONTROL_SOCKET);
        if socket.exists() {
            ensure!(
                std::os::unix::net::UnixStream::connect(&socket).is_err(),
                "another `ottla dev` runs on {}",
                data.display()
            );
            std::fs::remove_file(&socket)?;
        }
        let control = UnixListener::bind(&socket)?;
        println!("ready: {}", self.bootstrap());
        let outcome = self.attend(&control, &mut interrupts).await;
        std::fs::remove_file(&socket)?;
        outcome
    }

    /// Waits until every node says that it is ready: its broker is unfenced and knows the controller. With all of
    /// them unfenced, a write to a new topic has all its replicas in sync.
    async fn ready(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            let address = format!("127.0.0.1:{}", node.ports.admin);
            loop {
                if let Some(exit) = node.exited()? {
                    bail!("node {} {exit} before it was ready; the end of its log:\n{}", node.id, node.log_tail());
                }
                if matches!(http::get(&address, "/health/ready").await, Ok((200, _))) {
                    break;
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    async fn attend(&mut self, control: &UnixListener, interrupts: &mut Interrupts) -> anyhow::Result<()> {
        let mut children = signal(SignalKind::child())?;
        loop {
            tokio::select! {
                () = interrupts.next() => return Ok(()),
                _ = children.recv() => self.reap()?,
                accepted = control.accept() => {
                    let (stream, _) = accepted?;
                    if let Err(error) = self.answer(stream).await {
                        eprintln!("ottla dev: a control request failed: {error:#}");
                    }
                }
            }
        }
    }

    fn reap(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(exit) = node.exited()? {
                eprintln!(
                    "ottla dev: node {} {exit}; `ottla dev restart {} --data …` starts it again",
                    node.id, node.id
                );
                node.forget();
            }
        }
        Ok(())
    }

    async fn answer(&mut self, mut stream: UnixStream) -> anyhow::Result<()> {
        let mut request = String::new();
        let (reader, mut writer) = stream.split();
        reader.take(CONTROL_BYTES_MAX).read_to_string(&mut request).await?;
        let answer = match self.control(request.trim()) {
            Ok(answer) => answer,
            Err(error) => format!("refused: {error:#}"),
        };
        writer.write_all(answer.as_bytes()).await?;
        Ok(())
    }

    fn control(&mut self, request: &str) -> anyhow::Result<String> {
        let number = request.strip_prefix("restart ").with_context(|| format!("'{request}' is no request"))?;
        let id: u16 = number.parse().with_context(|| format!("'{number}' is no node"))?;
        let node =
            self.nodes.iter_mut().find(|node| node.id == id).with_context(|| format!("there is no node {id}"))?;
        if let Some(Exit { .. }) = node.exited()? {
            node.forget();
        }
        node.start()?;
        Ok(format!("started node {id}\n"))
    }

    async fn stop(&mut self) {
        for node in &mut self.nodes {
            node.ask_to_stop();
        }
        for node in &mut self.nodes {
            node.await_end().await;
        }
    }
}

/// Ctrl-C and SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ports that nobody listens on, held together until all are found.
fn free_ports(count: u16) -> anyhow::Result<Vec<u16>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
