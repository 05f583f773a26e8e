//! `ottla dev`: a cluster of child processes on this machine, without any configuration.
//!
//! Invariant: whatever ends this process ends its children too: Ctrl-C and SIGTERM stop them cleanly, and a child
//! whose parent is gone gets SIGTERM from the kernel.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
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
use super::terminal::{complain, say};

/// How often a node that is not ready yet is asked again.
const READY_POLL: Duration = Duration::from_millis(10);
/// How long the cluster may take to become ready before `dev` gives up.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long whoever connects to the control socket may take to ask.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest request on the control socket.
const CONTROL_BYTES_MAX: u64 = 64;
/// The control socket's name in the data directory.
const CONTROL_SOCKET: &str = "dev.sock";
/// How many names a temporary data directory may find taken before `dev` gives up.
const TEMPORARY_NAMES: u16 = 100;
/// The longest path of a socket: `sun_path` of `sockaddr_un`, less the zero at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Runs the cluster until a signal stops it.
///
/// # Errors
/// When a node cannot be started or does not become ready.
pub(super) fn run(args: &DevRunArgs) -> anyhow::Result<ExitCode> {
    let directory = DataDirectory::of(args)?;
    if directory.is_temporary {
        // Not on standard output: its first line is `ready:`, which programs read.
        complain(format_args!("ottla dev: the data is in {}, removed at the end", directory.path.display()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let control = Control::claim(&directory.path)?;
        let mut cluster = Cluster::start(args, &directory.path)?;
        let outcome = cluster.serve(&control.listener).await;
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
    say(answer.trim_end());
    Ok(if answer.starts_with("started") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the nodes keep their data; a temporary one goes when this value does.
struct DataDirectory {
    path: PathBuf,
    is_temporary: bool,
}

impl DataDirectory {
    fn of(args: &DevRunArgs) -> anyhow::Result<Self> {
        args.data.as_deref().map_or_else(|| Self::temporary(&std::env::temp_dir()), Self::kept)
    }

    fn kept(path: &Path) -> anyhow::Result<Self> {
        check_path(&std::path::absolute(path)?)?;
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = path.canonicalize()?;
        check_path(&path)?;
        Ok(Self { path, is_temporary: false })
    }

    /// Makes one that nobody else has or can look into: it is removed at the end, with all that is in it.
    fn temporary(parent: &Path) -> anyhow::Result<Self> {
        let parent = parent.canonicalize().with_context(|| format!("cannot use {}", parent.display()))?;
        for number in 0..TEMPORARY_NAMES {
            let path = parent.join(format!("ottla-dev-{}-{number}", std::process::id()));
            check_path(&path)?;
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, is_temporary: true }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        }
        bail!("{TEMPORARY_NAMES} names for a directory in {} are taken; choose one with --data", parent.display())
    }
}

/// Refuses a data directory that the nodes' configuration or the control socket cannot name.
fn check_path(path: &Path) -> anyhow::Result<()> {
    const ADVICE: &str = "choose another with --data (or TMPDIR, where --data is not given)";
    let name = path.to_str().with_context(|| format!("the path {path:?} is not UTF-8: {ADVICE}"))?;
    ensure!(!name.contains(','), "the path {name} has a comma, which stands between two directories: {ADVICE}");
    let bytes = path.join(CONTROL_SOCKET).as_os_str().len();
    ensure!(
        bytes <= SOCKET_PATH_BYTES_MAX,
        "the path {name} is too long: with /{CONTROL_SOCKET} it has {bytes} bytes, and a socket's path at most \
         {SOCKET_PATH_BYTES_MAX}; {ADVICE}"
    );
    Ok(())
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            complain(format_args!("ottla dev: cannot remove {}: {error}", self.path.display()));
        }
    }
}

/// The control socket: it belongs to the one `dev` that runs on a data directory, and goes with it.
struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Before anything of the directory is touched. A socket that nobody listens on was left by a killed `dev`.
    fn claim(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(CONTROL_SOCKET);
        if path.exists() {
            ensure!(
                std::os::unix::net::UnixStream::connect(&path).is_err(),
                "another `ottla dev` runs on {}",
                data.display()
            );
            std::fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self { listener, path })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            complain(format_args!("ottla dev: cannot remove {}: {error}", self.path.display()));
        }
    }
}

struct Cluster {
    nodes: Vec<DevNode>,
    data: PathBuf,
}

impl Cluster {
    fn start(args: &DevRunArgs, data: &Path) -> anyhow::Result<Self> {
        let controllers = free_ports(args.nodes)?;
        let voters = (1..=args.nodes).zip(&controllers).map(|(id, port)| format!("{id}@127.0.0.1:{port}"));
        let voters = voters.collect::<Vec<_>>().join(",");
        let mut cluster = Self { nodes: Vec::new(), data: data.to_owned() };
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

    async fn serve(&mut self, control: &UnixListener) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let mut waiting: BTreeSet<u16> = self.nodes.iter().map(|node| node.id).collect();
        tokio::select! {
            ready = tokio::time::timeout(READY_TIMEOUT, self.ready(&mut waiting)) => match ready {
                Ok(ready) => ready?,
                Err(_) => return Err(self.not_ready(&waiting)),
            },
            () = interrupts.next() => return Ok(()),
        }
        say(format_args!("ready: {}", self.bootstrap()));
        self.attend(control, &mut interrupts).await
    }

