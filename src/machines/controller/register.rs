//! A broker has started.
//!
//! Invariant: a node has one registered life, the latest; its epoch is the index of its registration (rule R14); it
//! begins fenced and with no claim that its disks do not prove (rules R12, S3).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::machines::metadata::{Broker, BrokerRegistered, Image, Listener, Record};
use crate::model::{
    BootNumber, BrokerEpoch, ClusterId, ConfigDefinition, DirectoryId, LogIndex, NodeId, Now, PartitionId,
};
use crate::probe::{Mark, Mutant, mark, planted};

use super::batch::Batch;
use super::{Decision, Defaults, Event, Reply, Soft, liveness, owed};

/// What a broker says when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its node id.
    pub node: NodeId,
    /// Which start of it this is: the highest boot number of its directories (rule S15).
    pub boot: BootNumber,
    /// The cluster its directories belong to; `None` on fresh disks.
    pub cluster: Option<ClusterId>,
    /// Its data directories, and what is stored in each.
    pub directories: Vec<DirectoryClaim>,
    /// Whether every directory bore the mark of a clean stop.
    pub clean: bool,
    /// Where it is reached.
    pub listeners: Vec<Listener>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Partitions it already knows it cannot vouch for (rule S3); the heartbeat that ends recovery names all, and what it
    /// holds and cannot serve.
    pub suspects: Vec<PartitionId>,
}

/// A data directory, and the life in which it served last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryClaim {
    /// The directory.
    pub id: DirectoryId,
    /// The broker epoch stored in it: of the registration under which it asked to be unfenced last.
    pub previous_epoch: Option<BrokerEpoch>,
}

/// A registration that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its epoch; `None` until its records are accepted (see [`Reply::at`]).
    pub broker_epoch: Option<BrokerEpoch>,
}

