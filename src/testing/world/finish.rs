//! One run from begin to end: faults, healing, rest, evidence, judgement.
//!
//! Invariant: a run ends with every process stopped and every disk read by the storage's own code.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::groups::is_internal;
use super::plan::{Plan, Step};
use super::power::End;
use super::process::DATA;
use super::{Happening, Machine, World};
use crate::env::Files as _;
use crate::machines::metadata::Partition;
use crate::model::{Instant, NodeId, Offset, PartitionId};
use crate::testing::evidence;
use crate::verify::history::{FinalScan, PartitionEnding};
use crate::verify::{Activity, Bounds, Compaction, Expectations, Report, Retention, check};

/// How long after the healing producers go on, and for how long a run is waited for beyond, so that it shows what is wrong.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(120);
/// How long after the healing until everything is served and read again at the latest: what takes longest is a consumer
/// of one-record fetches with thousands of them before it.
const RECOVERY_BOUND: Duration = Duration::from_secs(90);
/// How late metadata may come to a node that it can come to, when no fault delays it.
const METADATA_LATE_MAX: Duration = Duration::from_secs(1);
/// How long a tombstone stays where no topic says otherwise: Kafka's default.
const DELETE_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// How often every copy is read at the end, as long as something is found.
const LOOKS_MAX: usize = 10;
/// How often the world is asked whether it is well.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What the judge found, at every moment and at the end.
    pub report: Report,
    /// Of everything that happened, in its order.
    pub digest: u64,
    /// How much happened.
    pub events: u64,
    /// How long it took in the world.
    pub simulated: Duration,
    /// Everything that happened, if it was kept.
    pub lines: Vec<String>,
}

impl World {
    /// Runs a plan.
    #[must_use]
    pub fn run(plan: Plan) -> Outcome {
        let span = plan.span;
        let mut world = Self::new(plan);
        let healing = world.now.plus(span);
        world.run_until(healing);
        world.heal();
        world.record.history.healed_at = Some(world.now);
        // What was acknowledged before does not count for after.
        world.observer.acknowledged.clear();
        world.come_to_rest(Duration::ZERO);
        // What nobody reads rots unseen: every copy is read once, and what is given up for it is made anew.
        world.restart_sick();
        world.read_until_all_are_sound();
        world.finish()
    }

    /// Lets the world go on, for a while at least, until every partition is served and nothing is under way. As soon as
    /// every partition has taken a write, producers make nothing new.
    fn come_to_rest(&mut self, least: Duration) {
        let begun = self.now;
        let waits = |world: &mut Self| {
            world.observer.is_quiet = world.has_written_everywhere() || world.now.since(begun) >= RECOVERY_MAX;
            world.now.since(begun) < least || !world.is_serving() || !world.is_at_rest()
        };
        self.run_while(RECOVERY_MAX + REST_MAX, waits);
        let is_well = !self.observer.has_failed() && self.is_serving() && self.is_at_rest();
        self.record.history.rested_at = is_well.then_some(self.now);
    }

    fn run_while(&mut self, longest: Duration, mut goes_on: impl FnMut(&mut Self) -> bool) {
        let end = self.now.plus(longest);
        while self.now < end && !self.observer.has_failed() && goes_on(self) {
            self.mend_copies();
            self.run_until(self.now.plus(LOOK_INTERVAL).min(end));
        }
    }

    /// An operator starts brokers again that gave copies up, and where records may have been destroyed has the copies
    /// made anew: removes their directories (docs/DATA.md).
    fn mend_copies(&mut self) {
        let image = self.quorum.image();
        for (node, id, name) in self.observer.given_up() {
            // A disk that only failed to be read holds what it held: starting again is enough. Where records may be gone
            // it is never the last copy that is removed: somebody else has to lead. Such a one is started again once.
            let is_sick = self.observer.sick == Some(node);
            let leader = image.partition(id).and_then(|partition| partition.leader);
            let is_last = leader.is_none_or(|leader| leader == node);
            if is_sick && is_last && !self.observer.tried.insert((node, id)) {
                continue;
            }
            if self.machines[&node].process.is_some() {
                self.end(node, End::Killed);
                self.after(Duration::from_millis(5), Happening::Start(node));
            }
            self.mended += 1;
            if !is_sick || is_last {
                continue;
            }
            let path = Path::new(DATA).join(name);
            let removed = self.machines[&node].files.remove_dir_all(&path);
            self.record.say(self.now, &format!("an operator removes {} of {node}: {removed:?}", path.display()));
        }
    }