    /// Waits until every node says that it is ready: its broker is unfenced and knows the controller. With all of
    /// them unfenced, a write to a new topic has all its replicas in sync. Whoever is ready leaves `waiting`.
    ///
    /// A node that ends is noticed at once, whichever is being asked: the others may wait for it for ever.
    async fn ready(&mut self, waiting: &mut BTreeSet<u16>) -> anyhow::Result<()> {
        let mut children = signal(SignalKind::child())?;
        loop {
            self.check_all_run()?;
            let Some(node) = self.nodes.iter().find(|node| waiting.contains(&node.id)) else { return Ok(()) };
            let address = format!("127.0.0.1:{}", node.ports.admin);
            tokio::select! {
                _ = children.recv() => {}
                answer = http::get(&address, "/health/ready") => match answer {
                    Ok((200, _)) => {
                        waiting.remove(&node.id);
                    }
                    Ok(_) | Err(_) => tokio::time::sleep(READY_POLL).await,
                },
            }
        }
    }

    fn check_all_run(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(exit) = node.exited()? {
                bail!("node {} {exit} before the cluster was ready; the end of its log:\n{}", node.id, node.log_tail());
            }
        }
        Ok(())
    }

    fn not_ready(&self, waiting: &BTreeSet<u16>) -> anyhow::Error {
        let late = self.nodes.iter().filter(|node| waiting.contains(&node.id));
        let logs = late.map(|node| format!("node {}, the end of its log:\n{}", node.id, node.log_tail()));
        let logs = logs.collect::<Vec<_>>().join("\n");
        anyhow::anyhow!("not ready within {} s:\n{logs}", READY_TIMEOUT.as_secs())
    }

    async fn attend(&mut self, control: &UnixListener, interrupts: &mut Interrupts) -> anyhow::Result<()> {
        let mut children = signal(SignalKind::child())?;
        loop {
            tokio::select! {
                () = interrupts.next() => return Ok(()),
                _ = children.recv() => self.reap()?,
                accepted = control.accept() => {
                    let answered = match accepted {
                        Ok((stream, _)) => self.answer(stream).await,
                        Err(error) => {
                            tokio::time::sleep(READY_POLL).await;
                            Err(error.into())
                        }
                    };
                    if let Err(error) = answered {
                        complain(format_args!("ottla dev: a control request failed: {error:#}"));
                    }
                }
            }
        }
    }

    fn reap(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if let Some(exit) = node.exited()? {
                let (id, data) = (node.id, self.data.display());
                complain(format_args!(
                    "ottla dev: node {id} {exit}; `ottla dev restart {id} --data {data}` starts it again"
                ));
                node.forget();
            }
        }
        Ok(())
    }

    async fn answer(&mut self, mut stream: UnixStream) -> anyhow::Result<()> {
        let mut request = String::new();
        let (reader, mut writer) = stream.split();
        let mut reader = reader.take(CONTROL_BYTES_MAX);
        tokio::time::timeout(CONTROL_TIMEOUT, reader.read_to_string(&mut request))
            .await
            .context("nothing was asked")??;
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn check_refused(path: &Path, words: &str) {
        let error = check_path(path).expect_err(words).to_string();
        assert!(error.contains(words) && error.contains("--data"), "{error}");
    }

    #[test]
    fn a_data_directory_that_cannot_be_named_is_refused_with_advice() {
        check_path(Path::new("/tmp/a \"b\" \\ 'c' ä")).expect("odd, but it can be named");
        check_path(&Path::new("/").join("a".repeat(97))).expect("107 bytes with the socket");
        check_refused(&Path::new("/").join("a".repeat(98)), "is too long");
        check_refused(Path::new("/tmp/a,b"), "has a comma");
        check_refused(Path::new(&std::ffi::OsString::from_vec(b"/tmp/\xff".to_vec())), "is not UTF-8");
    }

    #[test]
    fn a_temporary_directory_is_new_and_ours_alone() {
        let scratch = tempfile::tempdir().expect("a directory");
        let parent = scratch.path();
        let name = |number: u16| parent.join(format!("ottla-dev-{}-{number}", std::process::id()));
        let strangers = parent.join("strangers");
        std::fs::create_dir(&strangers).expect("made");
        std::fs::create_dir(name(0)).expect("made");
        std::os::unix::fs::symlink(&strangers, name(1)).expect("made");
        let made = DataDirectory::temporary(parent).expect("a third name is free");
        assert_eq!(made.path, name(2).canonicalize().expect("there"));
        assert_eq!(std::fs::metadata(&made.path).expect("there").permissions().mode() & 0o777, 0o700);
        drop(made);
        assert_eq!([name(0), name(1), name(2)].map(|path| path.exists()), [true, true, false]);
    }

    #[test]
    fn a_parent_whose_names_are_all_taken_is_told() {
        let scratch = tempfile::tempdir().expect("a directory");
        let made: Vec<_> = (0..TEMPORARY_NAMES).map(|_| DataDirectory::temporary(scratch.path())).collect();
        assert!(made.iter().all(Result::is_ok));
        let error = DataDirectory::temporary(scratch.path()).err().expect("all are taken").to_string();
        assert!(error.contains("are taken"), "{error}");
    }
}
