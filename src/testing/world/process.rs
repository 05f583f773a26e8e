//! One node of the simulation: its machine, and the process that runs on it.
//!
//! Invariant: everything that decides in a process is production code; what stands here is what it waits for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::compact::Compacting;
use super::disks::KeptImage;
use super::message::{Endpoint, RequestId};
use super::quorum::ProposalId;
use crate::broker::fetcher::positions::Positions;
use crate::broker::progress::Progress;
use crate::broker::reach::Reach;
use crate::broker::standing::Stage;
use crate::broker::suspects::Suspects;
use crate::machines::controller::{Asked, Event as Ask, Options, Round, Soft};
use crate::machines::metadata::Image;
use crate::machines::replication::{IsrOutcome, Ticket};
use crate::model::{BrokerEpoch, Instant, LogIndex, NodeId, Now, PartitionId, Term, Timestamp};
use crate::partition::{Event, FetchPosition, PartitionProposal, ReadRequest, Reader, Shard, ShardOptions};
use crate::storage::{DataDir, FlushOrder};
use crate::testing::{FixedSeed, SimulatedFiles};

/// Where every node keeps its data.
pub(super) const DATA: &str = "/data";

/// A machine: what survives its processes.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) files: SimulatedFiles,
    pub(super) process: Option<Process>,
    /// How far the metadata had been applied here when the last process ended.
    pub(super) applied: LogIndex,
    /// Nobody starts it before.
    pub(super) down_until: Instant,
    /// Its disk was made to fail, so that a process may end by itself up to then.
    pub(super) ill_until: Instant,
    /// How often it was started.
    pub(super) starts: u64,
    /// Its flushes take this long beside.
    pub(super) slow_flush: Duration,
    /// Metadata reaches it this late beside.
    pub(super) slow_apply: Duration,
    /// Milliseconds that its wall clock is ahead.
    pub(super) skew_ms: i64,
    /// How fast its monotonic clock goes.
    pub(super) clock_percent: u32,
    /// It can dial nobody, and nobody can connect to it to be heard; the last life of any node that began before.
    pub(super) blind_since: Option<u64>,
    /// A copy of its disk that was put aside.
    pub(super) kept: Option<KeptImage>,
}

/// A flush that is under way.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    pub(super) waiting: Vec<FlushOrder>,
    pub(super) running: Option<Vec<FlushOrder>>,
    pub(super) begun: Instant,
}

/// Who waits for a shard's reply.
#[derive(Clone, Debug)]
pub(super) enum Served {
    Produce {
        to: Endpoint,
        id: RequestId,
        partition: PartitionId,
    },
    Read(u64),
    List {
        to: Endpoint,
        id: RequestId,
        partition: PartitionId,
    },
    /// The first bound of a log, and what is known of the other.
    Bounds {
        to: Endpoint,
        id: RequestId,
        start: Option<crate::model::Offset>,
    },
    EpochEnd {
        to: Endpoint,
        id: RequestId,
        partition: PartitionId,
    },
    Trim {
        to: Endpoint,
        id: RequestId,
    },
    Group {
        to: Endpoint,
        id: RequestId,
        partition: PartitionId,
    },
    Vouch(FollowerAsked),
    Close,
}

/// A leader's question whether a node follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FollowerAsked {
    pub(super) leader: NodeId,
    pub(super) partition: PartitionId,
    pub(super) leader_epoch: crate::model::LeaderEpoch,
    pub(super) round: u64,
}

/// A fetch that is being served.
#[derive(Clone, Debug)]
pub(super) struct ServedRead {
    pub(super) to: Endpoint,
    pub(super) id: RequestId,
    pub(super) reader: Reader,
    pub(super) reads: Vec<ReadRequest>,
    /// For a follower: the positions, in the order of the reads.
    pub(super) positions: Vec<FetchPosition>,
    pub(super) deadline: Instant,
    pub(super) waits: bool,
}

