//! Starts the broker's threads and tasks in their order, and stops them in the opposite one.
//!
//! Invariant: the flusher outlives the shards, so that what they have written last is flushed and attested before the
//! mark of a clean stop is set.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{info, warn};

use super::beats::BeatingBroker;
use super::cleaner::{Cleaner, CleanerOptions};
use super::fetcher::FetchOptions;
use super::flusher::Flusher;
use super::groups::GroupsTopic;
use super::lifecycle::{BrokerLife, Lifecycle};
use super::notices::Ways;
use super::producer_ids::ProducerIdBlock;
use super::progress::Progress;
use super::shards::Shards;
use super::vital::spawn_vital;
use super::worker::Running;
use super::{Beats, Broker, Cluster, Inner, MetricHandles, isr, lag, notices, reconcile, upkeep, vouching};
use crate::machines::group;
use crate::machines::metadata::{Image, Listener};
use crate::model::{BrokerEpoch, NodeId};
use crate::partition::{Event, Reply, Shard, ShardOptions};
use crate::storage::DataDir;
use crate::transport::Liveness;

/// How this broker is configured.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Where others reach it, by listener name.
    pub advertised: Vec<Listener>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `inter.broker.listener.name`.
    pub inter_broker_listener: String,
    /// The listener of controllers; not for clients.
    pub controller_listener: String,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `num.shards`.
    pub shards: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// `log.retention.check.interval.ms`.
    pub retention_interval: Duration,
    /// `log.cleaner.*`.
    pub cleaner: CleanerOptions,
    /// `producer.id.expiration.ms`.
    pub producer_expiration: Duration,
    /// `replica.fetch.*`.
    pub fetch: FetchOptions,
    /// `group.*` and `offsets.*`.
    pub groups: group::Options,
    /// How `__consumer_offsets` is made.
    pub groups_topic: GroupsTopic,
    /// `group.lag.interval.ms`; `None` when lag is not followed.
    pub group_lag_interval: Option<Duration>,
}

/// What a broker needs of the world.
pub struct BrokerWorld {
    /// Its data directory, opened.
    pub directory: Arc<DataDir>,
    /// What this node knows of the cluster.
    pub cluster: Cluster,
    /// Says on the liveness connections how this broker is.
    pub beats: Arc<Beats>,
    /// The liveness connections.
    pub liveness: Arc<Liveness>,
    /// Where it counts.
    pub metrics: MetricHandles,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread cannot be made.
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}

/// How long the shards may take to flush and close their logs at a stop.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Produces that may wait on one partition.
const WAITERS_MAX: usize = 10_000;
/// Reads that may wait on one shard.
const WATCHES_MAX: usize = 100_000;

/// What has to be stopped.
pub struct RunningBroker {
    /// The façade.
    pub broker: Broker,
    stop: watch::Sender<bool>,
    flusher: Flusher,
    cleaner: Cleaner,
    shard_threads: Vec<Running>,
    flusher_thread: Running,
    cleaner_thread: Running,
}

impl Broker {
    /// Starts everything on the current runtime. The broker recovers, registers and is unfenced by itself.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(node: NodeId, options: BrokerOptions, world: BrokerWorld) -> Result<RunningBroker, StartError> {
        let BrokerWorld { directory, cluster, beats, liveness, metrics } = world;
        let clock = Arc::clone(&cluster.clock);
        let progress = Arc::new(Progress::new(options.shards));
        let (flusher, flusher_thread) =
            Flusher::start(directory.flush_log().clone(), &clock, &progress, &metrics.partition)?;
        let (cleaner, cleaner_thread) = Cleaner::start(options.cleaner, &clock, &metrics.cleaner)?;
        let (notices_in, notices_out) = mpsc::unbounded_channel();
        let shard_options = ShardOptions {
            node,
            lag_max: options.lag_max,
            retention_interval: options.retention_interval,
            compaction_interval: options.cleaner.interval,
            waiters_max: WAITERS_MAX,
            watches_max: WATCHES_MAX,
            groups: options.groups.clone(),
        };
        let shards = (0..options.shards).map(|_| Shard::new(Arc::clone(&directory), shard_options.clone())).collect();
        let (shards, shard_threads) =
            Shards::start(shards, (&flusher, &cleaner), &notices_in, &clock, &progress, &metrics.partition)?;
        let found = directory.partitions().to_vec();
        let images = cluster.images();
        let controllers = Arc::clone(&cluster.controllers);
        let (reconciled, epoch) = (watch::channel(Arc::new(Image::default())).0, watch::channel(None).0);
        let life = watch::channel(BrokerLife::default()).0;
        beats.begin(BeatingBroker {
            node,
            epoch: epoch.subscribe(),
            reconciled: reconciled.subscribe(),
            life: life.subscribe(),
            progress: Arc::clone(&progress),
            clock: Arc::clone(&clock),
        });
        let inner = Arc::new(Inner {
            node,
            options,
            directory,
            found: found.iter().map(|f| f.id).collect(),
            cluster,
            shards,
            controllers,
            images,
            reconciled,
            epoch,
            life,
            producer_ids: ProducerIdBlock::default(),
            progress,
            liveness,
            reach: super::reach::Reach::default(),
            departed: super::departed::Departed::default(),
            lag_reads: Arc::new(Semaphore::new(lag::READS_WAITING_MAX)),
            metrics,
            clock,
        });
        for found in found {
            inner.shards.tell(found.id, Event::Open { partition: found.id, name: found.name });
        }
        let (stop, stopping) = watch::channel(false);
        spawn_tasks(&inner, notices_out, stopping);
        let broker = Broker { inner };
        Ok(RunningBroker { broker, stop, flusher, cleaner, shard_threads, flusher_thread, cleaner_thread })
    }
}