    /// Where records may have been destroyed, a start looks at what no reader does.
    fn restart_sick(&mut self) {
        if let Some(node) = self.observer.sick {
            self.end(node, End::Killed);
            self.after(Duration::from_millis(5), Happening::Start(node));
            self.come_to_rest(Duration::from_secs(2));
        }
    }

    /// Each look finds at most the first damage of a copy, and a copy that is made anew may come from another's.
    fn read_until_all_are_sound(&mut self) {
        for _ in 0..LOOKS_MAX {
            self.read_all_copies();
            let mended = self.mended;
            self.come_to_rest(Duration::from_secs(1));
            if self.mended == mended {
                return;
            }
        }
    }

    /// Every copy is read from its begin, as consumers of followers do.
    fn read_all_copies(&mut self) {
        for (node, partition, start) in self.observer.copies() {
            self.look_over(node, partition, start);
        }
    }

    /// Every topic that is wanted is there, and every partition has taken a write since the healing.
    fn has_written_everywhere(&self) -> bool {
        let image = self.quorum.image();
        let mut partitions = image.topics().partitions();
        self.administrator.is_done() && partitions.all(|(id, _)| self.observer.acknowledged.contains_key(&id))
    }

    /// Every partition is led and in sync everywhere, too.
    fn is_serving(&self) -> bool {
        let image = self.quorum.image();
        let is_whole =
            |partition: &Partition| partition.isr.len() == partition.replicas.len() && partition.leader.is_some();
        self.has_written_everywhere() && image.topics().partitions().all(|(_, partition)| is_whole(partition))
    }

    /// Every node has the metadata as they are, and nothing of what is deleted.
    fn has_told_everybody(&self) -> bool {
        let image = self.quorum.image();
        let last = self.quorum.last();
        let knows = |machine: &Machine| machine.process.as_ref().is_some_and(|p| p.image.last_applied() >= last);
        self.machines.values().all(knows)
            && self.observer.copies().iter().all(|(_, partition, _)| image.partition(*partition).is_some())
    }

    /// Nothing is under way, and everything that is committed is known to everybody.
    fn is_at_rest(&mut self) -> bool {
        let image = self.quorum.image();
        let partitions: Vec<(PartitionId, Vec<NodeId>)> =
            image.topics().partitions().map(|(id, partition)| (id, partition.replicas.clone())).collect();
        let now = self.now;
        let mut is_at_rest = self.producers.values().all(super::client::Producer::is_idle) && self.has_told_everybody();
        is_at_rest &= self.groups_are_settled();
        for (partition, replicas) in partitions {
            let end = self.observer.committed_end(partition);
            let is_read = is_internal(&image, partition)
                || self.consumers.values().all(|consumer| consumer.has_read(partition, end));
            if is_read {
                self.observer.read.entry(partition).or_insert(now);
            } else {
                is_at_rest = false;
            }
            is_at_rest &= replicas.iter().all(|node| self.observer.is_complete(*node, partition, end));
        }
        is_at_rest
    }