/// What a broker asks of the controller.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) what: AskKind,
    pub(super) event: Ask,
    pub(super) sendings: u32,
    pub(super) until: Instant,
    /// The try that is under way.
    pub(super) request: Option<RequestId>,
}

/// Whose question it is.
#[derive(Debug)]
pub(super) enum AskKind {
    Register,
    Heartbeat { sent: Instant },
    Isr(Vec<PartitionProposal>),
    Relay { to: Endpoint, id: RequestId },
}

/// Accepted ISRs that wait for this node's image.
#[derive(Debug)]
pub(super) struct AwaitedImage {
    pub(super) batch: Vec<PartitionProposal>,
    pub(super) outcomes: Vec<IsrOutcome>,
    pub(super) until: Instant,
}

/// What is fetched from one leader.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    pub(super) positions: Positions,
    /// The request under way, and what it asks for.
    pub(super) request: Option<(RequestId, BTreeMap<PartitionId, FetchPosition>)>,
    /// Questions for the bounds of the leader's logs.
    pub(super) bounds: BTreeMap<RequestId, FetchPosition>,
    pub(super) rests_until: Instant,
    /// By partition, the number of its last answer with records.
    given: BTreeMap<PartitionId, u64>,
    given_count: u64,
}

impl Fetcher {
    /// What is asked for, in the order in which a leader gives: who was given something comes behind all others.
    pub(super) fn in_order(&self, asked: &BTreeMap<PartitionId, FetchPosition>) -> Vec<FetchPosition> {
        let mut positions: Vec<FetchPosition> = asked.values().copied().collect();
        positions.sort_by_key(|position| self.given.get(&position.partition));
        positions
    }

    /// Records came of a partition.
    pub(super) fn note_given(&mut self, partition: PartitionId) {
        self.given_count += 1;
        self.given.insert(partition, self.given_count);
    }
}

/// The controller's host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) soft: Soft,
    pub(super) waiting: VecDeque<Asked<(NodeId, RequestId)>>,
    pub(super) active: Option<Term>,
    pub(super) in_flight: Option<(ProposalId, Round<(NodeId, RequestId)>)>,
    pub(super) connections: BTreeSet<(NodeId, crate::model::BootNumber)>,
    /// After an unsettled proposal nothing is decided before.
    pub(super) rests_until: Instant,
    /// The tick that counts; earlier ones are void.
    pub(super) tick: u64,
}

/// How a process's monotonic clock goes: from a moment on, by so many percent of the world's time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    world: Instant,
    local: Instant,
    percent: u32,
}

/// One life of a node.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) life: u64,
    clock: Clock,
    pub(super) paused_until: Instant,
    pub(super) skew_ms: i64,
    pub(super) directory: Arc<DataDir>,
    pub(super) shard: Shard,
    pub(super) inbox: Vec<Event>,
    /// When the next turn is due.
    pub(super) turn_at: Option<Instant>,
    /// The round of compaction that is under way.
    pub(super) compaction: Option<Compacting>,
    pub(super) flushing: Flushing,
    pub(super) tickets: BTreeMap<Ticket, Served>,
    pub(super) reads: BTreeMap<u64, ServedRead>,
    pub(super) image: Arc<Image>,
    /// How far metadata is on its way here.
    pub(super) coming: LogIndex,
    pub(super) reconciled: Option<Arc<Image>>,
    pub(super) leadership: (Term, Option<NodeId>),
    pub(super) suspects: Suspects,
    /// Logs that are being opened.
    pub(super) outstanding: BTreeSet<PartitionId>,
    pub(super) epoch: Option<BrokerEpoch>,
    pub(super) stage: Stage,
    pub(super) is_unfenced: bool,
    /// What production keeps of its session.
    pub(super) beats: Progress,
    pub(super) beat: u64,
    pub(super) asks: BTreeMap<u64, Asking>,
    pub(super) wishes: Vec<PartitionProposal>,
    pub(super) awaited: Option<AwaitedImage>,
    pub(super) fetchers: BTreeMap<NodeId, Fetcher>,
    pub(super) reach: Reach,
    pub(super) host: Host,
}

