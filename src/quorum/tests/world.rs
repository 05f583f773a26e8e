//! Several quorum members in one process, over a network in memory that can be cut, slowed and held up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use super::logs::{Stall, Watched};
use super::recorder::Recorder;
use crate::env::{Clock, Files, SystemClock, SystemFiles, SystemSeed};
use crate::machines::metadata::{Image, Proposal, Record};
use crate::model::{DirectoryId, LogIndex, NodeId, Term};
use crate::quorum::disk_log::DiskLog;
use crate::quorum::entry_log::EntryLog;
use crate::quorum::{
    Accepted, CallError, PeerCaller, ProposeError, Quorum, QuorumOptions, QuorumWorld, StartError, Voter,
};

/// Nothing in these tests takes longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Wires {
    running: BTreeMap<NodeId, Process>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// How many calls of a node went into a cut wire.
    lost: BTreeMap<NodeId, u64>,
    /// How many more calls a wire lets through before it is cut.
    left: BTreeMap<(NodeId, NodeId), u64>,
    held: BTreeSet<(NodeId, NodeId, Way)>,
    /// How many calls one node has made to another.
    asked: BTreeMap<(NodeId, NodeId), u64>,
    /// How many of them have been answered, delivered or not.
    answered: BTreeMap<(NodeId, NodeId), u64>,
    delay: Duration,
    /// Set: how fast every wire is.
    bytes_per_second: Option<u32>,
}

/// Which part of a call is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Request,
    Answer,
}

/// A running node. Calls to it end when the sender goes, as connections do when a process dies.
#[derive(Clone, Debug)]
struct Process {
    quorum: Quorum,
    alive: watch::Receiver<()>,
}

/// The network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    wires: Arc<Mutex<Wires>>,
}

impl Net {
    fn target(&self, from: NodeId, to: NodeId) -> (Result<Option<Process>, CallError>, Duration) {
        let mut wires = self.wires.lock().unwrap();
        if let Some(left) = wires.left.get_mut(&(from, to)) {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => drop(wires.cut.insert((from, to))),
            }
        }
        let target = if wires.cut.contains(&(from, to)) {
            *wires.lost.entry(from).or_default() += 1;
            Ok(None)
        } else {
            wires.running.get(&to).cloned().map(Some).ok_or(CallError::Refused)
        };
        (target, wires.delay)
    }

    /// Nothing passes between `node` and the others.
    pub(crate) fn isolate(&self, node: NodeId, others: &[NodeId]) {
        let mut wires = self.wires.lock().unwrap();
        for &other in others {
            wires.cut.insert((node, other));
            wires.cut.insert((other, node));
        }
    }

    /// How many calls of `node` nobody will ever answer.
    pub(crate) fn lost(&self, node: NodeId) -> u64 {
        self.wires.lock().unwrap().lost.get(&node).copied().unwrap_or_default()
    }

    pub(crate) fn heal(&self) {
        let mut wires = self.wires.lock().unwrap();
        wires.cut.clear();
        wires.left.clear();
        wires.held.clear();
    }

    /// Lets so many more calls of one node reach another, and none after them.
    pub(crate) fn let_through(&self, from: NodeId, to: NodeId, calls: u64) {
        self.wires.lock().unwrap().left.insert((from, to), calls);
    }

    /// Holds up the calls of one node to another, or their answers, until `release`.
    pub(crate) fn hold(&self, from: NodeId, to: NodeId, way: Way) {
        self.wires.lock().unwrap().held.insert((from, to, way));
    }

    pub(crate) fn release(&self, from: NodeId, to: NodeId) {
        self.wires.lock().unwrap().held.retain(|(asking, asked, _)| (*asking, *asked) != (from, to));
    }

    async fn released(&self, from: NodeId, to: NodeId, way: Way) {
        while self.wires.lock().unwrap().held.contains(&(from, to, way)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many calls one node has made to another.
    pub(crate) fn asked(&self, from: NodeId, to: NodeId) -> u64 {
        self.wires.lock().unwrap().asked.get(&(from, to)).copied().unwrap_or_default()
    }

    /// How many of them have been answered, though the answer may be held up.
    pub(crate) fn answered(&self, from: NodeId, to: NodeId) -> u64 {
        self.wires.lock().unwrap().answered.get(&(from, to)).copied().unwrap_or_default()
    }

    pub(crate) fn bytes_per_second(&self, bytes: u32) {
        self.wires.lock().unwrap().bytes_per_second = Some(bytes);
    }

    /// How long so many bytes are under way, beside the delay.
    fn transfer(&self, bytes: usize) -> Duration {
        let speed = self.wires.lock().unwrap().bytes_per_second;
        speed.map_or(Duration::ZERO, |speed| Duration::from_secs(1) * u32::try_from(bytes).unwrap() / speed)
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.wires.lock().unwrap().delay = delay;
    }
}

#[derive(Debug)]
struct Wire {
    from: NodeId,
    net: Net,
}

impl PeerCaller for Wire {
    fn call<'a>(
        &'a self,
        node: NodeId,
        _: &'a str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Bytes, CallError>> {
        Box::pin(async move {
            let (net, from) = (&self.net, self.from);
            *net.wires.lock().unwrap().asked.entry((from, node)).or_default() += 1;
            let work = async {
                net.released(from, node, Way::Request).await;
                let (target, delay) = net.target(from, node);
                tokio::time::sleep(delay + net.transfer(request.len())).await;
                let Some(target) = target? else { return std::future::pending().await };
                let Process { quorum, mut alive } = target;
                let answer = tokio::select! {
                    answer = quorum.handle(request) => answer,
                    _ = alive.changed() => return Err(CallError::Lost),
                };
                *net.wires.lock().unwrap().answered.entry((from, node)).or_default() += 1;
                net.released(from, node, Way::Answer).await;
                tokio::time::sleep(delay).await;
                if answer.is_empty() { Err(CallError::Lost) } else { Ok(answer) }
            };
            tokio::time::timeout(timeout, work).await.unwrap_or(Err(CallError::TimedOut))
        })
    }
}

