//! The shards on their threads: events in by partition, effects out to whoever they concern.
//!
//! Called by the façade, reconcile, the fetchers, the ISR task, the flusher and the cleaner.
//! Invariant: one thread per shard, nothing else in this process calls `Shard::turn`. A shard that panics ends the
//! process (rule S11): its partitions would otherwise be led by nobody who can tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::cleaner::Cleaner;
use super::flusher::{FlushJob, Flusher};
use super::inbox::{Full, Inbox, Taken};
use super::progress::Progress;
use super::replies::{Replies, Watches};
use super::worker::{self, Running};
use crate::env::Clock;
use crate::machines::replication::Ticket;
use crate::model::{Now, PartitionId};
use crate::partition::{
    ContradictedFollower, Effect, Event, FetchPosition, FollowersAsked, PartitionProposal, Reply, Shard,
    UnservedRecords, UnusableFetch,
};
use crate::telemetry::PartitionMetrics;

/// Requests that may wait for one shard. At the bound a request is refused as "busy, try again".
const INBOX_ENTRIES_MAX: usize = 16_384;
/// The longest that a shard sleeps without a tick.
const TICK_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// What shards tell the rest of the broker.
#[derive(Debug)]
pub(super) enum Notice {
    /// Another ISR is wanted.
    ProposeIsr(PartitionProposal),
    /// Followers are to be asked whether they are.
    AskFollowers(FollowersAsked),
    /// Fetch from here.
    FetchFrom(FetchPosition),
    /// Fetch no more.
    StopFetching(PartitionId),
    /// A partition found on disk is open.
    Opened(crate::partition::OpenedPartition),
    /// A partition cannot be served.
    Broken(crate::partition::BrokenPartition),
}

/// All shards of this broker.
#[derive(Debug)]
pub(super) struct Shards {
    lanes: Vec<Lane>,
    watches: Arc<Watches>,
}

/// The way to one shard.
#[derive(Clone, Debug)]
struct Lane {
    inbox: Arc<Inbox<Event>>,
    replies: Arc<Replies>,
}

/// What a shard's thread works with.
struct Worker {
    number: usize,
    shard: Shard,
    /// Empty between two turns; kept for its room.
    effects: Vec<Effect>,
    lane: Lane,
    watches: Arc<Watches>,
    flusher: Flusher,
    cleaner: Cleaner,
    notices: mpsc::UnboundedSender<Notice>,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    metrics: PartitionMetrics,
}

impl Shards {
    /// Gives each shard its thread.
    pub(super) fn start(
        shards: Vec<Shard>,
        (flusher, cleaner): (&Flusher, &Cleaner),
        notices: &mpsc::UnboundedSender<Notice>,
        clock: &Arc<dyn Clock>,
        progress: &Arc<Progress>,
        metrics: &PartitionMetrics,
    ) -> std::io::Result<(Arc<Self>, Vec<Running>)> {
        let watches = Arc::new(Watches::default());
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for (number, shard) in shards.into_iter().enumerate() {
            let lane = Lane { inbox: Arc::new(Inbox::new(INBOX_ENTRIES_MAX)), replies: Arc::default() };
            flusher.register(number, Arc::clone(&lane.inbox));
            cleaner.register(number, Arc::clone(&lane.inbox));
            let worker = Worker {
                number,
                shard,
                effects: Vec::new(),
                lane: lane.clone(),
                watches: Arc::clone(&watches),
                flusher: flusher.clone(),
                cleaner: cleaner.clone(),
                notices: notices.clone(),
                clock: Arc::clone(clock),
                progress: Arc::clone(progress),
                metrics: metrics.clone(),
            };
            threads.push(worker::start(&format!("shard-{number}"), Arc::clone(&lane.inbox), worker)?);
            lanes.push(lane);
        }
        Ok((Arc::new(Self { lanes, watches }), threads))
    }

    /// Shards that nobody runs: a test takes their events and answers them.
    #[cfg(test)]
    pub(super) fn without_threads(count: usize) -> (Arc<Self>, Vec<Arc<Inbox<Event>>>) {
        let lane = |_| Lane { inbox: Arc::new(Inbox::new(INBOX_ENTRIES_MAX)), replies: Arc::default() };
        let lanes: Vec<Lane> = (0..count).map(lane).collect();
        let inboxes = lanes.iter().map(|lane| Arc::clone(&lane.inbox)).collect();
        (Arc::new(Self { lanes, watches: Arc::default() }), inboxes)
    }