fn spawn_tasks(
    inner: &Arc<Inner>,
    notices_out: mpsc::UnboundedReceiver<super::shards::Notice>,
    stopping: watch::Receiver<bool>,
) {
    // Each channel is bounded by what feeds it: one proposal per partition is under way, one report per log on disk.
    let (proposals_in, proposals_out) = mpsc::unbounded_channel();
    let (recovered_in, recovered_out) = mpsc::unbounded_channel();
    let (asked_in, asked_out) = mpsc::unbounded_channel();
    let ways = Ways { proposals: proposals_in, recovered: recovered_in, asked: asked_in };
    spawn_vital("notices", notices::route(Arc::clone(inner), notices_out, ways));
    spawn_vital("vouching", vouching::run(Arc::clone(inner), asked_out));
    if let Some(interval) = inner.options.group_lag_interval {
        spawn_vital("lag", lag::run(Arc::clone(inner), interval));
    }
    spawn_vital("upkeep", upkeep::run(Arc::clone(inner)));
    spawn_vital("isr", isr::run(Arc::clone(inner), proposals_out));
    spawn_vital("reconcile", reconcile::follow(Arc::clone(inner), inner.images.clone(), inner.epoch.subscribe()));
    spawn_vital("lifecycle", Lifecycle::new(Arc::clone(inner), recovered_out, stopping).run());
}

impl RunningBroker {
    /// Moves the leaderships away (rule R16). Clients are still served meanwhile.
    pub async fn leave(&self) {
        let mut life = self.broker.inner.life.subscribe();
        self.stop.send_replace(true);
        if life.wait_for(|life| life.may_stop).await.is_err() {
            warn!("the broker's life ended without an answer");
        }
    }

    /// Closes every log, stops the threads, marks the directory as stopped cleanly.
    pub async fn stop(self) {
        let Self { broker, stop: _, flusher, cleaner, shard_threads, flusher_thread, cleaner_thread } = self;
        cleaner.close();
        cleaner_thread.ended().await;
        let shards = &broker.inner.shards;
        if let Err(cause) = close(shards, CLOSE_TIMEOUT).await {
            warn!(%cause, "the next start will recover");
            return;
        }
        shards.close();
        // The flusher outlives the shards, for their last turns may have had something to flush.
        for thread in shard_threads {
            thread.ended().await;
        }
        flusher.close();
        flusher_thread.ended().await;
        if !is_accounted_for(broker.inner.broker_epoch(), &broker.inner.directory) {
            info!("stopped before the broker was registered: the next start will recover");
            return;
        }
        match broker.inner.directory.mark_clean() {
            Ok(()) => info!("stopped cleanly"),
            Err(cause) => warn!(%cause, "the mark of a clean stop cannot be written: the next start will recover"),
        }
    }
}

/// Why the logs are not known to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum CloseError {
    #[error("a shard is too busy to close its logs")]
    Busy,
    #[error("a shard does not close its logs")]
    Open,
}

/// Closes every log of every shard; each may take so long.
async fn close(shards: &Shards, longest: Duration) -> Result<(), CloseError> {
    let closing: Vec<_> =
        (0..shards.count()).map(|shard| shards.ask(shard, |ticket| Event::Close { ticket })).collect();
    for closed in closing {
        let closed = closed.map_err(|_| CloseError::Busy)?;
        let Ok(Ok(Reply::Closed)) = tokio::time::timeout(longest, closed).await else {
            return Err(CloseError::Open);
        };
    }
    Ok(())
}

/// Whether the controller knows of every unclean stop up to now. Without a registration in this life the mark of a
/// clean one would bear the last one's epoch, and an unclean stop in between would be forgotten (rule R12).
fn is_accounted_for(registered: Option<BrokerEpoch>, directory: &DataDir) -> bool {
    registered.is_some() || directory.was_clean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{SystemFiles, SystemSeed};

    #[tokio::test]
    async fn a_shard_that_does_not_answer_is_not_taken_as_closed() {
        let (shards, inboxes) = Shards::without_threads(2);
        let closing = tokio::spawn({
            let shards = Arc::clone(&shards);
            async move { close(&shards, Duration::from_millis(1)).await }
        });
        let mut events = Vec::new();
        while events.is_empty() {
            tokio::task::yield_now().await;
            inboxes[0].take(&mut events, Duration::ZERO);
        }
        let [Event::Close { ticket }] = events[..] else { panic!("{events:?}") };
        shards.resolve(0, ticket, Reply::Closed);
        assert_eq!(closing.await.unwrap(), Err(CloseError::Open));
    }

    #[test]
    fn an_unclean_stop_is_not_marked_away_by_a_life_that_never_registered() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeId::new(1);
        let open = || {
            DataDir::open(
                Arc::new(SystemFiles::default()),
                dir.path(),
                node,
                &SystemSeed,
                crate::model::Timestamp::new(0),
            )
            .unwrap()
        };
        let epoch = BrokerEpoch::new(7);
        let crashed = open();
        crashed.set_broker_epoch(epoch).unwrap();
        drop(crashed);
        let unregistered = open();
        assert!(!is_accounted_for(None, &unregistered));
        assert!(is_accounted_for(Some(epoch), &unregistered));
        unregistered.mark_clean().unwrap();
        drop(unregistered);
        assert!(is_accounted_for(None, &open()), "the stop before this start was clean");
        assert!(!is_accounted_for(None, &open()), "and this one was not");
    }
}