/// One node's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) dir: TempDir,
    /// Alive while some life of the node has its log open.
    open: Weak<()>,
    /// Set: the node's log hangs.
    pub(crate) stall: Stall,
    /// Set: the next flush of the node's log fails.
    pub(crate) broken: Arc<AtomicBool>,
    pub(crate) directory: DirectoryId,
}

impl Disk {
    fn new(node: NodeId, life: u8) -> Self {
        let mut bytes = [life; 16];
        bytes[0] = u8::try_from(node.get()).unwrap();
        let directory = DirectoryId::new(bytes);
        Self {
            dir: tempfile::tempdir().unwrap(),
            open: Weak::new(),
            stall: Stall::default(),
            broken: Arc::default(),
            directory,
        }
    }

    /// The quorum's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("quorum")
    }
}

/// A cluster.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) net: Net,
    pub(crate) voters: Vec<NodeId>,
    pub(crate) disks: BTreeMap<NodeId, Disk>,
    pub(crate) fatal: mpsc::UnboundedReceiver<(NodeId, String)>,
    fatal_in: mpsc::UnboundedSender<(NodeId, String)>,
    files: Arc<dyn Files>,
    clock: Arc<dyn Clock>,
    pub(crate) tune: fn(&mut QuorumOptions),
    formatted: u8,
    lives: BTreeMap<NodeId, watch::Sender<()>>,
    pub(crate) recorder: Recorder,
}

pub(crate) fn n(id: i32) -> NodeId {
    NodeId::new(id)
}

/// The nodes hold the wires and the wires the nodes: who goes without this leaves them running beside all later tests.
impl Drop for World {
    fn drop(&mut self) {
        let mut wires = self.net.wires.lock().unwrap_or_else(PoisonError::into_inner);
        let running = std::mem::take(&mut wires.running);
        drop(wires);
        drop(running);
    }
}

impl World {
    pub(crate) fn new(voters: &[i32], tune: fn(&mut QuorumOptions)) -> Self {
        let (fatal_in, fatal) = mpsc::unbounded_channel();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self {
            net: Net::default(),
            voters: voters.iter().map(|&id| n(id)).collect(),
            disks: BTreeMap::new(),
            fatal,
            fatal_in,
            files: Arc::new(SystemFiles::default()),
            recorder: Recorder::new(Arc::clone(&clock)),
            clock,
            tune,
            formatted: 0,
            lives: BTreeMap::new(),
        }
    }

    /// A cluster whose voters all run, with a leader.
    pub(crate) async fn running(voters: &[i32], tune: fn(&mut QuorumOptions)) -> Self {
        let mut world = Self::new(voters, tune);
        for &id in voters {
            world.start(n(id)).await;
        }
        world.leader().await;
        world
    }

    pub(crate) fn options(&mut self, node: NodeId) -> QuorumOptions {
        self.formatted += 1;
        let format = self.formatted;
        let disk = self.disks.entry(node).or_insert_with(|| Disk::new(node, format));
        let voters = self.voters.iter().map(|&node| Voter { node, address: format!("node-{node}:9093") }).collect();
        let address = format!("node-{node}:9093");
        let mut options = QuorumOptions::new(node, disk.directory, address, voters, disk.path());
        (self.tune)(&mut options);
        options
    }