impl Registered {
    pub(super) fn at(self, index: LogIndex) -> Self {
        let index = i64::try_from(index.get()).expect("a log index stays below 2^63");
        Self { broker_epoch: self.broker_epoch.or(Some(BrokerEpoch::new(index))) }
    }
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterRefusal {
    /// The node belongs to another cluster.
    #[error("this cluster is {ours}, not {theirs}")]
    Cluster {
        /// This cluster.
        ours: ClusterId,
        /// The one its directories name.
        theirs: ClusterId,
    },
    /// The cluster has no identity yet; retriable.
    #[error("the cluster is not formed yet")]
    Unformed,
    /// A later start of the same node is registered (rule S15).
    #[error("start {given} of broker {node} comes after start {registered}")]
    OldBoot {
        /// The broker.
        node: NodeId,
        /// The start that asks.
        given: BootNumber,
        /// The start that is registered.
        registered: BootNumber,
    },
    /// Another process under this node id, on other disks, is alive; retriable once its session ends.
    #[error("broker {node} is alive on other directories; is its node.id used twice?")]
    Duplicate {
        /// The broker.
        node: NodeId,
    },
    /// It names no directory, or one twice, or the reserved one.
    #[error("a broker names at least one data directory, and none twice")]
    Directories,
    /// A directory is registered by another node.
    #[error("directory {directory} is registered by broker {owner}")]
    DirectoryOwned {
        /// The directory.
        directory: DirectoryId,
        /// Who has it.
        owner: NodeId,
    },
}

pub(super) fn decide(image: &Image, soft: &mut Soft, now: Now, registration: &Registration) -> Decision {
    let before = image.broker(registration.node);
    if let Err(refusal) = check(image, soft, now, registration) {
        return Decision::reply(Reply::Register(Err(refusal)));
    }
    if let Some(same) = before.filter(|before| is_same_life(before, registration)) {
        soft.session(same, now).contact = now.instant;
        // The epoch of a registration that is decided in the same proposal is not known yet (see `Image::with`).
        let epoch = Some(same.broker_epoch).filter(|epoch| is_accepted(image, *epoch));
        let registered = Registered { broker_epoch: epoch };
        return Decision::reply(Reply::Register(Ok(registered)));
    }
    if before.is_some_and(|before| !is_accepted(image, before.broker_epoch)) {
        // One proposal has one index: two lives in it would share a broker epoch (rule R14).
        let rest = Some(Box::new(Event::Register(registration.clone())));
        return Decision { rest, ..Decision::new(Vec::new(), Reply::Nothing) };
    }
    let mut batch = Batch::new(image, soft.options.proposal_bytes_max);
    let defaults = &soft.options.defaults;
    for id in lost(image, defaults, registration) {
        if let Some(state) = owed::without(batch.image(), defaults, id, registration.node)
            && !batch.change(id, state)
        {
            // More than one proposal holds (rule S14): the rest of its claims goes first, the registration last.
            let rest = Some(Box::new(Event::Register(registration.clone())));
            return Decision { rest, ..Decision::new(batch.into_records(), Reply::Nothing) };
        }
    }
    batch.add(record(registration));
    // The new life is fenced, so what the old one led moves at once (rules R1, R14, R15).
    soft.is_owing |= owed::settle(&mut batch, defaults);
    Decision::new(batch.into_records(), Reply::Register(Ok(Registered { broker_epoch: None })))
}

fn check(image: &Image, soft: &Soft, now: Now, registration: &Registration) -> Result<(), RegisterRefusal> {
    let ours = image.cluster().ok_or(RegisterRefusal::Unformed)?;
    if let Some(theirs) = registration.cluster.filter(|theirs| *theirs != ours) {
        return Err(RegisterRefusal::Cluster { ours, theirs });
    }
    let node = registration.node;
    let ids: BTreeSet<DirectoryId> = registration.directories.iter().map(|claim| claim.id).collect();
    if ids.is_empty() || ids.len() != registration.directories.len() || ids.contains(&DirectoryId::ZERO) {
        return Err(RegisterRefusal::Directories);
    }
    for other in image.brokers().iter().filter(|other| other.node != node) {
        if let Some(directory) = other.directories.iter().copied().find(|directory| ids.contains(directory)) {
            return Err(RegisterRefusal::DirectoryOwned { directory, owner: other.node });
        }
    }
    let Some(before) = image.broker(node) else { return Ok(()) };
    mark(Mark::RegistrationReplaced);
    if shares_directory(before, registration) {
        // A directory is open in one process at a time and counts the starts: the higher is the later (rule S15).
        let (given, registered) = (registration.boot, before.boot);
        let is_old = given < registered && !planted(Mutant::OldBootRegisters);
        return if is_old { Err(RegisterRefusal::OldBoot { node, given, registered }) } else { Ok(()) };
    }
    // Other disks under the same node id: two processes, or a disk that was replaced. The living one stays (rule R14).
    if !liveness::is_alive(before, soft, now) || planted(Mutant::LiveNodeReplaced) {
        return Ok(());
    }
    mark(Mark::DuplicateNode);
    Err(RegisterRefusal::Duplicate { node })
}

fn is_accepted(image: &Image, epoch: BrokerEpoch) -> bool {
    u64::try_from(epoch.get()).is_ok_and(|index| index <= image.last_applied().get())
}

fn shares_directory(before: &Broker, registration: &Registration) -> bool {
    registration.directories.iter().any(|claim| before.directories.contains(&claim.id))
}

fn is_same_life(before: &Broker, registration: &Registration) -> bool {
    (before.boot == registration.boot || planted(Mutant::RestartIsSameLife)) && shares_directory(before, registration)
}

fn record(registration: &Registration) -> Record {
    Record::BrokerRegistered(BrokerRegistered {
        node: registration.node,
        boot: registration.boot,
        broker_epoch: None,
        directories: registration.directories.iter().map(|claim| claim.id).collect(),
        listeners: registration.listeners.clone(),
        rack: registration.rack.clone(),
    })
}

/// The partitions of which the node may have lost what it acknowledged (rules R12, S3): all of them when its disks
/// are not those of its last active life; else those it names, and after an unclean stop those that acknowledge from
/// the page cache. What was flushed before it was acknowledged is still there.
fn lost(image: &Image, defaults: &Defaults, registration: &Registration) -> Vec<PartitionId> {
    let Some(before) = image.broker(registration.node) else { return Vec::new() };
    let node = registration.node;
    let claimed = image.topics().in_isr_of(node).chain(image.topics().in_elr_of(node)).map(|(id, _)| id);
    if !is_proven(before, registration) && !planted(Mutant::DisksTakenOnTrust) {
        mark(Mark::ClaimUnproven);
        return claimed.collect();
    }
    let mode = ConfigDefinition::of_topic("flush.mode").expect("the table holds flush.mode");
    let is_volatile = |topic| image.configs().topic_value(topic, mode, &defaults.topic) != mode.default;
    let named = registration.suspects.iter().filter(|_| !planted(Mutant::SuspectsKept));
    let suspects: BTreeSet<PartitionId> = named.copied().collect();
    let is_unclean = !registration.clean && !planted(Mutant::UncleanVolatileTrusted);
    let is_lost = |id: &PartitionId| suspects.contains(id) || (is_unclean && is_volatile(id.topic));
    claimed.filter(is_lost).collect()
}

/// Whether every directory of the broker's last active life is there, in the state that life left it: the epoch
/// stored in it is that life's, or of a later registration that never served. An old image of a disk bears an older
/// epoch (rules R12, S3).
fn is_proven(before: &Broker, registration: &Registration) -> bool {
    let Some(last) = &before.last_active else { return true };
    last.directories.iter().all(|directory| {
        let claim = registration.directories.iter().find(|claim| claim.id == *directory);
        let epoch = claim.and_then(|claim| claim.previous_epoch);
        epoch.is_some_and(|epoch| (last.broker_epoch..=before.broker_epoch).contains(&epoch))
    })
}