impl Machine {
    pub(super) fn new(now: Instant) -> Self {
        let files = SimulatedFiles::default();
        mount(&files);
        Self {
            files,
            process: None,
            applied: LogIndex::new(0),
            down_until: now,
            ill_until: Instant::ZERO,
            starts: 0,
            slow_flush: Duration::ZERO,
            slow_apply: Duration::ZERO,
            skew_ms: 0,
            clock_percent: 100,
            blind_since: None,
            kept: None,
        }
    }
}

/// An empty disk, with its mount point.
pub(super) fn mount(files: &SimulatedFiles) {
    use crate::env::Files as _;
    files.create_dir_all(Path::new(DATA)).expect("a disk is mounted");
    files.sync_dir(Path::new("/")).expect("a disk is mounted");
}

impl Process {
    /// Opens the directory, as a node does when it starts.
    pub(super) fn start(
        files: &SimulatedFiles,
        node: NodeId,
        life: u64,
        now: Instant,
        shard: ShardOptions,
        options: Options,
        wall: Timestamp,
    ) -> Result<Self, crate::storage::DataDirError> {
        let seed = FixedSeed(life.wrapping_mul(1_000_003) ^ u64::from(node.get().unsigned_abs()));
        let directory = Arc::new(DataDir::open(Arc::new(files.clone()), Path::new(DATA), node, &seed, wall)?);
        let suspects = Suspects::of(&directory);
        Ok(Self {
            life,
            clock: Clock { world: now, local: Instant::ZERO.plus(Duration::from_secs(1)), percent: 100 },
            paused_until: now,
            skew_ms: 0,
            shard: Shard::new(Arc::clone(&directory), shard),
            outstanding: directory.partitions().iter().map(|found| found.id).collect(),
            directory,
            inbox: Vec::new(),
            turn_at: None,
            compaction: None,
            flushing: Flushing::default(),
            tickets: BTreeMap::new(),
            reads: BTreeMap::new(),
            image: Arc::default(),
            coming: LogIndex::new(0),
            reconciled: None,
            leadership: (Term::new(0), None),
            suspects,
            epoch: None,
            stage: Stage::default(),
            is_unfenced: false,
            beats: Progress::new(1),
            beat: 0,
            asks: BTreeMap::new(),
            wishes: Vec::new(),
            awaited: None,
            fetchers: BTreeMap::new(),
            reach: Reach::default(),
            host: Host {
                soft: Soft::new(options),
                waiting: VecDeque::new(),
                active: None,
                in_flight: None,
                connections: BTreeSet::new(),
                rests_until: Instant::ZERO,
                tick: 0,
            },
        })
    }

    /// This process's clocks. Its monotonic one begins with it, as a real one's does.
    pub(super) fn now(&self, world: Instant) -> Now {
        const EPOCH_MS: i64 = 1_700_000_000_000;
        let wall = i64::try_from(world.since(Instant::ZERO).as_millis()).expect("a short run");
        Now { instant: self.local(world), timestamp: Timestamp::new(EPOCH_MS + wall + self.skew_ms) }
    }

    /// A moment of the world on this process's monotonic clock.
    pub(super) fn local(&self, world: Instant) -> Instant {
        let Clock { world: since, local, percent } = self.clock;
        local.plus(world.since(since) * percent / 100)
    }

    /// A moment of this process's monotonic clock in the world, as fast as it goes now.
    pub(super) fn world(&self, local: Instant) -> Instant {
        let Clock { world: since, local: then, percent } = self.clock;
        since.plus(local.since(then) * 100 / percent)
    }

    /// From now on its monotonic clock goes so fast.
    pub(super) fn set_clock_rate(&mut self, world: Instant, percent: u32) {
        self.clock = Clock { world, local: self.local(world), percent };
    }

    /// Whether what needs a valid session may be served (rule R20).
    pub(super) fn has_session(&self, world: Instant) -> bool {
        self.beats.has_session(self.local(world))
    }
}