    pub(crate) async fn try_start(&mut self, node: NodeId) -> Result<(), StartError> {
        let options = self.options(node);
        self.closed(node).await;
        let disk = self.disks.get_mut(&node).unwrap();
        let (open, stall, broken) = (Arc::new(()), disk.stall.clone(), Arc::clone(&disk.broken));
        disk.open = Arc::downgrade(&open);
        let world = QuorumWorld {
            files: Arc::clone(&self.files),
            clock: Arc::clone(&self.clock),
            seed: Arc::new(SystemSeed),
            peers: Arc::new(Wire { from: node, net: self.net.clone() }),
        };
        let fatal = self.fatal_in.clone();
        let fatal = Box::new(move |reason| drop(fatal.send((node, reason))));
        let open_log = move |options: &QuorumOptions, world: &QuorumWorld| {
            let (files, clock) = (Arc::clone(&world.files), Arc::clone(&world.clock));
            let log = DiskLog::open(files, &options.dir.join("log"), clock)?;
            Ok(Box::new(Watched { log, _open: open, stall, broken }) as Box<dyn EntryLog>)
        };
        let quorum = Quorum::start_on(options, world, Box::new(open_log), fatal).await?;
        self.recorder.follow(node, &quorum);
        let (life, alive) = watch::channel(());
        self.lives.insert(node, life);
        self.net.wires.lock().unwrap().running.insert(node, Process { quorum, alive });
        Ok(())
    }

    /// Waits until the last life of a node has let go of all its files.
    pub(crate) async fn closed(&self, node: NodeId) {
        let db = self.disks[&node].path().join("store/db");
        eventually(|| self.is_closed(node) && (!db.exists() || self.files.lock(&db).is_ok())).await;
    }

    /// Whether the last life of a node has let go of its log.
    pub(crate) fn is_closed(&self, node: NodeId) -> bool {
        self.disks[&node].open.strong_count() == 0
    }

    pub(crate) async fn start(&mut self, node: NodeId) {
        self.try_start(node).await.unwrap();
    }

    /// Takes the process away without a word.
    pub(crate) fn kill(&mut self, node: NodeId) {
        let killed = self.net.wires.lock().unwrap().running.remove(&node);
        drop(killed.expect("it runs"));
        self.recorder.killed(node);
        self.lives.remove(&node);
    }

    /// Takes the disk away as well.
    pub(crate) fn wipe(&mut self, node: NodeId) {
        self.disks.remove(&node);
    }

    /// The other voters.
    pub(crate) fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.voters.iter().copied().filter(|&other| other != node).collect()
    }

    pub(crate) fn quorum(&self, node: NodeId) -> Quorum {
        self.net.wires.lock().unwrap().running[&node].quorum.clone()
    }

    pub(crate) fn running_nodes(&self) -> Vec<NodeId> {
        self.net.wires.lock().unwrap().running.keys().copied().collect()
    }

    pub(crate) fn image(&self, node: NodeId) -> Arc<Image> {
        self.quorum(node).images().borrow().clone()
    }

    pub(crate) fn is_active(&self, node: NodeId) -> bool {
        self.quorum(node).leadership().borrow().active
    }

    pub(crate) fn actives(&self) -> Vec<NodeId> {
        self.running_nodes().into_iter().filter(|&node| self.is_active(node)).collect()
    }

    /// Waits for an active leader of a formed cluster.
    pub(crate) async fn leader(&self) -> NodeId {
        self.leader_but(None).await
    }

    pub(crate) async fn leader_but(&self, old: Option<NodeId>) -> NodeId {
        let mut found = None;
        eventually(|| {
            found = self.actives().into_iter().find(|&node| Some(node) != old);
            found.is_some_and(|node| self.image(node).cluster().is_some())
        })
        .await;
        found.unwrap()
    }

    /// Writes one fact through whoever leads, as often as it takes.
    pub(crate) async fn write(&self, name: &str) -> LogIndex {
        loop {
            let leader = self.leader().await;
            if let Ok(accepted) = self.propose(leader, name).await {
                return accepted.index;
            }
        }
    }

    /// Proposes one fact, decided on the node's own image.
    pub(crate) async fn propose(&self, node: NodeId, name: &str) -> Result<Accepted, ProposeError> {
        let base = self.image(node).last_accepted();
        self.quorum(node).propose(proposal(base, name)).await
    }

    /// Waits until every running node has the fact.
    pub(crate) async fn all_have(&self, name: &str) {
        eventually(|| self.running_nodes().into_iter().all(|node| self.image(node).feature(name) == 1)).await;
    }
}

/// A proposal of one fact.
pub(crate) fn proposal(base: LogIndex, name: &str) -> Proposal {
    let records = vec![Record::FeatureLevelSet { feature: name.to_owned(), level: 1 }];
    Proposal { term: Term::new(0), base, records }
}

/// Waits for a condition.
pub(crate) async fn eventually(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        while !condition() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition comes about");
}