    /// How long a session lasts at most, by a clock that goes slow.
    fn session_max(&self) -> Duration {
        let percent = |step: &Step| if let Fault::ClockRate(_, percent, _) = step.fault { Some(percent) } else { None };
        self.knobs.session_timeout * 100 / self.plan.steps.iter().filter_map(percent).min().unwrap_or(100).min(100)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other fault makes metadata late")]
    fn metadata_late_max(&self) -> Duration {
        let late = self.plan.steps.iter().map(|step| match step.fault {
            Fault::SlowMetadata(_, by, _) | Fault::Weather(_, _, by, _) | Fault::SlowFlush(_, by, _) => by,
            Fault::Hold(_, span) | Fault::Pause(_, span) => span,
            _ => Duration::ZERO,
        });
        late.max().unwrap_or_default() + METADATA_LATE_MAX
    }

    /// What compaction may take. The horizon of a tombstone goes by one node's wall clock, and is looked at by another's.
    fn compaction_promise(&self) -> Option<Compaction> {
        let knobs = self.knobs.compaction.as_ref()?;
        let skew = |step: &Step| if let Fault::Skew(_, ms) = step.fault { ms } else { 0 };
        let skews = || self.plan.steps.iter().map(skew).chain(std::iter::once(0));
        let apart = skews().max().unwrap_or(0).saturating_sub(skews().min().unwrap_or(0));
        let apart = Duration::from_millis(apart.unsigned_abs());
        Some(Compaction {
            tombstones: knobs.delete_retention.unwrap_or(DELETE_RETENTION).saturating_sub(apart),
            copies_made_anew: self.observer.sick.is_some() || self.knobs.is_volatile,
        })
    }

    fn finish(mut self) -> Outcome {
        if !self.observer.has_failed() {
            self.gather();
        }
        self.end_all_service();
        self.record.history.ended_at = self.now;
        let retention = self.knobs.retention.map_or(Retention::Unlimited, |_| Retention::Limited);
        let expectations = Expectations {
            retention,
            compaction: self.compaction_promise(),
            bounds: Bounds {
                recovery: RECOVERY_BOUND,
                session: self.session_max() + self.metadata_late_max(),
                ..Bounds::default()
            },
            // A fault may find every client between two operations.
            activity: Activity { overlap_per_fault: 0, ..Activity::default() },
            ..Expectations::default()
        };
        let mut report = check(&self.record.history, &expectations);
        for violation in std::mem::take(&mut self.observer.violations) {
            *report.counts.entry(violation.invariant).or_default() += 1;
            report.violations.insert(0, violation);
        }
        let sends = self.record.history.sends.len();
        self.record.mix(u64::try_from(sends).expect("a few sends"));
        Outcome {
            report,
            digest: self.record.digest(),
            events: self.events,
            simulated: self.now.since(Instant::ZERO),
            lines: self.record.lines().to_vec(),
        }
    }

    /// The evidence at the end: what a fresh consumer reads, what stands on every disk.
    fn gather(&mut self) {
        self.record.history.group_endings = self.group_endings();
        let image = self.quorum.image();
        let isr_min = self.knobs.isr_min;
        for (id, partition) in image.topics().partitions() {
            let acknowledged_at = self.observer.acknowledged.get(&id).copied();
            let read_at = self.observer.read.get(&id).copied();
            let state = evidence::partition_state(id, partition, isr_min);
            self.record.history.endings.push(PartitionEnding { state, acknowledged_at, read_at });
            let Some(leader) = partition.leader.filter(|_| !is_internal(&image, id)) else { continue };
            let Some((log_start, end)) = self.observer.bounds(leader, id) else { continue };
            let records = self.peek(leader, id, log_start);
            self.record.history.scans.push(FinalScan { partition: id, log_start, end, records });
        }
        for node in self.nodes() {
            let known: Vec<(PartitionId, Offset)> = self.observer.watermarks(node);
            self.machine(node).process = None;
            self.dump(node, &known);
        }
        self.require_evidence();
    }

    /// Where everybody had everything, everything can be read: without it nothing would be judged.
    fn require_evidence(&self) {
        let history = &self.record.history;
        if history.rested_at.is_none() {
            return;
        }
        let image = self.quorum.image();
        for ending in &history.endings {
            let id = ending.state.partition;
            let is_scanned = is_internal(&image, id) || history.scans.iter().any(|scan| scan.partition == id);
            let is_dumped =
                |node: &NodeId| history.replicas.iter().any(|dump| dump.partition == id && dump.node == *node);
            assert!(is_scanned && ending.state.replicas.iter().all(is_dumped), "{id} could not be read in the end");
        }
    }

    /// Reads a node's disk with the storage's own code.
    fn dump(&mut self, node: NodeId, known: &[(PartitionId, Offset)]) {
        let files = Arc::new(self.machines[&node].files.clone());
        match evidence::dumps(files, Path::new(DATA), node, known) {
            Ok(dumps) => self.record.history.replicas.extend(dumps),
            Err(cause) => self.record.say(self.now, &format!("the disk of {node} cannot be read: {cause}")),
        }
    }
}