    /// Answers in a shard's place.
    #[cfg(test)]
    pub(super) fn resolve(&self, shard: usize, ticket: Ticket, reply: Reply) {
        self.lanes[shard].replies.resolve(ticket, reply);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Which shard owns a partition: neighbours of one topic go to different shards.
    pub(super) fn owner(&self, partition: PartitionId) -> usize {
        let topic = crc32c::crc32c(&partition.topic.get());
        let index = partition.index.get().unsigned_abs();
        usize::try_from(topic.wrapping_add(index)).expect("32 bits fit in a usize") % self.lanes.len()
    }

    /// The parked reads.
    pub(super) fn watches(&self) -> &Arc<Watches> {
        &self.watches
    }

    /// Tells something that must arrive.
    pub(super) fn tell(&self, partition: PartitionId, event: Event) {
        self.lanes[self.owner(partition)].inbox.push(event);
    }

    /// Tells every shard something that must arrive.
    pub(super) fn tell_all(&self, event: impl Fn() -> Event) {
        self.lanes.iter().for_each(|lane| lane.inbox.push(event()));
    }

    /// Tells one shard something that must arrive.
    pub(super) fn tell_shard(&self, shard: usize, event: Event) {
        self.lanes[shard].inbox.push(event);
    }

    /// Asks a shard; the event is in its inbox when this returns, so that two calls keep their order.
    pub(super) fn ask(
        &self,
        shard: usize,
        event: impl FnOnce(Ticket) -> Event,
    ) -> Result<oneshot::Receiver<Reply>, Full> {
        let lane = &self.lanes[shard];
        let (ticket, reply) = lane.replies.open();
        if let Err(full) = lane.inbox.offer(event(ticket)) {
            lane.replies.withdraw(ticket);
            return Err(full);
        }
        Ok(reply)
    }

    /// As `ask`, of the partition's shard, when the event must arrive.
    pub(super) fn must_ask(
        &self,
        partition: PartitionId,
        event: impl FnOnce(Ticket) -> Event,
    ) -> oneshot::Receiver<Reply> {
        let lane = &self.lanes[self.owner(partition)];
        let (ticket, reply) = lane.replies.open();
        lane.inbox.push(event(ticket));
        reply
    }

    /// Lets every shard finish what it has and end.
    pub(super) fn close(&self) {
        for lane in &self.lanes {
            lane.inbox.close();
        }
    }
}

impl worker::Worker<Event> for Worker {
    const PART: &'static str = "shard";

    fn patience(&self) -> Duration {
        let now = self.clock.now().instant;
        self.shard.next_deadline().map_or(TICK_INTERVAL_MAX, |due| due.since(now).min(TICK_INTERVAL_MAX))
    }

    fn begin(&self, _: &[Event]) -> Now {
        let now = self.clock.now();
        self.progress.turn_begins(self.number, now.instant);
        now
    }

    fn turn(&mut self, now: Now, events: &mut Vec<Event>, _: Taken) {
        if events.is_empty() || self.shard.next_deadline().is_some_and(|due| due <= now.instant) {
            events.push(Event::Tick);
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.shard.turn(now, events, &mut effects);
        for effect in effects.drain(..) {
            self.hand_out(effect);
        }
        self.effects = effects;
        self.progress.turn_ends(self.number);
        self.metrics.observe_turn(self.clock.now().instant.since(now.instant));
    }
}

impl Worker {
    fn hand_out(&self, effect: Effect) {
        match effect {
            Effect::Reply { ticket, reply } => self.lane.replies.resolve(ticket, reply),
            Effect::Wake(watch) => self.watches.wake(watch),
            Effect::Flush(orders) => self.flusher.order(FlushJob { shard: self.number, orders }),
            Effect::Compact(job) => self.cleaner.compact(self.number, job),
            Effect::CompactionGoesOn { partition, taken } => self.cleaner.goes_on(partition, taken),
            Effect::ProposeIsr(proposal) => self.notice(Notice::ProposeIsr(proposal)),
            Effect::AskFollowers(asked) => self.notice(Notice::AskFollowers(asked)),
            Effect::FetchFrom(position) => self.notice(Notice::FetchFrom(position)),
            Effect::StopFetching(partition) => self.notice(Notice::StopFetching(partition)),
            Effect::Opened(opened) => self.notice(Notice::Opened(opened)),
            Effect::Broken(broken) => {
                self.metrics.count_copy_fault("broken");
                self.notice(Notice::Broken(broken));
            }
            Effect::Unusable(fetch) => self.tell_unusable(&fetch),
            Effect::Damaged(place) => self.tell_damaged(&place),
            Effect::Unreadable(records) => self.tell_unreadable(&records),
            Effect::Contradicted(follower) => self.tell_contradicted(&follower),
            Effect::Fatal { cause } => super::abort(&format!("the data directory failed: {cause}")),
        }
    }

    fn tell_unusable(&self, fetch: &UnusableFetch) {
        self.metrics.count_copy_fault("unusable");
        error!(
            partition = %fetch.position.partition,
            topic = %fetch.name,
            leader = %fetch.position.leader,
            offset = %fetch.position.offset,
            cause = %fetch.fault,
            "what the leader sent cannot be used: its copy is damaged",
        );
    }

    fn tell_damaged(&self, UnservedRecords { partition, name, message }: &UnservedRecords) {
        self.metrics.count_copy_fault("damaged");
        let told = "records are damaged and not served; the copy is given up once others are known to be in sync";
        error!(%partition, topic = %name, cause = %message, "{told}");
    }

    fn tell_unreadable(&self, UnservedRecords { partition, name, message }: &UnservedRecords) {
        self.metrics.count_copy_fault("unreadable");
        error!(%partition, topic = %name, cause = %message, "records cannot be read");
    }

    fn tell_contradicted(&self, told: &ContradictedFollower) {
        self.metrics.count_copy_fault("contradicted");
        error!(
            partition = %told.partition,
            topic = %told.name,
            follower = %told.follower,
            offset = %told.offset,
            "a follower's log holds another batch before this offset: its copy is given up",
        );
    }

    fn notice(&self, notice: Notice) {
        // The receiver is gone only while the broker stops; then nobody needs to know.
        let _ = self.notices.send(notice);
    }
}
